"""Powers, exponentials and logarithms besides those of elementwise.py, and mixtures of two numbers."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from ..builtin import builtin
from ..primitive import primitive
from ..tensor import shaped
from .arithmetic import abs, add, astype, divide, equal, multiply, subtract, where
from .elementwise import clip, log, log1p, power, sigmoid, sqrt


@builtin(in_float32="halves")
def square(x: Any) -> Any:
    """x²; of booleans in int64."""
    x = shaped(x, "square")
    x = astype(x, "int64") if x.dtype.kind == "b" else x
    return multiply(x, x)


@builtin(in_float32="halves and integers")
def reciprocal(x: Any) -> Any:
    """1 / x."""
    return divide(1, x)


@builtin(in_float32="halves and integers")
def rsqrt(x: Any) -> Any:
    """1 / √x."""
    return divide(1, sqrt(x))


def float_power(x: Any, exponent: Any) -> Any:
    """x ** exponent, computed in float64."""
    x, exponent = (a if isinstance(a, (int, float)) else astype(a, "float64") for a in (x, exponent))
    return power(float(x) if isinstance(x, int) else x, exponent)


@builtin(in_float32="halves and integers", autocast="float32")
@primitive
def exp2(xp, x, /):
    """2ˣ."""
    return xp.exp2(x)


exp2.defvjp(x=lambda g, y: g * (y * math.log(2)))
exp2.in_symbols(x="g · y · log(2)")


@builtin(in_float32="halves and integers", autocast="float32")
@primitive
def log2(xp, x, /):
    """The logarithm to the base 2."""
    return xp.log2(x)


log2.defvjp(x=lambda g, x: g / (x * math.log(2)))
log2.in_symbols(x="g / (x · log(2))")


@builtin(in_float32="halves and integers", autocast="float32")
@primitive
def log10(xp, x, /):
    """The logarithm to the base 10."""
    return xp.log10(x)


log10.defvjp(x=lambda g, x: g / (x * math.log(10)))
log10.in_symbols(x="g / (x · log(10))")


@builtin(in_float32="halves and integers", autocast="float32")
@primitive
def logaddexp(xp, a, b, /):
    """log(eᵃ + eᵇ), without overflow."""
    return xp.logaddexp(a, b)


logaddexp.defvjp(a=lambda g, a, b: g * _share(a, b), b=lambda g, a, b: g * _share(b, a))
logaddexp.in_symbols(a="g · sigmoid(a - b)", b="g · sigmoid(b - a)")


def _share(a, b):
    """eᵃ / (eᵃ + eᵇ), of which two equal infinities have half each."""
    both = equal(a, b) & equal(abs(a), math.inf)
    return sigmoid(where(both, 0, a) - where(both, 0, b))


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def logaddexp2(a: Any, b: Any) -> Any:
    """log₂(2ᵃ + 2ᵇ), without overflow."""
    return logaddexp(multiply(a, math.log(2)), multiply(b, math.log(2))) / math.log(2)


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def xlogy(x: Any, y: Any) -> Any:
    """x log(y), and 0 where x is 0, whatever y, unless it is not a number."""
    without = equal(x, 0) & ((y <= 0) | equal(y, math.inf))
    return multiply(x, log(where(without, 1, y)))


@builtin(in_float32="halves and integers", autocast="float32")
def logit(x: Any, eps: float | None = None) -> Any:
    """log(x / (1 - x)), the inverse of sigmoid; with `eps`, of x held between eps and 1 - eps."""
    if eps is not None and not (isinstance(eps, Real) and 0 <= eps <= 0.5):
        raise ValueError(f"logit: eps={eps!r} is not a number from 0 to 1/2")
    x = x if eps is None else clip(x, eps, 1 - eps)
    return log(x) - log1p(-x)


@builtin(in_float32="halves and integers", leading=2)
def ldexp(x: Any, exponent: Any) -> Any:
    """x 2ᵉ."""
    return multiply(x, exp2(exponent))


@builtin(in_float32="halves", leading=2)
def lerp(start: Any, end: Any, weight: Any) -> Any:
    """start + weight (end - start), the number that so much of the way leads to."""
    return add(start, multiply(weight, subtract(end, start)))


@builtin(in_float32="halves")
def addcmul(x: Any, a: Any, b: Any, *, value: float = 1) -> Any:
    """x + value a b (torch.addcmul)."""
    return add(x, multiply(value, multiply(a, b)))


@builtin(in_float32="halves")
def addcdiv(x: Any, a: Any, b: Any, *, value: float = 1) -> Any:
    """x + value a / b (torch.addcdiv)."""
    return add(x, multiply(value, divide(a, b)))


@builtin(in_float32="halves and integers")
@primitive
def copysign(xp, a, b, /):
    """|a| with the sign of b; no gradient flows to b, and none to an a of 0."""
    return xp.copysign(a, b)


copysign.defvjp(a=lambda g, a, y: g * where(a == 0, 0, y / where(a == 0, 1, a)))
copysign.in_symbols(a="g where the signs of a and b are equal, else -g")


@builtin(in_float32="halves")
def heaviside(x: Any, values: Any) -> Any:
    """0 where x is negative, 1 where it is positive, and `values` where it is 0."""
    x = shaped(x, "heaviside")
    return where(equal(x, 0), values, where(equal(x, x), astype(x > 0, x.dtype), x))
