"""The record of what was written into, so that a backward pass never uses a value that is no longer what it was.

A write takes a number from the counter that orders the nodes: an array that a node kept is out of date if its memory
has a newer number.  Ops pay nothing for this.  All names of a memory share its number: views, detached Tensors, second
Tensors on one array.
"""

from __future__ import annotations

from collections.abc import Iterator
from sys import getrefcount
from typing import Any, NamedTuple
from weakref import ReferenceType, ref

import numpy as np

from .tape import FREED, Node, order_numbers

newest_write = 1  # the number of the last write; newer nodes need not be looked at
MAX_PARTS = 64  # parts of one memory that are told apart; beyond that it counts as one
MAX_FOREIGN = 4096  # writes that are remembered into memory that no array of ours owns
BORROWED = "DLPackMemory", "UnownedMemory"  # what CuPy calls memory that came from another library


class _Memory(NamedTuple):
    """The memory of an array that was written into: where it is, and the last write into each part of it."""

    owner: ReferenceType
    whole: tuple[int, int]
    parts: dict[tuple[int, int], int]  # {(begin, end): number}


_written: dict[int, _Memory] = {}  # by the id of the owner; it goes when its owner goes
_counts: dict[int, int] = {}  # ... and how often it was written into
_foreign: dict[tuple[int, int], int] = {}  # the same for the memory of files and other libraries


def stamp(array: Any) -> None:
    """Note that `array` is written into now."""
    global newest_write
    newest_write = number = next(order_numbers)
    owner = _owner(array)
    if owner is None:
        place = _place(array)
        _foreign.pop(place, None)  # so that the oldest come first
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
    if owner is None:  # another library may have lent it, or borrowed it: the address tells
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


def check_kept(node: Node) -> None:
    """Refuse to go back through a step whose values are gone or are no longer what they were.

    Raises:
        RuntimeError: a backward pass has freed them, or they were written into.
    """
    if node.saved is FREED:
        raise RuntimeError(
            f"the graph behind this {node.step.name} was already freed by a backward pass: "
            "run the forward pass again, or give the first backward retain_graph=True"
        )
    if (array := changed(node)) is not None:
        raise RuntimeError(
            f"{node.step.name} needs the value of a Tensor of shape {tuple(array.shape)} that was "
            "written into after the forward pass (by an optimiser step, copy_, or x += y, by whatever name): "
            "call backward before changing it"
        )


def check_own_places(array: Any) -> None:
    """Refuse to write into a broadcast array, as NumPy does; CuPy would write into all entries that share a place.

    Raises:
        ValueError: several entries lie in one place, or the array is read-only.
    """
    if array.size and 0 in array.strides and any(n > 1 and not stride for n, stride in zip(array.shape, array.strides)):
        raise ValueError(
            f"an array of shape {tuple(array.shape)} that was broadcast cannot be written into, since entries share "
            "their places: copy it first, mg.tensor(x)"
        )
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        raise ValueError(
            f"an array of shape {tuple(array.shape)} is read-only and cannot be written into: copy it first, "
            "mg.tensor(x)"
        )


def is_view(array: Any) -> bool:
    """Whether an array shows memory of another array that somebody else holds, too."""
    return isinstance(array.base, type(array)) and getrefcount(array.base) > 2  # held by `array`, and for the call


def is_held(x: Any) -> bool:
    """Whether anything but the Tensor x and the step that made it holds its array: a view, another Tensor, an op."""
    kept = sum(array is x.data for array in kept_arrays(x.node.saved)) if x.node is not None else 0
    return getrefcount(x.data) > 2 + kept  # held by x, and for the call


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
    """The array that owns the memory of this one, itself if it is not a view; None if no array owns it."""
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
