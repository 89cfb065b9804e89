"""What the entries of a model's configuration files may be: their kinds, and the ranges of numbers by name, in one table."""
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any

LARGEST, LONGEST_TEXT = 2**31 - 1, 1000
RANGES = {                                      # of the numbers whose names match, whole or not; the first that matches counts
    r"num_labels": (1, 1_000_000),
    r".*_token_id": (0, LARGEST),
    r"max_window_layers": (0, LARGEST),
    r".*drop.*|.*momentum": (0, 1),
    r".*(eps|epsilon)": (0, 1),
    r"initializer_.*": (0, 1_000_000),
    r"rope_theta|(.*_)?factor": (1e-6, 1e10),
    r"depth_multiplier|expand_ratio": (0.01, 100),
    r"crop_pct": (0.1, 1),
    r"rescale_factor": (0, 1_000_000),
    r"resample": (0, 5),
    r"image_mean": (-1_000_000, 1_000_000),
    r"image_std": (1e-6, 1_000_000),
    r"model_max_length": (1, inf),              # 1e30 stands for no limit
}
WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text", "list": "a list of them",
         "dict": "an object", "None": "null"}


def check(name: str, value: Any, kinds: str, where: str = "the configuration") -> None:
    """Hold a value against its kinds, such as "int | list[int] | None", where a word in quotes stands for itself.

    Whole numbers are 1 or more, other numbers finite, unless the table says otherwise.

    Raises ValueError, which names the entry, what it is, and what was expected.
    """
    options = kinds.split(" | ")
    if any(_is(name, value, kind) for kind in options):
        return
    expected = " or ".join(_expected(name, value, kind) for kind in options)
    raise ValueError(f"{name} is {shown(value)} in {where}; expected {expected}")


def shown(value: Any) -> str:
    """The value as Python writes it, cut after 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


@contextmanager
def found_in(source: Any) -> Iterator[None]:
    """A ValueError in the block is raised with the name of the file or directory in front, unless it has it already."""
    try:
        yield
    except ValueError as error:
        raise error if str(source) in str(error) else ValueError(f"{source}: {error}") from None


def _range(name, kind):
    low, high = next((limits for pattern, limits in RANGES.items() if re.fullmatch(pattern, name)), (None, None))
    return (low, high) if low is not None else (1, LARGEST) if kind == "int" else (-inf, inf)


def _is(name, value, kind):
    outer, _, inner = kind.rstrip("]").partition("[")
    if kind.startswith("'"):
        return value == kind.strip("'")
    if outer == "list":
        return isinstance(value, (list, tuple)) and len(value) > 0 and (
            not inner or all(_is(name, item, inner) for item in value))
    if outer in ("int", "float"):
        of = Integral if outer == "int" else Real
        low, high = _range(name, outer)
        return isinstance(value, of) and not isinstance(value, bool) and low <= value <= high and (
            isinstance(value, Integral) or isfinite(value))
    if outer == "str" and isinstance(value, str) and len(value) > LONGEST_TEXT:
        return False
    return isinstance(value, {"bool": bool, "str": str, "dict": Mapping, "None": type(None)}[outer])


def _expected(name, value, kind):
    outer = kind.partition("[")[0]
    if outer == "str" and isinstance(value, str):
        return f"a text of at most {LONGEST_TEXT} characters"
    if outer not in ("int", "float"):
        return WORDS.get(outer, outer)
    low, high = _range(name, outer)
    if low == -inf:
        return WORDS[outer]
    most = high < inf and (outer == "float" or isinstance(value, Real) and value > high)
    return f"{WORDS[outer]}, {low} or more" + f" and at most {high}" * most
