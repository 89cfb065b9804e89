"""The kinds and ranges that entries of a model's configuration files may have, in one table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any

MAX_INT, MAX_TEXT = 2**31 - 1, 1000  # of whole numbers; characters of a text
RANGES: dict[str, tuple[float, float]] = {  # of numbers whose names match, whole or not; the first match counts
    r"num_labels": (1, 1_000_000),
    r".*_token_id|(begin_)?suppress_tokens|bad_words_ids|sequence_bias": (0, MAX_INT),
    r"max_window_layers": (0, MAX_INT),
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
    r"model_max_length": (1, inf),  # 1e30 stands for no limit
}
WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "list": "a list",
    "dict": "an object",
    "None": "null",
}


def check(name: str, value: Any, kinds: str, where: str = "the configuration") -> None:
    """Check a value against kinds such as "int | list[int] | None"; a word in quotes stands for itself.

    Whole numbers must be at least 1 and other numbers finite, unless RANGES says otherwise.

    Raises ValueError, which names the entry, its value, and what was expected.
    """
    if not is_kind(name, value, kinds):
        options = kinds.split(" | ")
        expected = " or ".join(_expected(name, value, kind, options) for kind in options)
        raise ValueError(f"{name} is {shown(value)} in {where}; expected {expected}")


def is_kind(name: str, value: Any, kinds: str) -> bool:
    """Whether `check` accepts the value."""
    return any(_is(name, value, kind) for kind in kinds.split(" | "))


def shown(value: Any) -> str:
    """The value as Python writes it, cut after 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


@contextmanager
def found_in(source: Any) -> Iterator[None]:
    """Put the name of the file or directory in front of a ValueError raised in the block, unless it contains it."""
    try:
        yield
    except ValueError as error:
        raise error if str(source) in str(error) else ValueError(f"{source}: {error}") from None


def _range(name: str, kind: str) -> tuple[float, float]:
    default = (1, MAX_INT) if kind == "int" else (-inf, inf)
    return next((limits for pattern, limits in RANGES.items() if re.fullmatch(pattern, name)), default)


def _is(name: str, value: Any, kind: str) -> bool:
    outer, _, inner = kind.removesuffix("]").partition("[")
    if kind.startswith("'"):
        return value == kind.strip("'")
    if outer == "list":
        return (
            isinstance(value, (list, tuple))
            and len(value) > 0
            and (not inner or all(_is(name, item, inner) for item in value))
        )
    if outer in ("int", "float"):
        low, high = _range(name, outer)
        number: Any = value if isinstance(value, Integral if outer == "int" else Real) else None
        return (
            number is not None
            and not isinstance(number, bool)
            and low <= number <= high
            and (isinstance(number, Integral) or isfinite(number))
        )
    if outer == "str" and isinstance(value, str) and len(value) > MAX_TEXT:
        return False
    return isinstance(value, {"bool": bool, "str": str, "dict": Mapping, "None": type(None)}[outer])


def _expected(name: str, value: Any, kind: str, options: list[str]) -> str:
    outer, _, inner = kind.removesuffix("]").partition("[")
    if outer == "str" and isinstance(value, str):
        return f"a text of at most {MAX_TEXT} characters"
    if outer == "list":
        entry = _expected(name, 0, inner, []) if inner and inner not in options else ""
        return f"a list whose entries are each {entry}" if entry else "a list of them" if inner else WORDS[outer]
    if outer not in ("int", "float"):
        return WORDS.get(outer, outer)
    low, high = _range(name, outer)
    if low == -inf:
        return WORDS[outer]
    is_high_told = high < inf and (outer == "float" or (isinstance(value, (int, float)) and value > high))
    return f"{WORDS[outer]}, {low} or more" + f" and at most {high}" * is_high_told
