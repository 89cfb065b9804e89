"""Patterns of dotted names, one language for freezing, loading and reports.

`*` stands for one step of a name, or beside other letters, as in "conv*.weight", for part of one; `**` for one step or
more; `{0..3}` and `{query,value}` for one of several.  A star never stands for nothing, and a pattern matches whole
names, so "**.attn.bias" can never catch "h.0.attn.c_attn.bias".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from functools import lru_cache

MOST = 10_000  # names that one {0..9999} may stand for


def match(pattern: str, name: str) -> re.Match | None:
    """The match of the whole name, with a group for each star; or None.

    Raises ValueError if a span of numbers is longer than 10,000, or stars follow each other without anything between
    them.
    """
    return _compiled(pattern).fullmatch(name)


def matches(patterns: Iterable[str], name: str) -> bool:
    """Whether one of the patterns matches the whole name."""
    return any(match(pattern, name) for pattern in patterns)


def check_matched(patterns: Iterable[str], names: Collection[str], what: str) -> None:
    """Raises ValueError for a pattern that matches none of the names, with the names nearest to it."""
    for pattern in patterns:
        if not any(match(pattern, name) for name in names):
            near = get_close_matches(pattern, names, 3, 0.3) or list(names)[:3]
            raise ValueError(
                f"{pattern!r} matches no {what}: `*` is one step of a name, `**` one or more; the nearest names are "
                f"{', '.join(near)}"
            )


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern:
    if "***" in pattern or pattern.count("*") > 16:  # whose matching takes more than exponential time
        raise ValueError(
            f"the pattern {_shown(pattern)} has stars that nothing divides, or more than 16: expected one such as "
            "'**.layer.*.attention.**'"
        )
    parts = re.split(r"(\*\*|\*|\{[^{}]*\})", pattern)
    return re.compile("".join(_meaning(part) for part in parts))


def _meaning(part: str) -> str:
    if part in ("*", "**"):
        return "(.+)" if part == "**" else r"([^.]+)"
    if part.startswith("{"):
        span = re.fullmatch(r"\{(\d+)\.\.(\d+)\}", part)
        if span and (max(map(len, span.groups())) > 9 or int(span[2]) - int(span[1]) >= MOST):
            raise ValueError(
                f"the pattern {_shown(part)} stands for more than {MOST:,} numbers: expected a span such as {{0..11}}"
            )
        choices = map(str, range(int(span[1]), int(span[2]) + 1)) if span else map(re.escape, part[1:-1].split(","))
        return f"(?:{'|'.join(choices)})"
    return re.escape(part)


def _shown(pattern: str) -> str:
    return repr(pattern if len(pattern) <= 60 else f"{pattern[:60]}…")
