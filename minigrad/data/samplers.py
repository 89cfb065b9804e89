"""Samplers, which choose the items of a pass, their order and how often each comes, for DataLoader(sampler=...)."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..errors import is_whole


@runtime_checkable
class Sampler(Protocol):
    """The choice of the items of a pass, as DataLoader uses it: their number and their indices."""

    def __len__(self) -> int: ...

    def indices(self, rng: np.random.Generator, /) -> np.ndarray:
        """The indices of the items of a pass, int64; `rng` is a function of the loader's seed and the epoch."""
        ...


class RandomSampler:
    """`num_samples` items (by default all) in random order; with `replacement` an item may be drawn several times.

    Without replacement every item comes once before one comes again.

    Raises:
        ValueError: there are no items, or `num_samples` is not positive.
    """

    def __init__(self, data_source: Sized, replacement: bool = False, num_samples: int | None = None):
        self.size, self.replacement = len(data_source), replacement
        self.num_samples = self.size if num_samples is None else num_samples
        _check(self.size, self.num_samples)

    def __len__(self) -> int:
        return self.num_samples

    def indices(self, rng: np.random.Generator, /) -> np.ndarray:
        """The indices of the items of a pass."""
        if self.replacement:
            return rng.integers(self.size, size=self.num_samples)
        rounds = [rng.permutation(self.size) for _ in range(-(-self.num_samples // self.size))]
        return np.concatenate(rounds)[: self.num_samples]


class WeightedRandomSampler:
    """`num_samples` items, each drawn with a probability in proportion to its weight, by default with replacement.

    Raises:
        ValueError: a weight is negative or not finite, all are zero, or, without replacement, there are fewer positive
            weights than items to draw.
    """

    def __init__(self, weights: Sequence[float] | np.ndarray, num_samples: int, replacement: bool = True):
        weights = np.asarray(weights, np.float64)
        _check(weights.size, num_samples)
        if weights.ndim != 1 or not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise ValueError(
                f"weights of shape {weights.shape}; expected one finite number per item, none negative, not all zero"
            )
        if not replacement and num_samples > np.count_nonzero(weights):
            raise ValueError(
                f"num_samples is {num_samples}, but {np.count_nonzero(weights)} weights are positive: draw fewer "
                "items, or with replacement=True"
            )
        self.weights, self.num_samples, self.replacement = weights, num_samples, replacement

    @classmethod
    def balanced(cls, labels: Sequence[Any] | np.ndarray, num_samples: int | None = None) -> WeightedRandomSampler:
        """The sampler that draws each class equally often; by default as many items as there are labels.

        `labels` has the class of each item; its probability is in proportion to 1 / (items of its class).
        """
        kinds = np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1)
        return cls(1 / np.bincount(kinds)[kinds], len(kinds) if num_samples is None else num_samples)

    def __len__(self) -> int:
        return self.num_samples

    def indices(self, rng: np.random.Generator, /) -> np.ndarray:
        """The indices of the items of a pass."""
        p = self.weights / self.weights.sum()
        return rng.choice(len(p), self.num_samples, replace=self.replacement, p=p)


def _check(size: int, num_samples: int) -> None:
    if not size:
        raise ValueError("there are no items to draw from; expected at least one")
    if not is_whole(num_samples, 1):
        raise ValueError(f"num_samples is {num_samples!r}; expected a whole number of at least 1")
