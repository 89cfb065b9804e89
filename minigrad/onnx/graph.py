"""An ONNX graph under construction, made of two recordings of one forward pass.

A size or a constant that is equal in both recordings is written as it is.  What differs depends on the size of the
batch or the length of the texts: a size becomes a product of the two, and a constant, such as the numbers of the
positions, is written for the greatest length and cut.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain, combinations
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .rules import RULES
from .steps import Recording, Value


class Name(str):
    """The name of a tensor of the graph."""


@dataclass(frozen=True)
class Size:
    """A size that depends on the model's input: `factor` times the sizes of these of its axes."""

    axes: tuple[int, ...]
    factor: int


class Node(NamedTuple):
    """One operation: its name in ONNX, the names of its inputs ("" for one that is left out) and of its output."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


class Graph:
    """Nodes, constants, and the dtypes and numbers of axes of all that they compute.

    Args:
        first, second: recordings of the same function, the sizes of the open axes greater in the second.
        axes: the axes of the inputs whose size is left open.
        names: of weights, by the identity of their arrays.

    Raises:
        NotImplementedError: an op has no rule, or something depends on the input in a way that cannot be written.
    """

    def __init__(self, first: Recording, second: Recording, axes: tuple[int, ...], names: dict[Any, str]):
        self.first, self.second, self.names = first, second, {**names}
        self.nodes, self.constants = list[Node](), dict[Name, np.ndarray]()
        self.computed = {name: Name(name) for name in first.inputs}  # by the name of an input or a step
        self.dtypes: dict[str, np.dtype] = {name: x.dtype for name, x in first.inputs.items()}
        self.ranks = {name: x.ndim for name, x in first.inputs.items()}
        self.source = Name(next(iter(first.inputs)))  # the input that tells the sizes of the open axes
        self.measured = dict[int, Name]()  # these sizes, once they are asked for
        shapes = [recording.inputs[self.source].shape for recording in (first, second)]
        self.sizes = {axis: (shapes[0][axis], shapes[1][axis]) for axis in axes}
        if [*first.steps] != [*second.steps]:
            raise NotImplementedError(
                "the model takes other steps for an input of another size, but a graph has the same steps for all"
            )
        for name, step in first.steps.items():
            if not self._is_constant(name):
                other = second.steps[name]
                step = replace(
                    step,
                    inputs=self.both(step.inputs, other.inputs, step.op),
                    options=self.both(step.options, other.options, step.op),
                )
                if step.op not in RULES:
                    raise NotImplementedError(
                        f"the op {step.op} has no rule for ONNX: replace the layer that uses it, or write the rule, "
                        f'under @minigrad.onnx.rule("{step.op}")'
                    )
                self.computed[name] = y = RULES[step.op](self, step)
                self.dtypes[y], self.ranks[y] = step.dtype, len(step.shape)

    def add(self, kind: str, *inputs: str, **attributes: Any) -> Name:
        """The output of a new node."""
        y = Name(f"{kind}_{len(self.nodes)}")
        self.nodes.append(Node(kind, inputs, y, attributes))
        return y

    def call_it(self, name: str, x: Name) -> None:
        """Give a tensor another name, that of an output of the model."""
        self.nodes.append(Node("Identity", (x,), name, {}))

    def constant(self, array: Any, dtype: Any = None) -> Name:
        """The tensor that always holds this; one tensor for each array."""
        given, array = array, np.asarray(array, dtype)
        key = id(array) if given is array else (array.dtype.str, array.shape, array.tobytes())
        name = Name(self.names.setdefault(key, f"constant_{len(self.constants)}"))
        self.constants[name], self.dtypes[name], self.ranks[name] = array, array.dtype, array.ndim
        return name

    def of(self, x: Any, dtype: Any = None) -> Name:
        """An input or an option of a step as a tensor of the graph, of this dtype; "" for None."""
        if x is None:
            return Name("")
        if isinstance(x, Size):
            x = self.add("Squeeze", self.vector((x,)))
            self.dtypes[x] = np.dtype("int64")
        if not isinstance(x, Name):
            return self.constant(x, dtype)
        if dtype is None or self.dtypes[x] == dtype:
            return x
        y = self.add("Cast", x, to=np.dtype(dtype))
        self.dtypes[y] = np.dtype(dtype)
        return y

    def vector(self, sizes: tuple) -> Name:
        """Whole numbers, some of which may depend on the input, as a vector."""
        if not any(isinstance(n, Size) for n in sizes):
            return self.constant(sizes, np.int64)
        parts = [self._size(n) if isinstance(n, Size) else self.constant([n], np.int64) for n in sizes]
        return parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=0)

    def _size(self, size: Size) -> Name:
        """A size as a vector of one."""
        for axis in size.axes:
            if axis not in self.measured:
                self.measured[axis] = self.add("Shape", self.source, start=axis, end=axis + 1)
        parts = [self.measured[axis] for axis in size.axes]
        parts += [self.constant([size.factor], np.int64)] if size.factor > 1 else []
        y = parts[0]
        for part in parts[1:]:
            y = self.add("Mul", y, part)
        return y

    def both(self, one: Any, two: Any, op: str) -> Any:
        """What stands for `one` in the first recording and for `two` in the second."""
        if isinstance(one, Value) and one == two:
            if self._is_constant(one.name):
                return self.constant(self.first.steps[one.name].constant)
            return self.computed[one.name]
        if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
            return self._growing(one, two, op)
        if isinstance(one, tuple) and isinstance(two, tuple) and len(one) == len(two):
            parts = [self.both(*pair, op) for pair in zip(one, two, strict=True)]
            return type(one)(*parts) if hasattr(one, "_fields") else tuple(parts)
        if isinstance(one, slice) and isinstance(two, slice):
            return slice(*self.both((one.start, one.stop, one.step), (two.start, two.stop, two.step), op))
        if type(one) is type(two) and one == two:
            return one
        if isinstance(one, int) and isinstance(two, int) and (size := self.open(one, two)):
            return size
        raise NotImplementedError(f"{op} depends on the size of the input in a way that has no rule: {one} and {two}")

    def open(self, one: int, two: int) -> Size | None:
        """The size that is `one` in the first recording and `two` in the second."""
        for axes in chain.from_iterable(combinations(self.sizes, many + 1) for many in range(len(self.sizes))):
            small, large = (prod(self.sizes[axis][i] for axis in axes) for i in (0, 1))
            factor = one // small
            if factor and (one, two) == (factor * small, factor * large):
                return Size(axes, factor)
        return None

    def _growing(self, one: np.ndarray, two: np.ndarray, op: str) -> Name:
        """A constant; where it is longer in the second recording, it is that of the second, cut to its length."""
        if one.dtype == two.dtype and one.ndim == two.ndim:
            if one.shape == two.shape and np.array_equal(one, two):
                return self.constant(one)
            longer = [axis for axis, (n, m) in enumerate(zip(one.shape, two.shape)) if n != m]
            sizes = [self.open(one.shape[axis], two.shape[axis]) for axis in longer]
            begins = tuple(map(slice, one.shape))
            if longer and all(size and 0 not in size.axes for size in sizes) and np.array_equal(two[begins], one):
                ends = self.vector(tuple(sizes))
                starts, axes = (self.constant(n, np.int64) for n in ([0] * len(longer), longer))
                y = self.add("Slice", self.constant(two), starts, ends, axes)
                self.dtypes[y], self.ranks[y] = one.dtype, one.ndim
                return y
        raise NotImplementedError(
            f"{op} is given numbers that depend on the input, computed by NumPy and not by ops, which alone are "
            "recorded: write the layer with the functions of minigrad"
        )

    def _is_constant(self, name: str) -> bool:
        """Whether a step computes the same, whatever the input."""
        if name not in self.first.steps:
            return False
        one, two = (recording.steps[name].constant for recording in (self.first, self.second))
        return one is not None and two is not None and one.shape == two.shape and np.array_equal(one, two)
