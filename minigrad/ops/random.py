"""Ops with chance in them, and the generators they draw from: a seed means the same bits on every device."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from ..backend import Array, of
from ..builtin import builtin
from ..execution import mode
from ..primitive import primitive
from ..tensor import Tensor

_shared: np.random.Generator | None = None  # what `seed` made, for all that is given no rng


def seed(seed: int | None) -> None:
    """Let everything that is given no `rng` from here on draw from one generator with this seed: `mg.seed(0)`.

    The same seed, and after it the same calls in the same order, give the same numbers, bit for bit, on every backend;
    also those of layers, which keep the generator they were made with.  A DataLoader that shuffles
    and is given no seed draws one when it is made.  What has a seed of its own, such as a Trainer, is not touched, nor
    are the generators of NumPy and Python.  `mg.seed(None)` ends it: then whatever has
    no `rng` draws other numbers every time.

    Raises:
        TypeError: the seed is not a non-negative integer.
    """
    global _shared
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0):
        raise TypeError(f"seed: a seed is a whole number of at least 0, or None, not {seed!r}")
    _shared = None if seed is None else np.random.default_rng(seed)


manual_seed = seed  # torch's name


def global_generators() -> list[Any]:
    """What code that was given no generator may draw from: those of NumPy, of Python, and of `seed`."""
    import random  # which takes a tenth of the time of `import minigrad`, and whoever draws from it has imported it

    return [np.random.mtrand._rand, random._inst, *([] if _shared is None else [_shared])]  # type: ignore[attr-defined]


def generator(rng: np.random.Generator | int | None) -> np.random.Generator:
    """The generator that was given; an int is a seed; None means that of `seed`, or a fresh one where none is set."""
    rng = _shared if rng is None else rng
    return mode().draws(rng, rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng))


def drawn_seed() -> int:
    """A seed for what was given none: the next draw from the generator of `seed`, or 0 where none is set."""
    return 0 if _shared is None else int(generator(None).integers(2**32))


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
    """x where `keep` is True, divided by 1 - p, and 0 elsewhere."""
    return x * keep * (1 / (1 - p))


dropout.defvjp(x=lambda g, keep, p: dropout(g, keep, p))
dropout.in_symbols(x="g · keep / (1 - p)")
