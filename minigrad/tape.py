"""The tape: the steps a backward pass walks along, whether it is running, and what was written into since.

Nodes point only at the nodes they came from, never at Tensors.  So there are no reference cycles, and a graph is freed
the moment its last Tensor is dropped.
"""
from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from functools import update_wrapper
from itertools import count
from typing import Any, NamedTuple
from weakref import ReferenceType, ref

import numpy as np

_recording: ContextVar[bool | Mode] = ContextVar("recording", default=True)
recording = _recording.get                      # is the tape running?  The only ambient state: True, False, or a Mode
_entered: ContextVar[tuple] = ContextVar("entered", default=())      # the `record` blocks we are in, and the modes before
_newest_first = count(0, -1)                    # order numbers count down, so that the smallest is the newest
FREED = object()                                # what a node holds once a backward pass has let go of what it kept


class Step:
    """How a gradient is carried back through a node; one Step may serve many nodes."""
    name = "step"
    fresh = False                               # is what `pull` gives always a new array, or `g`, or a view of `g`?

    def pull(self, node: Node, saved: Any, g: Any, again: bool) -> Any:
        """One gradient (or None) per parent of the node; `again` when they will be differentiated in their turn."""
        raise NotImplementedError

    def check(self, node: Node, pulled: Any) -> None:
        """Raise ValueError unless what `pull` gave fits the parents; asked of steps that are not `fresh`, a user's."""

    def add(self, saved: Any, g: Any, total: Any) -> bool:
        """Add the only parent's gradient to `total`, in place, instead of making it; False if that cannot be done."""
        return False


class Node:
    """A place on the tape: where a value came from, and what is needed to carry its gradient back.

    A leaf has no step, and keeps its gradient.
    """
    __slots__ = ("order", "parents", "shape", "dtype", "step", "saved", "grad", "hooks", "__weakref__")


_new = object.__new__                           # calling a class costs more than all else that is done here


def new_node(shape, dtype, parents=(), step=None, saved=()) -> Node:
    """A node, newer than all others."""
    node = _new(Node)
    node.order = next(_newest_first)
    node.shape, node.dtype, node.parents, node.step, node.saved = shape, dtype, parents, step, saved
    node.grad = node.hooks = None
    return node


# What was written into.  A write takes a number from the counter that orders the nodes: a node that kept an array is out
# of date if the array's memory has a newer number.  An op pays nothing for that, and all names of a memory share its
# number: views, detached Tensors, second Tensors on one array.

newest_write = 1                                # the number of the last write; newer nodes need not be looked at
MAX_PARTS = 64                                  # parts of one memory that are told apart; beyond that it counts as one
MAX_FOREIGN = 4096                              # writes that are remembered into memory that no array of ours owns
BORROWED = "DLPackMemory", "UnownedMemory"      # what CuPy calls memory that came from another library


class _Memory(NamedTuple):
    """The memory of an array that was written into: where it is, and the last write into each part of it."""
    owner: ReferenceType
    whole: tuple[int, int]
    parts: dict[tuple[int, int], int]           # {(begin, end): number}


_written: dict[int, _Memory] = {}               # by the id of the owner; it goes when its owner goes
_counts: dict[int, int] = {}                    # ... and how often it was written into
_foreign: dict[tuple[int, int], int] = {}       # the same for the memory of files and other libraries


def stamp(array: Any) -> None:
    """Note that `array` is written into now."""
    global newest_write
    newest_write = number = next(_newest_first)
    owner = _owner(array)
    if owner is None:
        place = _place(array)
        _foreign.pop(place, None)               # so that the oldest come first
        _foreign[place] = number
        if len(_foreign) > MAX_FOREIGN:
            del _foreign[next(iter(_foreign))]
        return
    key = id(owner)
    if key not in _written:
        def forget(_: Any, written: dict = _written, counts: dict = _counts) -> None:
            del written[key], counts[key]
        _written[key], _counts[key] = _Memory(ref(owner, forget), _place(owner), {}), 0
    _, whole, parts = _written[key]
    place = whole if owner is array else _place(array)
    if len(parts) >= MAX_PARTS and place not in parts:
        parts.clear()
        place = whole
    parts[place] = number
    _counts[key] += 1


def written_since(array: Any, order: int) -> bool:
    """Whether the memory of `array` was written into after the node with this order number was made."""
    owner = _owner(array)
    if owner is None:                           # another library may have lent it, or borrowed it: the address tells
        memories = [memory.parts for memory in list(_written.values())]
    else:
        memories = [_written[id(owner)].parts] if id(owner) in _written else []
    recent = [place for parts in [*memories, _foreign] for place, number in list(parts.items()) if number < order]
    if not recent:
        return False
    begin, end = _place(array)
    return any(low < end and begin < high for low, high in recent)


def version(array: Any) -> int:
    """A number that grows whenever the memory of `array` is written into: how often, if it is not another library's."""
    owner = _owner(array)
    return _counts.get(id(owner), 0) if owner is not None else -_foreign.get(_place(array), 0)


def changed(node: Node) -> Any:
    """The first of the arrays a node kept that was written into since; None if there is none."""
    return next((array for array in kept_arrays(node.saved) if written_since(array, node.order)), None)


