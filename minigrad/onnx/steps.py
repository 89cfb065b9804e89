"""The steps of a forward pass as a list: which op, of which earlier steps, with which options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import ref

import numpy as np

from ..execution import Mode, record
from ..tensor import Tensor


class Value(NamedTuple):
    """What an input of the model holds, or what an earlier step computed."""

    name: str


@dataclass
class Step:
    """An op that ran.  Its inputs and options hold Values where arrays came from the model's input or another step."""

    op: str
    name: str
    inputs: tuple
    options: tuple
    shape: tuple[int, ...]
    dtype: np.dtype
    constant: np.ndarray | None  # what it computed, if that does not depend on the model's input


class Recording:
    """The steps of one call.  An array is known by its identity; the large ones are not kept alive."""

    def __init__(self, inputs: dict[str, np.ndarray]):
        self.inputs, self.steps = inputs, dict[str, Step]()
        self.known: dict[int, tuple[ref, Value]] = {}

    def run(self, function: Callable) -> Any:
        """function(**inputs), off the tape and without fused kernels, every op of it recorded."""
        given = {name: x if x.dtype.kind in "iu" else Tensor(x) for name, x in self.inputs.items()}
        for name, x in given.items():
            self._know(x.data if isinstance(x, Tensor) else x, name)
        with record(Mode(on=False, kernels=False, note=self._note)):
            return function(**given)

    def seen(self, x: Any) -> Any:
        """x with Values in place of the arrays that are known."""
        if isinstance(x, Tensor):
            return self.seen(x.data)
        if isinstance(x, np.ndarray):
            array, value = self.known.get(id(x), (None, None))
            return value if array is not None and array() is x else x
        if isinstance(x, (tuple, list)):
            parts = [self.seen(part) for part in x]
            return type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)
        return slice(*map(self.seen, (x.start, x.stop, x.step))) if isinstance(x, slice) else x

    def _note(self, node: Any, op: Any, inputs: tuple, options: tuple, y: np.ndarray) -> None:
        given, chosen = self.seen(inputs), self.seen(options)
        fixed = all(v.name in self.steps and self.steps[v.name].constant is not None for v in values((given, chosen)))
        name = f"{op.name}_{len(self.steps)}"
        self.steps[name] = Step(op.name, name, given, chosen, y.shape, y.dtype, y if fixed else None)
        self._know(y, name)

    def _know(self, array: np.ndarray, name: str) -> None:
        self.known[id(array)] = ref(array), Value(name)


def values(x: Any) -> list[Value]:
    """The Values in inputs or options."""
    if isinstance(x, Value):
        return [x]
    parts = x if isinstance(x, tuple) else (x.start, x.stop, x.step) if isinstance(x, slice) else ()
    return [value for part in parts for value in values(part)]
