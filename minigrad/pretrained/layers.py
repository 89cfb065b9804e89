"""What several families build with: layers whose numbers come from a file, and activations by their published names."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import functional as F
from ..nn import Embedding, Linear, init
from ..nn.layers import gelu_tanh

ACTIVATIONS = {"gelu": F.gelu, "gelu_new": gelu_tanh, "gelu_pytorch_tanh": gelu_tanh, "relu": F.relu, "silu": F.silu,
               "swish": F.silu, "tanh": F.tanh}


def activation(name: Any, entry: str = "hidden_act") -> Callable:
    """The function that a configuration calls `name`; `entry` is where it says so.

    Raises:
        ValueError: there is none of that name.
    """
    if str(name) not in ACTIVATIONS:
        raise ValueError(f"{entry} {name!r} is not known: it is one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def linear(inputs: int, outputs: int, bias: bool = True) -> Linear:
    """A Linear whose numbers come later: from a file, or from the model's `draw`."""
    return Linear(inputs, outputs, bias, rng=init.LATER)


def embedding(rows: int, size: int, padding_idx: int | None = None) -> Embedding:
    """An Embedding whose numbers come later."""
    return Embedding(rows, size, padding_idx, rng=init.LATER)
