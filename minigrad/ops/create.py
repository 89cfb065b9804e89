"""New Tensors from nothing: zeros, ones, ranges.  Creation takes a device; every op after it follows its inputs.

float32 unless told otherwise.
"""
from __future__ import annotations

from typing import Any

from .. import backend
from ..tensor import Tensor, as_array


def full(shape: int | tuple, value: float, dtype: Any = "float32", *, device: str = "cpu",
         requires_grad: bool = False) -> Tensor:
    """A Tensor of this shape with `value` everywhere."""
    return Tensor(backend.get(device).xp.full(shape, value, dtype=dtype), requires_grad)


def zeros(shape: int | tuple, dtype: Any = "float32", *, device: str = "cpu",
         requires_grad: bool = False) -> Tensor:
    """A Tensor of zeros."""
    return Tensor(backend.get(device).xp.zeros(shape, dtype=dtype), requires_grad)


def ones(shape: int | tuple, dtype: Any = "float32", *, device: str = "cpu",
         requires_grad: bool = False) -> Tensor:
    """A Tensor of ones."""
    return Tensor(backend.get(device).xp.ones(shape, dtype=dtype), requires_grad)


def arange(start: float, stop: float | None = None, step: float = 1, dtype: Any = None, *,
           device: str = "cpu") -> Tensor:
    """start, start + step, … up to but without stop; `arange(n)` counts from 0.  Whole numbers give int64, others float32."""
    if stop is None:
        start, stop = 0, start
    if dtype is None:
        dtype = "int64" if all(isinstance(v, int) for v in (start, stop, step)) else "float32"
    return Tensor(backend.get(device).xp.arange(start, stop, step, dtype=dtype))


def eye(n: int, m: int | None = None, *, dtype: Any = "float32", device: str = "cpu") -> Tensor:
    """The n × n identity matrix, or the n × m matrix with ones on its diagonal."""
    return Tensor(backend.get(device).xp.eye(n, m, dtype=dtype))


def full_like(x: Any, value: float) -> Any:
    """A Tensor (or array, if x is one) of x's shape, dtype and device with `value` everywhere."""
    array = as_array(x)
    filled = backend.of(array).xp.full_like(array, value)
    return Tensor(filled) if isinstance(x, Tensor) else filled


def zeros_like(x: Any) -> Any:
    """`full_like(x, 0)`."""
    return full_like(x, 0)


def ones_like(x: Any) -> Any:
    """`full_like(x, 1)`."""
    return full_like(x, 1)
