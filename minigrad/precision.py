"""The dtype in which an op computes, and that of its result: 16-bit floats in float32, and no implicit widening."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from .backend import cast, is_float, is_half
from .errors import NO_NUMBERS
from .execution import Mode, record, recording
from .tensor import Tensor, shaped

F4 = np.dtype("float32")
I8 = np.dtype("int64")
F = TypeVar("F", bound=Callable)


def computed_in_float32(function: F, leading: int = 0, whole: bool = False) -> F:
    """A function made of ops that computes 16-bit floats in float32, and rounds the result to their dtype once.

    So a sum of 16-bit numbers is accumulated in float32, and no intermediate result of a mean or a loss overflows or is
    rounded.  The casts are on the tape, so the gradients are computed in float32 and rounded once too.  Under autocast
    the function is cast like an op: see amp.py.  If `leading` is given, only that many first arguments determine the
    dtype of the result, and integers among them are converted to float32.  With `whole`, integers without floats are
    computed in int64.
    """
    name, first = function.__name__, getattr(function, "__wrapped__", function).__code__.co_varnames[:leading]

    @wraps(function)
    def front(*inputs: Any, **options: Any) -> Any:
        on = recording()
        values: Any = (*inputs, *options.values()) if options else inputs
        mode = None if on is True or on is False else on
        if mode is None and len(inputs) >= leading:
            for x in values:
                if getattr(x, "dtype", F4) is not F4:
                    break
            else:  # This is the usual case.
                if not leading or all([hasattr(x, "shape") for x in inputs[:leading]]):
                    return function(*inputs, **options)
        leads = [i < leading for i in range(len(inputs))] + [option in first for option in options]
        values = [shaped(x, name) if it else x for x, it in zip(values, leads)]
        if mode is not None:
            values = mode.given(named, tuple(values))
        heeded = [x for x, it in zip(values, leads) if it] or [x for x in values if isinstance(x, Tensor)]
        wide = wider(values, leads, heeded or values[:1]) or (in_int64(values) if whole else None)
        if wide is None:
            return function(*values[: len(inputs)], **dict(zip(options, values[len(inputs) :])))
        values, dtype = wide
        with uncast(on):
            return rounded(function(*values[: len(inputs)], **dict(zip(options, values[len(inputs) :]))), dtype)

    named: Any = front
    named.name = name
    return named


def widened(op: Any, inputs: list) -> tuple[list, np.dtype] | None:
    """The inputs of an op in the dtype in which it computes, and the dtype of its result; None if nothing changes."""
    if op.only_numbers and float not in map(type, inputs):
        return None
    wide = wider(inputs, [op.is_floating] * len(inputs), inputs)
    return in_int64(inputs) if wide is None and op.in_int64 else wide


def in_int64(values: Sequence) -> tuple[list, np.dtype] | None:
    """The values, integers or booleans, in int64, and that dtype; None if nothing changes."""
    arrays = [x for x in values if hasattr(x, "dtype")]
    if any([is_float(x.dtype) for x in arrays]) or all([x.dtype == I8 for x in arrays]):
        return None
    return [Tensor.astype(x, I8) if hasattr(x, "dtype") else x for x in values], I8


def wider(values: Sequence, to_float: Sequence[bool], heeded: Sequence) -> tuple[list, np.dtype] | None:
    """The values with 16-bit floats in float32, and the result's dtype, from the values `heeded`; None if none change.

    Integers for which `to_float` is True are converted to the dtype of the computation.
    """
    arrays = [x for x in values if isinstance(x, Tensor) or hasattr(x, "shape") and not isinstance(x, np.generic)]
    if all([x.dtype is F4 for x in arrays]):
        return None
    halves = [x for x in arrays if is_half(x.dtype)]
    change = halves + [x for x, it in zip(values, to_float) if it and hasattr(x, "shape") and not is_float(x.dtype)]
    if not change:
        return None
    floats = [x.dtype for x in heeded if hasattr(x, "shape") and is_float(x.dtype)]
    dtype = np.result_type(*floats) if floats else F4
    wide = F4 if is_half(dtype) else dtype
    return [Tensor.astype(x, wide) if any([x is one for one in change]) else x for x in values], dtype


def sum_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype of a sum, or of a product of all entries: int64 for integers and booleans, as in torch.

    (NumPy would accumulate unsigned ones in uint64, in which a small sum minus a larger number wraps around.)
    """
    return dtype if is_float(dtype) else I8


def rounded(y: Any, dtype: np.dtype) -> Any:
    """A floating-point result in this dtype."""
    return y if y.dtype == dtype or not is_float(y.dtype) else Tensor.astype(y, dtype)


@contextmanager
def uncast(on: bool | Mode) -> Iterator[None]:
    """In the block, autocast does not cast, because the values have just been cast."""
    if on is True or on is False:
        yield
    else:
        with record(on._replace(given=Mode().given)):
            yield


def settled(op: str, y: Any, arrays: list) -> Any:
    """The promotion rule: a floating-point result has the common type of the floating-point inputs, or else float32.

    (NumPy would widen int with float32, and int / int, to float64; and bfloat16 with a Python number to float32.)
    """
    if not is_float(y.dtype):
        if y.dtype.kind in NO_NUMBERS:
            raise TypeError(f"{op}: give numbers, for of these inputs the result holds {NO_NUMBERS[y.dtype.kind]}")
        return y
    floats = [a.dtype for a in arrays if hasattr(a, "dtype") and is_float(a.dtype)]
    dtype = np.result_type(*floats) if floats else F4
    return y if y.dtype == dtype else cast(y, dtype)
