"""Splits examples into a training and an evaluation part that share no text."""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import is_number
from .readers import Example


def fold(text: str) -> str:
    """The text with white space, case and Unicode form unified; texts that fold alike count as identical."""
    return unicodedata.normalize("NFC", " ".join(text.split()).casefold())


def split(
    examples: Sequence[Example], eval_fraction: float = 0.2, seed: int = 0
) -> tuple[list[Example], list[Example]]:
    """(training examples, evaluation examples), both in their original order, with no text in both.

    For each label, `eval_fraction` of the examples is held out (rounded, at least one, fewer if copies of a text do not
    fit), but never all, so that no label occurs only in evaluation.  A text whose copies have different labels cannot
    be evaluated and stays in training.  The split depends only on the examples and `seed`.

    Raises ValueError if the fraction is not between 0 and 1 or nothing could be held out.
    """
    check_fraction(eval_fraction)
    copies = defaultdict(list)  # folded text -> indices of the examples that have it
    for i, example in enumerate(examples):
        copies[fold(example.text)].append(i)
    groups = defaultdict(list)  # label -> the groups of copies that carry no other label
    for group in copies.values():
        label, *others = {examples[i].label for i in group}
        if not others:
            groups[label].append(group)

    rng = np.random.default_rng(seed)
    held_out = set()
    for label in sorted(groups):
        room = max(1, round(eval_fraction * sum(map(len, groups[label]))))
        for i in rng.permutation(len(groups[label]))[1:]:  # the first one drawn stays in training, whatever its size
            group = groups[label][i]
            if len(group) <= room:
                held_out.update(group)
                room -= len(group)
    if not held_out:
        raise ValueError(
            f"none of {len(examples)} examples can be held out: each label needs two different texts; "
            "add examples, or give a file of evaluation examples"
        )
    return (
        [example for i, example in enumerate(examples) if i not in held_out],
        [example for i, example in enumerate(examples) if i in held_out],
    )


def split_by_key(
    examples: Sequence[Any], eval_fraction: float, seed: int, key: Callable[[Any], str]
) -> tuple[list[Any], list[Any]]:
    """(training examples, evaluation examples) for examples without a class; those with equal `key`s stay together.

    Raises ValueError if the fraction is not between 0 and 1 or all examples have the same key.
    """
    check_fraction(eval_fraction)
    groups = defaultdict(list)
    for i, example in enumerate(examples):
        groups[fold(key(example))].append(i)
    if len(groups) < 2:
        raise ValueError(
            f"none of {len(examples)} examples can be held out: all are one text; add examples, or give a file of "
            "evaluation examples"
        )
    room, held_out = max(1, round(eval_fraction * len(examples))), set()
    members = list(groups.values())
    for i in np.random.default_rng(seed).permutation(len(members))[1:]:
        if len(members[i]) <= room or not held_out:
            held_out.update(members[i])
            room -= len(members[i])
    return (
        [example for i, example in enumerate(examples) if i not in held_out],
        [example for i, example in enumerate(examples) if i in held_out],
    )


def check_fraction(eval_fraction: float) -> None:
    """Raise ValueError unless the fraction to hold out is between 0 and 1."""
    if not is_number(eval_fraction) or not 0 < eval_fraction < 1:
        raise ValueError(f"eval_fraction is {eval_fraction!r}; expected a number between 0 and 1, such as 0.2")
