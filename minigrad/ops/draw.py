"""New Tensors of random numbers, from an explicit generator or a seed.

They are drawn on the CPU, so that a seed means the same numbers on every device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend
from ..tensor import Tensor, as_array, shaped
from .create import made
from .random import generator
from .shape import check_flags, numbers, whole_number

Rng = np.random.Generator | int | None


def rand(
    *shape: Any, rng: Rng = None, dtype: Any = "float32", device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """Numbers from 0 to below 1, all equally likely, in a Tensor of this shape: `rand(2, 3)` or `rand((2, 3))`.

    `rng` is a generator of NumPy's or a seed.
    """
    return _drawn("rand", shape, lambda rng, shape: rng.random(shape), rng, dtype, device, requires_grad)


def randn(
    *shape: Any, rng: Rng = None, dtype: Any = "float32", device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """Numbers from the standard normal distribution, in a Tensor of this shape: `randn(2, 3)` or `randn((2, 3))`."""
    return _drawn("randn", shape, lambda rng, shape: rng.standard_normal(shape), rng, dtype, device, requires_grad)


def randint(
    low: int,
    high: Any = None,
    size: int | Sequence[int] = (),
    *,
    rng: Rng = None,
    dtype: Any = "int64",
    device: str = "cpu",
) -> Tensor:
    """Whole numbers from low to below high, all equally likely; `randint(n, size=…)` draws from 0 to below n.

    Raises:
        ValueError: there is none such.
    """
    if isinstance(high, (tuple, list)):  # torch.randint(10, (2, 3))
        high, size = None, high
    low, high = (0, low) if high is None else (low, high)
    if not all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in (low, high)):
        raise TypeError(f"randint: low and high are whole numbers, not {low!r} and {high!r}; the shape is `size`")
    if low >= high:
        raise ValueError(f"randint: there is no whole number from {low} to below {high}")
    return _drawn("randint", (size,), lambda rng, shape: rng.integers(low, high, shape), rng, dtype, device, False)


def randperm(n: int, *, rng: Rng = None, dtype: Any = "int64", device: str = "cpu") -> Tensor:
    """The whole numbers from 0 to below n in random order."""
    return _drawn("randperm", ((n,),), lambda rng, shape: rng.permutation(shape[0]), rng, dtype, device, False)


def rand_like(x: Any, *, rng: Rng = None) -> Tensor:
    """`rand` of x's shape, dtype and device."""
    x = shaped(x, "rand_like")
    return rand(tuple(x.shape), rng=rng, dtype=x.dtype, device=backend.of(as_array(x)).name)


def randn_like(x: Any, *, rng: Rng = None) -> Tensor:
    """`randn` of x's shape, dtype and device."""
    x = shaped(x, "randn_like")
    return randn(tuple(x.shape), rng=rng, dtype=x.dtype, device=backend.of(as_array(x)).name)


def bernoulli(p: Any, *, rng: Rng = None) -> Tensor:
    """1 with the probability p, a Tensor, and otherwise 0, each entry by itself, in p's dtype; without a gradient.

    Raises:
        ValueError: p is not from 0 to 1.
    """
    p = p.detach() if isinstance(p, Tensor) else Tensor(p)
    chance = p.numpy()
    if not ((chance >= 0) & (chance <= 1)).all():
        raise ValueError("bernoulli: probabilities are from 0 to 1")
    return Tensor((generator(rng).random(p.shape) < chance).astype(p.dtype), device=p.device)


def multinomial(p: Any, num_samples: int, replacement: bool = False, *, rng: Rng = None) -> Tensor:
    """`num_samples` indices, drawn with chances proportional to the last axis of p (n,) or (rows, n): (…, num_samples).

    Raises:
        ValueError: p is negative or all 0, or has too few entries for a draw without replacement.
    """
    num_samples = whole_number("multinomial", "num_samples", num_samples, 0)
    check_flags("multinomial", replacement=replacement)
    weights, draw = numbers("multinomial", "p", p, "float64"), generator(rng)
    if weights.ndim not in (1, 2) or not (np.isfinite(weights) & (weights >= 0)).all() or not weights.sum(-1).all():
        raise ValueError("multinomial: p is (n,) or (rows, n), of numbers from 0 on, not all 0 in a row")
    if not replacement and ((weights > 0).sum(-1) < num_samples).any():
        raise ValueError(f"multinomial: {num_samples} different indices are wanted of fewer: pass replacement=True")
    rows = weights.reshape(-1, weights.shape[-1])
    found = [draw.choice(len(row), num_samples, replacement, row / row.sum()) for row in rows]
    return Tensor(np.array(found, "int64").reshape(*weights.shape[:-1], num_samples), device=getattr(p, "device", None))


def _drawn(op, shape, draw, rng, dtype, device, requires_grad):
    """What `draw` gives for a shape, that was given as sizes or as one tuple, as a Tensor."""
    if len(shape) == 1:
        shape = shape[0] if isinstance(shape[0], (tuple, list)) else shape
    values = made(
        op, shape, dtype, "cpu", lambda xp, shape, dtype: np.asarray(draw(generator(rng), shape)).astype(dtype)
    )
    return Tensor(values, requires_grad, device=device)
