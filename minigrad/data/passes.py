"""One pass over a dataset: the items of each batch, how it is made, and the random states needed to make it again."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from ..ops.random import global_generators
from ..transforms import generator_state, generators, set_generator_state

Shared = tuple[Any, Callable[[list], Any]]  # a dataset, and the function that makes a batch from a list of its items
METHODS = "__getitem__", "__iter__", "__call__"


class Made(NamedTuple):
    """A batch, its number of items, and what is needed to continue after it if later batches are discarded."""

    batch: Any
    size: int
    after: Any = None


def drawing(*roots: Any) -> list[Any]:
    """The objects in which to search for random generators: datasets, collators, and their methods that make items."""
    return [*roots, *(getattr(type(root), name, None) for root in roots for name in METHODS)]


def own_generators(*roots: Any) -> list[Any]:
    """The random generators that datasets and collators may draw from, except the global ones."""
    return generators(*drawing(*roots))[len(global_generators()) :]


def states(drawn: Iterable[Any]) -> list[Any]:
    """The states of random generators."""
    return [generator_state(generator) for generator in drawn]


def set_states(drawn: Iterable[Any], to: Iterable[Any]) -> None:
    """Restore the states of random generators."""
    for generator, state in zip(drawn, to, strict=True):
        set_generator_state(generator, state)


class Watch:
    """Detects draws from the global random generators in the block: `drew` is set after it."""

    def __enter__(self) -> Watch:
        self.drawn = generators()
        self.before = states(self.drawn)
        return self

    def __exit__(self, *_: Any) -> None:
        self.drew = pickle.dumps(states(self.drawn)) != pickle.dumps(self.before)


def reads_a_file(dataset: Any) -> bool:
    """Whether items come from an open file, whose position all threads share."""
    while dataset is not None:
        if any(isinstance(value, io.IOBase) for value in getattr(dataset, "__dict__", {}).values()):
            return True
        dataset = getattr(dataset, "dataset", None)
    return False


def made(shared: Shared, indices: Sequence[int], drawn: Sequence[Any] = ()) -> Made:
    """The batch of the items at some indices, with the states of its generators afterwards."""
    dataset, collate = shared
    items = []
    for i in indices:
        try:
            items.append(dataset[i])
        except Exception as error:
            error.add_note(f"in item {i} of the dataset")
            raise
    try:
        return Made(collate(items), len(items), states(drawn))
    except Exception as error:
        listed = ", ".join(map(str, indices[:8])) + ", …" * (len(indices) > 8)
        error.add_note(f"in the batch of the items {listed} of the dataset")
        raise


class Items:
    """A pass over the items of a dataset by their indices.

    `batches` are the indices of each batch; when the loader's `batch_size` is changed, the remaining indices are
    divided anew.  With `drawn`, batches are made one after the other, since they draw from these generators.
    """

    def __init__(self, shared: Shared, batches: Sequence[np.ndarray], size: int, drawn: Sequence[Any]):
        self.shared, self.first_size, self.size, self.drawn = shared, size, size, drawn
        self.ends = np.cumsum([len(batch) for batch in batches])
        self.order = np.concatenate(batches) if batches else np.empty(0, int)
        self.is_sent = False  # whether jobs are sent to processes, which have their own `shared`
        self.after = states(drawn)

    def end(self, at: int) -> int:
        """The end of the batch that begins at a position; the position itself if there are no more items."""
        end = min(at + self.size, len(self.order))
        if self.size == self.first_size and at < end:
            end = min(end, self.ends[np.searchsorted(self.ends, at, "right")])
        return int(end)

    def job(self, at: int, end: int) -> tuple:
        """The function that makes a batch, and its arguments."""
        indices = self.order[at:end]
        return (made, indices) if self.is_sent else (made, self.shared, indices, self.drawn)

    def given(self, result: Made) -> None:
        """Record that a batch was taken."""
        self.after = result.after

    def undo(self, results: list[Made], error: BaseException | None) -> None:
        """Discard batches: restore the generators to their states after the last batch that was taken."""
        if self.drawn:
            set_states(self.drawn, self.after)


def read(items: Iterator[Any], collate: Callable[[list], Any], size: int, whole: bool, at: int) -> Made:
    """The batch of the next items, which are its `after`; its size is 0 at the end, or if a full one is required."""
    found: list[Any] = []
    try:
        while len(found) < size:
            found.append(next(items))
    except StopIteration:
        pass
    except Exception as error:
        error.add_note(f"in item {at + len(found)} of the dataset")
        raise
    if not found or whole and len(found) < size:
        return Made(None, 0, found)
    return Made(collate(found), len(found), found)


class Stream:
    """A pass over an iterable dataset, beginning after `skip` items."""

    def __init__(self, shared: Shared, size: int, whole: bool, skip: int, drawn: Sequence[Any], begun: list[Any]):
        self.collate, self.size, self.whole = shared[1], size, whole
        everywhere = generators()
        before = states(everywhere)
        set_states(drawn, begun)  # so that the skipped items draw the same numbers again
        self.items = iter(shared[0])
        for _ in range(skip):
            next(self.items, None)
        if skip:
            set_states(everywhere, before)

    def end(self, at: int) -> int:
        """The end of the batch that begins at a position, if there are enough items."""
        return at + self.size

    def job(self, at: int, end: int) -> tuple:
        """The function that makes a batch, and its arguments."""
        return read, self.items, self.collate, end - at, self.whole, at

    def given(self, result: Made) -> None:
        """Record that a batch was taken."""

    def undo(self, results: list[Made], error: BaseException | None) -> None:
        """Discard batches: their items, and the error that came after them, come again."""
        self.items = chain(*(result.after for result in results), self.items if error is None else raising(error))


def raising(error: BaseException) -> Iterator[Any]:
    """An iterator that raises an error."""
    raise error
    yield
