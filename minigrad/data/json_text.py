"""JSON text from files of unknown origin, as plain values: what later code could not walk through or print is refused."""
import json
from collections.abc import Callable
from typing import Any

DEEPEST = 100                                   # nobody writes more brackets in brackets; recursion ends near 1000


def from_json(text: str | bytes, object_pairs_hook: Callable[[list], Any] | None = None) -> Any:
    """The value that a JSON text stands for; `object_pairs_hook` is that of `json.loads`.

    Raises ValueError, which says why in a few words, if it is no JSON (a JSONDecodeError), is not UTF-8, is nested more than 100
    deep, or has a whole number of thousands of digits.
    """
    try:
        value = json.loads(text, object_pairs_hook=object_pairs_hook)
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} deep") from None
    except ValueError as error:
        if "int_max_str_digits" in str(error):  # whose advice is to allow more digits
            raise ValueError("it has a whole number of thousands of digits") from None
        raise
    level = [value]
    for _ in range(DEEPEST + 1):
        inner = [item for item in level if isinstance(item, (dict, list))]
        level = [item for outer in inner for item in (outer.values() if isinstance(outer, dict) else outer)]
        if not inner:
            return value
    raise ValueError(f"it is nested more than {DEEPEST} deep")
