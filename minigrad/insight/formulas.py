"""How many parameters a layer has: a formula for each kind of layer, in symbols and in numbers."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

from .. import nn
from ..nn.module import Module, Parameter
from ..ops.window import each


def _linear(m: Any) -> tuple[str, dict]:
    return "{in} · {out}" + " + {out}" * (m.bias is not None), {"in": m.in_features, "out": m.out_features}


def _attention(m: Any) -> tuple[str, dict]:
    return "3 · {d} · {d}" + " + 3 · {d}" * (m.in_proj_bias is not None), {"d": m.embed_dim}


def _filters(m: Any) -> tuple[str, dict]:
    """One filter per output channel, of the size of the kernel times the input channels of its group."""
    kernel = " · ".join(map(str, each(type(m).__name__, "kernel_size", m.kernel_size, m.axes, 1)))
    sizes = {"in": m.in_channels, "out": m.out_channels, "groups": m.groups}
    return kernel + " · {in}" + "/{groups}" * (m.groups > 1) + " · {out}" + " + {out}" * (m.bias is not None), sizes


def _recurrent(m: Any) -> tuple[str, dict]:
    """A layer or a cell: each gate has a weight for the input, one for the state and, by default, two biases."""
    kind = m if hasattr(m, "gates") else m.layer
    layers, ways = getattr(m, "num_layers", 1), getattr(m, "directions", 1)
    biases = any(isinstance(p, Parameter) and name.startswith("bias") for name, p in vars(m).items())
    one = f"{kind.gates} · {{h}} · ({{in}} + {{h}}{' + 2' * biases})"
    text = f"{ways} · {one}" if ways > 1 else one
    if layers > 1:  # higher layers read the states of the layer below
        text += f" + {(layers - 1) * ways} · {one.replace('{in}', '{h}' if ways == 1 else '2 · {h}')}"
    return text, {"h": m.hidden_size, "in": m.input_size}


FORMULAS: dict[type, Callable[[Any], tuple[str, dict]]] = {  # -> (formula with symbols in braces, values)
    nn.Linear: _linear,
    nn.MultiheadAttention: _attention,
    nn.Conv1d: _filters,
    nn.ConvTranspose1d: _filters,
    nn.Embedding: lambda m: ("{rows} · {size}", {"rows": m.num_embeddings, "size": m.embedding_dim}),
    **dict.fromkeys((nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell), _recurrent),
}


OPERATORS = {ast.Add: operator.add, ast.Mult: operator.mul, ast.Div: operator.floordiv}


def formula(module: Module, own: dict[str, Parameter]) -> str:
    """The count of a layer's own parameters: "in · out + out = 3 · 4 + 4", or "weight + bias = 8 + 8" if unknown."""
    if not own:
        return ""
    known = next((make for kind, make in FORMULAS.items() if isinstance(module, kind)), None)
    if known is not None:
        text, sizes = known(module)
        numbers = text.format(**sizes)
        if value(numbers) == sum(p.size for p in own.values()):  # a subclass may have more parameters
            return f"{re.sub('[{}]', '', text)} = {numbers}"
    return f"{' + '.join(own)} = {' + '.join(' · '.join(map(str, p.shape)) or '1' for p in own.values())}"


def value(numbers: str) -> int:
    """The value of a formula in numbers."""
    if not re.fullmatch(r"[\d ·+/()]+", numbers):
        raise ValueError(f"{numbers!r} is not a formula in numbers")

    def of(node: Any) -> Any:
        return node.value if isinstance(node, ast.Constant) else OPERATORS[type(node.op)](of(node.left), of(node.right))

    return of(ast.parse(numbers.replace("·", "*"), mode="eval").body)
