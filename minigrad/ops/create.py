"""New Tensors from nothing: zeros, ones, ranges.  Creation takes a device; every op after it follows its inputs.

float32 unless told otherwise, or made of whole numbers or booleans.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import backend
from ..spelling import torch_spelling
from ..tensor import Tensor, as_array
from .shape import check_numbers


def made(op: str, shape: Any, dtype: Any, device: str, make: Callable) -> Any:
    """make(the array library, the shape as a tuple, the dtype), once both are known to be such."""
    sizes = shape if isinstance(shape, (tuple, list)) else (shape,)
    if not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 0 for n in sizes):
        raise TypeError(f"{op}: a shape is one size or a tuple of sizes, whole numbers of at least 0, not {shape!r}")
    return make(backend.get(device).xp, tuple(map(int, sizes)), dtype_of(op, dtype))


def dtype_of(op: str, dtype: Any) -> np.dtype:
    """The dtype of that name.  Raises TypeError if there is none."""
    try:
        return backend.dtype_named(dtype)
    except TypeError as error:
        raise TypeError(f"{op}: {error}") from None


def _held(op: str, value: Any, dtype: np.dtype) -> Any:
    """The number, once it is known that a dtype of whole numbers holds it."""
    if dtype.kind in "iu" and not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
        raise ValueError(f"{op}: {value} is no {dtype}, which goes from {np.iinfo(dtype).min} to {np.iinfo(dtype).max}")
    return value


def _all_whole(op: str, dtype: np.dtype, *values: Any) -> None:
    """Refuse, for a dtype of whole numbers, values that are not: NumPy would round what is made of them, torch them."""
    if dtype.kind in "iu" and any(v % 1 for v in values):
        *most, last = map(str, values)
        raise ValueError(
            f"{op}: {', '.join(most)} and {last} are not whole, but {dtype} is: round them, or what is made of them"
        )


@torch_spelling
def full(
    shape: int | tuple, value: float, dtype: Any = None, *, device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """A Tensor of this shape with `value` everywhere: of an int int64, of a bool bool, of other numbers float32."""
    if not isinstance(value, (bool, int, float, np.generic)):
        raise TypeError(f"full: the value is to be one number, not {value!r:.40}")
    if dtype is None:
        kind = np.dtype(type(value)).kind
        dtype = "bool" if kind == "b" else "int64" if kind in "iu" else "float32"
    return Tensor(
        made("full", shape, dtype, device, lambda xp, shape, dtype: xp.full(shape, _held("full", value, dtype), dtype)),
        requires_grad,
    )


@torch_spelling
def zeros(
    shape: int | tuple, *more: Any, dtype: Any = "float32", device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """A Tensor of zeros: `zeros(2, 3)`, `zeros((2, 3))`, or with a dtype `zeros((2, 3), "int64")`."""
    shape, dtype = _shape_and_dtype(shape, more, dtype)
    return Tensor(made("zeros", shape, dtype, device, lambda xp, shape, dtype: xp.zeros(shape, dtype)), requires_grad)


@torch_spelling
def ones(
    shape: int | tuple, *more: Any, dtype: Any = "float32", device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """A Tensor of ones: `ones(2, 3)`, `ones((2, 3))`, or with a dtype `ones((2, 3), "int64")`."""
    shape, dtype = _shape_and_dtype(shape, more, dtype)
    return Tensor(made("ones", shape, dtype, device, lambda xp, shape, dtype: xp.ones(shape, dtype)), requires_grad)


def _shape_and_dtype(shape: Any, more: tuple, dtype: Any) -> tuple[Any, Any]:
    """What follows the shape by position: further sizes, as in torch, or the dtype, as in NumPy."""
    if len(more) == 1 and not isinstance(more[0], (int, np.integer)):
        return shape, more[0]
    return (shape, *more) if more else shape, dtype


def arange(
    start: float, stop: float | None = None, step: float = 1, dtype: Any = None, *, device: str = "cpu"
) -> Tensor:
    """start, start + step, … up to but without stop, from 0 in `arange(n)`; ints give int64, other numbers float32.

    Raises:
        ValueError: the dtype is one of whole numbers, and start, stop or step is not whole or beyond it.
        TypeError: they are not numbers, or step is 0.
    """
    if stop is None:
        start, stop = 0, start
    if dtype is None:
        dtype = "int64" if all(isinstance(v, (int, np.integer)) for v in (start, stop, step)) else "float32"
    if not all(isinstance(v, (int, float, np.number)) for v in (start, stop, step)) or not step:
        raise TypeError(
            f"arange: start, stop and step are numbers, step not 0, but these are {start!r}, {stop!r} and {step!r}"
        )
    xp, dtype = backend.get(device).xp, dtype_of("arange", dtype)
    _all_whole("arange", dtype, *(_held("arange", v, dtype) for v in (start, stop, step)))
    return Tensor(backend.cast(xp.arange(start, stop, step, dtype=None if dtype.name == "bfloat16" else dtype), dtype))


@torch_spelling
def linspace(
    start: float,
    stop: float,
    num: int = 50,
    *,
    dtype: Any = "float32",
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """`num` numbers from start to stop, both included, at equal distances; a dtype of whole numbers cuts them off.

    Raises:
        ValueError: num is negative, or the dtype is one of whole numbers, and start or stop is not whole or beyond it.
        TypeError: start or stop is not a number.
    """
    return _line("linspace", np.linspace, start, stop, num, dtype, device, requires_grad)


@torch_spelling
def logspace(
    start: float,
    stop: float,
    num: int = 50,
    *,
    base: float = 10.0,
    dtype: Any = "float32",
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """`base` to the powers `linspace(start, stop, num)`; a dtype of whole numbers cuts them off.

    Raises:
        ValueError: as `linspace`, or a power is beyond a dtype of whole numbers.
        TypeError: start, stop or base is not a number.
    """
    check_numbers("logspace", base=base)
    return _line("logspace", partial(np.logspace, base=base), start, stop, num, dtype, device, requires_grad)


def _line(op, make, start, stop, num, dtype, device, requires_grad):
    if not all(isinstance(v, (int, float, np.number)) for v in (start, stop)):
        raise TypeError(f"{op}: start and stop are numbers, not {start!r} and {stop!r}")
    if not isinstance(num, (int, np.integer)) or isinstance(num, bool) or num < 0:
        raise ValueError(f"{op}: num is a whole number from 0 on, not {num!r}")
    dtype = dtype_of(op, dtype)
    _all_whole(op, dtype, start, stop)
    line = make(start, stop, num)
    if dtype.kind in "iu" and num:
        line = np.trunc(line)
        for extreme in (line.min(), line.max()):
            _held(op, float(extreme), dtype)
    return Tensor(line.astype(dtype), requires_grad, device=device)


def eye(n: int, m: int | None = None, *, dtype: Any = "float32", device: str = "cpu") -> Tensor:
    """The n × n identity matrix, or the n × m matrix with ones on its diagonal."""
    shape = n, n if m is None else m
    return Tensor(made("eye", shape, dtype, device, lambda xp, shape, dtype: xp.eye(*shape, dtype=dtype)))


@torch_spelling
def full_like(x: Any, value: float | np.generic, dtype: Any = None, *, requires_grad: bool = False) -> Any:
    """A Tensor (or array, if x is one) of x's shape, device and, unless given, dtype with `value` everywhere."""
    array = as_array(x)
    dtype = array.dtype if dtype is None else dtype_of("full_like", dtype)
    if not isinstance(value, (bool, int, float, np.generic)):
        raise TypeError(f"full_like: the value is to be one number, not {value!r:.40}")
    filled = backend.of(array).xp.full_like(array, _held("full_like", value, dtype), dtype=dtype)
    return Tensor(filled, requires_grad) if isinstance(x, Tensor) or requires_grad else filled


def zeros_like(x: Any, dtype: Any = None, *, requires_grad: bool = False) -> Any:
    """`full_like(x, 0)`."""
    return full_like(x, 0, dtype, requires_grad=requires_grad)


def ones_like(x: Any, dtype: Any = None, *, requires_grad: bool = False) -> Any:
    """`full_like(x, 1)`."""
    return full_like(x, 1, dtype, requires_grad=requires_grad)
