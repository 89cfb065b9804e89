"""What is drawn in training: dropout of entries and of channels, and the slopes of rrelu."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend, ops
from ..backend import is_float
from ..builtin import builtin
from ..ops.shape import check_flags, check_numbers
from ..tensor import as_array, shaped
from .activations import leaky_relu

Rng = np.random.Generator | int | None
FLOOR = -1.7580993408473766  # of SELU, which approaches it far below 0


def dropout(x: Any, p: float = 0.5, training: bool = True, *, rng: Rng = None) -> Any:
    """In training, each entry is 0 with probability p and otherwise divided by 1 - p (Srivastava et al. 2014)."""
    check_flags("dropout", training=training)
    x = shaped(x, "dropout")
    keep = ops.keep_mask(x, x.shape, p, rng) if training else None
    return x if keep is None else ops.dropout(x, keep, p)


def dropout1d(x: Any, p: float = 0.5, training: bool = True, *, rng: Rng = None) -> Any:
    """In training, each channel of (N, C, L), or (C, L), is 0 with probability p and otherwise divided by 1 - p.

    Raises:
        ValueError: x has another number of axes, or p is not a probability below 1.
    """
    return _whole_channels("dropout1d", x, p, training, rng, {2: 1, 3: 2})


def dropout2d(x: Any, p: float = 0.5, training: bool = True, *, rng: Rng = None) -> Any:
    """In training, each channel of (N, C, H, W) is 0 with probability p and otherwise divided by 1 - p.

    Three axes are read as (N, C, L), as by torch.  (Tompson et al. 2015.)

    Raises:
        ValueError: x has another number of axes, or p is not a probability below 1.
    """
    return _whole_channels("dropout2d", x, p, training, rng, {3: 2, 4: 2})


def dropout3d(x: Any, p: float = 0.5, training: bool = True, *, rng: Rng = None) -> Any:
    """In training, each channel of (N, C, D, H, W), or (C, D, H, W), is 0 with probability p, else divided by 1 - p.

    Raises:
        ValueError: x has another number of axes, or p is not a probability below 1.
    """
    return _whole_channels("dropout3d", x, p, training, rng, {4: 1, 5: 2})


def _whole_channels(name, x, p, training, rng, leading):
    """Dropout with one draw for each of the leading axes; how many these are depends on the number of axes."""
    check_flags(name, training=training)
    x = shaped(x, name)
    if len(x.shape) not in leading:
        raise ValueError(f"{name}: x has shape {tuple(x.shape)}, but {' or '.join(map(str, leading))} axes are needed")
    lead = leading[len(x.shape)]
    keep = _of_slices(x, lead, p, rng) if training else None
    return x if keep is None else ops.dropout(x, keep, p)


def _of_slices(x, lead, p, rng):
    """A mask of x's shape that is drawn once for each of the leading axes."""
    keep = ops.keep_mask(x, x.shape[:lead], p, rng)
    if keep is None:
        return None
    xp = backend.of(keep).xp
    return xp.ascontiguousarray(xp.broadcast_to(keep.reshape(*keep.shape, *(1,) * (len(x.shape) - lead)), x.shape))


def alpha_dropout(x: Any, p: float = 0.5, training: bool = False, *, rng: Rng = None) -> Any:
    """In training, each entry is SELU's lowest value with probability p; then all are scaled and shifted.

    So a mean of 0 and a variance of 1 stay (Klambauer et al. 2017, app. on alpha dropout).

    Raises:
        ValueError: p is not a probability below 1.
    """
    check_flags("alpha_dropout", training=training)
    x = shaped(x, "alpha_dropout")
    keep = ops.keep_mask(x, x.shape, p, rng) if training else None
    return x if keep is None else alpha_dropped(x, keep, p)


def feature_alpha_dropout(x: Any, p: float = 0.5, training: bool = False, *, rng: Rng = None) -> Any:
    """`alpha_dropout` of whole channels of x (N, C, …)."""
    check_flags("feature_alpha_dropout", training=training)
    x = shaped(x, "feature_alpha_dropout")
    if len(x.shape) < 2:
        raise ValueError(f"feature_alpha_dropout takes x (N, C, …), but x has shape {tuple(x.shape)}")
    keep = _of_slices(x, 2, p, rng) if training else None
    return x if keep is None else alpha_dropped(x, keep, p)


@builtin(in_float32="halves and integers")
def alpha_dropped(x: Any, keep: Any, p: float) -> Any:
    """alpha_dropout, once the mask of what is kept is drawn."""
    scale = 1 / math.sqrt((1 - p) * (1 + p * FLOOR * FLOOR))
    return ops.where(keep, x, FLOOR) * scale - scale * FLOOR * p


def rrelu(x: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, *, rng: Rng = None) -> Any:
    """x where it is positive, a · x where it is not; in training a is drawn for each entry, from lower to upper.

    Outside training a is the mean of the two (Xu et al. 2015).

    Raises:
        TypeError: lower or upper is not a number.
        ValueError: lower is above upper, or one is not finite.
    """
    check_flags("rrelu", training=training)
    check_numbers("rrelu", lower=lower, upper=upper)
    if not math.isfinite(upper - lower):
        raise ValueError(f"rrelu: lower and upper are finite numbers, not {lower} and {upper}")
    x = shaped(x, "rrelu")
    if not lower <= upper:
        raise ValueError(f"rrelu: lower={lower} is above upper={upper}: give the smaller one first")
    if not training:
        return leaky_relu(x, (lower + upper) / 2)
    array = as_array(x)
    slopes = ops.generator(rng).uniform(lower, upper, array.shape)
    return with_slopes(x, backend.of(array).xp.asarray(slopes, dtype=array.dtype if is_float(array.dtype) else None))


@builtin(in_float32="halves and integers")
def with_slopes(x: Any, slopes: Any) -> Any:
    """rrelu, once the slopes are drawn."""
    return ops.where(x > 0, x, slopes * x)
