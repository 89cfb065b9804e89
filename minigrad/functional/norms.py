"""Normalisation: zero mean and unit variance over the features, over groups of channels, or over the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from .. import backend, ops
from ..backend import is_float, spacing
from ..builtin import builtin
from ..execution import no_grad
from ..ops.shape import check_flags, whole_number
from ..primitive import definition
from ..tensor import as_array, shape_of, shaped


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
    x = shaped(x, name)
    if tuple(x.shape[-len(shape) :]) != shape:
        raise ValueError(f"{name} over {shape} was given {tuple(x.shape)}: the last axes must be those")
    for p in parameters:
        if p is not None and tuple(shape_of(p, name)) != shape:
            raise ValueError(
                f"{name} over {shape} takes a weight and a bias of that shape, but one has {tuple(shape_of(p))}"
            )
    return x if is_float(x.dtype) else ops.astype(x, "float32"), len(shape)


@builtin(name="layer_norm", in_float32="halves and integers", autocast="float32")
@definition
def _layer_norm(x, weight, bias, /, eps):
    """layer_norm over the last axis."""
    centred = x - ops.mean(x, -1, True)
    variance = ops.mean(centred * centred, -1, True)
    y = centred / ops.sqrt(variance + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


_layer_norm.in_symbols(x="(h - mean h - x̂ · mean(h x̂)) / σ, with h = g · weight", weight="Σ g x̂", bias="Σ g")


def rms_norm(x: Any, normalized_shape: int | Sequence[int], weight: Any = None, eps: float | None = None) -> Any:
    """x / √(mean(x²) + eps) · weight over the last axis, or the last few (Zhang & Sennrich 2019, eq. 4).

    `normalized_shape` and the errors are those of `layer_norm`; eps None is the spacing of the dtype at 1, of float32
    at least.
    """
    _check_eps("rms_norm", 0 if eps is None else eps)
    x, axes = _normalized("rms_norm", x, normalized_shape, weight)
    if axes == 1:
        return _rms_norm(x, weight, eps)
    weight = weight if weight is None else ops.flatten(weight)
    return ops.reshape(_rms_norm(ops.flatten(x, -axes), weight, eps), x.shape)


@builtin(name="rms_norm", in_float32="halves and integers", autocast="float32")
@definition
def _rms_norm(x, weight, /, eps):
    """rms_norm over the last axis."""
    y = x / ops.sqrt(ops.mean(x * x, -1, True) + (spacing(x.dtype) if eps is None else eps))
    return y if weight is None else y * weight


_rms_norm.in_symbols(x="(h - x̂ · mean(h x̂)) / rms, with h = g · weight and x̂ = x / rms", weight="Σ g x̂")


@builtin(in_float32="halves", autocast="float32")
def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Zero mean and unit variance over each group of channels of each example (Wu & He 2018); x is (N, C, …).

    Raises:
        ValueError: the channels are not a multiple of the groups, or weight and bias, if they are given, are not (C,).
    """
    _check_eps("group_norm", eps)
    x = shaped(x, "group_norm")
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
    shape = tuple(shape_of(x, name))
    if len(shape) < 2:
        raise ValueError(f"{name} takes x (N, C, …), but x has shape {shape}: x[None] adds an axis of samples")
    for vector in vectors:
        if vector is not None and tuple(shape_of(vector, name)) != shape[1:2]:
            raise ValueError(
                f"{name}: x {shape} has {shape[1]} channels, on axis 1, but a weight, bias or statistic has shape "
                f"{tuple(shape_of(vector))}"
            )
    return shape[:2]


def _check_statistics(name, running_mean, running_var):
    """Refuse one running statistic without the other."""
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{name}: running_mean and running_var belong together: give both, or None for both")


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
    x = shaped(x, "batch_norm")
    _channels("batch_norm", x, running_mean, running_var, weight, bias)
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: outside training it needs running_mean and running_var")
        return batch_norm_remembered(x, running_mean, running_var, weight, bias, eps)
    _check_statistics("batch_norm", running_mean, running_var)
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
        _remember(running_mean, running_var, statistics[0], statistics[1], momentum, n)
    return y


@builtin(in_float32="halves")
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


@builtin(name="batch_norm", in_float32="halves and integers", autocast="float32")
@definition
def _batch_norm(x, weight, bias, /, statistics, eps):
    """batch_norm by the batch's mean and (biased) variance, which are also written to `statistics` (2, C)."""
    axes = (0, *range(2, len(x.shape)))
    mean = ops.mean(x, axes, True)
    centred = x - mean
    rest = ops.mean(centred, axes, True)  # of a large mean, what its rounding left
    centred = centred - rest
    variance = ops.mean(centred * centred, axes, True)
    statistics[0], statistics[1] = (as_array(moment).reshape(-1) for moment in (mean + rest, variance))
    return _per_channel(centred / ops.sqrt(variance + eps), weight, bias)


_batch_norm.in_symbols(
    x="(h - mean h - x̂ · mean(h x̂)) / σ, with h = g · weight, means over the batch", weight="Σ g x̂", bias="Σ g"
)


