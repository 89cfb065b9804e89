"""Names of torch, NumPy, JAX and Keras that are not here, and what to type instead: the table behind the errors.

A name is looked for in the table of its place, then in the one for all places; then among the names of the other rooms,
exactly or nearly; and then in NumPy, which computes on the values alone.  Every line of the tables runs: see
tests/test_elsewhere.py.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from .tables import ABSENT, ANYWHERE, METHODS, PLACES, SAYS

__all__ = ["ABSENT", "ANYWHERE", "METHODS", "PLACES", "Missing", "instead", "missing", "told"]
ROOMS = ("minigrad", *(f"minigrad.{room}" for room in "functional linalg nn losses optim schedule metrics".split()))
ON_VALUES = ", on the values alone, without a gradient"


def missing(place: str, name: str) -> AttributeError:
    """The error for a name that a module does not have.  What to type is looked for when the error is shown."""
    return Missing(place, name)


class Missing(AttributeError):
    """A module has no such name."""

    def __init__(self, place: str, name: str):
        super().__init__(f"module {place!r} has no attribute {name!r}")
        self.place = place
        self.asked = name

    def __str__(self) -> str:
        there = None if self.asked.startswith("__") else instead(self.place, self.asked)
        return self.args[0] + (f": {'' if there in ABSENT.values() else 'type '}{there}" if there else "")

    def __reduce__(self) -> tuple:
        return type(self), (self.place, self.asked)


def instead(place: str, name: str) -> str | None:
    """What to type for a name that `place` does not have; None if nothing is near."""
    for table in (PLACES.get(place, {}), ANYWHERE):
        if name in table:
            return told(name, table[name])
    if name in ABSENT:
        return ABSENT[name]
    tensor, absent = import_module("minigrad.tensor").Tensor, import_module("minigrad.methods").Absent
    for asked in dict.fromkeys((name, name.removesuffix("_copy").removesuffix("_ex").rstrip("_"))):
        for room in ROOMS:
            if (room, asked) != (place, name) and asked in _names(room):
                return f"mg{room[8:]}.{asked}"
        if asked in METHODS:
            return told(asked, METHODS[asked])
        if hasattr(tensor, asked) and not isinstance(getattr(tensor, asked), absent):
            return f"x.{asked}" + "(…)" * callable(getattr(tensor, asked))
    from difflib import get_close_matches  # takes a millisecond to import, which errors alone can spare

    for room in (place, *ROOMS):
        known = {each.lower(): each for each in _names(room)}
        if near := get_close_matches(name.lower(), known, 1, 0.75):
            return f"mg{room[8:]}.{known[near[0]]}"
    if callable(getattr(np, name, None)) and not isinstance(getattr(np, name), type):
        return f"np.{name}(x.numpy(), …)" + ON_VALUES
    return None


def told(name: str, line: str) -> str:
    """What the error says of a line of the tables."""
    return SAYS.get(name, line + ON_VALUES * (".numpy()" in line))


def _names(room: str) -> list[str]:
    """What a room offers: names of ours, those included that are read when first used."""
    module = import_module(room)
    return [
        name
        for name in getattr(module, "__all__", dir(module))
        if not name.startswith("_") and _ours(vars(module).get(name))
    ]


def _ours(value: Any) -> bool:
    return not isinstance(value, ModuleType) and str(getattr(value, "__module__", "minigrad")).startswith("minigrad")
