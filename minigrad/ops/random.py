"""Ops with chance in them.  The draw comes from an explicit generator: a seed means the same bits on every device."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from ..backend import Array, of
from ..builtin import builtin
from ..mode import mode
from ..primitive import primitive
from ..tensor import Tensor


def generator(rng: np.random.Generator | int | None) -> np.random.Generator:
    """The generator that was given; an int is a seed, None means a fresh one."""
    return mode().draws(rng, rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng))


def keep_mask(like: Any, shape: tuple, p: float, rng: np.random.Generator | int | None) -> Array | None:
    """A boolean array, each entry true with probability 1 - p, where `like` lives; None if p is 0.

    Sixteen random bits decide on an entry, so p is met to within 1/131072; that is four times as fast as drawing
    floats. A GPU draws by itself what NumPy's default generator would give; the bits of others are drawn on the CPU and
    copied.

    Raises:
        ValueError: p is not a probability below 1.
    """
    if not isinstance(p, Real) or not 0 <= p < 1:
        raise ValueError(f"dropout: p={p} is not a probability below 1: give 0 <= p < 1")
    if not p:
        return None
    backend = of(like.data if isinstance(like, Tensor) else like)
    return backend.call("keep_mask", generator(rng).bit_generator, shape, round(p * 65536))


@builtin(in_float32="halves and integers")
@primitive
def dropout(xp, x, /, keep, p):
    return x * keep * (1 / (1 - p))


dropout.defvjp(x=lambda g, keep, p: dropout(g, keep, p))
dropout.in_symbols(x="g · keep / (1 - p)")
