"""Activations: functions of one number, applied to every entry; relu, sigmoid, softplus and tanh are in ops/."""

from __future__ import annotations

import math
from typing import Any

from .. import backend, ops
from ..backend import is_float
from ..builtin import builtin
from ..ops.shape import axis_of, check_numbers
from ..primitive import definition, primitive
from ..spelling import torch_spelling
from ..tensor import as_array, shaped


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


@builtin(name="gelu", in_float32="halves and integers", autocast="first input")
@definition
def _gelu(x, bias, /, approximate):
    """gelu of x + bias, for arguments that were checked."""
    x = x if bias is None else x + bias
    if approximate == "tanh":
        return 0.5 * x * (1 + ops.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return x * _normal_cdf(x)


_gelu.in_symbols(x="g · (Φ(h) + h φ(h)), with h = x + bias", bias="that, summed over all but the last axis")


@builtin(name="normal_cdf", in_float32="halves and integers")
@primitive
def _normal_cdf(xp, x, /):
    """The normal distribution function Φ, without loss of digits where it is tiny."""
    return backend.of(x).normal_cdf(x)


_normal_cdf.defvjp(x=lambda g, x: g * _normal_pdf(x))
_normal_cdf.in_symbols(x="g · φ(x)")


@builtin(name="normal_pdf", in_float32="halves and integers")
@primitive
def _normal_pdf(xp, x, /):
    """The density of the normal distribution, exp(-x²/2) / √(2π); x² in float32 would lose digits."""
    return xp.exp(-0.5 * xp.square(x.astype("float64"))).astype(x.dtype) / math.sqrt(2 * math.pi)


_normal_pdf.defvjp(x=lambda g, x, y: g * -x * y)
_normal_pdf.in_symbols(x="-g · x · y")


@builtin(in_float32="halves and integers")
@definition
def silu(x, /):
    """x · sigmoid(x), also called swish."""
    return x * ops.sigmoid(x)


silu.in_symbols(x="g · s · (1 + x (1 - s)), with s = sigmoid(x)")


@builtin()
@definition
def relu6(x, /):
    """min(max(x, 0), 6); the gradient at 0 and at 6 is 0, as in torch (Howard et al. 2017)."""
    return ops.relu(ops.where(x >= 6, 6, x))


relu6.in_symbols(x="g where 0 < x < 6, else 0")


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """x where it is positive, negative_slope · x where it is not."""
    check_numbers("leaky_relu", negative_slope=negative_slope)
    return _leaky_relu(x, negative_slope)


@builtin(name="leaky_relu", in_float32="halves and integers")
@definition
def _leaky_relu(x, /, negative_slope):
    """leaky_relu with a slope that was checked."""
    return ops.where(x > 0, x, negative_slope * x)


_leaky_relu.in_symbols(x="g where x > 0, else g · negative_slope")


@builtin(in_float32="halves")
def prelu(x: Any, weight: Any) -> Any:
    """x where it is positive, weight · x where it is not, with a learned weight (He et al. 2015).

    `weight` is (1,), or (C,) with one number for each channel, on axis 1 of x.

    Raises:
        ValueError: the weight has another shape.
    """
    x, weight = shaped(x, "prelu"), shaped(weight, "prelu")
    channels = x.shape[1] if len(x.shape) > 1 else 1
    if tuple(weight.shape) not in ((), (1,), (channels,)):
        raise ValueError(
            f"prelu: a weight of shape (1,) or ({channels},), one for each channel, fits x {tuple(x.shape)}, but this "
            f"one has shape {tuple(weight.shape)}"
        )
    weight = ops.reshape(weight, (-1, *(1,) * (len(x.shape) - 2)) if len(x.shape) > 1 else ())
    return ops.where(x > 0, x, weight * x)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where it is positive, alpha · (eˣ - 1) where it is not (Clevert et al. 2016)."""
    check_numbers("elu", alpha=alpha)
    return _elu(x, alpha)


@builtin(name="elu", in_float32="halves and integers")
@definition
def _elu(x, /, alpha):
    """elu with an alpha that was checked."""
    return ops.where(x > 0, x, alpha * ops.expm1(ops.where(x > 0, 0, x)))


_elu.in_symbols(x="g where x > 0, else g · alpha · eˣ")


@builtin(in_float32="halves and integers")
def celu(x: Any, alpha: float = 1.0) -> Any:
    """x where it is positive, alpha · (exp(x / alpha) - 1) where it is not, whose slope at 0 is 1 (Barron 2017).

    Raises:
        ValueError: alpha is 0.
    """
    check_numbers("celu", alpha=alpha)
    if not alpha:
        raise ValueError("celu: alpha is 0, but x is divided by it: give another number")
    return ops.where(x > 0, x, alpha * ops.expm1(ops.where(x > 0, 0, x) / alpha))


@builtin(in_float32="halves and integers")
def selu(x: Any) -> Any:
    """scale · elu(x, alpha), with the two numbers that keep mean 0 and variance 1 (Klambauer et al. 2017, eq. 14)."""
    return 1.0507009873554804934193349852946 * elu(x, 1.6732632423543772848170429916717)


@builtin(in_float32="halves and integers")
def mish(x: Any) -> Any:
    """x · tanh(softplus(x)) (Misra 2019)."""
    return x * ops.tanh(ops.softplus(x, threshold=math.inf))


@builtin(in_float32="halves and integers")
def hardsigmoid(x: Any) -> Any:
    """min(max(x + 3, 0), 6) / 6, straight lines near sigmoid(x) (Howard et al. 2019)."""
    return (hardtanh(x, -3, 3) + 3) / 6


@builtin(in_float32="halves and integers")
def hardswish(x: Any) -> Any:
    """x · hardsigmoid(x) (Howard et al. 2019)."""
    return x * hardsigmoid(x)


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """x held between min_val and max_val; the gradient at both is 0, as in torch (`mg.clip` passes it on).

    Raises:
        ValueError: min_val is above max_val.
    """
    check_numbers("hardtanh", min_val=min_val, max_val=max_val)
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val={min_val} is above max_val={max_val}: give the smaller one first")
    x = shaped(x, "hardtanh")
    if not is_float(x.dtype) and min_val == int(min_val) and max_val == int(max_val):
        min_val, max_val = int(min_val), int(max_val)  # whole numbers stay whole
    return ops.where(x <= min_val, min_val, ops.where(x >= max_val, max_val, x))


@builtin(in_float32="halves and integers")
def softsign(x: Any) -> Any:
    """x / (1 + |x|)."""
    return x / (1 + ops.abs(x))


@builtin(in_float32="halves and integers")
def softshrink(x: Any, lambd: float = 0.5) -> Any:
    """x moved towards 0 by lambd, but not beyond it.

    Raises:
        ValueError: lambd is negative.
    """
    check_numbers("softshrink", lambd=lambd)
    if not lambd >= 0:
        raise ValueError(f"softshrink: lambd={lambd} is a distance: give 0 or more")
    return x - ops.clip(x, -lambd, lambd)


@builtin(in_float32="halves and integers")
def hardshrink(x: Any, lambd: float = 0.5) -> Any:
    """x where it is further than lambd from 0, else 0."""
    check_numbers("hardshrink", lambd=lambd)
    return ops.where(ops.abs(x) <= lambd, 0, x) if lambd >= 0 else x


@builtin(in_float32="halves and integers")
def tanhshrink(x: Any) -> Any:
    """x - tanh(x)."""
    return x - ops.tanh(x)


def threshold(x: Any, threshold: float, value: float) -> Any:
    """x where it is above the threshold, else `value`."""
    check_numbers("threshold", threshold=threshold, value=value)
    x = shaped(x, "threshold")
    return ops.where(x <= threshold, value, x)


@builtin(in_float32="halves and integers")
@torch_spelling
def glu(x: Any, axis: int = -1) -> Any:
    """a · sigmoid(b), with a and b the two halves of x along `axis` (Dauphin et al. 2017).

    Raises:
        ValueError: the axis has no two halves.
    """
    x = shaped(x, "glu")
    axis = axis_of("glu", x, axis)
    half, rest = divmod(x.shape[axis], 2)
    if rest:
        raise ValueError(f"glu: axis {axis} of shape {tuple(x.shape)} cannot be halved: its size must be even")
    a, b = (x[(slice(None),) * axis + (part,)] for part in (slice(half), slice(half, None)))
    return a * ops.sigmoid(b)


@builtin(in_float32="halves and integers", autocast="float32")
@torch_spelling
def softmin(x: Any, axis: int = -1) -> Any:
    """softmax(-x) along `axis`."""
    return ops.softmax(ops.negative(x), axis)
