"""Steps of optimisers on a CPU: the parameters of a model are cut into pieces that its cores share."""

from __future__ import annotations

import numpy as np

from ..shared import optimizers
from . import cores, loops
from .cores import cuts, share
from .select import is_plain


def at_once(step, name=""):
    """An optimiser's step for many parameters, divided into pieces that all cores share, with a single wait.

    A parameter that is not contiguous is one piece, since all arrays but the gradient are written into.  `name` is the
    compiled loop for contiguous pieces of float32, if there is one.
    """

    def run(xp, parameters, **options):
        pieces, loop = [], loops.function(name) if any(is_plain(arrays[0]) for arrays in parameters) else None

        def work(arrays):
            fits = all(x is None or x.ndim == 1 and x.dtype == np.float32 for x in arrays)
            (loop if loop is not None and fits else step)(xp, *arrays, **options)

        for arrays in parameters:
            there = [array for array in arrays if array is not None]
            if all(array.flags.c_contiguous for array in there):
                lines = [None if array is None else array.reshape(-1) for array in arrays]
                parts = cuts(there[0].size, there[0].size)
                pieces += [[None if line is None else line[part] for line in lines] for part in parts]
            else:
                pieces.append(arrays)
        _share_all(work, pieces)

    return run


def _share_all(work, pieces):
    """[work(piece) for piece in pieces], tuples of arrays; on this thread only if they have few entries in all."""
    if sum(piece[0].size for piece in pieces) < cores.MIN_SHARED:
        return [work(piece) for piece in pieces]
    return share(work, pieces)


def square_sums(xp, arrays):
    lines = [array.reshape(-1) for array in arrays]
    pieces = [(line[part], i) for i, line in enumerate(lines) for part in cuts(line.size, line.size)]
    total = [0.0] * len(arrays)
    for (_, i), square in zip(pieces, _share_all(lambda piece: float(optimizers.square_sum(xp, piece[0])), pieces)):
        total[i] += square
    return total


def scale(xp, arrays, factor):
    at_once(lambda xp, array: np.multiply(array, factor, out=array))(xp, [(array,) for array in arrays])


table = {
    **{name: at_once(step, name) for name, step in optimizers.BY_ENTRY.items()},
    "square_sums": square_sums,
    "scale": scale,
}
