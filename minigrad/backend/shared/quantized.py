"""How the weights of a quantised layer lie in memory, for both libraries: whole numbers of few bits, and their scales.

int8: the numbers (…, n), from -127 to 127, and one scale (…) for each row.
int4: the numbers -8 … 7 plus 8, two to a byte of uint8, and one scale (…, groups) for each GROUP of a row, which is
      filled up with zeros to whole groups (…, groups · GROUP / 2): byte i of a group holds its number i in the lower
      half, and number i + GROUP / 2 in the upper one.

A weight is its number times its scale.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

GROUP = 64


def numbers(xp: Any, weight: Any) -> Any:
    """The whole numbers by their groups, int8: (…, 1, n) of int8, (…, groups, GROUP) of int4."""
    if weight.dtype == np.int8:
        return weight[..., None, :]
    half = GROUP // 2
    pairs = weight.reshape(*weight.shape[:-1], weight.shape[-1] // half, half)
    return xp.concatenate([pairs & 15, pairs >> 4], -1).view(np.int8) - np.int8(8)


def by_group(weight: Any, scale: Any) -> Any:
    """The scales, (…, groups, 1)."""
    return scale[..., None, None] if weight.dtype == np.int8 else scale[..., None]


def dequantized(xp: Any, scale: Any, weight: Any, features: int) -> Any:
    """The weights (…, features), in the dtype of the scales."""
    found = numbers(xp, weight).astype(scale.dtype) * by_group(weight, scale)
    return found.reshape(*weight.shape[:-1], math.prod(found.shape[-2:]))[..., :features]


def of_scale(xp: Any, g: Any, weight: Any) -> Any:
    """The gradient of the scales, given that of the weights (…, features)."""
    whole = numbers(xp, weight)
    missing = math.prod(whole.shape[-2:]) - g.shape[-1]
    g = xp.pad(g, [(0, 0)] * (g.ndim - 1) + [(0, missing)]) if missing else g
    sums = (g.reshape(whole.shape) * whole).sum(-1, dtype=g.dtype)
    return sums[..., 0] if weight.dtype == np.int8 else sums
