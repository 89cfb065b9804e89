"""Padding of signals, images and volumes: with a number, or with the input itself, mirrored, repeated or wrapped round.

`mg.pad` takes NumPy's widths, one pair for each axis; this is torch's, which counts from the last axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from .. import ops
from ..backend import is_float
from ..ops.shape import whole_number
from ..tensor import shaped

MODES = ("constant", "reflect", "replicate", "circular")


def pad(x: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """x with more entries before and after its last axes; negative numbers take entries away.

    Args:
        pad: (before, after) of the last axis, then of the last but one, …: (left, right, top, bottom) for images.
        mode: "constant" puts `value` (0) there, "reflect" the input mirrored at its edge, whose entry is not repeated,
            "replicate" the entry at the edge, "circular" the other end of the input.

    Raises:
        ValueError: more pairs than axes, a mode that is not known, a value for another mode than "constant", or more
            than the input has to give: "reflect" takes less than the axis is long, "circular" no more than that.
    """
    x = shaped(x, "pad")
    pairs = _pairs(x, pad)
    if mode not in MODES:
        raise ValueError(f"pad: mode={mode!r} is not known: type one of {', '.join(map(repr, MODES))}")
    if mode != "constant" and value:
        raise ValueError(f'pad: value={value!r} is for mode="constant", but the mode is {mode!r}')
    if mode == "constant":
        return _constant(x, pairs, 0 if value is None else value)
    for axis, (before, after) in pairs.items():
        x = ops.take(x, _places(x.shape, axis, before, after, mode), axis) if before or after else x
    return x


def _pairs(x, pad):
    """(before, after) by axis, known to leave something of each."""
    numbers = [whole_number("pad", "pad", n) for n in pad] if isinstance(pad, (tuple, list)) else None
    if numbers is None or len(numbers) % 2 or len(numbers) > 2 * len(x.shape):
        raise ValueError(
            f"pad: {pad!r} is to be pairs (before, after), the last axis's first, for at most the {len(x.shape)} axes "
            f"of x {tuple(x.shape)}"
        )
    pairs = {len(x.shape) - 1 - i // 2: (numbers[i], numbers[i + 1]) for i in range(0, len(numbers), 2)}
    for axis, (before, after) in pairs.items():
        if x.shape[axis] + before + after < 0 or max(-before, -after) > x.shape[axis]:
            raise ValueError(f"pad: ({before}, {after}) takes more away than axis {axis} of x {tuple(x.shape)} has")
    return pairs


def _places(shape, axis, before, after, mode):
    """Which entry of the axis stands at each place of the padded one."""
    n, most, first = shape[axis], max(before, after), max(0, -before)
    left = n - first - max(0, -after)  # after what is taken away
    limit = {"reflect": n - 1, "replicate": most if n else 0, "circular": left}[mode]
    if most > limit:
        raise ValueError(
            f"pad: {most} is too much for axis {axis} of x {tuple(shape)} in mode {mode!r}: give at most {limit}"
        )
    places = np.arange(-before, n + after)
    if mode == "reflect":
        return n - 1 - np.abs(n - 1 - np.abs(places))
    return places.clip(0, n - 1) if mode == "replicate" else first + (places - first) % max(left, 1)


def _constant(x, pairs, value: Any):
    """The number around x, or x with entries cut off."""
    if not isinstance(value, Real) or (not is_float(x.dtype) and value != math.floor(value)):
        raise TypeError(f"pad: value={value!r} is to be a number that {x.dtype} can hold")
    if any(before < 0 or after < 0 for before, after in pairs.values()):
        cuts = {axis: slice(max(0, -before), x.shape[axis] - max(0, -after)) for axis, (before, after) in pairs.items()}
        x = x[tuple(cuts.get(axis, slice(None)) for axis in range(len(x.shape)))]
    widths = tuple(tuple(max(0, n) for n in pairs.get(axis, (0, 0))) for axis in range(len(x.shape)))
    return ops.pad(x, widths, value) if any(map(any, widths)) else x
