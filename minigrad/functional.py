"""The layers as functions of Tensors.  Gradients and devices are left to the ops they are made of.

Names, argument order and defaults are those of torch.nn.functional; the losses are imported from `minigrad.losses`.
A backend may have a fused kernel under a definition's name; the tests compare that kernel with the definition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from . import backend, ops
from .backend import is_float
from .losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    contrastive_loss,
    cosine_embedding_loss,
    cross_entropy,
    ctc_loss,
    huber_loss,
    info_nce,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from .mode import no_grad
from .ops import embedding, linear, log_softmax, logsigmoid, relu, sigmoid, softmax, softplus, tanh
from .ops.pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    max_pool1d,
    max_pool2d,
)
from .ops.shape import check_flags, whole_number
from .ops.window import conv1d, conv2d, conv_transpose1d, conv_transpose2d
from .precision import floating, in_float32
from .primitive import definition, primitive
from .tensor import as_array, shaped

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "contrastive_loss",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cosine_embedding_loss",
    "cross_entropy",
    "ctc_loss",
    "dropout",
    "embedding",
    "gelu",
    "group_norm",
    "huber_loss",
    "info_nce",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "max_pool1d",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "relu",
    "relu6",
    "rms_norm",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "tanh",
]


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


def layer_norm(
    x: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Give each vector zero mean and unit variance, then scale and shift it (Ba et al. 2016).

    y = (x - E[x]) / √(Var[x] + eps) · weight + bias; `normalized_shape` is the size of the last axis, or of the last
    few, which are then normalised together, and is the shape of weight and bias, if they are given.

    Raises:
        ValueError: x ends in other sizes, or weight or bias has another shape.
    """
    _check_eps("layer_norm", eps)
    x, axes = _normalized("layer_norm", x, normalized_shape, weight, bias)
    if axes == 1:
        return _layer_norm(x, weight, bias, eps)
    weight, bias = (p if p is None else ops.flatten(p) for p in (weight, bias))
    return ops.reshape(_layer_norm(ops.flatten(x, -axes), weight, bias, eps), x.shape)


def _check_eps(name, eps):
    """Refuse an eps that is not a number of at least 0: a negative one makes the root NaN."""
    if not isinstance(eps, Real) or not float(eps) >= 0:
        raise ValueError(f"{name}: eps is a number of at least 0, not {eps!r}")


def _normalized(name, x, normalized_shape, *parameters):
    """x in a floating dtype and the number of axes to normalise; refuses other sizes than `normalized_shape`."""
    shape = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    shape = tuple(whole_number(name, "normalized_shape", n, 0) for n in shape)
    x = x if hasattr(x, "shape") else as_array(x)
    if tuple(x.shape[-len(shape) :]) != shape:
        raise ValueError(f"{name} over {shape} was given {tuple(x.shape)}: the last axes must be those")
    for p in parameters:
        if p is not None and tuple(p.shape) != shape:
            raise ValueError(
                f"{name} over {shape} takes a weight and a bias of that shape, but one has {tuple(p.shape)}"
            )
    return x if is_float(x.dtype) else ops.astype(x, "float32"), len(shape)


