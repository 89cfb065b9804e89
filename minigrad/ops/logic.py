"""Questions answered by booleans, and what is done about infinities and NaN."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

import numpy as np

from .. import backend
from ..backend import is_float
from ..builtin import builtin
from ..primitive import primitive
from ..spelling import torch_spelling
from ..tensor import Tensor, as_array, shaped
from .arithmetic import abs, astype, equal, maximum, minimum, not_equal, sum, where
from .reduce import Axes, all
from .shape import check_flags, check_numbers


@builtin()
@primitive
def isnan(xp, x, /):
    """Whether an entry is not a number."""
    return xp.isnan(x)


isnan.defvjp()


@builtin()
@primitive
def isinf(xp, x, /):
    """Whether an entry is ∞ or -∞."""
    return xp.isinf(x)


isinf.defvjp()


@builtin()
@primitive
def isfinite(xp, x, /):
    """Whether an entry is a number, and neither ∞ nor -∞."""
    return xp.isfinite(x)


isfinite.defvjp()


def isposinf(x: Any) -> Any:
    """Whether an entry is ∞."""
    return equal(x, math.inf)


def isneginf(x: Any) -> Any:
    """Whether an entry is -∞."""
    return equal(x, -math.inf)


@builtin()
@primitive
def signbit(xp, x, /):
    """Whether an entry is negative, -0.0 included."""
    return xp.signbit(x) if is_float(x.dtype) else x < 0


signbit.defvjp()


def logical_and(a: Any, b: Any) -> Any:
    """Whether both entries are not zero."""
    return not_equal(a, 0) & not_equal(b, 0)


def logical_or(a: Any, b: Any) -> Any:
    """Whether one of the entries, or both, is not zero."""
    return not_equal(a, 0) | not_equal(b, 0)


def logical_xor(a: Any, b: Any) -> Any:
    """Whether exactly one of the entries is not zero."""
    return not_equal(not_equal(a, 0), not_equal(b, 0))


def logical_not(x: Any) -> Any:
    """Whether an entry is zero."""
    return equal(x, 0)


@builtin(in_float32="halves")
def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether |a - b| <= atol + rtol |b|, or both are the same infinity; with `equal_nan`, or both are NaN."""
    check_numbers("isclose", rtol=rtol, atol=atol)
    check_flags("isclose", equal_nan=equal_nan)
    if rtol < 0 or atol < 0:
        raise ValueError(f"isclose: rtol={rtol} and atol={atol} are to be at least 0")
    a, b = (x.detach() if isinstance(x, Tensor) else shaped(x, "isclose") for x in (a, b))
    finite = isfinite(a) & isfinite(b)
    wide = np.float64 if not is_float(a.dtype) and not is_float(b.dtype) else np.result_type(a.dtype, b.dtype)
    x, z = (where(finite, astype(v, wide), 0) for v in (a, b))
    close = where(finite, abs(x - z) <= atol + rtol * abs(z), equal(a, b))
    return close | (isnan(a) & isnan(b)) if equal_nan else close


def allclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether `isclose` holds for all entries; a Python bool."""
    return bool(all(isclose(a, b, rtol, atol, equal_nan)))


def array_equal(a: Any, b: Any) -> bool:
    """Whether a and b have the same shape and the same entries; a Python bool (torch.equal)."""
    a, b = shaped(a, "array_equal"), shaped(b, "array_equal")
    return tuple(a.shape) == tuple(b.shape) and bool(all(equal(a, b)))


def isin(elements: Any, test_elements: Any, *, invert: bool = False) -> Any:
    """Whether an entry of `elements` is among `test_elements`, of any shape; with `invert`, whether it is not."""
    check_flags("isin", invert=invert)
    array, among = as_array(shaped(elements, "isin")), as_array(test_elements)
    xp = backend.of(array).xp
    among = among if hasattr(test_elements, "shape") else xp.asarray(among)  # a list goes where the Tensor is
    found = xp.isin(array, among, invert=bool(invert))
    return Tensor(found) if isinstance(elements, Tensor) or isinstance(test_elements, Tensor) else found


@torch_spelling
def count_nonzero(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Any:
    """How many entries along `axis` are not zero, as int64."""
    return sum(astype(not_equal(shaped(x, "count_nonzero"), 0), "int64"), axis, keepdims)


def nonzero(x: Any, *, as_tuple: bool = True) -> Any:
    """Where the entries are not zero: an array of indices per axis, for x[mg.nonzero(x)], as in NumPy.

    With as_tuple=False one matrix with a row for each such entry, as in torch, which `argwhere` gives too.
    """
    check_flags("nonzero", as_tuple=as_tuple)
    array = as_array(shaped(x, "nonzero"))
    if not array.ndim:
        raise ValueError("nonzero: a single number has no places: x.reshape(1) gives it one")
    found = tuple(map(Tensor, array.nonzero())) if isinstance(x, Tensor) else array.nonzero()
    return found if as_tuple else argwhere(x)


def argwhere(x: Any) -> Any:
    """The indices of the entries that are not zero, (how many, number of axes), in order."""
    array = as_array(shaped(x, "argwhere"))
    found = backend.of(array).xp.argwhere(array)
    return Tensor(found) if isinstance(x, Tensor) else found


def nan_to_num(x: Any, *, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    """x with `nan` for NaN, `posinf` for ∞ and `neginf` for -∞, by default the dtype's largest and smallest numbers.

    No gradient flows through what was replaced.
    """
    x = shaped(x, "nan_to_num")
    if not is_float(x.dtype):
        return x
    if None in (posinf, neginf):
        limits = np.finfo(x.dtype) if x.dtype.kind == "f" else import_module("ml_dtypes").finfo(x.dtype)
        posinf, neginf = (
            float(limit) if given is None else given for given, limit in ((posinf, limits.max), (neginf, limits.min))
        )
    x = where(isnan(x), nan, x)
    return where(isposinf(x), posinf, where(isneginf(x), neginf, x))


def fmax(a: Any, b: Any) -> Any:
    """The larger of a and b, or the one that is a number, if one is NaN."""
    a, b = shaped(a, "fmax"), shaped(b, "fmax")
    return where(isnan(a), b, where(isnan(b), a, maximum(a, b)))


def fmin(a: Any, b: Any) -> Any:
    """The smaller of a and b, or the one that is a number, if one is NaN."""
    a, b = shaped(a, "fmin"), shaped(b, "fmin")
    return where(isnan(a), b, where(isnan(b), a, minimum(a, b)))
