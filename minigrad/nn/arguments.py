"""`@checked` above an `__init__` checks the arguments of a layer against the annotations of its signature."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from numbers import Integral, Real
from typing import Any

import numpy as np

KINDS = {
    "bool": ((bool, np.bool_), "True or False"),
    "int": (Integral, "a whole number"),
    "float": (Real, "a number"),
    "str": (str, "text"),
}
SMALLEST = {
    "padding_idx": -math.inf,
    "start_dim": -math.inf,
    "end_dim": -math.inf,
    "dim": -math.inf,
}  # minimum of an int; 0 for all others
ELSEWHERE = {  # torch's arguments that no layer has, and what to do instead
    "inplace": "Tensors are not overwritten: leave it out",
    "device": 'type layer.to("cuda")',
    "dtype": 'type layer.to("float16")',
    "return_indices": "the indices are not returned: leave it out",
    "size_average": 'type reduction="mean" or "sum"',
    "reduce": 'type reduction="none"',
}
RANGES = {"eps": (0, math.inf), "layer_norm_eps": (0, math.inf), "momentum": (0, 1)}


def checked(init: Callable) -> Callable:
    """Refuse arguments that are not of the kind they are annotated with, or out of range, before the layer is made.

    Without this `bias="False"` would mean True, and a negative eps would first show as NaN.  Parameters annotated
    bool, int, float or str, or one of these or None, are checked.

    Raises:
        TypeError: an argument is of another kind, or is none of the layer's.
        ValueError: a number is out of range, or not finite.
    """
    code = init.__code__
    names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    by_position = names[: code.co_argcount - 1]
    kinds = {name: [part.strip() for part in str(init.__annotations__.get(name)).split("|")] for name in names}

    @wraps(init)
    def front(self: Any, *given: Any, **named: Any) -> None:
        if len(given) > len(by_position) and not code.co_flags & 0x04:  # (*args)
            takes = ", ".join(by_position) or "nothing"
            raise TypeError(f"{type(self).__name__} takes {takes} by position, but was given {len(given)} arguments")
        for name in named:
            if name not in names and not code.co_flags & 0x08:  # (**kwargs)
                more = f": {ELSEWHERE[name]}" if name in ELSEWHERE else f"; it has {', '.join(names)}"
                raise TypeError(f"{type(self).__name__} has no argument {name!r}{more}")
        for name, value in {**dict(zip(names, given)), **named}.items():
            first, *rest = kinds.get(name, ["Any"])
            if first in KINDS and rest in ([], ["None"]) and not (value is None and rest):
                _check(f"{type(self).__name__}: {name}={value!r}", name, value, first, " or None" if rest else "")
        init(self, *given, **named)

    return front


def _check(told: str, name: str, value: Any, kind: str, or_none: str) -> None:
    kinds, words = KINDS[kind]
    if not isinstance(value, kinds) or (kind != "bool" and isinstance(value, (bool, np.bool_))):
        raise TypeError(f"{told} must be {words}{or_none}")
    low, high = RANGES.get(name, (SMALLEST.get(name, 0), math.inf) if kind == "int" else (-math.inf, math.inf))
    if kind in ("int", "float") and not (low <= value <= high and math.isfinite(value)):
        at_least = f", {low} or more" if low > -math.inf else ", and finite"
        limits = f" from {low} to {high}" if high < math.inf else at_least
        raise ValueError(f"{told} must be {words}{limits}{or_none}")