def sync_batch_norm(
    x: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, momentum: float, eps: float, counts: bool
) -> Any:
    """batch_norm in training by the statistics of all ranks: see nn.SyncBatchNorm, which checks the arguments."""
    from ..distributed import world

    x = shaped(x, "sync_batch_norm")
    own = math.prod(x.shape) // (x.shape[1] or 1) if counts else 0
    n = int(world().all_reduce(np.array([own]))[0])
    if n < 2:
        raise ValueError(
            f"sync_batch_norm: in training each channel needs more than one value, all ranks together have {n}: use a "
            "larger batch, or model.eval()"
        )
    x = x if is_float(x.dtype) else ops.astype(x, "float32")
    statistics = backend.of(as_array(x)).xp.empty((2, x.shape[1]), np.result_type(x.dtype, np.float32))
    y = _sync_batch_norm(x, weight, bias, statistics, counts / n, eps)
    if running_mean is not None:
        _remember(running_mean, running_var, statistics[0], statistics[1], momentum, n)
    return y


@builtin(in_float32="halves and integers", autocast="float32")
def _sync_batch_norm(x, weight, bias, statistics, share, eps):
    """_batch_norm where a mean is the sum over the ranks of each one's sum times `share`."""
    from ..distributed import all_reduce

    axes = (0, *range(2, len(x.shape)))
    mean = all_reduce(ops.sum(x, axes, True) * share)
    centred = x - mean
    rest = all_reduce(ops.sum(centred, axes, True) * share)
    centred = centred - rest
    variance = all_reduce(ops.sum(centred * centred, axes, True) * share)
    statistics[0], statistics[1] = (as_array(moment).reshape(-1) for moment in (mean + rest, variance))
    return _per_channel(centred / ops.sqrt(variance + eps), weight, bias)


def _remember(running_mean, running_var, mean, variance, momentum, n):
    """Move the running statistics towards those of a batch, whose variance is divided by n - 1, as in torch."""
    with no_grad():
        running_mean.copy_(running_mean * (1 - momentum) + mean * momentum)
        running_var.copy_(running_var * (1 - momentum) + variance * (momentum * n / (n - 1)))


@builtin(name="per_channel", in_float32="halves")
@definition
def _per_channel(x, weight, bias, /):
    """x · weight + bias, one of each for every channel (axis 1)."""
    shape = (1, -1, *[1] * (len(x.shape) - 2))
    x = x if weight is None else x * ops.reshape(weight, shape)
    return x if bias is None else x + ops.reshape(bias, shape)


_per_channel.in_symbols(x="g · weight", weight="Σ g x over all but the channels", bias="Σ g over all but the channels")


def instance_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Zero mean and unit variance for each channel of each example of x (N, C, …), then scale and shift.

    (Ulyanov et al. 2016.)  The running statistics, if they are given, are moved towards the mean over the examples of
    theirs, as by `batch_norm`; with `use_input_stats=False` they are used, and not moved.

    Raises:
        ValueError: a vector is not (C,), running statistics are missing, or a channel has a single value.
    """
    _check_eps("instance_norm", eps)
    check_flags("instance_norm", use_input_stats=use_input_stats)
    _channels("instance_norm", x, running_mean, running_var, weight, bias)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ValueError("instance_norm: use_input_stats=False needs running_mean and running_var")
        return batch_norm_remembered(x, running_mean, running_var, weight, bias, eps)
    _check_statistics("instance_norm", running_mean, running_var)
    n, axes = math.prod(x.shape[2:]), tuple(range(2, len(x.shape)))
    if n < 2:
        raise ValueError(f"instance_norm: each channel needs more than one value, x {tuple(x.shape)} has {n}")
    y = _instance_norm(x, weight, bias, eps)
    if running_mean is not None:
        with no_grad():
            wide = np.result_type(as_array(x).dtype, np.float32)
            x = ops.astype(x, wide)
            mean, variance = ops.mean(ops.mean(x, axes), 0), ops.mean(ops.var(x, axes), 0)
        _remember(running_mean, running_var, mean, variance, momentum, n)
    return y


@builtin(name="instance_norm", in_float32="halves and integers", autocast="float32")
@definition
def _instance_norm(x, weight, bias, /, eps):
    """instance_norm of checked arguments, by the statistics of x."""
    lines = ops.reshape(x, (*x.shape[:2], math.prod(x.shape[2:])))
    return _per_channel(ops.reshape(_layer_norm(lines, None, None, eps), x.shape), weight, bias)


@builtin(in_float32="halves and integers", autocast="float32")
def local_response_norm(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """x / (k + alpha · m)^beta, with m the mean of the squares of `size` channels around each (Krizhevsky et al. 2012).

    x is (N, C, …); channels beyond the first and the last count as 0.

    Raises:
        ValueError: x has fewer than three axes, or the size is less than 1.
    """
    x, size = shaped(x, "local_response_norm"), whole_number("local_response_norm", "size", size, 1)
    if len(x.shape) < 3:
        raise ValueError(f"local_response_norm takes x (N, C, L) or more axes, but x has shape {tuple(x.shape)}")
    C = x.shape[1]
    widths = tuple((size // 2, (size - 1) // 2) if axis == 1 else (0, 0) for axis in range(len(x.shape)))
    squares = ops.pad(x * x, widths)
    total = ops.sum(ops.stack([squares[:, i : i + C] for i in range(size)]), 0)
    return x / (k + alpha / size * total) ** beta
