"""ReLU on a CPU, in pieces that are divided among the cores."""

from __future__ import annotations

import numpy as np

from ..record import Kernel
from . import cores
from .cores import each_piece
from .memory import flat


def relu_forward(xp, x):
    if x.size < cores.MIN_SHARED:
        y = np.maximum(x, 0)
    else:
        y = np.empty_like(x)
        each_piece(lambda y, x: np.maximum(x, 0, out=y), *flat(y, x))
    return y, y


def relu_backward(xp, g, y, wanted):
    gx = np.empty_like(y, g.dtype)
    each_piece(lambda gx, g, y: _where(y > 0, g, gx), *flat(gx, g, y))
    return (gx,)


def _where(passes, g, gx):
    """Write g or 0 into gx, by a product with numbers, which is faster than with booleans, and than a selection."""
    gx[...] = passes.view(np.int8)
    gx *= g


def relu6_forward(xp, x):
    y = np.empty_like(x)
    each_piece(lambda y, x: np.minimum(np.maximum(x, 0, out=y), 6, out=y), *flat(y, x))
    return y, y


def relu6_backward(xp, g, y, wanted):
    gx = np.empty_like(y, g.dtype)
    each_piece(lambda gx, g, y: _where((y > 0) & (y < 6), g, gx), *flat(gx, g, y))
    return (gx,)


table = {"relu": Kernel(relu_forward, relu_backward), "relu6": Kernel(relu6_forward, relu6_backward)}
