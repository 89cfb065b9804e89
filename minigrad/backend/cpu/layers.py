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


def erf(x: np.ndarray) -> np.ndarray:
    """The error function 1 - 2 Φ(-√2 x), near 0 by its series: exact in float64, right to the last digit in float32."""
    if x.dtype == np.float64:
        return np.vectorize(math.erf, otypes=[np.float64])(x)
    wide = x.astype(np.float64)
    far = 1 - 2 * layers.normal_cdf(np, -math.sqrt(2) * np.abs(wide))
    low = np.clip(wide, -1e-3, 1e-3)
    near = 2 / math.sqrt(math.pi) * (low - low**3 / 3)
    return np.where(low == wide, near, np.copysign(far, wide)).astype(x.dtype)


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
