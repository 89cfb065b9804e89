"""Text classification: one label for each text, several labels, or a number (regression)."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .. import functional as F
from .. import metrics
from ..data import Example, TextDataset, label_ids, label_names, read_examples, split
from ..data.readers import check_utf8, label_name
from ..pretrained import AutoModelForSequenceClassification
from ..pretrained.config import PROBLEMS, Config
from .texts import TextTask

SINGLE, MULTI, REGRESSION = PROBLEMS


@dataclass
class TextClassification(TextTask):
    """Texts with labels, from .csv, .tsv, .jsonl or .json files with a text and a label column.

    `problem_type` is "single_label_classification", "multi_label_classification" (a label column holds a list, or in
    a CSV labels divided by semicolons) or "regression" (a number); None means the first when training, and what the
    model was trained for when using it.
    """

    text_column: str | None = None
    label_column: str | None = None
    problem_type: str | None = None

    name = "text-classification"
    model_class = AutoModelForSequenceClassification
    metrics, metric = ("accuracy", "macro_f1", "loss"), "macro_f1"
    columns: ClassVar[dict[str, str]] = {
        "train_loss": "train loss",
        "train_accuracy": "accuracy",
        "eval_loss": "eval loss",
        "eval_accuracy": "accuracy",
        "eval_macro_f1": "macro-F1",
    }

    def read_file(self, path: Path, labelled: bool) -> list[Example]:
        return read_examples(path, self.text_column, self.label_column, labelled)

    def read_item(self, where: str, item: Any) -> Example:
        if not isinstance(item, (tuple, list)) or len(item) != 2 or not isinstance(item[0], str):
            raise ValueError(
                f"{where} is {str(item)[:60]!r}; expected a pair (text, label), such as ('A fine day.', 'fair')"
            )
        return Example(check_utf8(where, item[0]), label_name(where, item[1]))

    def examples(self, inputs: str | Sequence[str], **options: Any) -> list[Example]:
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        return [Example(check_utf8(f"text {i}", text), None) for i, text in enumerate(texts, 1)]

    def key(self, example: Example) -> str:
        return example.text

    def split(self, examples: Sequence[Example], eval_fraction: float, seed: int) -> tuple[list, list]:
        check_classes(examples)
        return split(examples, eval_fraction, seed)

    def study(self, train: Sequence[Example], eval: Sequence[Example], config: Config) -> dict[str, Any]:
        check_classes(train)
        names, own = label_names(train), list((config.id2label or {}).values())
        if len(names) < 2:
            raise ValueError(
                f"all {len(train)} training texts have the label {names[0]!r}: expected two labels or more"
            )
        if sorted(names) == sorted(own):  # then the rows of the model's head are in the order of its names
            names = own
        for part in (train, eval):
            label_ids(part, names)
        self.warn_of_overlap(train, eval)
        warn_of_unjudged(eval, names)
        return {"id2label": dict(enumerate(names)), "problem_type": SINGLE}

    @property
    def names(self) -> list[str]:
        """The labels in the order of the model's scores."""
        return list(self.model.config.id2label.values())

    def encode(self, examples: Sequence[Example], labelled: bool = True) -> TextDataset:
        encodings = self.processor([example.text for example in examples], padding=False, max_length=self.max_length)
        return TextDataset(encodings, label_ids(examples, self.names) if labelled else None)

    def describe(self, train: Sequence[Example], eval: Sequence[Example]) -> str:
        """How many examples each class has, and one of them."""
        counts = [Counter(example.label for example in part) for part in (train, eval)]
        rows = [
            ("class", "train", "eval"),
            *((name, *(count[name] for count in counts)) for name in self.names),
            ("all", len(train), len(eval)),
        ]
        width = max(len(row[0]) for row in rows)
        text = " ".join(train[0].text.split())
        return "\n".join(
            [
                *(f"{name:{width}}  {a:>7}  {b:>7}" for name, a, b in rows),
                f"such as {train[0].label}: {text[:90]}{'...' * (len(text) > 90)}",
            ]
        )

    def scores(self, outputs: np.ndarray, labels: np.ndarray | None, dataset: Any) -> dict[str, Any]:
        predicted, classes = outputs.argmax(-1), len(self.names)
        return {
            "accuracy": metrics.accuracy(labels, predicted),
            "macro_f1": metrics.f1(labels, predicted, num_classes=classes),
            "confusion_matrix": metrics.confusion_matrix(labels, predicted, classes).tolist(),
        }

    def report(self, scores: Mapping[str, Any]) -> str:
        """A table of the classes' scores and the confusion matrix, which tells all of them."""
        matrix = np.array(scores["confusion_matrix"])
        true, predicted = np.repeat(np.indices(matrix.shape).reshape(2, -1), matrix.ravel(), axis=1)
        return (
            f"{metrics.classification_report(true, predicted, self.names)}\n\n"
            f"{metrics.format_confusion_matrix(matrix, self.names)}"
        )

    def answers(
        self, outputs: np.ndarray, dataset: Any, top_k: int | None = None, **options: Any
    ) -> list[list[dict[str, Any]]]:
        """For each text its `top_k` best labels (default: all), each {"label": name, "score": probability}."""
        config = self.model.config
        problem = config.problem_type or (REGRESSION if config.num_labels == 1 else SINGLE)
        p = outputs if problem == REGRESSION else (F.sigmoid if problem == MULTI else F.softmax)(outputs)
        best = (-p).argsort(-1, kind="stable")[:, :top_k]
        return [
            [{"label": config.id2label[i], "score": row[i].item()} for i in order.tolist()]
            for row, order in zip(p, best, strict=True)
        ]


def check_classes(train: Sequence[Example]) -> None:
    """Refuse labels that look like values, not classes: many numbers with gaps or fractions, or most of them once."""
    try:
        values = {float(str(example.label)) for example in train}
    except ValueError:  # names
        return
    if len(values) <= 20 or not all(map(isfinite, values)):
        return
    low, high = min(values), max(values)
    numbered = low >= 0 and high < 2 * len(values) and all(value == int(value) for value in values)
    if not numbered or len(values) > len(train) / 2:
        raise ValueError(
            f"the labels of the {len(train)} training texts are {len(values)} different numbers, from {low:g} to "
            f"{high:g}; expected classes: is it a regression? Then pass problem_type='regression'; if each number is "
            "a class, make names of them, such as 'c7'"
        )


def warn_of_unjudged(eval: Sequence[Example], names: Sequence[str]) -> None:
    """Warn of classes that no evaluation example has."""
    judged = {example.label for example in eval}
    if unjudged := [name for name in names if name not in judged]:
        listed = ", ".join(unjudged[:5]) + f" and {len(unjudged) - 5} more" * (len(unjudged) > 5)
        warnings.warn(
            f"there is no evaluation example of {listed}: such a class counts 0 in the macro-F1", stacklevel=4
        )
