"""What a request may ask for, so that no client can exhaust the service or keep it to itself."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from ..errors import is_whole


def most(default: int, meaning: str) -> Any:
    """A limit, and what it counts."""
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True)
class Limits:
    """The most of everything.  A request that asks for more gets an answer of the kind 4xx, which says so.

    Raises ValueError for a limit that is not a whole number, 1 or more.
    """

    max_body_bytes: int = most(1 << 20, "bytes of a request; with pictures 16 times as many")
    max_texts: int = most(64, "inputs of a request")
    max_text_length: int = most(20_000, "characters of an input")
    max_queue: int = most(256, "inputs that wait to be answered")
    max_new_tokens: int = most(512, "tokens that a request may have written")
    max_top_k: int = most(100, "answers that a request may ask for to each input")
    max_connections: int = most(500, "connections at a time")
    read_timeout: int = most(10, "seconds in which a request must have arrived")

    def __post_init__(self):
        for one in fields(self):
            if not is_whole(given := getattr(self, one.name), 1):
                raise ValueError(f"{one.name} is {given!r}; expected a whole number, 1 or more")
