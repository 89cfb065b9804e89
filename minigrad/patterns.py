"""Patterns of dotted names, one language for freezing, loading and reports.

`*` stands for one step of a name, or beside other letters, as in "conv*.weight", for part of one; `**` for one step or more;
`{0..3}` and `{query,value}` for one of several.  A star never stands for nothing, and a pattern matches whole names, so
"**.attn.bias" can never catch "h.0.attn.c_attn.bias".
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache


def match(pattern: str, name: str) -> re.Match | None:
    """The match of the whole name, with a group for each star; or None."""
    return _compiled(pattern).fullmatch(name)


def matches(patterns: Iterable[str], name: str) -> bool:
    """Whether one of the patterns matches the whole name."""
    return any(match(pattern, name) for pattern in patterns)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern:
    parts = re.split(r"(\*\*|\*|\{[^{}]*\})", pattern)
    return re.compile("".join(_meaning(part) for part in parts))


def _meaning(part: str) -> str:
    if part in ("*", "**"):
        return "(.+)" if part == "**" else r"([^.]+)"
    if part.startswith("{"):
        span = re.fullmatch(r"\{(\d+)\.\.(\d+)\}", part)
        choices = map(str, range(int(span[1]), int(span[2]) + 1)) if span else map(re.escape, part[1:-1].split(","))
        return f"(?:{'|'.join(choices)})"
    return re.escape(part)
