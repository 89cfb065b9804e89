"""Whole numbers near a number: rounding, and division with a remainder.

Rounding is constant almost everywhere, so it has no gradient.  Whole numbers stay as they are.
"""

from __future__ import annotations

from typing import Any

from ..backend import is_float
from ..builtin import builtin
from ..primitive import primitive
from .arithmetic import divide, subtract
from .shape import whole_number


@builtin(in_float32="halves")
@primitive
def floor(xp, x, /):
    """The largest whole number that is at most x."""
    return xp.floor(x) if is_float(x.dtype) else x


floor.defvjp()


@builtin(in_float32="halves")
@primitive
def ceil(xp, x, /):
    """The smallest whole number that is at least x."""
    return xp.ceil(x) if is_float(x.dtype) else x


ceil.defvjp()


@builtin(in_float32="halves")
@primitive
def trunc(xp, x, /):
    """The whole number next to x on the side of 0."""
    return xp.trunc(x) if is_float(x.dtype) else x


trunc.defvjp()


def round(x: Any, decimals: int = 0) -> Any:
    """The number with `decimals` decimals that is nearest to x; of two, the one with an even last digit.

    Negative `decimals` round to tens, hundreds, …
    """
    return _round(x, whole_number("round", "decimals", decimals))


@builtin(name="round", in_float32="halves")
@primitive
def _round(xp, x, /, decimals):
    return xp.around(x, decimals) if is_float(x.dtype) or decimals < 0 else x


_round.defvjp()


def frac(x: Any) -> Any:
    """x - trunc(x), what stands behind the point, with the sign of x (torch.frac)."""
    return subtract(x, trunc(x))


def div(a: Any, b: Any, *, rounding_mode: str | None = None) -> Any:
    """a / b, as it is or rounded, "trunc" or "floor" (torch.div).

    Raises:
        ValueError: the rounding mode is another one.
    """
    if rounding_mode not in (None, "trunc", "floor"):
        raise ValueError(f'div: rounding_mode={rounding_mode!r} is not known: type None, "trunc" or "floor"')
    if rounding_mode == "trunc":
        return _trunc_divide(a, b)
    return floor_divide(a, b) if rounding_mode else divide(a, b)


@builtin(name="trunc_divide", in_float32="halves")
@primitive
def _trunc_divide(xp, a, b, /):
    """a / b without what stands behind the point."""
    _no_whole_zero(a, b)
    down = xp.floor_divide(a, b)
    if is_float(down.dtype):
        return xp.trunc(a / b)
    return down + ((down < 0) & (down * b != a))


_trunc_divide.defvjp()


@builtin(in_float32="halves")
@primitive
def floor_divide(xp, a, b, /):
    """The largest whole number that is at most a / b: a // b."""
    _no_whole_zero(a, b)
    return xp.floor_divide(a, b)


floor_divide.defvjp()


@builtin(in_float32="halves")
@primitive
def remainder(xp, a, b, /):
    """a - floor(a / b) b, which has the sign of b: a % b, as in Python."""
    _no_whole_zero(a, b)
    return xp.remainder(a, b)


remainder.defvjp(a=lambda g: g, b=lambda g, a, b: -g * floor_divide(a, b))
remainder.in_symbols(a="g", b="-g · floor(a / b)")


@builtin(in_float32="halves")
@primitive
def fmod(xp, a, b, /):
    """a - trunc(a / b) b, which has the sign of a, as in C."""
    _no_whole_zero(a, b)
    return xp.fmod(a, b)


fmod.defvjp(a=lambda g: g, b=lambda g, a, b: -g * trunc(a / b))
fmod.in_symbols(a="g", b="-g · trunc(a / b)")


def _no_whole_zero(a, b):
    """Refuse to divide whole numbers by 0, for which they have no infinity."""
    floats = any(isinstance(x, float) or hasattr(x, "dtype") and is_float(x.dtype) for x in (a, b))
    if not floats and not (b.all() if hasattr(b, "all") else b):
        raise ValueError("division of whole numbers by 0: make them floating, for example .to('float32')")
