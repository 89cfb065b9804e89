"""Weights in 8 and in 4 bits: rounding them to whole numbers with scales, and products with them.

A weight matrix (out, in) in "int8" is whole numbers from -127 to 127 and one scale for each row; in "int4" numbers from
-8 to 7, two to a byte, and one scale for each group of 64 along a row.  Products are summed up in float32.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from .. import backend, ops
from ..backend import Array
from ..backend.shared import quantized as form
from ..builtin import builtin
from ..errors import is_whole
from ..primitive import primitive
from ..tensor import Tensor, as_array, shape_of

KINDS = "int8", "int4"
MAX_PIECE = 1 << 22  # weights that are quantised at a time
SHRUNK = 1.0, 0.92, 0.84  # a group's scale, times the smallest at which no number of int4 is cut off


def check_kind(weights: str) -> str:
    """`weights`, once it is known to be "int8" or "int4"."""
    if weights not in KINDS:
        raise ValueError(f"weights are quantised to {' or '.join(map(repr, KINDS))}, not to {weights!r}")
    return weights


def quantize(weight: Any, weights: str = "int8") -> tuple[Array, Array]:
    """Round a matrix (out, in) to whole numbers: (numbers, scales), arrays for `quantized_linear`.

    Args:
        weight: the matrix, a Tensor or an array of floats.
        weights: "int8": int8 (out, in) and scales (out,), the largest of a row over 127; "int4": uint8
            (out, groups · 32) and scales (out, groups), for each group the one of a few with the least squared error.

    Raises:
        ValueError: `weight` is no matrix, has numbers that are not finite, or `weights` is another word.
    """
    array = as_array(weight)
    if array.ndim != 2 or not backend.is_float(array.dtype):
        raise ValueError(f"quantize: a matrix of floats is needed, not {array.dtype} of shape {tuple(array.shape)}")
    xp, of_rows = backend.of(array).xp, {"int8": _in_8_bits, "int4": _in_4_bits}[check_kind(weights)]
    step = max(1, MAX_PIECE // max(1, array.shape[1]))
    pieces = [array[i : i + step].astype(np.float32) for i in range(0, max(1, len(array)), step)]
    if not all(bool(xp.isfinite(piece).all()) for piece in pieces):
        raise ValueError("quantize: the weight has numbers that are not finite: train again, or load another file")
    found = backend.of(array).share(lambda piece: of_rows(xp, piece), pieces)
    return xp.concatenate([one for one, _ in found]), xp.concatenate([two for _, two in found])


def _in_8_bits(xp, weight):
    scale = xp.abs(weight).max(-1, initial=0) / np.float32(127)
    scale = xp.where(scale == 0, np.float32(1), scale)
    return xp.rint(weight / scale[:, None]).astype(np.int8), scale


def _in_4_bits(xp, weight):
    rows, features = weight.shape
    groups = -(-features // form.GROUP)
    weight = xp.pad(weight, ((0, 0), (0, groups * form.GROUP - features))).reshape(rows, groups, form.GROUP)
    top = xp.take_along_axis(weight, xp.abs(weight).argmax(-1)[..., None], -1) / np.float32(-8)  # the largest is -8
    top = xp.where(top == 0, np.float32(1), top)
    best_whole, best_scale, least = xp.zeros_like(weight), top, xp.full_like(top, np.inf)
    for shrunk in SHRUNK:
        whole = xp.clip(xp.rint(weight / (top * np.float32(shrunk))), -8, 7)
        square = (whole * whole).sum(-1, keepdims=True)
        scale = (weight * whole).sum(-1, keepdims=True) / xp.where(square == 0, 1, square)  # the best for `whole`
        error = xp.square(weight - whole * scale).sum(-1, keepdims=True)
        better = error < least
        best_whole, best_scale = xp.where(better, whole, best_whole), xp.where(better, scale, best_scale)
        least = xp.minimum(error, least)
    whole = (best_whole + 8).astype(np.uint8)
    half = form.GROUP // 2
    return (whole[..., :half] | whole[..., half:] << 4).reshape(rows, groups * half), best_scale[..., 0]


def dequantize(weight: Any, scale: Any, features: int | None = None) -> Any:
    """The weights (…, features) that numbers (…, n) and scales stand for, as `quantize` returns them.

    Args:
        features: how many there are in a row; needed for "int4", where groups are filled up.

    Raises:
        ValueError: numbers and scales do not belong together, or `features` is no whole number.
    """
    if features is not None and not is_whole(features, 0):
        raise ValueError(f"dequantize: features is {features!r:.80}; expected a whole number, 0 or more, or None")
    numbers = as_array(weight)
    features = _features("dequantize", numbers.dtype, numbers.shape, shape_of(scale, "dequantize"), features)
    return _dequantize(scale, backend.of(as_array(scale)).xp.asarray(numbers), features)


def quantized_linear(x: Any, weight: Any, scale: Any, bias: Any = None) -> Any:
    """y = x Wᵀ + b over the last axis of x, with W (out, in) in 8 or 4 bits: `dequantize(weight, scale, in)`.

    x, the scales and the bias have gradients; the whole numbers `weight` are constants.

    Raises:
        ValueError: x, numbers, scales and bias do not belong together.
    """
    op, numbers = "quantized_linear", as_array(weight)
    shape, size = shape_of(x, op), numbers.shape
    if not shape or len(size) != 2 or bias is not None and shape_of(bias, op) != size[:1]:
        raise ValueError(
            f"{op}: x is at least a vector, the numbers are a matrix and the bias is (out,), but these have the shapes "
            f"{shape}, {tuple(size)} and {None if bias is None else shape_of(bias, op)}"
        )
    _features(op, numbers.dtype, size, shape_of(scale, op), shape[-1])
    return _quantized_linear(x, scale, bias, backend.of(as_array(x)).xp.asarray(numbers))


@functools.lru_cache(maxsize=1024)
def _features(op: str, dtype: np.dtype, size: tuple, scales: tuple, features: int | None) -> int:
    """How many features a row of numbers of this dtype and these sizes stands for."""
    if dtype not in (np.int8, np.uint8) or not size:
        raise ValueError(
            f"{op}: quantised weights are rows of int8, or of uint8 for int4, not {dtype} of shape {tuple(size)}: type "
            "F.quantize(weight)"
        )
    *rows, n = size
    if dtype == np.int8:
        fits, found = scales == (*rows,), n
    else:
        groups, rest = divmod(n, form.GROUP // 2)
        found = groups * form.GROUP if features is None else features
        fits = scales == (*rows, groups) and not rest and 0 <= groups * form.GROUP - found < form.GROUP
    if not fits or features not in (None, found):
        raise ValueError(
            f"{op}: {dtype} of shape {tuple(size)} does not belong to scales of shape {scales} and {features} features"
        )
    return found


@builtin(name="dequantize", in_float32="halves and integers")
@primitive
def _dequantize(xp, scale, /, weight, features):
    """dequantize, once the shapes are known to fit."""
    return form.dequantized(xp, scale, weight, features)


_dequantize.defvjp(scale=lambda g, weight: _of_scale(g, weight))
_dequantize.in_symbols(scale="Σ g · number over each group")


@builtin(name="quantized_linear", in_float32="halves and integers")
@primitive
def _quantized_linear(xp, x, scale, bias, /, weight):
    """quantized_linear, with a bias or None."""
    y = x @ form.dequantized(xp, scale, weight, x.shape[-1]).T
    return y if bias is None else y + bias


def _of_weight(g, x):
    """gᵀ x over all leading axes."""
    g, x = (ops.reshape(a, (math.prod(a.shape[:-1]), a.shape[-1])) for a in (g, x))
    return ops.matmul(ops.transpose(g), x)


_quantized_linear.defvjp(
    x=lambda g, scale, weight, x_shape: ops.matmul(g, _dequantize(scale, weight, x_shape[-1])),
    scale=lambda g, x, weight: _of_scale(_of_weight(g, x), weight),
    bias=lambda g: g,
)
_quantized_linear.in_symbols(x="g W", scale="Σ (gᵀ x) · number over each group", bias="Σ g over all but the last axis")


@builtin(name="quantized_scale_grad", in_float32="halves and integers")
@primitive
def _of_scale(xp, g, /, weight):
    """The gradient of the scales, given that of the weights."""
    return form.of_scale(xp, g, weight)


_of_scale.defvjp(g=lambda g, weight, g_shape: _dequantize(g, weight, g_shape[-1]))
_of_scale.in_symbols(g="g · number")


@primitive
def straight_through(xp, x, value, /):
    """`value`, with the gradient of x: what rounding is taken for in training (Bengio, Léonard and Courville 2013)."""
    return value


straight_through.defvjp(x=lambda g: g)


def fake_quantize(x: Any, scale: Any = None) -> Any:
    """x rounded to one of 255 levels, scale · -127 … 127, in the dtype of x; the gradient passes as if it were x.

    Args:
        scale: a number, from which what lies beyond the last level has no gradient; None for the largest magnitude of
            each vector along the last axis, over 127.

    Raises:
        ValueError: the scale is not a number.
    """
    array = as_array(x)
    xp = backend.of(array).xp
    if scale is None:
        levels = xp.abs(array).max(-1, initial=0, keepdims=True).astype(np.float32) / np.float32(127)
        levels = xp.where(levels == 0, np.float32(1), levels)
    else:
        levels = xp.asarray(as_array(scale), dtype=np.float32)
        if levels.size != 1:
            raise ValueError(f"fake_quantize: scale is one number, or None, but this has the shape {levels.shape}")
        x = ops.where(xp.abs(array) <= 127 * levels, x, x.detach()) if isinstance(x, Tensor) else x
    value = (xp.clip(xp.rint(array / levels), -127, 127) * levels).astype(array.dtype)
    return straight_through(x, value) if isinstance(x, Tensor) else value
