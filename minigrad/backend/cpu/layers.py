"""GELU and layer normalisation on a CPU without compiled loops: the shared forms, on a few examples at a time.

The slices stay in a core's cache, and all cores share them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..record import Kernel
from ..shared import layers
from .cores import cuts, share
from .select import choose


def _log_odds(x, out, square):
    """log(Φ(-x) / Φ(x)) into `out`, Φ being the normal distribution function; x² is left in `square`.

    It is x times a function of x².  This is the rational function of degree 3 over 3, as a continued fraction, whose
    largest relative error in erf(x/√2) = tanh(-½ log …) over 0 < x < 6 is least: 3e-9.  (Least squares in float64 at
    3000 Chebyshev points, the points with large errors given more and more weight.)
    """
    np.multiply(x, x, out=square)
    np.add(square, 37.445206966, out=out)
    np.divide(1096.44704976, out, out=out)
    out += square
    out -= 24.154402148
    np.divide(-21.939575656, out, out=out)
    out += square
    out += 132.527319228
    np.divide(1011.24518935, out, out=out)
    out -= 9.48084044
    out *= x


def erf(x: np.ndarray) -> np.ndarray:
    """The error function: exact in float64; in float32 within 0.6 units in the last place (by way of float64)."""
    if x.dtype == np.float64:
        return np.vectorize(math.erf, otypes=[np.float64])(x)
    wide = x.astype(np.float64).reshape(-1) * math.sqrt(2)
    odds = np.empty_like(wide)
    _log_odds(wide, odds, np.empty_like(wide))
    return np.tanh(-0.5 * odds).astype(x.dtype).reshape(x.shape)


def is_batch(x: np.ndarray, *rest: Any) -> bool:
    """Whether x has several examples of at least one axis each."""
    return x.ndim > 1 and len(x) > 1


def in_slices(kernel: Kernel) -> Kernel:
    """The kernel on some examples of its first input at a time; gradients of the other inputs are accumulated."""

    def forward(xp, x, *rest):
        y, parts = np.empty_like(x), cuts(len(x), x.size)

        def work(part):
            y[part], saved = kernel.forward(np, x[part], *rest)
            return saved

        return y, (parts, share(work, parts))

    def backward(xp, g, saved, wanted, *options):
        gx = np.empty_like(g) if wanted[0] else None

        def work(one):
            part, saved = one
            found, *sums = kernel.backward(np, g[part], saved, wanted, *options)
            if gx is not None:
                gx[part] = found
            return sums

        sums = zip(*share(work, list(zip(*saved))))
        return gx, *(sum(parts) if want else None for parts, want in zip(sums, wanted[1:]))

    return Kernel(forward, backward)


table = {name: choose(is_batch, in_slices(layers.table[name]), layers.table[name]) for name in ("gelu", "layer_norm")}