def kept_arrays(saved: Any) -> Iterator[Any]:
    """The arrays in what a node kept, in tuples and lists of any depth."""
    stack = [saved]
    while stack:
        item = stack.pop()
        if isinstance(item, (tuple, list)):
            stack.extend(item)
        elif hasattr(item, "strides") and not isinstance(item, np.generic):
            yield item


def _owner(array: Any) -> Any:
    """The array that owns this one's memory, itself if it is no view; None where the memory is not an array's."""
    while (base := getattr(array, "base", None)) is not None:
        if not isinstance(base, type(array)):
            return None
        array = base
    borrowed = not isinstance(array, np.ndarray) and type(getattr(array.data, "mem", None)).__name__ in BORROWED
    return None if borrowed else array


def _place(array: Any) -> tuple[int, int]:
    """Where in memory an array begins and ends."""
    begin = array.__array_interface__["data"][0] if isinstance(array, np.ndarray) else array.data.ptr
    reach = [(n - 1) * stride for n, stride in zip(array.shape, array.strides)]
    end = begin + sum(step for step in reach if step > 0) + array.dtype.itemsize if array.size else begin
    return begin + sum(step for step in reach if step < 0), end


# How ops run

class Mode(NamedTuple):
    """How ops run where somebody wants to cast what they are given (amp.py), or to look on (insight/recording.py)."""
    on: bool = True                             # is the tape running?
    kernels: bool = True                        # may ops use fused kernels?
    given: Callable[[Any, tuple], tuple] = lambda op, inputs: inputs           # what an op is to compute with instead
    note: Callable[..., None] = lambda node, op, inputs, options, y: None      # called after each op; no node off the tape
    writes: Callable[[Any], None] = stamp       # called before an array is written into
    draws: Callable[[Any, Any], Any] = lambda rng, generator: generator        # called before random numbers are drawn

    def __bool__(self) -> bool:
        return self.on


def mode() -> Mode:
    """How ops run here: `record(lambda here: here._replace(...))` changes one thing about it, and leaves the others."""
    here = recording()
    return here if isinstance(here, Mode) else Mode(here)


def writing(array: Any) -> None:
    """To be called before anything is written into an array in place, by whoever does: see `stamp`."""
    mode().writes(array)


def switch(how: bool | Mode | Callable[[Mode], Mode]) -> Any:
    """Run in another mode from here on, until `switch_back` is given what this returns."""
    here = recording()
    if isinstance(how, bool):
        how = how if here is True or here is False else here._replace(on=how)
    elif not isinstance(how, Mode):
        how = how(mode())
    return _recording.set(how)


switch_back = _recording.reset


class record:
    """Run the body with the tape switched on or off, or in another mode, which may be a function of the mode it is in.

    Also a decorator, of functions, generators and coroutines.  One object may be entered again, also within itself.
    """
    def __init__(self, how: bool | Mode | Callable[[Mode], Mode]):
        self.how = how

    def __enter__(self) -> None:
        _entered.set((*_entered.get(), (self, recording())))
        switch(self.how)

    def __exit__(self, *error: Any) -> None:
        blocks = list(_entered.get())
        last = next((i for i in reversed(range(len(blocks))) if blocks[i][0] is self), None)
        if last is None:                        # a generator was closed from another context
            return
        before = blocks.pop(last)[1]
        if last == len(blocks):
            _recording.set(before)
        else:                                   # ... or while a block is open that was entered after it
            blocks[last] = blocks[last][0], before
        _entered.set(tuple(blocks))

    def __call__(self, function: Callable) -> Callable:
        how, flags = self.how, getattr(getattr(function, "__code__", None), "co_flags", 0)
        if flags & 0x20:                        # a generator function
            def front(*args: Any, **kwargs: Any) -> Any:
                return (yield from _Steps(how, function(*args, **kwargs)))
        elif flags & 0x80:                      # async def
            async def front(*args: Any, **kwargs: Any) -> Any:
                return await _Steps(how, function(*args, **kwargs))
        elif flags & 0x200:                     # async def with a yield in it
            async def front(*args: Any, **kwargs: Any) -> AsyncIterator:
                steps, sent = function(*args, **kwargs), None
                try:
                    while True:
                        sent = yield await _Steps(how, steps.asend(sent))
                except StopAsyncIteration:
                    return
                finally:
                    await steps.aclose()
        else:
            def front(*args: Any, **kwargs: Any) -> Any:
                with record(how):
                    return function(*args, **kwargs)
        return update_wrapper(front, function)


class _Steps:
    """A generator or coroutine that runs in a mode of its own, which ends whenever it hands over."""
    def __init__(self, how: Any, steps: Any):
        self.how, self.steps = how, steps

    def __iter__(self) -> _Steps:
        return self

    __await__ = __iter__

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        with record(self.how):
            return self.steps.send(value)

    def throw(self, *error: Any) -> Any:
        with record(self.how):
            return self.steps.throw(*error)

    def close(self) -> None:
        with record(self.how):
            self.steps.close()


def no_grad() -> record:
    """Compute without recording: `with mg.no_grad(): ...`, or `@mg.no_grad()` above a function."""
    return record(False)


def enable_grad() -> record:
    """Record again inside a `no_grad` block."""
    return record(True)
