"""One pass over a dataset: which items each batch has, how it is made, and what it takes to make it again."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from ..ops.random import global_generators
from ..transforms import generator_state, generators, set_generator_state

Shared = tuple[Any, Callable[[list], Any]]  # a dataset, and what makes a batch of a list of its items
METHODS = "__getitem__", "__iter__", "__call__"


class Made(NamedTuple):
    """A batch of so many items, and what is needed to go on after it as if none had been made since."""

    batch: Any
    size: int
    after: Any = None


def drawing(*roots: Any) -> list[Any]:
    """What datasets and collators draw random numbers from: they themselves, and the functions that make items."""
    return [*roots, *(getattr(type(root), name, None) for root in roots for name in METHODS)]


def own_generators(*roots: Any) -> list[Any]:
    """The random generators that datasets and collators may draw from, but for the global ones."""
    return generators(*drawing(*roots))[len(global_generators()) :]


def states(drawn: Iterable[Any]) -> list[Any]:
    """Where random generators are."""
    return [generator_state(generator) for generator in drawn]


def set_states(drawn: Iterable[Any], to: Iterable[Any]) -> None:
    """Put random generators where they were."""
    for generator, state in zip(drawn, to, strict=True):
        set_generator_state(generator, state)


class Watch:
    """Whether something draws from the global random generators: `drew` after the block."""

    def __enter__(self) -> Watch:
        self.drawn = generators()
        self.before = states(self.drawn)
        return self

    def __exit__(self, *_: Any) -> None:
        self.drew = pickle.dumps(states(self.drawn)) != pickle.dumps(self.before)


def reads_a_file(dataset: Any) -> bool:
    """Whether items come from an open file, whose position is one for all threads."""
    while dataset is not None:
        if any(isinstance(value, io.IOBase) for value in getattr(dataset, "__dict__", {}).values()):
            return True
        dataset = getattr(dataset, "dataset", None)
    return False


def made(shared: Shared, indices: Sequence[int], drawn: Sequence[Any] = ()) -> Made:
    """The batch of the items at some indices; with it, where the generators that it may draw from are then."""
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

    `batches` are the indices of each batch; where the loader's `batch_size` is changed, those that follow are cut anew.
    With `drawn`, batches are made one after the other, since they draw from these generators.
    """

    def __init__(self, shared: Shared, batches: Sequence[np.ndarray], size: int, drawn: Sequence[Any]):
        self.shared, self.first_size, self.size, self.drawn = shared, size, size, drawn
        self.ends = np.cumsum([len(batch) for batch in batches])
        self.order = np.concatenate(batches) if batches else np.empty(0, int)
        self.is_sent = False  # to processes, which have `shared`
        self.after = states(drawn)

    def end(self, at: int) -> int:
        """Where the batch ends that begins with the item at a position; there, if there are no more items."""
        end = min(at + self.size, len(self.order))
        if self.size == self.first_size and at < end:
            end = min(end, self.ends[np.searchsorted(self.ends, at, "right")])
        return int(end)

    def job(self, at: int, end: int) -> tuple:
        """The function that makes a batch, and its arguments."""
        indices = self.order[at:end]
        return (made, indices) if self.is_sent else (made, self.shared, indices, self.drawn)

    def given(self, result: Made) -> None:
        """Note that a batch was taken."""
        self.after = result.after

    def undo(self, results: list[Made], error: BaseException | None) -> None:
        """Batches were made in vain: put the generators where they were after the last one that was taken."""
        if self.drawn:
            set_states(self.drawn, self.after)


def read(items: Iterator[Any], collate: Callable[[list], Any], size: int, whole: bool, at: int) -> Made:
    """The batch of the next items, `after` being these; of size 0 after the last, or if it must be whole and is not."""
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
    """A pass over a dataset that gives its items one after the other, beginning after `skip` of them."""

    def __init__(self, shared: Shared, size: int, whole: bool, skip: int, drawn: Sequence[Any], begun: list[Any]):
        self.collate, self.size, self.whole = shared[1], size, whole
        everywhere = generators()
        before = states(everywhere)
        set_states(drawn, begun)  # so that the items that are left out draw what they drew
        self.items = iter(shared[0])
        for _ in range(skip):
            next(self.items, None)
        if skip:
            set_states(everywhere, before)

    def end(self, at: int) -> int:
        """Where the batch ends that begins with the item at a position, if there are so many."""
        return at + self.size

    def job(self, at: int, end: int) -> tuple:
        """The function that makes a batch, and its arguments."""
        return read, self.items, self.collate, end - at, self.whole, at

    def given(self, result: Made) -> None:
        """Note that a batch was taken."""

    def undo(self, results: list[Made], error: BaseException | None) -> None:
        """Batches were made in vain: give their items again, and the error that came after them."""
        self.items = chain(*(result.after for result in results), self.items if error is None else raising(error))


def raising(error: BaseException) -> Iterator[Any]:
    """An iterator that raises an error."""
    raise error
    yield
