"""The gradient of an embedding on a GPU, accumulated by src/embedding_rows.cu."""

from __future__ import annotations

import numpy as np

from ..record import Kernel
from ..shared.index import embedding_forward
from .source import THREADS, kernel, wide


def embedding_backward(xp, g, shape, wanted, ids):
    """The gradients of each row are grouped by sorting, then added in order, so that the bits are reproducible."""
    gw, ids = xp.zeros(shape, g.dtype), ids.reshape(-1).astype(np.int64, copy=False)
    if ids.size and gw.size:
        order, width, each = xp.argsort(ids), gw[0].size, 32  # CuPy's sorting is stable
        ids, chunks = ids[order], -(-ids.size // each)
        parts, grid = xp.empty((2, chunks, width), wide(g.dtype)), (chunks, -(-width // THREADS))
        sizes = np.int64(ids.size), np.int64(len(gw)), np.int32(width), np.int32(each)
        kernel("embedding_rows", "add_rows", g.dtype)(
            grid, (THREADS,), (gw, parts, xp.ascontiguousarray(g), ids, order, *sizes)
        )
        kernel("embedding_rows", "add_chunks", g.dtype)(grid, (THREADS,), (gw, parts, ids, *sizes))
    return (gw,)


table = {"embedding": Kernel(embedding_forward, embedding_backward)}
