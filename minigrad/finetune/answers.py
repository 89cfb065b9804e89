"""What the classifiers of this room share: checking labelled examples, and ranking classes by probability."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import is_whole


def best_first(p: np.ndarray, classes: list[str], top_k: int | None) -> list[dict[str, float]]:
    """The `top_k` most probable classes (None: all) of each text, from probabilities (texts, classes).

    Raises ValueError unless top_k is a positive whole number or None.
    """
    if top_k is not None and not is_whole(top_k, 1):
        raise ValueError(f"top_k is {top_k!r}; expected a whole number, 1 or more, or None for all")
    order = (-p).argsort(-1, kind="stable")[:, :top_k]
    return [{classes[i]: row[i].item() for i in places.tolist()} for row, places in zip(p, order, strict=True)]


def pairs(examples: Sequence[Any]) -> tuple[list[str], list[str]]:
    """The texts and the labels of examples (text, label).  Raises ValueError for another item, or an empty list."""
    for i, item in enumerate(examples, 1):
        if (
            isinstance(item, str)
            or not isinstance(item, Sequence)
            or len(item) != 2
            or not all(isinstance(part, str) for part in item)
        ):
            raise ValueError(
                f"example {i} is {str(item)[:60]!r}; expected a pair (text, label), such as ('A fine day.', 'fair')"
            )
    if not examples:
        raise ValueError("the list of examples is empty: expected at least one")
    texts, labels = zip(*examples, strict=True)
    return list(texts), list(labels)
