"""What several families build with: layers whose numbers come from a file, and activations by their published names."""

from __future__ import annotations

import math
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from .. import functional as F
from .. import ops
from ..nn import Embedding, Linear, init
from ..nn.layers import gelu_tanh


def quick_gelu(x: Any) -> Any:
    """x · sigmoid(1.702 x) (Hendrycks & Gimpel 2016)."""
    return x * F.sigmoid(1.702 * x)


def hardswish(x: Any) -> Any:
    """x · relu6(x + 3) / 6 (Howard et al. 2019)."""
    return x * F.relu6(x + 3) / 6


def laplace(x: Any) -> Any:
    """The cumulative normal distribution of mean √½ and deviation √(¼π), rounded (Ma et al. 2022)."""
    return 0.5 * (1 + ops.erf((x - 0.707107) / (0.282095 * math.sqrt(2))))


ACTIVATIONS = {  # by the names of transformers, but for those with weights of their own
    "gelu": F.gelu,
    "gelu_new": gelu_tanh,
    "gelu_python": F.gelu,
    **dict.fromkeys(("gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate"), gelu_tanh),
    "quick_gelu": quick_gelu,
    "gelu_10": lambda x: ops.clip(F.gelu(x), -10, 10),
    "relu": F.relu,
    "relu6": F.relu6,
    "relu2": lambda x: F.relu(x) ** 2,
    "leaky_relu": F.leaky_relu,
    "silu": F.silu,
    "swish": F.silu,
    "hardswish": hardswish,
    "mish": lambda x: x * F.tanh(F.softplus(x)),
    "sqrtsoftplus": lambda x: ops.sqrt(F.softplus(x)),
    "laplace": laplace,
    "sigmoid": F.sigmoid,
    "tanh": F.tanh,
    "linear": lambda x: x,
}


def activation(name: Any, entry: str = "hidden_act") -> Callable:
    """The function that a configuration calls `name`; `entry` is where it says so.

    Raises:
        ValueError: there is none of that name.
    """
    if str(name) not in ACTIVATIONS:
        near = "".join(f"; did you mean {one!r}?" for one in get_close_matches(str(name), ACTIVATIONS, 1))
        raise ValueError(f"{entry} {name!r} is not known: it is one of {', '.join(ACTIVATIONS)}{near}")
    return ACTIVATIONS[name]


def linear(inputs: int, outputs: int, bias: bool = True) -> Linear:
    """A Linear whose numbers come later: from a file, or from the model's `draw`."""
    return Linear(inputs, outputs, bias, rng=init.LATER)


def embedding(rows: int, size: int, padding_idx: int | None = None) -> Embedding:
    """An Embedding whose numbers come later."""
    return Embedding(rows, size, padding_idx, rng=init.LATER)
