"""Divides a dataset into batches, in an order that depends only on the seed and the epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from inspect import signature
from typing import Any
from zlib import crc32

import numpy as np

from ..errors import is_whole
from ..ops.random import drawn_seed
from ..places import warn
from .datasets import Dataset, IterableDataset, at_epoch
from .passes import Items, Made, Stream, Watch, own_generators, reads_a_file, states
from .samplers import Sampler
from .workers import Ahead, Processes, Threads

BLOCK = 50  # the number of batches among which items are sorted by length
INSTEAD = {  # what to type instead of torch's arguments that are not here
    "collate_fn": "type collate=, a function of a list of items",
    "batch_sampler": "give DataLoader(Subset(dataset, indices), batch_size) the items in the order wanted",
    "generator": "type seed=0, of which the order is a function",
    "worker_init_fn": "leave it out: the batches are the same with any number of workers",
    "pin_memory": "leave it out: the Tensors that a loop makes of a batch are copied to their device at once",
    "persistent_workers": "leave it out: a thread costs nothing to start",
    "timeout": "leave it out",
}


class DataLoader:
    """Batches of `batch_size` items, each made by `collate` from a list of items (by default, the list itself).

    With `lengths`, one number per item, a batch holds items of similar length and so needs little padding: items are
    sorted within blocks of 50 batches, and with `shuffle` the contents of the blocks and the order of the batches are
    random.  A `sampler` determines which items a pass takes, and how often: a `RandomSampler`, a
    `WeightedRandomSampler`, another object with a length and `indices(rng)`, or a list of indices for every pass.  With
    `drop_last` a remainder smaller than a batch is left out, a different one in each epoch if shuffled.  The items of
    an `IterableDataset` come in its own order.

    `epoch` counts the passes begun, and may be set: `loader.epoch = 3` makes the next pass that of the fourth epoch.
    `position` counts the items that the current pass has yielded.  `state_dict` and `load_state_dict` save and restore
    both, so that the next pass is the rest of the interrupted one.  `batch_size` may be set during a pass: the order of
    the items stays the same, and later batches have the new size.

    The order depends on `seed` and the epoch.  Without a seed, a shuffling loader draws one from the generator of
    `mg.seed`, and uses 0 if that was not called.

    With `num_workers`, batches are made in that many threads while the loop works, up to `prefetch_factor` ahead for
    each of them; the batches and their order are the same.  To ensure this, a single thread makes all batches if items
    are read from an open file, if the dataset is iterable, or if the dataset or `collate` draws from its own random
    generator; and workers are not used if they draw from the global generators of Python and NumPy, which the loop may
    use at the same time.  Otherwise `dataset[i]` is called from several threads at a time, and must not change the
    dataset.  `multiprocessing_context="spawn"` uses processes instead, for items computed in Python code.

    Raises:
        ValueError, TypeError: an argument is out of range or does not fit the dataset, or the dataset cannot be sent to
            a process.
        Exception: any error of an item, with a note of its index.
    """

    def __init__(
        self,
        dataset: Dataset | IterableDataset,
        batch_size: int = 1,
        shuffle: bool = False,
        seed: int | None = None,
        collate: Callable[[list], Any] = list,
        drop_last: bool = False,
        lengths: Sequence[int] | None = None,
        num_workers: int = 0,
        prefetch_factor: int = 2,
        multiprocessing_context: str | None = None,
        sampler: Sampler | Sequence[int] | np.ndarray | None = None,
        **unknown: Any,
    ):
        for name in unknown:
            known = ", ".join(signature(DataLoader).parameters)
            raise TypeError(f"DataLoader has no argument {name!r}: {INSTEAD.get(name, f'it has {known}')}")
        if batch_size is None:
            raise TypeError("batch_size is None; expected a whole number: for single items, loop over the dataset")
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("num_workers", num_workers, 0),
            ("prefetch_factor", prefetch_factor, 1),
            ("seed", 0 if seed is None else seed, 0),
        ):
            if not is_whole(value):
                raise TypeError(f"{name} is {value!r}; expected a whole number of at least {least}")
            if value < least:
                raise ValueError(f"{name} is {value}; expected at least {least}")
        self.is_iterable = not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"))
        chosen = shuffle or not (lengths is None and multiprocessing_context is None and sampler is None)
        if self.is_iterable and chosen:
            raise ValueError(
                f"a {type(dataset).__name__} has no length and no items by index, so it cannot be shuffled, sampled, "
                "sorted by lengths, or read in processes: leave out shuffle, sampler, lengths and "
                "multiprocessing_context, or give a list"
            )
        if self.is_iterable and (not hasattr(dataset, "__iter__") or iter(dataset) is dataset):
            raise TypeError(
                f"the dataset is a {type(dataset).__name__}; expected one with a length and items by index, or an "
                "object whose __iter__ begins anew in each pass, such as a list"
            )
        items: Any = dataset
        if lengths is not None and len(lengths) != len(items):
            raise ValueError(f"{len(lengths)} lengths for {len(items)} items; expected one per item")
        if sampler is not None:
            check_sampler(sampler, shuffle)
        self.dataset: Any = dataset
        self.batch_size, self.shuffle = batch_size, shuffle
        self.seed_given = seed is not None
        self.seed = seed if seed is not None else drawn_seed() if shuffle or hasattr(sampler, "indices") else 0
        self.collate, self.drop_last, self.lengths, self.sampler = collate, drop_last, lengths, sampler
        self.num_workers, self.prefetch_factor = num_workers, prefetch_factor
        self.multiprocessing_context = multiprocessing_context
        self.epoch = self.position = 0
        self.given = 0 if self.is_iterable else self.taken  # items in a pass; with drop_last it may be fewer
        self._start = 0  # the number of items that the next pass skips, since they were yielded before
        self._first_size = batch_size  # the size with which items are grouped by length
        self._begun: list[Any] | None = None  # generator states at the beginning of a pass of an iterable dataset
        self._ahead: Ahead | None = None  # the batches of the current pass that were made ahead

    @property
    def taken(self) -> int:
        """The number of items of a pass, before `drop_last` leaves some out."""
        return len(self.dataset if self.sampler is None else self.sampler)

    def __len__(self) -> int:
        """The number of batches in an epoch.  Raises TypeError for an iterable dataset."""
        full, rest = divmod(self.taken, self._first_size)
        return full + (rest > 0 and not self.drop_last)

    def batches(self, epoch: int) -> list[np.ndarray]:
        """The indices of the items in each batch of that epoch."""
        size, rng = self._first_size, np.random.default_rng([self.seed, epoch])
        order = self._indices(rng)
        order = order[: len(self) * size]
        if self.lengths is not None:
            block = np.arange(len(order)) // (BLOCK * size)
            order = order[np.lexsort((-np.asarray(self.lengths)[order], block))]  # by block first, then longest first
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        # Otherwise every block would run from its longest item to its shortest.
        if self.shuffle and self.lengths is not None:
            batches = [batches[i] for i in rng.permutation(len(batches))]
        return batches

    def _indices(self, rng: np.random.Generator) -> np.ndarray:
        """The indices of the items of a pass, in the order of the sampler."""
        size = len(self.dataset)
        if self.sampler is None:
            return rng.permutation(size) if self.shuffle else np.arange(size)
        order = self.sampler.indices(rng) if isinstance(self.sampler, Sampler) else np.asarray(self.sampler)
        if len(order) and not 0 <= order.min() <= order.max() < size:
            raise ValueError(
                f"the sampler gives indices from {order.min()} to {order.max()}; expected 0 to {size - 1}, since the "
                f"dataset has {size} items"
            )
        return order

    def __iter__(self) -> Iterator[Any]:
        epoch, at = self.epoch, self._start
        self.epoch, self._start = epoch + 1, 0
        dataset = at_epoch(self.dataset, epoch)
        source = self._stream(dataset, at) if self.is_iterable else self._items(dataset, epoch)
        self._ahead = ahead = Ahead(source, None, self.num_workers * self.prefetch_factor)
        first = self.num_workers > 0
        try:
            while source.end(at) > at:
                result = self._first(ahead, at) if first else ahead.take(at)
                if not result.size:
                    break
                first = False
                self.position = at = at + result.size
                yield result.batch
                source.size = self.batch_size  # which the loop may have changed
        finally:
            ahead.close()
            if self._ahead is ahead:
                self._ahead = None
        self.position = 0

    def _items(self, dataset: Any, epoch: int) -> Items:
        batches = self.batches(epoch)
        self.given = sum(map(len, batches))
        drawn = own_generators(dataset, self.collate) if self.num_workers else []
        source = Items((dataset, self.collate), batches, self._first_size, drawn)
        source.size = self.batch_size
        return source

    def _stream(self, dataset: Any, at: int) -> Stream:
        drawn = own_generators(dataset, self.collate)
        if not at or self._begun is None:
            self._begun = states(drawn)
        return Stream((dataset, self.collate), self.batch_size, self.drop_last, at, drawn, self._begun)

    def _first(self, ahead: Ahead, at: int) -> Made:
        """The first batch, made in this thread to see what it draws from, which decides how the next ones are made."""
        with Watch() as watch:
            result = ahead.take(at)
        if watch.drew:
            warn(
                "an item or a batch draws from the global random generators of Python or NumPy, so batches are made "
                "without workers: for the same numbers with any number of workers, give the dataset a generator of its "
                "own, such as self.rng = np.random.default_rng(0)"
            )
        else:
            ahead.pool = self._pool(ahead.source)
            if ahead.pool is not None and result.size:
                ahead.submit(ahead.pool, at + result.size)
        return result

    def _pool(self, source: Items | Stream) -> Threads | Processes | None:
        """The workers: the number asked for, or one if batches must be made one after the other."""
        if isinstance(source, Stream):  # an iterator that draws random numbers cannot be rewound
            return None if self._begun else Threads(1)
        if self.multiprocessing_context is not None:
            if source.drawn:
                raise ValueError(
                    "the dataset or its collate function draws from a random generator of its own, of which each "
                    "process would have a copy that gives the same numbers: leave multiprocessing_context out"
                )
            source.is_sent = True
            return Processes(self.num_workers, self.multiprocessing_context, source.shared)
        return Threads(1 if source.drawn or reads_a_file(self.dataset) else self.num_workers)

    def settle(self) -> None:
        """Discard the batches that were made ahead, so that all generators are in the same state as without workers."""
        if self._ahead is not None:
            self._ahead.discard()

    def done(self) -> float:
        """The fraction of the current pass that is done, 0 to 1, counted in batches of the size it began with."""
        return 1.0 if self.position == self.given else -(-self.position // self._first_size) / len(self)

    def end_pass(self) -> None:
        """Skip the rest of the current pass; the next pass is a new one."""
        self.epoch += self._start > 0
        self.position = self._start = 0

    def state_dict(self) -> dict[str, Any]:
        """The position in the current pass, and the values that the order depends on."""
        self.settle()
        begun = self.position > 0 and not self._start
        generators = {"generators": self._begun} if self._begun else {}
        return {"epoch": self.epoch - begun, "position": self.position, **self._order(), **generators}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the position at which `state_dict()` was called: the next pass is the rest of that one.

        Raises:
            ValueError: it was saved with other data or other batches, in another order.
        """
        if not self.seed_given:
            self.seed = state_dict["seed"]
        if differing := [name for name, value in self._order().items() if state_dict.get(name) != value]:
            name = differing[0]
            raise ValueError(
                f"the saved position is in other batches: {name} was {state_dict.get(name)}, here it is "
                f"{self._order()[name]}; give the same dataset and the same arguments, or begin anew"
            )
        self.epoch, self.position, self._start = state_dict["epoch"], state_dict["position"], state_dict["position"]
        self._begun = state_dict.get("generators")

    def _order(self) -> dict[str, Any]:
        """The values, besides the epoch, that the order of the items depends on."""
        lengths = None if self.lengths is None else crc32(np.asarray(self.lengths, np.int64).tobytes())
        return {
            "items": None if self.is_iterable else len(self.dataset),
            "batch_size": self._first_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "drop_last": self.drop_last,
            "lengths": lengths,
            "sampler": None if self.sampler is None else self._drawn_by_sampler(),
        }

    def _drawn_by_sampler(self) -> int:
        """A number that two samplers share if they draw the same items."""
        return crc32(self._indices(np.random.default_rng(0)).astype(np.int64).tobytes())


def check_sampler(sampler: Any, shuffle: bool) -> None:
    """Raise TypeError for anything but a sampler or indices, and ValueError if `shuffle` is set as well."""
    if shuffle:
        raise ValueError("shuffle=True with a sampler, which sets the order: leave one of them out")
    drawn = isinstance(sampler, Sampler)
    if not drawn and not (isinstance(sampler, (Sequence, np.ndarray)) and np.asarray(sampler).dtype.kind in "iu"):
        raise TypeError(
            f"the sampler is a {type(sampler).__name__}; expected a list of indices, or an object with a length and a "
            "method indices(rng), such as minigrad.data.RandomSampler(dataset)"
        )
