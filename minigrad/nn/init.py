"""Initialisers: the values of weights before training.

Each writes into the Tensor it is given, and returns it.  Numbers are drawn on the CPU, so that a seed means the same
model on every device.  `rng` is a NumPy Generator, an int (a seed: the same int always draws the same numbers, so let
the layers of a model share one Generator) or None (that of `mg.seed`, or other numbers every time).  A Tensor of
integers is refused with a TypeError.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..ops import generator as _generator
from ..tensor import Tensor

_room: ContextVar[list[int] | None] = ContextVar("room for weights", default=None)
_one_number: ContextVar[bool] = ContextVar("weights that are not allocated", default=False)
LATER: Any = object()  # rng=LATER leaves a weight uninitialised, because it is about to be loaded
Rng = np.random.Generator | int | None


class TooLarge(ValueError):
    """A model would have more weights than `at_most` allows."""


@contextmanager
def at_most(weights: int, numbers: int) -> Iterator[None]:
    """Limit the weights made in the block, and their entries in total: a guard against sizes from an untrusted file.

    A weight beyond the limit raises TooLarge before its memory is allocated.
    """
    token = _room.set([weights, numbers])
    try:
        yield
    finally:
        _room.reset(token)


@contextmanager
def unallocated() -> Iterator[None]:
    """Weights made in the block have a shape, but all entries of each are one number in memory: a model to measure."""
    token = _one_number.set(True)
    try:
        yield
    finally:
        _one_number.reset(token)


def empty(*shape: int) -> Tensor:
    """A float32 Tensor whose numbers are not set yet."""
    if (room := _room.get()) is not None:
        room[:] = room[0] - 1, room[1] - math.prod(shape)
        if min(room) < 0:
            raise TooLarge(f"a weight of shape {shape} is one too many, or too large")
    if _one_number.get():
        return Tensor(np.ndarray(shape, np.float32, bytearray(4), strides=(0,) * len(shape)))
    return Tensor(np.empty(shape, np.float32))


def generator(rng: Rng) -> np.random.Generator:
    """A Generator from a Generator, a seed, or None (seeded by the system).  LATER is returned as it is."""
    return LATER if rng is LATER else _generator(rng)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with `val`."""
    return tensor if _one_number.get() else tensor.copy_(val)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, *, rng: Rng = None) -> Tensor:
    """Draw uniformly from [a, b)."""
    if rng is LATER:
        return tensor
    source, dtype = _source(tensor, rng)
    return tensor.copy_(source.random(tensor.shape, dtype) * (b - a) + a)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, *, rng: Rng = None) -> Tensor:
    """Draw from the normal distribution."""
    if rng is LATER:
        return tensor
    source, dtype = _source(tensor, rng)
    return tensor.copy_(source.standard_normal(tensor.shape, dtype) * std + mean)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, *, rng: Rng = None
) -> Tensor:
    """Draw from the normal distribution, and redraw values outside [a, b] (values, as in torch, not multiples of std).

    Raises:
        ValueError: less than a hundredth of the distribution lies in [a, b].
    """
    inside = (math.erf((b - mean) / std / math.sqrt(2)) - math.erf((a - mean) / std / math.sqrt(2))) / 2
    if inside < 0.01:
        raise ValueError(
            f"only {inside:.1%} of the normal distribution with mean {mean} and std {std} lies in [{a}, "
            f"{b}]: a and b are values, not multiples of std"
        )
    if rng is LATER:
        return tensor
    source, dtype = _source(tensor, rng)
    values = source.standard_normal(tensor.shape, dtype) * std + mean
    while (outside := (values < a) | (values > b)).any():
        values[outside] = source.standard_normal(outside.sum(), dtype) * std + mean
    return tensor.copy_(values)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, *, rng: Rng = None) -> Tensor:
    """Draw uniformly with variance gain² · 2 / (fan_in + fan_out) (Glorot & Bengio 2010, eq. 16)."""
    bound = gain * math.sqrt(6) * over_root(sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, rng=rng)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, *, rng: Rng = None) -> Tensor:
    """Draw normally with variance gain² · 2 / (fan_in + fan_out) (Glorot & Bengio 2010, eq. 12)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2) * over_root(sum(fans(tensor))), rng=rng)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", *, rng: Rng = None
) -> Tensor:
    """Draw uniformly with variance gain² / fan (He et al. 2015, eq. 10); `a` is leaky_relu's slope below zero."""
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, rng=rng)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", *, rng: Rng = None
) -> Tensor:
    """Draw normally with variance gain² / fan (He et al. 2015, eq. 10); `a` is leaky_relu's slope below zero."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), rng=rng)


def orthogonal_(tensor: Tensor, gain: float = 1.0, *, rng: Rng = None) -> Tensor:
    """Make the rows, or the columns where they are fewer, orthogonal and of length `gain` (Saxe et al. 2014).

    A kernel of shape (out, in, *kernel) is treated as the matrix (out, in · kernel).
    """
    columns, rows = fans(tensor)[0], tensor.shape[0]
    if rng is LATER:
        return tensor
    source, dtype = _source(tensor, rng)
    q, r = np.linalg.qr(source.standard_normal((max(rows, columns), min(rows, columns)), dtype))
    q *= np.sign(np.diag(r)) * gain  # QR fixes the signs; undone, every orthogonal matrix is equally likely
    return tensor.copy_((q if rows >= columns else q.T).reshape(tensor.shape))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """How much larger weights must be before this activation, so that signals keep their size; the values are torch's.

    `param` is leaky_relu's slope below zero, 0.01 unless given.

    Raises:
        ValueError: the activation is not one of those listed.
    """
    gains = {
        "linear": 1.0,
        "conv1d": 1.0,
        "conv2d": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "selu": 3 / 4,
        "leaky_relu": math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2)),
    }
    if nonlinearity not in gains:
        raise ValueError(f"no gain is known for {nonlinearity!r}: choose one of {', '.join(gains)}")
    return gains[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (out, in, *kernel): inputs for each output, and outputs for each input.

    Raises:
        ValueError: the Tensor has fewer than two axes.
    """
    if tensor.ndim < 2:
        raise ValueError(
            f"a Tensor of shape {tensor.shape} has no fan-in and fan-out, as a weight (out, in, "
            "*kernel) has: use zeros_, uniform_ or normal_"
        )
    outputs, inputs, *kernel = tensor.shape
    return inputs * math.prod(kernel), outputs * math.prod(kernel)


def over_root(fan: int) -> float:
    """1 / √fan, by which a layer scales what it draws; 0 for a fan of 0, where there is no weight to draw."""
    return 1 / math.sqrt(fan) if fan else 0.0


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'mode is "fan_in" or "fan_out", not {mode!r}')
    return calculate_gain(nonlinearity, a) * over_root(fans(tensor)[mode == "fan_out"])


def _source(tensor: Tensor, rng: Rng) -> tuple[np.random.Generator, type]:
    """The generator and the dtype to draw in: float64 or float32, from which 16-bit weights are rounded."""
    if tensor.dtype.kind in "biu":
        raise TypeError(
            f"random weights are fractions, which a Tensor of dtype {tensor.dtype} cannot hold: make it floating"
        )
    return generator(rng), np.float64 if tensor.dtype == np.float64 else np.float32
