"""Datasets, from which a loader takes items by index or one after the other, and datasets made of others."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from itertools import accumulate
from numbers import Integral
from typing import Any, Protocol

import numpy as np


class Dataset(Protocol):
    """Anything with a length and an item for each index, a list included.

    If it has a method `at_epoch(epoch)`, a loader takes the items of each pass from the dataset that this returns.  So
    items such as augmented pictures may differ between epochs and still be reproducible.  A dataset that wraps such a
    dataset as its attribute `dataset` need not have the method.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class IterableDataset(Protocol):
    """Anything that yields its items one after the other, from the first in each pass, such as the lines of a file."""

    def __iter__(self) -> Iterator[Any]: ...


def at_epoch(dataset: Any, epoch: int) -> Any:
    """The dataset for an epoch; a dataset that wraps another is copied around that one's dataset for the epoch."""
    if hasattr(dataset, "at_epoch"):
        return dataset.at_epoch(epoch)
    wrapped = getattr(dataset, "dataset", None)
    if wrapped is not None and (then := at_epoch(wrapped, epoch)) is not wrapped:
        dataset = copy(dataset)
        dataset.dataset = then
    return dataset


class Subset:
    """The items of `dataset` at `indices`, in that order."""

    def __init__(self, dataset: Dataset, indices: Sequence[int] | np.ndarray):
        self.dataset, self.indices = dataset, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]


class ConcatDataset:
    """The items of several datasets, those of the first one first.

    Raises:
        ValueError: no dataset is given.
        IndexError: from an index that is out of range.
    """

    def __init__(self, datasets: Iterable[Dataset]):
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("no datasets were given; expected at least one")
        self.ends = list(accumulate(map(len, self.datasets)))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> Any:
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"index {index} is out of range: there are {len(self)} items")
        which = bisect_right(self.ends, place)
        return self.datasets[which][place - (self.ends[which - 1] if which else 0)]

    def at_epoch(self, epoch: int) -> ConcatDataset:
        """The concatenation of the datasets for that epoch."""
        return ConcatDataset(at_epoch(dataset, epoch) for dataset in self.datasets)


def random_split(
    dataset: Dataset, lengths: Sequence[float], seed: int = 0, stratify: Sequence[Any] | np.ndarray | None = None
) -> list[Subset]:
    """Split a dataset at random into disjoint parts; the items of each keep their order.

    Args:
        lengths: the number of items of each part, or fractions that add up to 1.
        seed: the same seed gives the same parts.
        stratify: a label for each item; every part then has the same proportions of labels, up to an item or two.

    Copies of a text may end up in different parts; `split` keeps them together.

    Raises:
        ValueError: the lengths do not add up to the number of items or to 1, or there is not a label for each item.
    """
    counts = _whole(lengths, len(dataset))
    order = np.random.default_rng(seed).permutation(len(dataset))
    part = np.repeat(np.arange(len(counts)), counts)
    if stratify is not None:
        if len(stratify) != len(dataset):
            raise ValueError(f"stratify has {len(stratify)} labels for {len(dataset)} items; expected one per item")
        labels = np.unique(np.asarray(stratify), return_inverse=True)[1]
        order = order[np.argsort(labels[order], kind="stable")]  # sorted by label, at random within each
        # Each part takes evenly spaced items of that order, and so its share of every label.
        places = np.concatenate([(np.arange(count) + 0.5) / max(count, 1) for count in counts])
        part = part[np.argsort(places, kind="stable")]
    return [Subset(dataset, np.sort(order[part == i])) for i in range(len(counts))]


def _whole(lengths: Sequence[float], size: int) -> list[int]:
    """The number of items of each part; items left over by rounding fractions down go to the first parts, one each."""
    given = f"lengths are {list(lengths)}"
    if not len(lengths) or not all(length >= 0 for length in lengths):
        raise ValueError(f"{given}; expected numbers of items, or fractions that add up to 1, such as [0.8, 0.2]")
    if all(isinstance(length, Integral) for length in lengths) and sum(lengths) == size:
        return [int(length) for length in lengths]
    if abs(sum(lengths) - 1) > 1e-9:
        raise ValueError(
            f"{given}, which add up to {sum(lengths):g}; expected {size}, the number of items, or fractions that add "
            "up to 1"
        )
    counts = [int(size * length + 1e-9) for length in lengths]
    for i in range(size - sum(counts)):
        counts[i % len(counts)] += 1
    return counts
