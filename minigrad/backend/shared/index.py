"""Embedding and indexing, as they read on both libraries."""

from __future__ import annotations

from ..record import Kernel
from .products import as_matrix


def embedding_forward(xp, weight, ids):
    """weight[ids]: the embedding of integer ids that are known to be in range."""
    return weight[ids], weight.shape


def embedding_backward(xp, g, shape, wanted, ids):
    """The gradients of each row are grouped by sorting, then added in order, so that the bits are reproducible."""
    gw = xp.zeros(shape, g.dtype)
    order = xp.argsort(ids.reshape(-1), kind="stable")
    ids = ids.reshape(-1)[order]
    if ids.size:
        starts = xp.flatnonzero(xp.concatenate((xp.ones(1, bool), ids[1:] != ids[:-1])))
        gw[ids[starts]] = xp.add.reduceat(as_matrix(xp, g)[order], starts, axis=0)
    return (gw,)


def take_forward(xp, x, index):
    """x[index], with an index that is known to be in range."""
    return x[index], x.shape


def take_backward(xp, g, shape, wanted, index, add=None):
    gx = xp.zeros(shape, xp.result_type(g.dtype, xp.float32) if _may_meet(index) else g.dtype)
    (add or take_add)(xp, gx, g, shape, index)
    return (gx,)


def take_add(xp, total, g, shape, index):
    """The gradient of `take`: each entry is added where it was taken from; repeated indices accumulate."""
    if _may_meet(index):
        xp.add.at(total, index, g.astype(total.dtype, copy=False))
    else:
        total[index] += g.astype(total.dtype, copy=False)


def _may_meet(index):
    """Whether an index may contain an entry twice; slices, numbers and masks do not."""
    return any(
        hasattr(part, "dtype") and part.dtype.kind != "b" for part in (index if isinstance(index, tuple) else (index,))
    )


table = {
    "embedding": Kernel(embedding_forward, embedding_backward),
    "take": Kernel(take_forward, take_backward, add=take_add),
}
