"""How filters meet images on a CPU: in steps, each a product of matrices, with as few copies of the images as pay.

Laying down a column for each place, as high as a filter, copies every entry of an image as often as the kernel is
large.  Here the kernel's columns are laid side by side only along a row; down the image filters walk row by row, and
each of their rows is a product with the same array, begun a little further on.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from ..shared.geometry import Geometry, overlap
from . import cores, memory

MAX_COLUMNS = 1 << 19  # entries of the columns built at a time, which stay in a core's cache
MIN_HEIGHT = 32  # below this column height, use full im2col
MIN_PLACES = 1 << 11  # output pixels from which an image gets a product of its own


class Walk:
    """Of filters (O, C/G, kh, kw) over images (N, C, height, width), in one step for each row of the filters.

    Or in one for whole filters, where that is less work than to cut them.  `beside`: do the samples of a pixel lie
    beside each other (see memory.py)?
    """

    def __init__(self, at: Geometry, samples: int, channels: int, outputs: int, groups: int, beside: bool):
        self.at, self.samples, self.beside = at, samples, beside
        self.groups, self.outputs, self.channels = groups, outputs // groups, channels // groups
        self.whole = self._at_once()
        self.steps = 1 if self.whole else at.kh
        self.part = at.kh * at.kw // self.steps  # of a filter at a step, in each channel
        self.height = self.channels * self.part  # of columns

    def _at_once(self) -> bool:
        few = self.channels * self.at.kw < MIN_HEIGHT or self.samples * self.at.H * self.at.W < 8 * self.outputs
        return self.at.kh > 1 and few

    def filters(self, weight: np.ndarray) -> np.ndarray:
        """The weight as a matrix for each step and group: (steps, G, O/G, height)."""
        parts = weight.reshape(self.groups, self.outputs, self.channels, self.steps, self.part)
        return np.ascontiguousarray(parts.transpose(3, 0, 1, 2, 4)).reshape(
            self.steps, self.groups, self.outputs, self.height
        )

    def weight(self, filters: np.ndarray) -> np.ndarray:
        """The other way round: (O, C/G, kh, kw)."""
        parts = filters.reshape(self.steps, self.groups, self.outputs, self.channels, self.part).transpose(
            1, 2, 3, 0, 4
        )
        return np.ascontiguousarray(parts).reshape(-1, self.channels, self.at.kh, self.at.kw)

    def pieces(self) -> list[tuple[slice, slice]]:
        """Slices (samples, rows of output pixels) that fit in MAX_COLUMNS with their results, some for every core."""
        at = self.at
        row = max(1, self.groups * max(self.channels * at.kw * (at.kh if self.whole else at.sh), self.outputs) * at.W)
        if self.beside:  # few rows of many samples; but what two rows both see is laid down twice
            most = max(memory.MIN_SAMPLES, 2 * MAX_COLUMNS // (row * min(4, at.H)))
            some = cores.evenly(self.samples, most, 1 if at.H > 1 else cores.CORES)
            most = 2 * MAX_COLUMNS * len(some) // (row * self.samples)
            rows = cores.evenly(at.H, most, 1 if len(some) > 1 else cores.CORES)
        else:
            large = MIN_PLACES >> 4 if at.sees_itself else MIN_PLACES  # (1 × 1: no columns)
            some = cores.evenly(self.samples, 1 if large <= at.H * at.W else MAX_COLUMNS // (row * at.H), cores.CORES)
            rows = cores.evenly(at.H, MAX_COLUMNS // row, 1 if self.samples > 1 else cores.CORES)
        return list(product(some, rows))

    def in_line(self, places: np.ndarray) -> np.ndarray:
        """Some output places (n, O, rows, columns) in the order that the filters' product has them, (O, rows, …)."""
        return memory.by_pixel(places) if self._samples_last(len(places)) else places.transpose(1, 2, 0, 3)

    def _samples_last(self, count: int) -> bool:
        return self.beside or count > self.at.W  # long lines are quick to copy

    def meet(self, x: np.ndarray, samples: slice, rows: slice) -> list[np.ndarray]:
        """What filters meet at each step, for some rows of places of some samples: (G, height, places), `in_line`."""
        at, count, laid_down = self.at, rows.stop - rows.start, self._laid_down(x, samples, rows)
        laid_down = laid_down.reshape(self.groups, self.channels * at.kw, at.sh, *laid_down.shape[3:])
        steps = (divmod(i * at.dh, at.sh) for i in range(at.kh))
        seen = [
            laid_down[:, :, phase, shift : shift + count].reshape(*laid_down.shape[:2], count * laid_down.shape[4])
            for shift, phase in steps
        ]
        if self.whole:
            apart = [part.reshape(self.groups, self.channels, at.kw, part.shape[2]) for part in seen]
            seen = [np.stack(apart, 2).reshape(self.groups, self.height, seen[0].shape[2])]
        return seen

    def _laid_down(self, x: np.ndarray, samples: slice, rows: slice) -> np.ndarray:
        """What the kernel sees of some images from some rows of places: (C, kw, sh, h, n · W), `in_line`.

        Rows of the image that are the stride apart lie side by side, so that axis 3 counts places; axis 2 tells the
        phase.
        """
        at = self.at
        h, wide = rows.stop - rows.start + at.dh * (at.kh - 1) // at.sh, (at.W - 1) * at.sw + at.dw * (at.kw - 1) + 1
        here, there = overlap(rows.start * at.sh - at.top, h * at.sh, at.height)
        across, inside = overlap(-at.left, wide, at.width)
        image = x[samples, :, here, across].transpose(1, 2, 0, 3)  # (C, row, n, column)
        padded, n, last = image, image.shape[2], self._samples_last(image.shape[2])
        if image.shape[1] < h * at.sh or image.shape[3] < wide:
            room = len(image), h * at.sh
            padded = np.zeros((*room, wide, n), x.dtype).swapaxes(2, 3) if last else np.zeros((*room, n, wide), x.dtype)
            padded[:, there, :, inside] = image
        channel, row, sample, column = padded.strides
        seen = np.lib.stride_tricks.as_strided(
            padded,
            (len(image), at.kw, at.sh, h, n, at.W),
            (channel, column * at.dw, row, row * at.sh, sample, column * at.sw),
        )
        if last:
            seen = seen.swapaxes(4, 5)
        return (seen if at.sees_itself else np.ascontiguousarray(seen)).reshape(*seen.shape[:4], -1)
