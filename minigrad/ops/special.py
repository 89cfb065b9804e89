"""Special functions of probability theory: the error function's relatives and the logarithm of the gamma function.

All are computed in float64, and rounded to the dtype of x.
"""

from __future__ import annotations

import math
from typing import Any

from .. import backend
from ..builtin import builtin
from ..primitive import primitive
from .arithmetic import add
from .elementwise import exp
from .shape import whole_number


@builtin(in_float32="halves and integers")
@primitive
def erfc(xp, x, /):
    """1 - erf(x), without loss of digits where it is tiny."""
    return (2 * backend.of(x).normal_cdf(-math.sqrt(2) * x.astype("float64"))).astype(x.dtype)


erfc.defvjp(x=lambda g, x: g * (-2 / math.sqrt(math.pi)) * exp(-x * x))
erfc.in_symbols(x="-g · 2/√π · exp(-x²)")


@builtin(in_float32="halves and integers")
@primitive
def erfinv(xp, x, /):
    """The number whose erf is x, for -1 <= x <= 1, which give ±∞.

    Winitzki's formula (2008), which has two digits, and three steps of Halley's method, each of which triples them: on
    erf for small |x|, and on erfc where |x| is nearly 1.
    """
    size = xp.abs(x).astype("float64")
    inside = xp.where(size < 1, size, 0)
    tail = 1 - inside  # = erfc(y), exactly where it is small
    half = math.pi * 0.147
    s = xp.log(tail * (1 + inside))
    b = 2 / half + s / 2
    y = xp.sqrt(xp.sqrt(b * b - s / 0.147) - b)
    home = backend.of(y)
    for _ in range(3):
        missing = xp.where(size < 0.5, inside - home.erf(y), 2 * home.normal_cdf(-math.sqrt(2) * y) - tail)
        step = missing * xp.exp(y * y) * (math.sqrt(math.pi) / 2)
        y = y + step / (1 - y * step)
    y = xp.where(size == 1, math.inf, xp.where(size < 1, y, math.nan))
    return xp.copysign(y, x).astype(x.dtype)


erfinv.defvjp(x=lambda g, y: g * (math.sqrt(math.pi) / 2) * exp(y * y))
erfinv.in_symbols(x="g · √π/2 · exp(y²)")


BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)  # B₂, B₄, …, B₁₆


@builtin(in_float32="halves and integers", autocast="float32")
@primitive
def lgamma(xp, x, /):
    """log |Γ(x)|, where Γ(n + 1) = n!; infinite at 0, -1, -2, ….

    Stirling's series at x + 10, less log(x (x + 1) … (x + 9)); of a negative x by Γ(x) Γ(1 - x) = π / sin(πx).
    """
    t = x.astype("float64")
    z = xp.where(t < 0.5, 1 - t, t)
    small = z < 1e15  # beyond, 10 more or less is nothing
    up = xp.where(small, z + 10, z)
    total = xp.where(xp.isinf(up), math.inf, (up - 0.5) * xp.log(up) - up + 0.5 * math.log(2 * math.pi))
    for k, b in enumerate(BERNOULLI, 1):
        total = total + b / (2 * k * (2 * k - 1)) * (1 / up) ** (2 * k - 1)
    product = xp.ones_like(z)
    for k in range(10):
        product = product * xp.where(small, z + k, 1)
    total = total - xp.log(product)
    sine = xp.where(t < 0.5, xp.abs(xp.sin(math.pi * (t - xp.around(t)))), 1)
    return xp.where(t < 0.5, math.log(math.pi) - xp.log(sine) - total, total).astype(x.dtype)


lgamma.defvjp(x=lambda g, x: g * polygamma(0, x))
lgamma.in_symbols(x="g · digamma(x)")


def digamma(x: Any) -> Any:
    """The derivative of `lgamma`."""
    return polygamma(0, x)


def polygamma(n: int, x: Any) -> Any:
    """The derivative number n + 1 of `lgamma`: digamma for n = 0, trigamma for n = 1, ….

    Raises:
        ValueError: n is negative.
    """
    return _polygamma(x, whole_number("polygamma", "n", n, 0))


@builtin(name="polygamma", in_float32="halves and integers", autocast="float32")
@primitive
def _polygamma(xp, x, /, n):
    """ψ⁽ⁿ⁾(x): the asymptotic series at x + m after the first m terms of (-1)ⁿ⁺¹ n! Σ 1 / (x + k)ⁿ⁺¹.

    Of a negative x it is ψ⁽ⁿ⁾(1 - x) = (-1)ⁿ (ψ⁽ⁿ⁾(x) + π dⁿ/dxⁿ cot(πx)).
    """
    t = x.astype("float64")
    z = xp.where(t < 0, 1 - t, t)
    sign, count = (-1.0) ** (n + 1), 10 + n
    total = xp.zeros_like(z)
    for k in range(count):
        total = total + sign * math.factorial(n) * (1 / (z + k)) ** (n + 1)
    up = z + count
    total = total + (xp.log(up) if n == 0 else sign * math.factorial(n - 1) * (1 / up) ** n)
    total = total + sign * math.factorial(n) / 2 * (1 / up) ** (n + 1)
    for k, b in enumerate(BERNOULLI, 1):
        total = total + sign * b * math.factorial(2 * k + n - 1) / math.factorial(2 * k) * (1 / up) ** (2 * k + n)
    cotangent = 1 / xp.tan(math.pi * xp.where((t < 0) & (t != xp.floor(t)), t - xp.around(t), 0.25))
    slope = sum(c * cotangent**i for i, c in enumerate(_slopes_of_cotangent(n))) * math.pi ** (n + 1)
    below = (-1) ** n * total - slope
    total = xp.where(t < 0, xp.where(t == xp.floor(t), math.nan, below), total)
    return total.astype(x.dtype)


_polygamma.defvjp(x=lambda g, x, n: g * _polygamma(x, n + 1))
_polygamma.in_symbols(x="g · polygamma(n + 1, x)")


def _slopes_of_cotangent(n):
    """The coefficients of the polynomial in cot x that dⁿ/dxⁿ cot x is: each derivative is -(1 + cot²) that by cot."""
    p = [0, 1]
    for _ in range(n):
        slope = [i * c for i, c in enumerate(p)][1:]
        p = [-(a + b) for a, b in zip([*slope, 0, 0], [0, 0, *slope])]
    return p


@builtin(in_float32="halves and integers", autocast="float32")
def mvlgamma(x: Any, p: int) -> Any:
    """The logarithm of the multivariate gamma function of dimension p (torch.mvlgamma), for x > (p - 1) / 2.

    It is p (p - 1) / 4 log π + Σ lgamma(x - j / 2) for j = 0 … p - 1.
    """
    p = whole_number("mvlgamma", "p", p, 1)
    total = lgamma(x)
    for j in range(1, p):
        total = add(total, lgamma(x - j / 2))
    return total + p * (p - 1) / 4 * math.log(math.pi)
