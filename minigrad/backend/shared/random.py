"""Random numbers as they are drawn on the CPU, whichever library they are for."""

from __future__ import annotations

import math

import numpy as np


def keep_mask(xp, bits: np.random.BitGenerator, shape: tuple, threshold: int):
    """Booleans, False where sixteen bits are below `threshold`."""
    if isinstance(bits, np.random.MT19937):  # its raw numbers have 32 bits, not 64
        bits = np.random.PCG64(np.random.Generator(bits).integers(1 << 63))
    count = math.prod(shape)
    drawn = bits.random_raw(-(-count // 4)).view(np.uint16)[:count]
    return xp.asarray((drawn >= threshold).reshape(shape))


table = {"keep_mask": keep_mask}