@floating
@definition
def _layer_norm(x, weight, bias, /, eps):
    """layer_norm over the last axis."""
    centred = x - ops.mean(x, -1, True)
    variance = ops.mean(centred * centred, -1, True)
    y = centred / ops.sqrt(variance + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@in_float32
def rms_norm(x: Any, normalized_shape: int | Sequence[int], weight: Any = None, eps: float | None = None) -> Any:
    """x / √(mean(x²) + eps) · weight over the last axis, or the last few (Zhang & Sennrich 2019, eq. 4).

    `normalized_shape` and the errors are those of `layer_norm`; eps None is the dtype's smallest step.
    """
    _check_eps("rms_norm", 0 if eps is None else eps)
    x, axes = _normalized("rms_norm", x, normalized_shape, weight)
    square = ops.mean(x * x, tuple(range(-axes, 0)), True)
    y = x / ops.sqrt(square + (_smallest_step(x.dtype) if eps is None else eps))
    return y if weight is None else ops.multiply(y, weight)


def _smallest_step(dtype: np.dtype) -> float:
    """The distance from 1 to the next number; bfloat16, which NumPy does not know, has seven bits after the point."""
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else 2.0**-7


@in_float32
def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Zero mean and unit variance over each group of channels of each example (Wu & He 2018); x is (N, C, …).

    Raises:
        ValueError: the channels are not a multiple of the groups, or weight and bias, if they are given, are not (C,).
    """
    _check_eps("group_norm", eps)
    N, C = _channels("group_norm", x, weight, bias)
    num_groups = whole_number("group_norm", "num_groups", num_groups)
    if num_groups < 1 or C % num_groups:
        raise ValueError(
            f"group_norm: the {C} channels of {tuple(x.shape)} cannot be shared out over {num_groups} groups"
        )
    groups = (N, num_groups, math.prod(x.shape[1:]) // num_groups)  # -1 is ambiguous for an empty array
    y = ops.reshape(_layer_norm(ops.reshape(x, groups), None, None, eps), x.shape)
    return _per_channel(y, weight, bias)


def _channels(name, x, *vectors):
    """The sizes N and C of x (N, C, …); refuses a vector that does not have shape (C,)."""
    if len(x.shape) < 2:
        raise ValueError(f"{name} takes x (N, C, …), but x has shape {tuple(x.shape)}: x[None] adds an axis of samples")
    for vector in vectors:
        if vector is not None and tuple(vector.shape) != (x.shape[1],):
            raise ValueError(
                f"{name}: x {tuple(x.shape)} has {x.shape[1]} channels, on axis 1, but a weight, bias or "
                f"statistic has shape {tuple(vector.shape)}"
            )
    return x.shape[:2]


def batch_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Zero mean and unit variance for each channel of x (N, C, …), then scale and shift (Ioffe & Szegedy 2015, alg. 1).

    In training the statistics of the batch are used, and update the running ones in place:
    running ← (1 - momentum) · running + momentum · batch, where the batch variance is divided by n - 1, as in torch.
    Outside training the running statistics are used.

    Raises:
        ValueError: a vector is not (C,), running statistics are missing outside training, or a channel has a single
            value in training.
    """
    _check_eps("batch_norm", eps)
    check_flags("batch_norm", training=training)
    _channels("batch_norm", x, running_mean, running_var, weight, bias)
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: outside training it needs running_mean and running_var")
        return batch_norm_remembered(x, running_mean, running_var, weight, bias, eps)
    n = math.prod(x.shape) // (x.shape[1] or 1)
    if n < 2:
        raise ValueError(
            f"batch_norm: in training each channel needs more than one value, x {tuple(x.shape)} has {n}: "
            "use a larger batch, or model.eval()"
        )
    x = x if is_float(x.dtype) else ops.astype(x, "float32")
    statistics = backend.of(as_array(x)).xp.empty((2, x.shape[1]), np.result_type(x.dtype, np.float32))
    y = _batch_norm(x, weight, bias, statistics, eps)
    if running_mean is not None:
        if momentum is None:
            raise ValueError(
                "batch_norm: momentum is a number here; nn.BatchNorm2d(C, momentum=None) averages over "
                "all batches, for it counts them"
            )
        mean, variance = statistics
        with no_grad():
            running_mean.copy_(running_mean * (1 - momentum) + mean * momentum)
            running_var.copy_(running_var * (1 - momentum) + variance * (momentum * n / (n - 1)))
    return y


@in_float32
def batch_norm_remembered(x: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, eps: float) -> Any:
    """batch_norm outside training.  The mean is subtracted first, because a large mean would cost the shift digits."""
    scale, _ = batch_norm_scale_and_shift(running_mean, running_var, weight, None, eps)
    return _per_channel(_per_channel(x, None, -running_mean), scale, bias)


def batch_norm_scale_and_shift(
    running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> tuple[Any, Any]:
    """The vectors (scale, shift), each (C,), for which batch_norm outside training is x · scale + shift."""
    scale = 1 / ops.sqrt(running_var + eps)
    scale = scale if weight is None else scale * weight
    return scale, -running_mean * scale if bias is None else bias - running_mean * scale


@floating
@definition
def _batch_norm(x, weight, bias, /, statistics, eps):
    """batch_norm by the batch's mean and (biased) variance, which are also written to `statistics` (2, C)."""
    axes = (0, *range(2, len(x.shape)))
    mean = ops.mean(x, axes, True)
    centred = x - mean
    variance = ops.mean(centred * centred, axes, True)
    statistics[0], statistics[1] = (as_array(moment).reshape(-1) for moment in (mean, variance))
    return _per_channel(centred / ops.sqrt(variance + eps), weight, bias)


@in_float32
@definition
def _per_channel(x, weight, bias, /):
    """x · weight + bias, one of each for every channel (axis 1)."""
    shape = (1, -1, *[1] * (len(x.shape) - 2))
    x = x if weight is None else x * ops.reshape(weight, shape)
    return x if bias is None else x + ops.reshape(bias, shape)


def dropout(x: Any, p: float = 0.5, training: bool = True, *, rng: np.random.Generator | int | None = None) -> Any:
    """In training, each entry is 0 with probability p and otherwise divided by 1 - p (Srivastava et al. 2014)."""
    check_flags("dropout", training=training)
    keep = ops.keep_mask(x, x.shape, p, rng) if training else None
    return x if keep is None else ops.dropout(x, keep, p)


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    rng: np.random.Generator | int | None = None,
) -> Any:
    """softmax(query keyᵀ · scale + mask) value: for each query a mean of the values (Vaswani et al. 2017, eq. 1).

    Args:
        query: (…, T, d).   key: (…, S, d).   value: (…, S, e).   The leading axes are the same.
        attn_mask: broadcastable to (…, T, S); booleans, True where attention is allowed, or floats, added to the
            scores and differentiated if they require a gradient.  A query that may attend to nothing gets zeros.
        is_causal: position t may attend to positions 0 … t only.
        scale: 1/√d by default.
        dropout_p: dropout on the attention weights, drawn from `rng`.  (Pass 0 when not training.)
        enable_gqa: query has n times the heads (axis -3) of key and value; each key head serves n consecutive query
            heads.

    Returns:
        (…, T, e).

    Raises:
        ValueError: the shapes do not match; the message says which.
        TypeError: the mask has an integer dtype, in which 1 could mean allowed or forbidden.
    """
    query, key, value = (shaped(x, "attention") for x in (query, key, value))
    query, key, value = (x if is_float(x.dtype) else ops.astype(x, "float32") for x in (query, key, value))
    if min(len(x.shape) for x in (query, key, value)) < 2:
        raise ValueError(
            f"attention: query (…, T, d), key (…, S, d) and value (…, S, e) are needed, these have "
            f"{tuple(query.shape)}, {tuple(key.shape)} and {tuple(value.shape)}"
        )
    check_flags("scaled_dot_product_attention", is_causal=is_causal, enable_gqa=enable_gqa)
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"attention: query {tuple(query.shape)} and key {tuple(key.shape)} must agree in the last "
            f"axis, key and value {tuple(value.shape)} in the last but one"
        )
    if enable_gqa and query.shape[-3] != key.shape[-3]:
        n, rest = divmod(query.shape[-3], key.shape[-3])
        if rest:
            raise ValueError(
                f"attention: the {query.shape[-3]} heads of the query are not a multiple of the "
                f"{key.shape[-3]} of the key, which they are to share"
            )
        key, value = (
            ops.reshape(
                ops.broadcast_to(ops.expand_dims(x, -3), (*x.shape[:-2], n, *x.shape[-2:])),
                (*query.shape[:-2], *x.shape[-2:]),
            )
            for x in (key, value)
        )
    if not query.shape[:-2] == key.shape[:-2] == value.shape[:-2]:
        raise ValueError(
            f"attention: the leading axes of query {tuple(query.shape)}, key {tuple(key.shape)} and value "
            f"{tuple(value.shape)} must be the same (enable_gqa=True lets heads of the query share a key)"
        )
    scores = (*query.shape[:-1], key.shape[-2])
    if attn_mask is not None:
        attn_mask = shaped(attn_mask, "attention")
        if not getattr(attn_mask, "requires_grad", False):
            attn_mask = backend.of(as_array(query)).xp.asarray(as_array(attn_mask))
        if attn_mask.dtype.kind in "iu":
            raise TypeError(
                f"attention: a mask of dtype {attn_mask.dtype} is ambiguous: give booleans (True may be "
                "attended to), as in mask == 1, or floats to be added"
            )
        if attn_mask.dtype not in (bool, query.dtype):
            attn_mask = ops.astype(attn_mask, query.dtype)
        mismatch = any(m not in (1, n) for m, n in zip(attn_mask.shape[::-1], scores[::-1]))
        if mismatch or len(attn_mask.shape) > len(scores):
            raise ValueError(
                f"attention: a mask of shape {tuple(attn_mask.shape)} does not broadcast to the scores' {scores}"
            )
    keep = ops.keep_mask(query, (*query.shape[:-2], *scores[:-3:-1]), dropout_p, rng)
    keep = keep if keep is None else keep.swapaxes(-1, -2)  # drawn as (keys, queries), the layout of the CPU's kernel
    scale = 1 / math.sqrt(query.shape[-1] or 1) if scale is None else scale
    return _scaled_dot_product_attention(query, key, value, attn_mask, keep, dropout_p, scale, is_causal)


@in_float32
@definition
def _scaled_dot_product_attention(q, k, v, mask, /, keep, p, scale, is_causal):
    """Scaled dot-product attention for checked arguments; `keep` is the dropout mask, already drawn."""
    scores = ops.matmul(q, ops.swapaxes(k, -1, -2)) * scale  # (…, T, S)
    if mask is not None:
        scores = ops.where(mask, scores, -math.inf) if mask.dtype == bool else scores + mask
    if is_causal:
        scores = ops.where(backend.of(as_array(q)).xp.tri(*scores.shape[-2:], dtype=bool), scores, -math.inf)
    if mask is not None:  # a row where nothing is allowed becomes uniform, then 0
        possible = ops.any(scores > -math.inf, -1, True)
        scores = ops.where(possible, scores, 0)
    weights = ops.softmax(scores)
    if mask is not None:
        weights = ops.where(possible, weights, 0)
    if keep is not None:
        weights = ops.dropout(weights, keep, p)
    return ops.matmul(weights, v)
