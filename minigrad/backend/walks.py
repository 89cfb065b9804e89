"""How filters meet images on a CPU: in steps, each a product of matrices, with as few copies of the images as pay.

Laying down a column for each place, as high as a filter, copies every entry as often as the kernel is large.  So filters are cut
into their rows or their columns, and walk.
"""
from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np

from . import cores, images
from .geometry import Geometry, overlap

SPACE = 1 << 19                                 # entries laid down at a time, which stay in a core's cache
FEW = 32                                        # entries of a column below which those of all rows of the kernel go into one
LARGE = 1 << 11                                 # places of an image that is worth a product of its own


class Walk:
    """Of filters (O, C/G, kh, kw) over images x (N, C, height, width), in one of three ways.

    WHOLE: one step, with whole columns.
    BY_ROW: a step for each row of the filters.  Columns are laid down side by side along a row of x only, which copies an entry
    kw times, and all rows of the filters meet the same array, each begun a little further down.
    BY_COLUMN: a step for each column of the filters and each row of places.  Of x, with its rows outermost, no copy is made but
    the padded one: the next column begins a pixel further on.  This needs rows long enough for a product of their own, as they
    are where the samples of a pixel lie beside each other (see images.py).
    """
    WHOLE, BY_ROW, BY_COLUMN = (0, 1, 2, 3, 4), (3, 0, 1, 2, 4), (4, 0, 1, 3, 2)             # how (G, O/G, C/G, kh, kw) is turned

    def __init__(self, at: Geometry, samples: int, channels: int, outputs: int, groups: int, beside: bool):
        self.at, self.samples, self.beside = at, samples, beside               # do the samples of a pixel lie beside each other?
        self.shape = groups, outputs // groups, channels // groups, at.kh, at.kw
        self.way = self._quickest()
        self.steps = 1 if self.way is self.WHOLE else self.shape[self.way[0]]
        self.height = math.prod(self.shape[2:]) // self.steps                  # of the columns, and the length of a filter's part

    def _quickest(self) -> tuple[int, ...]:
        at, (_, outputs, channels, *_) = self.at, self.shape
        if at.kh > 1 and (channels * at.kw < FEW or self.samples * at.H * at.W < 8 * outputs):
            return self.WHOLE                   # less work than to cut filters
        return self.BY_COLUMN if self.beside and at.kh > 1 == at.dh else self.BY_ROW

    def filters(self, weight: np.ndarray) -> np.ndarray:
        """The weight as a matrix for each step and group: (steps, G, O/G, height)."""
        turned = np.ascontiguousarray(weight.reshape(self.shape).transpose(self.way))
        return turned.reshape(self.steps, *self.shape[:2], self.height)

    def weight(self, filters: np.ndarray) -> np.ndarray:
        """The other way round: (O, C/G, kh, kw)."""
        turned = filters.reshape([self.shape[axis] for axis in self.way]).transpose(np.argsort(self.way))
        return turned.reshape(-1, *self.shape[2:])

    def pieces(self) -> list[tuple[slice, slice]]:
        """(some samples, some rows of places), as many as fit into SPACE with what comes of them, and some for every core."""
        at, (groups, outputs, channels, *_) = self.at, self.shape
        copies = {self.WHOLE: at.kh * at.kw, self.BY_ROW: at.sh * at.kw, self.BY_COLUMN: at.sh * at.sw}[self.way]
        row = max(1, groups * max(channels * copies, outputs) * at.W)
        if self.beside:                         # few rows of many samples; but what two rows both see is laid down twice
            some = evenly(self.samples, max(images.LINE, 2 * SPACE // (row * min(4, at.H))), 1 if at.H > 1 else cores.CORES)
            rows = evenly(at.H, 2 * SPACE * len(some) // (row * self.samples), 1 if len(some) > 1 else cores.CORES)
        else:
            large = LARGE >> 4 if at.sees_itself else LARGE  # a 1 × 1 kernel: of one sample nothing need be laid down
            some = evenly(self.samples, 1 if at.H * at.W >= large else SPACE // (row * at.H), cores.CORES)
            rows = evenly(at.H, SPACE // row, 1 if self.samples > 1 else cores.CORES)
        return list(product(some, rows))

    def in_line(self, places: np.ndarray) -> np.ndarray:
        """Some places (n, O, rows, columns) in the order of what filters meet, (O, rows, …): samples last, or columns."""
        return images.by_pixel(places) if self._samples_last(len(places)) else places.transpose(1, 2, 0, 3)

    def _samples_last(self, count: int) -> bool:
        return self.beside or count > self.at.W              # long lines are quick to copy

    def meet(self, x: np.ndarray, samples: slice, rows: slice) -> Iterator[tuple[int, slice, np.ndarray]]:
        """(a step, some of the places, `in_line`, what they see at this step: (G, height, places)), until all have seen all."""
        if self.way is self.BY_COLUMN:
            at, seen = self.at, self._rows_outermost(x, samples, rows)
            length = at.W * seen.shape[-1]
            for i, k in product(range(rows.stop - rows.start), range(at.kw)):
                (shift, phase), top = divmod(k * at.dw, at.sw), i * at.sh
                columns = seen[:, phase, top:top + at.kh, :, shift:shift + at.W]
                yield k, slice(i * length, (i + 1) * length), columns.reshape(len(seen), self.height, length)
        else:
            for i, columns in enumerate(self._columns(self._laid_down(x, samples, rows), rows.stop - rows.start)):
                yield i, slice(None), columns

    def _rows_outermost(self, x: np.ndarray, samples: slice, rows: slice) -> np.ndarray:
        """What is seen from some rows of places, padded: (G, sw, rows, C/G, columns, n), columns the stride apart together."""
        at, by_pixel = self.at, images.by_pixel(x)
        h, w = (rows.stop - rows.start - 1) * at.sh + at.kh, at.W + at.dw * (at.kw - 1) // at.sw
        here, there = overlap(rows.start * at.sh - at.top, h, at.height)
        beside, inside = overlap(-at.left, w * at.sw, at.width)
        image = by_pixel[:, here, beside, samples]
        image = image.reshape(self.shape[0], self.shape[2], *image.shape[1:]).swapaxes(1, 2)
        padded = np.zeros((len(image), h, image.shape[2], w * at.sw, image.shape[4]), x.dtype)
        padded[:, there, :, inside] = image
        if at.sw == 1:
            return padded[:, None]
        return np.ascontiguousarray(padded.reshape(*padded.shape[:3], w, at.sw, -1).transpose(0, 4, 1, 2, 3, 5))

    def _laid_down(self, x: np.ndarray, samples: slice, rows: slice) -> np.ndarray:
        """What the kernel sees of some images from some rows of places: (C, kw, sh, h, n · W), `in_line`.

        Rows of the image that are the stride apart lie side by side, so that axis 3 counts places; axis 2 tells the phase.
        """
        at = self.at
        h, wide = rows.stop - rows.start + at.dh * (at.kh - 1) // at.sh, (at.W - 1) * at.sw + at.dw * (at.kw - 1) + 1
        here, there = overlap(rows.start * at.sh - at.top, h * at.sh, at.height)
        beside, inside = overlap(-at.left, wide, at.width)
        image = x[samples, :, here, beside].transpose(1, 2, 0, 3)              # (C, row, n, column)
        padded, n, last = image, image.shape[2], self._samples_last(image.shape[2])
        if image.shape[1] < h * at.sh or image.shape[3] < wide:
            room = len(image), h * at.sh
            padded = np.zeros((*room, wide, n), x.dtype).swapaxes(2, 3) if last else np.zeros((*room, n, wide), x.dtype)
            padded[:, there, :, inside] = image
        channel, row, sample, column = padded.strides
        seen = np.lib.stride_tricks.as_strided(
            padded, (len(image), at.kw, at.sh, h, n, at.W), (channel, column * at.dw, row, row * at.sh, sample, column * at.sw))
        if last:
            seen = seen.swapaxes(4, 5)
        return (seen if at.sees_itself else np.ascontiguousarray(seen)).reshape(*seen.shape[:4], -1)

    def _columns(self, laid_down: np.ndarray, count: int) -> list[np.ndarray]:
        """What each row of the kernel meets at `count` rows of places: (G, C/G · kw, places), views; or one array for all."""
        at, groups = self.at, self.shape[0]
        laid_down = laid_down.reshape(groups, self.shape[2] * at.kw, at.sh, *laid_down.shape[3:])
        steps = (divmod(i * at.dh, at.sh) for i in range(at.kh))
        seen = [laid_down[:, :, phase, shift:shift + count].reshape(*laid_down.shape[:2], -1) for shift, phase in steps]
        if self.way is self.WHOLE:
            seen = [np.stack([part.reshape(groups, -1, at.kw, part.shape[2]) for part in seen], 2).reshape(
                groups, self.height, -1)]
        return seen


def evenly(count: int, most: int, among: int) -> list[slice]:
    """Cut `count` things into parts of `most` at most, and about as many for each of so many."""
    parts = -(-count // max(1, most))
    parts = min(count, parts + -parts % among)
    return [slice(count * i // parts, count * (i + 1) // parts) for i in range(parts)]
