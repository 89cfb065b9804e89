"""Tools around layers: all parameters as one vector, and weights that are computed from others or have masks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ... import ops
from ...elsewhere import missing as _missing
from ...tensor import Tensor
from . import parametrizations, parametrize, prune

__all__ = ["parameters_to_vector", "parametrizations", "parametrize", "prune", "vector_to_parameters"]


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


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        raise _missing(__name__, name)
