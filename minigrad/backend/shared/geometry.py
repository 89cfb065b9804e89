"""Where a window (see `ops.window`) puts its kernel on an image.  A signal is an image of width 1."""

from __future__ import annotations

import math
from typing import Any


class Geometry:
    """A window over images of one size: what `ops.window` says by axis, by name.

    And how many places there are, H × W.
    """

    def __init__(self, size: tuple[int, ...], window: Any):
        image: Any = [(*axis, alone) for axis, alone in zip(window, (1, 1, (0, 0), 1))] if len(size) == 1 else window
        (self.kh, self.kw), (self.sh, self.sw), ((self.top, bottom), (self.left, right)), (self.dh, self.dw) = image
        self.height, self.width = size[0], size[1] if len(size) > 1 else 1
        self.H = (self.top + self.height + bottom - self.dh * (self.kh - 1) - 1) // self.sh + 1
        self.W = (self.left + self.width + right - self.dw * (self.kw - 1) - 1) // self.sw + 1
        self.sees_itself = self.kh == self.kw == self.sh == self.sw == 1 and (self.height, self.width) == (
            self.H,
            self.W,
        )


def overlap(first: int, count: int, size: int) -> tuple[slice, slice]:
    """Where entries first … first + count of an axis overlap 0 … size: as slices of the latter and of the former."""
    begin = min(max(first, 0), size)
    end = max(begin, min(first + count, size))
    return slice(begin, end), slice(begin - first, end - first)


def phases(k: int, s: int, d: int) -> list[tuple[slice, int, int, int]]:
    """Along an axis, the k entries of a kernel with dilation d in groups that meet the same phase, of s, of the input.

    The input's phase i is x[i], x[i + s], x[i + 2s], …; entry a meets phase d·a mod s, shifted by d·a div s.  Yields
    (which entries, the phase, the shift of the first, from one shift to the next).
    """
    every = s // math.gcd(s, d)
    return [(slice(i, None, every), i * d % s, i * d // s, d * every // s) for i in range(min(k, every))]
