"""Cuts a dataset into batches, in an order that is a function of the seed and the epoch and nothing else."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol
from zlib import crc32

import numpy as np

BLOCK = 50  # batches among which items are sorted by length


class Dataset(Protocol):
    """Anything with a length and an item for each index, a list included."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Subset:
    """The items of `dataset` at `indices`, in that order."""

    def __init__(self, dataset: Dataset, indices: Sequence[int]):
        self.dataset, self.indices = dataset, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]


class DataLoader:
    """Batches of `batch_size` items, each made by `collate` from a list of items (by default, the list itself).

    With `lengths`, one number per item, a batch holds items of similar length, so that little of it is padding: items
    are sorted within blocks of 50 batches, and with `shuffle` the blocks' contents and the order of the batches stay
    random. With `drop_last` a remainder smaller than a batch is left out, a different one each epoch if shuffled.

    `epoch` counts the passes begun, and may be set: `loader.epoch = 3` makes the next pass that of the fourth epoch.
    `position` counts the items that the pass under way has given; `state_dict` and `load_state_dict` save and restore
    both, so that the next pass is the rest of the one that was under way.  `batch_size` may be set during a pass: the
    order of the items stays the same, and the batches that follow have the new size.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        seed: int = 0,
        collate: Callable[[list], Any] = list,
        drop_last: bool = False,
        lengths: Sequence[int] | None = None,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; expected at least 1")
        if lengths is not None and len(lengths) != len(dataset):
            raise ValueError(f"{len(lengths)} lengths for {len(dataset)} items; expected one per item")
        self.dataset, self.batch_size, self.shuffle, self.seed = dataset, batch_size, shuffle, seed
        self.collate, self.drop_last, self.lengths = collate, drop_last, lengths
        self.epoch = self.position = 0
        self.given = len(dataset)  # how many items a pass gives; with drop_last it may be fewer
        self._start = 0  # the items that the next pass leaves out, since they were given
        self._first_size = batch_size  # by which items of similar length are brought together

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        full, rest = divmod(len(self.dataset), self._first_size)
        return full + (rest > 0 and not self.drop_last)

    def batches(self, epoch: int) -> list[np.ndarray]:
        """The indices of the items in each batch of that epoch."""
        size, rng = self._first_size, np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.dataset)) if self.shuffle else np.arange(len(self.dataset))
        order = order[: len(self) * size]
        if self.lengths is not None:
            block = np.arange(len(order)) // (BLOCK * size)
            order = order[np.lexsort((-np.asarray(self.lengths)[order], block))]  # by block first, then longest first
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        # Otherwise every block would run from its longest item to its shortest.
        if self.shuffle and self.lengths is not None:
            batches = [batches[i] for i in rng.permutation(len(batches))]
        return batches

    def __iter__(self) -> Iterator[Any]:
        epoch, at = self.epoch, self._start
        self.epoch, self._start = epoch + 1, 0
        batches = self.batches(epoch)
        self.given = sum(map(len, batches))
        ends = np.cumsum([len(batch) for batch in batches])
        order = np.concatenate(batches) if batches else np.empty(0, int)
        while at < len(order):
            end = at + self.batch_size  # which may have been set to another number meanwhile
            if self.batch_size == self._first_size:
                end = min(end, ends[np.searchsorted(ends, at, "right")])
            items = self.collate([self.dataset[i] for i in order[at:end]])
            self.position = at = int(min(end, len(order)))
            yield items
        self.position = 0

    def done(self) -> float:
        """How much of the pass under way is done, 0 to 1, counted in batches of the size it began with."""
        return 1.0 if self.position == self.given else -(-self.position // self._first_size) / len(self)

    def end_pass(self) -> None:
        """Leave out the rest of the pass under way: the next one is new."""
        self.epoch += self._start > 0
        self.position = self._start = 0

    def state_dict(self) -> dict[str, Any]:
        """Where the pass under way has come to, and what its order depends on."""
        begun = self.position > 0 and not self._start
        return {"epoch": self.epoch - begun, "position": self.position, **self._order()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the batch at which `state_dict()` was called: the next pass is the rest of that one.

        Raises:
            ValueError: it was saved for other data or other batches, so that the order would be another one.
        """
        if differing := [name for name, value in self._order().items() if state_dict[name] != value]:
            name = differing[0]
            raise ValueError(
                f"the saved position is in other batches: {name} was {state_dict[name]}, here it is "
                f"{self._order()[name]}; give the same dataset and the same arguments, or begin anew"
            )
        self.epoch, self.position, self._start = state_dict["epoch"], state_dict["position"], state_dict["position"]

    def _order(self) -> dict[str, Any]:
        """What the order of the items is a function of, beside the epoch."""
        lengths = None if self.lengths is None else crc32(np.asarray(self.lengths, np.int64).tobytes())
        return {
            "items": len(self.dataset),
            "batch_size": self._first_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "drop_last": self.drop_last,
            "lengths": lengths,
        }
