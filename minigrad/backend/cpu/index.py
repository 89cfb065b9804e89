"""The gradients of an embedding and of indexing on a CPU, accumulated row by row."""

from __future__ import annotations

import functools
import math

import numpy as np

from ..record import Kernel
from ..shared import index
from . import loops
from .select import is_plain


def add_rows(total, ids, g):
    """total[id] += row for each id and row of g, as numpy.add.at does in the same order and several times the time."""
    g, ids = np.ascontiguousarray(g).reshape(ids.size, math.prod(total.shape[1:])), ids.reshape(-1)
    loop = loops.function("add_rows") if is_plain(g) and total.dtype == g.dtype and total.flags.c_contiguous else None
    if loop is not None:
        loop(total.reshape(-1, g.shape[1]), ids, g)
    else:
        for i, row in zip(ids.tolist(), g):
            total[i] += row.reshape(total.shape[1:])


def embedding_backward(xp, g, shape, wanted, ids):
    gw = np.zeros(shape, g.dtype)
    add_rows(gw, ids, g)
    return (gw,)


def embedding_add(xp, total, g, shape, ids):
    add_rows(total, ids, g)


def take_add(xp, total, g, shape, where):
    """What `take` adds back; whole rows, if an array of their numbers says where."""
    rows = isinstance(where, np.ndarray) and where.dtype.kind == "i" and len(shape) > 1
    if rows:
        add_rows(total, where, g)
    else:
        index.take_add(xp, total, g, shape, where)


table = {
    "embedding": Kernel(index.embedding_forward, embedding_backward, add=embedding_add),
    "take": Kernel(index.take_forward, functools.partial(index.take_backward, add=take_add), add=take_add),
}
