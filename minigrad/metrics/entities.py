"""Scores of entities in texts whose words carry tags, such as B-PER, I-PER and O, counted as seqeval does."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from .classification import averaged, score_table

# Pairs of marks (of the word before, of the word) between which an entity of one type ends, or one begins.
ENDS = {("B", "B"), ("B", "S"), ("B", "O"), ("I", "B"), ("I", "S"), ("I", "O")}
BEGINS = {("E", "E"), ("E", "I"), ("S", "E"), ("S", "I"), ("O", "E"), ("O", "I")}

TAG = re.compile(r"[O.]|[BIES](-.*)?", re.DOTALL)

Entity = tuple[str, int, int]  # its type, and the positions of its first and last word


def entities_of(tags: Sequence[str]) -> list[Entity]:
    """The entities of one text, in order, from BIO, BIOES or IO tags, as lenient as CoNLL's evaluation script.

    An I- after an O, or after another type, begins an entity.  A mark without a type, such as "B", has the type "_".

    Raises ValueError for any other tag.
    """
    for tag in tags:
        if not TAG.fullmatch(tag):
            raise ValueError(
                f"the tag is {tag!r}; expected O, or B-, I-, E- or S- with the entity's type, such as B-PER"
            )
    found: list[Entity] = []
    before, kind_before, start = "O", "", 0
    for i, tag in enumerate([*tags, "O"]):
        mark, kind = tag[:1], tag[1:].split("-", 1)[-1] or "_"
        changed = kind != kind_before
        if before in "ES" or (before, mark) in ENDS or before not in "O." and changed:
            found.append((kind_before, start, i - 1))
        if mark in "BS" or (before, mark) in BEGINS or mark not in "O." and changed:
            start = i
        before, kind_before = mark, kind
    return found


def entity_counts(
    y_true: Sequence[Sequence[str]], y_pred: Sequence[Sequence[str]]
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """The types that occur, sorted, and three counts for each: entities predicted right, true ones, predicted ones.

    Raises ValueError if the numbers of texts, or of tags of a text, differ, or if a text is not a list of tags.
    """
    if len(y_true) != len(y_pred):
        raise ValueError(
            f"there are tags of {len(y_true)} texts and predictions for {len(y_pred)}; expected the same number"
        )
    right, true, found = Counter(), Counter(), Counter()
    for i, (tags, predicted) in enumerate(zip(y_true, y_pred, strict=True)):
        if len(tags) != len(predicted):
            raise ValueError(
                f"text {i} has {len(tags)} tags and {len(predicted)} predicted ones; expected the same number"
            )
        for some in (tags, predicted):
            if isinstance(some, str) or not all(isinstance(tag, str) for tag in some):
                raise ValueError(f"the tags of text {i} are {some!r}; expected a list of tags, such as ['B-PER', 'O']")
        own, others = set(entities_of(tags)), set(entities_of(predicted))
        for counter, entities in ((right, own & others), (true, own), (found, others)):
            counter.update(kind for kind, _, _ in entities)
    kinds = sorted(true | found)
    right, true, found = (np.array([counter[kind] for kind in kinds], np.int64) for counter in (right, true, found))
    return kinds, right, true, found


def entity_scores(y_true: Sequence[Sequence[str]], y_pred: Sequence[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and F1 over all entities (micro), the means of F1 over the types, and the accuracy of the tags.

    An entity is right if its type, its first word and its last word are right.  Without any entity the scores are 0.
    """
    kinds, right, true, found = entity_counts(y_true, y_pred)
    words = [a == b for tags, predicted in zip(y_true, y_pred, strict=True) for a, b in zip(tags, predicted)]
    if not words:
        raise ValueError("there are no words to measure; expected at least one")
    if not kinds:
        right = true = found = np.zeros(1, np.int64)
    return {
        "precision": float(averaged(right, found, true, "micro")),
        "recall": float(averaged(right, true, true, "micro")),
        "f1": float(averaged(2 * right, true + found, true, "micro")),
        "macro_f1": float(averaged(2 * right, true + found, true, "macro")),
        "weighted_f1": float(averaged(2 * right, true + found, true, "weighted")),
        "accuracy": float(np.mean(words)),
    }


def entity_report(y_true: Sequence[Sequence[str]], y_pred: Sequence[Sequence[str]]) -> str:
    """A table of precision, recall, F1 and support (true entities) of each type, and of their averages."""
    kinds, right, true, found = entity_counts(y_true, y_pred)
    if not kinds:
        return "There is no entity, true or predicted."
    return score_table(kinds, right, true, found, averages=("micro", "macro", "weighted"))
