"""Activations: functions of one number, applied to every entry; relu, sigmoid, softplus and tanh are in ops/."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from .. import backend, ops
from ..precision import floating
from ..primitive import definition, primitive
from ..tensor import as_array


def gelu(x: Any, approximate: str = "none", *, bias: Any = None) -> Any:
    """x Φ(x), with Φ the normal distribution function (Hendrycks & Gimpel 2016); "tanh" is their approximation to it.

    A `bias`, of the size of the last axis, is added to x first, which saves the GPU a pass over memory.

    Raises:
        ValueError: `approximate` is neither "none" nor "tanh", or the bias has another size.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f'gelu: approximate={approximate!r} is not known: type "none" (the erf form) or "tanh"')
    if bias is not None:
        x, bias = (a if hasattr(a, "shape") else as_array(a) for a in (x, bias))
        if not x.shape or tuple(bias.shape) != tuple(x.shape[-1:]):
            raise ValueError(
                f"gelu of {tuple(x.shape)} takes a bias of the size of the last axis, but was given {tuple(bias.shape)}"
            )
    return _gelu(x, bias, approximate)


@floating
@definition
def _gelu(x, bias, /, approximate):
    """gelu of x + bias, for arguments that were checked."""
    x = x if bias is None else x + bias
    if approximate == "tanh":
        return 0.5 * x * (1 + ops.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return x * _normal_cdf(x)


@floating
@primitive
def _normal_cdf(xp, x, /):
    """The normal distribution function Φ, without loss of digits where it is tiny."""
    return backend.of(x).normal_cdf(x)


_normal_cdf.defvjp(x=lambda g, x: g * _normal_pdf(x))


@floating
@primitive
def _normal_pdf(xp, x, /):
    """The density of the normal distribution, exp(-x²/2) / √(2π); x² in float32 would lose digits."""
    return xp.exp(-0.5 * xp.square(x.astype("float64"))).astype(x.dtype) / math.sqrt(2 * math.pi)


_normal_pdf.defvjp(x=lambda g, x, y: g * -x * y)


@floating
def silu(x: Any) -> Any:
    """x · sigmoid(x), also called swish."""
    return x * ops.sigmoid(x)


@definition
def relu6(x, /):
    """min(max(x, 0), 6); the gradient at 0 and at 6 is 0, as in torch (Howard et al. 2017)."""
    return ops.relu(ops.where(x >= 6, 6, x))


@floating
def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """x where it is positive, negative_slope · x where it is not."""
    if not isinstance(negative_slope, Real):
        raise TypeError(f"leaky_relu: negative_slope is a number, not {negative_slope!r}")
    return ops.where(x > 0, x, negative_slope * x)
