"""Tools around layers: all parameters as one vector, and weights that are computed from others."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ... import ops
from ...tensor import Tensor
from . import parametrizations, parametrize

__all__ = ["parameters_to_vector", "parametrizations", "parametrize", "vector_to_parameters"]

ELSEWHERE = {  # names of torch.nn.utils, and what to type instead
    "clip_grad_norm_": "mg.optim.clip_grad_norm_",
    "clip_grad_value_": "mg.optim.clip_grad_value_",
    "remove_spectral_norm": "nn.utils.parametrize.remove_parametrizations(layer, 'weight')",
    "remove_weight_norm": "nn.utils.parametrize.remove_parametrizations(layer, 'weight')",
    "spectral_norm": "nn.utils.parametrizations.spectral_norm",
    "weight_norm": "nn.utils.parametrizations.weight_norm",
}


def parameters_to_vector(parameters: Iterable[Any]) -> Any:
    """All entries of the parameters, one after the other, as one vector (n,); its gradient reaches each of them."""
    return ops.concatenate([ops.reshape(p, (-1,)) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Any]) -> None:
    """Write a vector, such as `parameters_to_vector` makes, back into the parameters.

    Raises:
        ValueError: the vector does not have as many entries as they have together.
    """
    parameters, vec = list(parameters), vec if isinstance(vec, Tensor) else Tensor(vec)
    sizes = [math.prod(p.shape) for p in parameters]
    if vec.shape != (sum(sizes),):
        raise ValueError(
            f"vector_to_parameters: the parameters have {sum(sizes)} entries together, but the vector has shape "
            f"{tuple(vec.shape)}"
        )
    start = 0
    for p, size in zip(parameters, sizes, strict=True):
        p.copy_(vec.data[start : start + size].reshape(p.shape))
        start += size


def __getattr__(name: str) -> Any:
    if name in ELSEWHERE:
        raise AttributeError(f"module 'minigrad.nn.utils' has no attribute {name!r}: type {ELSEWHERE[name]}")
    raise AttributeError(f"module 'minigrad.nn.utils' has no attribute {name!r}")
