"""Angles and hyperbolas.  Angles are in radians; the names are NumPy's (torch's asin is arcsin)."""

from __future__ import annotations

import math
from typing import Any

from ..builtin import builtin
from ..primitive import primitive
from .arithmetic import multiply, where
from .elementwise import sqrt


@builtin(in_float32="halves and integers")
@primitive
def tan(xp, x, /):
    """tan x, x in radians."""
    return xp.tan(x)


tan.defvjp(x=lambda g, y: g * (1 + y * y))
tan.in_symbols(x="g · (1 + y²)")


@builtin(in_float32="halves and integers")
@primitive
def arcsin(xp, x, /):
    """The angle from -π/2 to π/2 whose sine is x."""
    return xp.arcsin(x)


arcsin.defvjp(x=lambda g, x: g / sqrt((1 - x) * (1 + x)))
arcsin.in_symbols(x="g / √(1 - x²)")


@builtin(in_float32="halves and integers")
@primitive
def arccos(xp, x, /):
    """The angle from 0 to π whose cosine is x."""
    return xp.arccos(x)


arccos.defvjp(x=lambda g, x: -g / sqrt((1 - x) * (1 + x)))
arccos.in_symbols(x="-g / √(1 - x²)")


@builtin(in_float32="halves and integers")
@primitive
def arctan(xp, x, /):
    """The angle from -π/2 to π/2 whose tangent is x."""
    return xp.arctan(x)


arctan.defvjp(x=lambda g, x: g / (1 + x * x))
arctan.in_symbols(x="g / (1 + x²)")


@builtin(in_float32="halves and integers")
@primitive
def arctan2(xp, a, b, /):
    """The angle from -π to π of the point with height a and abscissa b."""
    return xp.arctan2(a, b)


arctan2.defvjp(a=lambda g, a, b: g * _over_square(b, a, b), b=lambda g, a, b: -g * _over_square(a, a, b))
arctan2.in_symbols(a="g · b / (a² + b²)", b="-g · a / (a² + b²)")


def _over_square(x, a, b):
    """x / (a² + b²), by way of the root, for the squares may be too large; 0 where both are, as in torch."""
    r = hypot(a, b)
    r = where(r == 0, 1, r)
    return x / r / r


@builtin(in_float32="halves and integers")
@primitive
def hypot(xp, a, b, /):
    """√(a² + b²), without overflow of the squares; the gradient at (0, 0) is 0."""
    return xp.hypot(a, b)


hypot.defvjp(a=lambda g, a, y: g * (a / where(y == 0, 1, y)), b=lambda g, b, y: g * (b / where(y == 0, 1, y)))
hypot.in_symbols(a="g · a / y", b="g · b / y")


@builtin(in_float32="halves and integers", autocast="float32")
@primitive
def sinh(xp, x, /):
    """(eˣ - e⁻ˣ) / 2."""
    return xp.sinh(x)


sinh.defvjp(x=lambda g, x: g * cosh(x))
sinh.in_symbols(x="g · cosh x")


@builtin(in_float32="halves and integers", autocast="float32")
@primitive
def cosh(xp, x, /):
    """(eˣ + e⁻ˣ) / 2."""
    return xp.cosh(x)


cosh.defvjp(x=lambda g, x: g * sinh(x))
cosh.in_symbols(x="g · sinh x")


@builtin(in_float32="halves and integers")
@primitive
def arcsinh(xp, x, /):
    """The number whose sinh is x."""
    return xp.arcsinh(x)


arcsinh.defvjp(x=lambda g, x: g / hypot(x, 1))
arcsinh.in_symbols(x="g / √(1 + x²)")


@builtin(in_float32="halves and integers")
@primitive
def arccosh(xp, x, /):
    """The number from 0 on whose cosh is x, for x >= 1."""
    return xp.arccosh(x)


arccosh.defvjp(x=lambda g, x: g / (sqrt(x - 1) * sqrt(x + 1)))
arccosh.in_symbols(x="g / √(x² - 1)")


@builtin(in_float32="halves and integers")
@primitive
def arctanh(xp, x, /):
    """The number whose tanh is x, for -1 <= x <= 1."""
    return xp.arctanh(x)


arctanh.defvjp(x=lambda g, x: g / ((1 - x) * (1 + x)))
arctanh.in_symbols(x="g / (1 - x²)")


@builtin(in_float32="halves and integers")
def deg2rad(x: Any) -> Any:
    """Degrees as radians: x π / 180."""
    return multiply(x, math.pi / 180)


@builtin(in_float32="halves and integers")
def rad2deg(x: Any) -> Any:
    """Radians as degrees: 180 x / π."""
    return multiply(x, 180 / math.pi)


@builtin(in_float32="halves and integers")
def sinc(x: Any) -> Any:
    """sin(πx) / (πx), which is 1 at 0."""
    return _sinc(x, 0)


@builtin(name="sinc", in_float32="halves and integers")
@primitive
def _sinc(xp, x, /, order):
    """The derivative of sinc of this order.

    With S(u) = sin(u) / u it is πⁿ S⁽ⁿ⁾(πx).  For large u, u S⁽ⁿ⁾(u) = sin⁽ⁿ⁾(u) - n S⁽ⁿ⁻¹⁾(u); near 0, where that
    loses digits, the power series.
    """
    u = math.pi * x.astype("float64")
    near = xp.abs(u) < order + 2
    small, large = xp.where(near, u, 0), xp.where(near, order + 2, u)
    total = xp.zeros_like(u)
    for power in range(50 + order % 2, -1, -2):  # Horner's rule in u², from the smallest term
        sign = -1.0 if (power + order) // 2 % 2 else 1.0
        total = total * (small * small) + sign / (math.factorial(power) * (power + order + 1))
    series = total if order % 2 == 0 else total * small
    slopes = [xp.sin(large), xp.cos(large), -xp.sin(large), -xp.cos(large)]
    far = slopes[0] / large
    for n in range(1, order + 1):
        far = (slopes[n % 4] - n * far) / large
    return (math.pi**order * xp.where(near, series, far)).astype(x.dtype)


_sinc.defvjp(x=lambda g, x, order: g * _sinc(x, order + 1))
_sinc.in_symbols(x="g · the next derivative")
