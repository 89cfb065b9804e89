"""Ops with chance in them.  The draw comes from an explicit generator, on the CPU: a seed means the same on every device."""
from __future__ import annotations

import numpy as np

from ..primitive import primitive


def generator(rng: np.random.Generator | int | None) -> np.random.Generator:
    """The generator that was given; an int is a seed, None means a fresh one."""
    return rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng)


@primitive
def dropout(xp, x, /, keep, p):
    return x * keep * (1 / (1 - p))
dropout.defvjp(x=lambda g, keep, p: dropout(g, keep, p))
