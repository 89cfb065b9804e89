"""Functions entry by entry: exp, log, powers and what squashes.

Each keeps its input or output, whichever its gradient needs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..backend import is_float
from ..builtin import builtin
from ..primitive import primitive
from ..spelling import given_twice
from ..tensor import shaped
from .arithmetic import astype, greater, less, negative, where
from .create import full_like


@builtin(in_float32="halves and integers", autocast="float32")
@primitive
def exp(xp, x, /):
    """eˣ."""
    return xp.exp(x)


exp.defvjp(x=lambda g, y: g * y)
exp.in_symbols(x="g · y")


@builtin(in_float32="halves and integers", autocast="float32")
@primitive
def log(xp, x, /):
    """The natural logarithm."""
    return xp.log(x)


log.defvjp(x=lambda g, x: g / x)
log.in_symbols(x="g / x")


@builtin(in_float32="halves and integers", autocast="float32")
@primitive
def log1p(xp, x, /):
    """log(1 + x), exact for small x."""
    return xp.log1p(x)


log1p.defvjp(x=lambda g, x: g / (1 + x))
log1p.in_symbols(x="g / (1 + x)")


@builtin(in_float32="halves and integers", autocast="float32")
@primitive
def expm1(xp, x, /):
    """eˣ - 1, exact for small x."""
    return xp.expm1(x)


expm1.defvjp(x=lambda g, x: g * exp(x))
expm1.in_symbols(x="g · exp(x)")


@builtin(in_float32="halves and integers")
@primitive
def sqrt(xp, x, /):
    """√x."""
    return xp.sqrt(x)


sqrt.defvjp(x=lambda g, y: g / (2 * y))
sqrt.in_symbols(x="g / 2y")


@builtin(in_float32="halves and integers")
@primitive
def sin(xp, x, /):
    """sin x, x in radians."""
    return xp.sin(x)


sin.defvjp(x=lambda g, x: g * cos(x))
sin.in_symbols(x="g · cos x")


@builtin(in_float32="halves and integers")
@primitive
def cos(xp, x, /):
    """cos x, x in radians."""
    return xp.cos(x)


cos.defvjp(x=lambda g, x: -g * sin(x))
cos.in_symbols(x="-g · sin x")


@builtin(in_float32="halves and integers")
@primitive
def tanh(xp, x, /):
    """The hyperbolic tangent."""
    return xp.tanh(x)


tanh.defvjp(x=lambda g, y: g * (1 - y * y))
tanh.in_symbols(x="g · (1 - y²)")


@builtin(in_float32="halves and integers")
@primitive
def sigmoid(xp, x, /):
    """1 / (1 + e⁻ˣ), computed as exp(min(x, 0)) / (1 + exp(-|x|)): nothing overflows, and small values are not lost."""
    y, e = xp.exp(xp.minimum(x, 0)), xp.exp(-xp.abs(x))
    e += 1
    return y / e


sigmoid.defvjp(x=lambda g, x: g * sigmoid(x) * sigmoid(-x))
sigmoid.in_symbols(x="g · sigmoid(x) · sigmoid(-x)")


@builtin(in_float32="halves and integers")
@primitive
def erf(xp, x, /):
    """The error function, 2/√π ∫₀ˣ exp(-t²) dt."""
    return backend.of(x).erf(x if is_float(x.dtype) else x.astype("float32"))


erf.defvjp(x=lambda g, x: g * (2 / math.sqrt(math.pi)) * exp(-x * x))
erf.in_symbols(x="g · 2/√π · exp(-x²)")


@builtin()
@primitive
def relu(xp, x, /):
    """max(x, 0); the gradient at 0 is 0, as in torch."""
    return xp.maximum(x, 0)


relu.defvjp(x=lambda g, y: g * (y > 0))
relu.in_symbols(x="g where y > 0, else 0")


def clip(x: Any, low: Any = None, high: Any = None, *, min: Any = None, max: Any = None) -> Any:
    """x limited to [low, high]: numbers, arrays or Tensors, or None for no bound; low > high gives high, as in NumPy.

    Where x was limited the gradient goes to the bound.  `min` and `max` are torch's and NumPy's names of the bounds.

    Raises:
        TypeError: a bound was given by both of its names.
    """
    if min is not None or max is not None:
        for ours, theirs, one, two in (("low", "min", low, min), ("high", "max", high, max)):
            if one is not None and two is not None:
                raise given_twice("clip", ours, one, theirs, two)
        low, high = (low if min is None else min), (high if max is None else max)
    if all(bound is None or isinstance(bound, (int, float, np.number)) for bound in (low, high)):
        return _clip(x, *(bound.item() if isinstance(bound, np.number) else bound for bound in (low, high)))
    low, high = (bound if bound is None else shaped(bound, "clip") for bound in (low, high))
    x = x if low is None else where(less(x, low), low, x)
    return x if high is None else where(greater(x, high), high, x)


@builtin(name="clip", in_float32="halves")
@primitive
def _clip(xp, x, /, low, high):
    """clip between numbers."""
    return xp.clip(x, low, high)


_clip.defvjp(x=lambda g, x, y: where(x == y, g, 0))
_clip.in_symbols(x="g where x was not held, else 0")


@builtin(in_float32="halves and integers", autocast="float32")
@primitive
def softplus(xp, x, /, beta=1.0, threshold=20.0):
    """log(1 + exp(beta x)) / beta; x itself where beta x is above the threshold, as in torch."""
    return xp.where(beta * x > threshold, x, xp.logaddexp(beta * x, 0) / beta)


softplus.defvjp(x=lambda g, x, beta, threshold: where(beta * x > threshold, g, g * sigmoid(beta * x)))
softplus.in_symbols(x="g · sigmoid(βx)")


@builtin(in_float32="halves and integers", autocast="float32")
def logsigmoid(x: Any) -> Any:
    """log(sigmoid(x)) = -softplus(-x): nearly x far below 0, nearly -e⁻ˣ far above, and rounded to neither."""
    return negative(softplus(negative(x), threshold=math.inf))


def power(x: Any, exponent: Any) -> Any:
    """x ** exponent, either of them a Tensor.

    The exponent's gradient has log(x) in it: where x is negative it is NaN, and where x is 0 it is 0 for an exponent of
    at least 0, as in torch.
    """
    if isinstance(exponent, (int, float, np.generic)):
        return power_of(x, exponent if isinstance(exponent, (int, float)) else exponent.item())
    if isinstance(x, (float, np.floating)) and not is_float(exponent.dtype):
        exponent = astype(exponent, "float32")
    elif isinstance(x, (int, np.integer)) and not isinstance(x, bool) and exponent.dtype.kind == "b":
        exponent = astype(exponent, "int64")  # as in NumPy: no bool holds x
    return power_by(full_like(exponent, x) if isinstance(x, (int, float, np.generic)) else x, exponent)


@builtin(in_float32="halves", autocast="float32")
@primitive
def power_of(xp, x, /, exponent):
    """x ** exponent for an exponent that is a plain number."""
    if x.dtype.kind == "i" and isinstance(exponent, int) and exponent < 0:  # CuPy has 0 for it
        raise ValueError('whole numbers have no negative powers: type x.astype("float32") first')
    return x**exponent


power_of.defvjp(x=lambda g, x, exponent: g * (exponent * x ** (exponent - 1)) if exponent else full_like(g, 0))
power_of.in_symbols(x="g · n xⁿ⁻¹")


@builtin(in_float32="halves", autocast="float32")
@primitive
def power_by(xp, x, exponent, /):
    """x ** exponent for an exponent that is a Tensor."""
    return x**exponent


power_by.defvjp(
    x=lambda g, x, exponent: g * exponent * x ** (exponent - 1 + ((x == 0) & (exponent == 0))),
    exponent=lambda g, x, exponent, y: g * (y * log(where((x == 0) & (exponent >= 0), 1, x))),
)
power_by.in_symbols(x="g · n xⁿ⁻¹", exponent="g · y log x, and 0 where x is 0 and n is not negative")
