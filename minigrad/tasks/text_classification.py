"""Text classification: one label for each text, several labels, or a number (regression)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from math import isfinite, isnan
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .. import functional as F
from .. import losses, metrics
from ..data import Example, Sampler, TextDataset, WeightedRandomSampler, label_ids, read_examples, split
from ..data.readers import check_utf8, label_name, label_names_of, label_value, read_lines
from ..data.text import sorted_labels
from ..metrics.classification import score_table
from ..places import warn
from ..pretrained import AutoModelForSequenceClassification
from ..pretrained.config import PROBLEMS, Config
from ..tensor import Tensor
from .base import best_labels, counts_table
from .texts import TextTask, texts_of

SINGLE, MULTI, REGRESSION = PROBLEMS
METRICS = {  # the scores by which the best epoch may be selected, the default first
    SINGLE: ("macro_f1", "accuracy", "loss"),
    MULTI: ("macro_f1", "micro_f1", "accuracy", "loss"),
    REGRESSION: ("loss", "pearson", "spearman"),
}
COLUMNS = {  # of the table of epochs
    SINGLE: {
        "train_loss": "train loss",
        "train_accuracy": "accuracy",
        "eval_loss": "eval loss",
        "eval_accuracy": "accuracy",
        "eval_macro_f1": "macro-F1",
    },
    MULTI: {
        "train_loss": "train loss",
        "eval_loss": "eval loss",
        "eval_accuracy": "accuracy",
        "eval_micro_f1": "micro-F1",
        "eval_macro_f1": "macro-F1",
    },
    REGRESSION: {
        "train_loss": "train loss",
        "eval_loss": "eval loss",
        "eval_mae": "     MAE",
        "eval_rmse": "    RMSE",
        "eval_pearson": " Pearson",
        "eval_spearman": "Spearman",
    },
}
MAX_CLASSES = 100  # with more classes no confusion matrix is kept, and the report lists only the most frequent
MAX_SCORES = 10_000_000  # with more scores ROC-AUC is left out, because sorting them takes seconds


@dataclass
class TextClassification(TextTask):
    """Texts with labels, from .csv, .tsv, .jsonl or .json files with a text and a label column.

    Options:
        text_column, label_column: the names of the columns, if not "text" or "sentence", and "label".
        problem_type: "single_label_classification", "multi_label_classification" (the label column holds a list, or
            labels separated by semicolons) or "regression" (it holds a number).  None means the first in training,
            and what the model was trained for in evaluation and prediction.
        class_weights: "balanced", or a dict of weights by label, by which the losses of the label's examples are
            multiplied.  "balanced" weights a label by examples / (labels × its examples).  The sum of the weighted
            losses is divided by the number of examples, so that it does not depend on which examples share a batch.
        balanced_sampling: draw each label equally often in training, with replacement.
    """

    text_column: str | None = None
    label_column: str | None = None
    problem_type: str | None = None
    class_weights: str | Mapping[str, float] | None = None
    balanced_sampling: bool = False

    name = "text-classification"
    model_class = AutoModelForSequenceClassification
    answer_options: ClassVar[dict[str, Any]] = {"top_k": 3}

    def __post_init__(self):
        if self.problem_type not in (None, *PROBLEMS):
            near = "".join(f": type {one!r}" for one in get_close_matches(str(self.problem_type), PROBLEMS, 1, 0.3))
            raise ValueError(f"problem_type is {self.problem_type!r}; expected one of {', '.join(PROBLEMS)}{near}")
        for option in ("class_weights", "balanced_sampling"):
            if getattr(self, option) and self.problem_type not in (None, SINGLE):
                raise ValueError(f"{option} is for {SINGLE}, and problem_type is {self.problem_type!r}: leave it out")
        if not (self.class_weights is None or self.class_weights == "balanced" or isinstance(self.class_weights, dict)):
            raise ValueError(
                f"class_weights is {self.class_weights!r}; expected 'balanced', or weights such as {{'spam': 2.0}}"
            )
        self.weights: np.ndarray | None = None  # of the classes, in their order

    @property
    def problem(self) -> str:
        """The kind of labels that the texts have, one of `PROBLEMS`."""
        if self.problem_type is not None or self.model is None:
            return self.problem_type or SINGLE
        config = self.model.config
        return config.problem_type or (REGRESSION if config.num_labels == 1 else SINGLE)

    @property
    def metrics(self) -> tuple[str, ...]:
        return METRICS[self.problem]

    @property
    def columns(self) -> dict[str, str]:
        return COLUMNS[self.problem]

    @property
    def names(self) -> list[str]:
        """The labels in the order of the model's scores."""
        return list(self.model.config.id2label.values())

    # Files to examples.

    def label(self, where: str, label: Any) -> Any:
        """A label from a file, as a name, a tuple of names or a number."""
        return {SINGLE: label_name, MULTI: label_names_of, REGRESSION: label_value}[self.problem](where, label)

    def read_file(self, path: Path, labelled: bool) -> list[Example]:
        if not labelled and path.suffix.lower() == ".txt":
            return self.examples(read_lines(path))
        return read_examples(path, self.text_column, self.label_column, labelled, self.label)

    def read_item(self, where: str, item: Any) -> Example:
        if not isinstance(item, (tuple, list)) or len(item) != 2 or not isinstance(item[0], str):
            raise ValueError(
                f"{where} is {str(item)[:60]!r}; expected a pair (text, label), such as ('A fine day.', 'fair')"
            )
        return Example(check_utf8(where, item[0]), self.label(where, item[1]))

    def examples(self, inputs: str | Sequence[str], **options: Any) -> list[Example]:
        return [Example(check_utf8(f"text {i}", text), None) for i, text in enumerate(texts_of(inputs), 1)]

    def key(self, example: Example) -> str:
        return example.text

    def split(self, examples: Sequence[Example], eval_fraction: float, seed: int) -> tuple[Sequence, Sequence]:
        if self.problem != SINGLE:
            return super().split(examples, eval_fraction, seed)
        check_classes(examples)
        return split(examples, eval_fraction, seed)

    # Examples to a model and a dataset.

    def study(self, train: Sequence[Example], eval: Sequence[Example], config: Config) -> dict[str, Any]:
        self.warn_of_overlap(train, eval)
        if self.problem == REGRESSION:
            return {"num_labels": 1, "problem_type": REGRESSION}
        if self.problem == SINGLE:
            check_classes(train)
        names, own = sorted_labels(name for example in train for name in labels_of(example)), config.id2label or {}
        if len(names) < 2 - (self.problem == MULTI):
            fault = f"have the label {names[0]!r}: expected two labels or more" if names else "have no label"
            raise ValueError(f"all {len(train)} training texts {fault}")
        if sorted(names) == sorted(own.values()):  # keep the order in which the rows of the model's head are
            names = list(own.values())
        for part in (train, eval):
            self.numbered(part, names)
        warn_of_missing(eval, names)
        self.weights = self.weights_of(train, names)
        return {"id2label": dict(enumerate(names)), "problem_type": self.problem}

    def warn_of_gaps(self, eval: Sequence[Example]) -> None:
        if self.problem != REGRESSION:
            warn_of_missing(eval, self.names)

    def weights_of(self, train: Sequence[Example], names: Sequence[str]) -> np.ndarray | None:
        """The weight of each class.  Raises ValueError for an unknown label or a weight that is not positive."""
        if self.class_weights is None:
            return None
        if isinstance(self.class_weights, str):
            counts = np.bincount(label_ids(train, names), minlength=len(names))
            return (len(train) / (len(names) * np.maximum(counts, 1))).astype(np.float32)
        for name, weight in self.class_weights.items():
            if name not in names:
                raise ValueError(f"class_weights has {name!r}, which is not a label: there are {', '.join(names)}")
            if not isinstance(weight, (int, float)) or not (isfinite(weight) and weight > 0):
                raise ValueError(f"the weight of {name!r} is {weight!r}; expected a number above 0")
        return np.array([self.class_weights.get(name, 1.0) for name in names], np.float32)

    def numbered(self, examples: Sequence[Example], names: Sequence[str]) -> Any:
        """The labels as numbers: classes or values (examples,), or zeros and ones (examples, labels)."""
        if self.problem == SINGLE:
            return label_ids(examples, names)
        if self.problem == REGRESSION:
            return np.array([example.label for example in examples], np.float32)
        rows = [(i, Example(e.text, name)) for i, e in enumerate(examples) for name in e.label]
        found = np.zeros((len(examples), len(names)), np.float32)
        if rows:
            found[[i for i, _ in rows], label_ids([example for _, example in rows], names)] = 1
        return found

    def encode(self, examples: Sequence[Example], labelled: bool = True) -> TextDataset:
        encodings = self.processor([example.text for example in examples], padding=False, max_length=self.max_length)
        return TextDataset(encodings, self.numbered(examples, self.names) if labelled else None)

    def sampler(self, dataset: TextDataset) -> Sampler | None:
        return WeightedRandomSampler.balanced(dataset.columns["label"]) if self.balanced_sampling else None

    def describe(self, train: Sequence[Example], eval: Sequence[Example]) -> str:
        """The number of examples of each class, or the range of the labels; and one example."""
        label = str(train[0].label) if self.problem != MULTI else ", ".join(train[0].label) or "no label"
        text = " ".join(train[0].text.split())
        example = f"such as {label}: {text[:90]}{'...' * (len(text) > 90)}"
        if self.problem == REGRESSION:
            rows = [
                f"{part}  {len(some):7d} texts, labels {min(values):g} to {max(values):g}, mean {np.mean(values):g}"
                for part, some in (("train", train), ("eval ", eval))
                for values in [[example.label for example in some]]
            ]
            return "\n".join([*rows, example])
        counts = [Counter(name for example in part for name in labels_of(example)) for part in (train, eval)]
        shown_names = self.names[:MAX_CLASSES]
        rows = [(name, counts[0][name], counts[1][name]) for name in shown_names]
        table = counts_table([*rows, ("all", len(train), len(eval))], "class")
        if more := len(self.names) - len(shown_names):
            table.insert(-1, f"... and {more:,} more classes")
        return "\n".join([*table, example])

    def loss(self, logits: Tensor, labels: Any, label_smoothing: float = 0.0) -> Tensor | None:
        if self.weights is None:
            return None
        total = losses.cross_entropy(logits, labels, self.weights, reduction="sum", label_smoothing=label_smoothing)
        return total / len(labels)

    # Outputs to scores and answers.

    def scores(self, outputs: np.ndarray, labels: np.ndarray | None, dataset: Any) -> dict[str, Any]:
        if labels is None:
            raise ValueError("there are no labels to compare with; expected a label for each text")
        if self.problem == REGRESSION:
            kinds = (metrics.mae, metrics.rmse, metrics.pearson, metrics.spearman)
            found = {kind.__name__: kind(labels.reshape(-1), outputs.reshape(-1)) for kind in kinds}
        elif self.problem == MULTI:
            found = self.scores_of_labels(outputs, labels)
        else:
            found = self.scores_of_classes(outputs, labels)
        return {name: value for name, value in found.items() if not (isinstance(value, float) and isnan(value))}

    def scores_of_classes(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """The scores if each text has one label; ROC-AUC only if it is defined and quickly computed."""
        predicted, classes = outputs.argmax(-1), len(self.names)
        score = partial(metrics.f1, labels, predicted, num_classes=classes)
        found: dict[str, Any] = {
            "accuracy": metrics.accuracy(labels, predicted),
            "macro_f1": score(),
            "micro_f1": score(average="micro"),
            "weighted_f1": score(average="weighted"),
            "precision": metrics.precision(labels, predicted, num_classes=classes),
            "recall": metrics.recall(labels, predicted, num_classes=classes),
            "mcc": metrics.mcc(labels, predicted),
        }
        if outputs.size <= MAX_SCORES and np.isfinite(outputs).all():
            p = F.softmax(outputs.astype(np.float64))  # in float32 confident answers would all round to 1
            found["roc_auc"] = metrics.roc_auc(labels, p[:, 1] if classes == 2 else p)
        if classes <= MAX_CLASSES:
            found["confusion_matrix"] = metrics.confusion_matrix(labels, predicted, classes).tolist()
        else:
            counts = metrics.classification.counts(labels, predicted, classes)
            found["counts"] = np.stack(counts, axis=1).tolist()
        return found

    def scores_of_labels(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """The scores if a text may have several labels: those whose probability is above ½ are predicted."""
        predicted = outputs > 0
        found: dict[str, Any] = {
            "accuracy": metrics.exact_labels(labels, predicted),
            "macro_f1": metrics.multilabel_f1(labels, predicted),
            "micro_f1": metrics.multilabel_f1(labels, predicted, "micro"),
            "weighted_f1": metrics.multilabel_f1(labels, predicted, "weighted"),
            "precision": metrics.multilabel_precision(labels, predicted),
            "recall": metrics.multilabel_recall(labels, predicted),
        }
        if outputs.size <= MAX_SCORES and np.isfinite(outputs).all():
            found["roc_auc"] = metrics.roc_auc(labels, outputs)
        found["counts"] = np.stack(metrics.multilabel.label_counts(labels, predicted), axis=1).tolist()
        return found

    def report(self, scores: Mapping[str, Any]) -> str:
        """A table of each class's scores, the overall scores and the confusion matrix; the errors of a regression."""
        if self.problem == REGRESSION:
            return super().report(scores)
        overall = [("mcc", "Matthews' correlation"), ("roc_auc", "ROC-AUC")]
        rest = "\n".join(f"{title:21}  {scores[name]:.3f}" for name, title in overall if name in scores)
        if (matrix := scores.get("confusion_matrix")) is not None:
            cells = np.array(matrix)
            true, predicted = np.repeat(np.indices(cells.shape).reshape(2, -1), cells.ravel(), axis=1)
            table = metrics.classification_report(true, predicted, self.names)
            return "\n\n".join(filter(None, [table, rest, metrics.format_confusion_matrix(cells, self.names)]))
        averages = ("micro", "macro", "weighted")
        table = score_table(self.names, *np.array(scores["counts"]).T, averages=averages, most=MAX_CLASSES)
        exact = f"{'all labels right' if self.problem == MULTI else 'accuracy':21}  {scores['accuracy']:.3f}"
        return "\n\n".join([table, "\n".join(filter(None, [exact, rest]))])

    def answers(
        self, outputs: np.ndarray, dataset: Any, top_k: int | None = 1, **options: Any
    ) -> list[list[dict[str, Any]]]:
        """The `top_k` best labels (None: all) of each text, each {"label": name, "score": probability or value}."""
        squash = {SINGLE: F.softmax, MULTI: F.sigmoid, REGRESSION: np.asarray}[self.problem]
        return best_labels(np.asarray(squash(outputs)), self.names, top_k)

    def returned(self, answers: list[Any], inputs: Any, **options: Any) -> Any:
        """Without `top_k`, a flat list of the best label of each text, even for a single text, as in transformers."""
        if "top_k" not in options:
            return [best for (best,) in answers]
        return super().returned(answers, inputs)

    def record(self, example: Example, answer: list[dict[str, Any]]) -> dict[str, Any]:
        scores = {one["label"]: one["score"] for one in answer}
        return {"text": example.text, "label": next(iter(scores)), "scores": scores}

    def format_answer(self, example: Example, answer: list[dict[str, Any]]) -> str:
        form = "10.6g" if self.problem == REGRESSION else "6.1%"
        return "\n".join([example.text, *(f"  {one['score']:{form}}  {one['label']}" for one in answer)])


def labels_of(example: Example) -> tuple[str, ...]:
    """The names of an example's labels."""
    return (example.label,) if isinstance(example.label, str) else example.label


def check_classes(train: Sequence[Example]) -> None:
    """Refuse labels that look like values, not classes: many numbers with gaps or fractions, or few repeated ones."""
    try:
        values = {float(str(example.label)) for example in train}
    except ValueError:  # the labels are names
        return
    if len(values) <= 20 or not all(map(isfinite, values)):
        return
    low, high = min(values), max(values)
    numbered = low >= 0 and high < 2 * len(values) and all(value == int(value) for value in values)
    if not numbered or len(values) > len(train) / 2:
        raise ValueError(
            f"the labels of the {len(train)} training texts are {len(values)} different numbers, from {low:g} to "
            f"{high:g}; expected classes: for a regression pass problem_type='regression'; if each number is a class, "
            "turn them into names such as 'c7'"
        )


def warn_of_missing(eval: Sequence[Example], names: Sequence[str]) -> None:
    """Warn of classes that no evaluation example has."""
    present = {name for example in eval for name in labels_of(example)}
    if missing := [name for name in names if name not in present]:
        listed = ", ".join(missing[:5]) + f" and {len(missing) - 5} more" * (len(missing) > 5)
        warn(f"there is no evaluation example of {listed}: such a class counts 0 in the macro-F1")
