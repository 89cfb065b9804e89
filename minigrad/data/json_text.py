"""Parses JSON from untrusted files, and refuses values that later code could not traverse or print."""

import json
from collections.abc import Callable
from typing import Any

MAX_DEPTH = 100  # nested brackets; Python's recursion limit is near 1000


def from_json(text: str | bytes, object_pairs_hook: Callable[[list], Any] | None = None) -> Any:
    """Parse a JSON text; `object_pairs_hook` is that of `json.loads`.

    Raises:
        ValueError: the text is not JSON (a JSONDecodeError) or not UTF-8, is nested more than 100 deep, or has an
            integer of thousands of digits; the message is short.
    """
    try:
        value = json.loads(text, object_pairs_hook=object_pairs_hook)
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep") from None
    except ValueError as error:
        if "int_max_str_digits" in str(error):  # Python's message advises to allow more digits
            raise ValueError("it has a whole number of thousands of digits") from None
        raise
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner = [item for item in level if isinstance(item, (dict, list))]
        level = [item for outer in inner for item in (outer.values() if isinstance(outer, dict) else outer)]
        if not inner:
            return value
    raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
