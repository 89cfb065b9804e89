"""Evaluation of a model: mean loss, scores, and predictions in the order of the dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np

from .. import backend, metrics
from ..data import DataLoader
from ..data.text import IGNORED
from ..execution import no_grad
from ..nn import Module
from ..pretrained.inputs import host_array
from ..tensor import Tensor
from .batches import called, count_labels, labels_of, loss_and_logits, predicted_classes
from .callbacks import progress


class EvalPrediction(NamedTuple):
    """The argument of `compute_metrics`: logits, or the result of `preprocess_logits_for_metrics`, and labels."""

    predictions: Any
    label_ids: Any


class PredictionOutput(NamedTuple):
    """The result of `Trainer.predict`, as in Hugging Face's."""

    predictions: np.ndarray
    label_ids: np.ndarray | None
    metrics: dict[str, float]


class Found:
    """The results of one pass over a dataset, collected batch by batch."""

    def __init__(self):
        self.loss, self.counted, self.classes = 0.0, 0, None
        self.true: list[np.ndarray] = []
        self.predicted: list[np.ndarray] = []
        self.scores: list[Any] = []
        self.labels: list[np.ndarray | None] = []

    def note_classes(self, compared: tuple[Any, Any]) -> None:
        home = backend.of(compared[0])
        predicted, true = (home.to_numpy(array) for array in compared)
        self.true.append(true[true != IGNORED])
        self.predicted.append(predicted[true != IGNORED])

    def scored(self) -> dict[str, Any]:
        """Accuracy and, unless the classes are a vocabulary, macro-F1 and the confusion matrix (row = true class)."""
        if not self.true:
            return {}
        true, predicted = np.concatenate(self.true), np.concatenate(self.predicted)
        told: dict[str, Any] = {"accuracy": metrics.accuracy(true, predicted)}
        if self.classes:
            told["macro_f1"] = metrics.f1(true, predicted, num_classes=self.classes)
            told["confusion_matrix"] = metrics.confusion_matrix(true, predicted, self.classes).tolist()
        return told


def measure(
    model: Module,
    loader: DataLoader,
    collator: Callable,
    step: Callable,
    keep: bool,
    title: str,
    preprocess: Callable | None = None,
    bar: bool = True,
) -> Found:
    """One pass over labelled items: `step` returns the loss and the logits of a batch; `keep` keeps the logits."""
    model.eval()
    found = Found()
    with no_grad(), progress(len(loader.dataset), title) if bar else nullcontext() as shown:
        for items in loader:
            batch = collator(items)
            if count := count_labels(model, batch):
                mean, logits = step(batch)
                if mean is not None:
                    found.loss, found.counted = found.loss + float(mean.numpy()) * count, found.counted + count
                if (compared := predicted_classes(model, logits, batch)) is not None:
                    found.note_classes(compared)
                    few = logits.ndim == 2 or logits.shape[-1] == getattr(
                        getattr(model, "config", None), "num_labels", None
                    )
                    found.classes = logits.shape[-1] if few else None
                if keep:
                    labels = labels_of(batch)
                    made = logits if preprocess is None else preprocess(logits, labels)
                    found.scores.append(host_array(made) if made is not None else None)
                    found.labels.append(host_array(labels) if labels is not None else None)
            if shown is not None:
                shown.update(len(items))
    return found


def joined(parts: Sequence[Any], order: np.ndarray | None = None) -> Any:
    """The arrays of all batches as one, in the order of the dataset; None if there are none.

    If batches of tokens differ in length, shorter ones are padded with -100.
    """
    if not parts or parts[0] is None:
        return None
    if len({part.shape[1:] for part in parts}) > 1:  # an entry for each token, in batches of different lengths
        longest = max(part.shape[1] for part in parts)
        parts = [
            np.pad(part, [(0, 0), (0, longest - part.shape[1]), *[(0, 0)] * (part.ndim - 2)], constant_values=IGNORED)
            for part in parts
        ]
    whole = np.concatenate(parts)
    return whole if order is None else whole[np.argsort(order)]


def predict(
    model: Module,
    loader: DataLoader,
    data_collator: Callable[[list], Any],
    title: str,
    call: Callable[[Module, Any], Any] = called,
) -> np.ndarray:
    """The model's logits (items, classes) for the next pass of `loader`, put back in the order of its dataset."""
    model.eval()
    order = np.concatenate(loader.batches(loader.epoch))
    logits = []
    with no_grad(), progress(len(order), title) as bar:
        for items in loader:
            out = call(model, data_collator(items))
            scores = out if isinstance(out, Tensor) else loss_and_logits(out)[1]
            if scores is None:
                raise ValueError(f"{type(model).__name__} returned no logits, but a {type(out).__name__}")
            logits.append(scores.numpy())
            bar.update(len(items))
    return joined(logits, order)


def prefixed(told: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The metrics, with the prefix added to names that lack it."""
    return {name if name.startswith(f"{prefix}_") else f"{prefix}_{name}": value for name, value in told.items()}


def speeds(seconds: float, items: int, batches: int, prefix: str) -> dict[str, float]:
    """The duration and speed of a pass, under Hugging Face's names."""
    seconds = max(seconds, 1e-9)
    return {
        f"{prefix}_runtime": round(seconds, 4),
        f"{prefix}_samples_per_second": round(items / seconds, 3),
        f"{prefix}_steps_per_second": round(batches / seconds, 3),
    }


def plain(told: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """NumPy numbers as Python numbers, so that JSON can hold them."""
    return {
        name: value.item()
        if isinstance(value, (np.generic, np.ndarray, Tensor)) and np.size(value) == 1
        else value.tolist()
        if isinstance(value, np.ndarray)
        else value
        for name, value in told
    }
