"""Functions entry by entry: exp, log, powers and what squashes.  Each keeps its input or output, whichever its gradient needs."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..primitive import is_float, primitive
from .arithmetic import astype, where
from .create import full_like


@primitive
def exp(xp, x, /):
    """eˣ."""
    return xp.exp(x)
exp.defvjp(x=lambda g, y: g * y)


@primitive
def log(xp, x, /):
    """The natural logarithm."""
    return xp.log(x)
log.defvjp(x=lambda g, x: g / x)


@primitive
def log1p(xp, x, /):
    """log(1 + x), exact for small x."""
    return xp.log1p(x)
log1p.defvjp(x=lambda g, x: g / (1 + x))


@primitive
def expm1(xp, x, /):
    """eˣ - 1, exact for small x."""
    return xp.expm1(x)
expm1.defvjp(x=lambda g, y: g * (y + 1))


@primitive
def sqrt(xp, x, /):
    """√x."""
    return xp.sqrt(x)
sqrt.defvjp(x=lambda g, y: g / (2 * y))


@primitive
def sin(xp, x, /):
    """sin x, x in radians."""
    return xp.sin(x)
sin.defvjp(x=lambda g, x: g * cos(x))


@primitive
def cos(xp, x, /):
    """cos x, x in radians."""
    return xp.cos(x)
cos.defvjp(x=lambda g, x: -g * sin(x))


@primitive
def tanh(xp, x, /):
    """The hyperbolic tangent."""
    return xp.tanh(x)
tanh.defvjp(x=lambda g, y: g * (1 - y * y))


@primitive
def sigmoid(xp, x, /):
    """1 / (1 + e⁻ˣ), written with tanh so that no x overflows."""
    return 0.5 * xp.tanh(0.5 * x) + 0.5
sigmoid.defvjp(x=lambda g, y: g * y * (1 - y))


@primitive
def erf(xp, x, /):
    """The error function, 2/√π ∫₀ˣ exp(-t²) dt."""
    return backend.of(x).erf(x if is_float(x.dtype) else x.astype("float32"))
erf.defvjp(x=lambda g, x: g * (2 / math.sqrt(math.pi)) * exp(-x * x))


@primitive
def relu(xp, x, /):
    """max(x, 0); the gradient at 0 is 0, as in torch."""
    return xp.maximum(x, 0)
relu.defvjp(x=lambda g, y: g * (y > 0))


@primitive
def clip(xp, x, /, low, high):
    """x held between low and high (either may be None); no gradient where it was held."""
    return xp.clip(x, low, high)
clip.defvjp(x=lambda g, x, y: where(x == y, g, 0))


@primitive
def softplus(xp, x, /, beta=1.0, threshold=20.0):
    """log(1 + exp(beta x)) / beta; x itself where beta x is above the threshold, as in torch."""
    return xp.where(beta * x > threshold, x, xp.logaddexp(beta * x, 0) / beta)
softplus.defvjp(x=lambda g, x, beta, threshold: where(beta * x > threshold, g, g * sigmoid(beta * x)))


def power(x: Any, exponent: Any) -> Any:
    """x ** exponent, either of them a Tensor.  Where x <= 0 the exponent's gradient, which has log(x) in it, is 0."""
    if isinstance(exponent, (int, float, np.generic)):
        return power_of(x, exponent if isinstance(exponent, (int, float)) else exponent.item())
    if isinstance(x, (float, np.floating)) and not is_float(exponent.dtype):
        exponent = astype(exponent, "float32")
    return power_by(full_like(exponent, x) if isinstance(x, (int, float, np.generic)) else x, exponent)


@primitive
def power_of(xp, x, /, exponent):
    """x ** exponent for an exponent that is a plain number."""
    return x ** exponent
power_of.defvjp(x=lambda g, x, exponent: g * (exponent * x ** (exponent - 1)) if exponent else g * 0)


@primitive
def power_by(xp, x, exponent, /):
    """x ** exponent for an exponent that is a Tensor."""
    return x ** exponent
power_by.defvjp(x=lambda g, x, exponent: g * exponent * x ** where(exponent == 0, 1, exponent - 1),
                exponent=lambda g, x, y: g * y * log(where(x > 0, x, 1)))
