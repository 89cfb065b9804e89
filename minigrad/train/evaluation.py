"""Evaluation of a model: mean loss, scores, and predictions in the order of the dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np

from .. import backend, metrics
from ..data import DataLoader
from ..data.text import IGNORED
from ..distributed import Communicator
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


class Seen(NamedTuple):
    """The results of one batch: its loss, the number of labels that count, its classes, and the arrays to keep."""

    loss: float
    count: int
    has_loss: bool
    classes: tuple[np.ndarray, np.ndarray] | None  # true and predicted classes
    num_classes: int | None  # None if they are a vocabulary
    scores: Any
    labels: Any


class Found:
    """The results of one pass over a dataset, collected batch by batch."""

    def __init__(self, found: dict[int, Seen]):
        batches = list(found.values())
        self.numbers = list(found)  # the numbers of the batches with a label that counts
        self.loss = sum(seen.loss for seen in batches)
        self.counted = sum(seen.count for seen in batches if seen.has_loss)
        self.num_classes = batches[-1].num_classes if batches else None
        self.classes = [seen.classes for seen in batches if seen.classes is not None]
        self.scores, self.labels = [seen.scores for seen in batches], [seen.labels for seen in batches]

    def scored(self) -> dict[str, Any]:
        """Accuracy and, unless the classes are a vocabulary, macro-F1 and the confusion matrix (row = true class)."""
        if not self.classes:
            return {}
        true, predicted = map(np.concatenate, zip(*self.classes))
        told: dict[str, Any] = {"accuracy": metrics.accuracy(true, predicted)}
        if self.num_classes:
            told["macro_f1"] = metrics.f1(true, predicted, num_classes=self.num_classes)
            told["confusion_matrix"] = metrics.confusion_matrix(true, predicted, self.num_classes).tolist()
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
    world: Communicator | None = None,
) -> Found:
    """Evaluate a model in one pass over labelled items; `step` returns loss and logits of a batch.

    The logits are kept, after `preprocess`, if `keep` is set.
    Rank r of n has the batches r, r + n, … in its loader; every rank returns the results of all batches.
    """
    model.eval()
    world = Communicator() if world is None else world
    seen: dict[int, Seen] = {}
    with no_grad(), progress(len(loader.dataset), title) if bar else nullcontext() as shown:
        for number, items in enumerate(loader):
            batch = collator(items)
            if count := count_labels(model, batch):
                mean, logits = step(batch)
                place = number * world.size + world.rank
                seen[place] = looked_at(model, batch, count, mean, logits, keep, preprocess)
            if shown is not None:
                shown.update(len(items))
    return Found(in_order(world, seen))


def looked_at(
    model: Module, batch: Any, count: int, mean: Any, logits: Any, keep: bool, preprocess: Callable | None
) -> Seen:
    """The results of a batch, from its mean loss and its logits."""
    loss = 0.0 if mean is None else float(mean.numpy()) * count
    classes = num_classes = scores = labels = None
    if (compared := predicted_classes(model, logits, batch)) is not None:
        home = backend.of(compared[0])
        predicted, true = (home.to_numpy(array) for array in compared)
        classes = true[true != IGNORED], predicted[true != IGNORED]
        few = logits.ndim == 2 or logits.shape[-1] == getattr(getattr(model, "config", None), "num_labels", None)
        num_classes = logits.shape[-1] if few else None
    if keep:
        labels = labels_of(batch)
        made = logits if preprocess is None else preprocess(logits, labels)
        scores = host_array(made) if made is not None else None
        labels = host_array(labels) if labels is not None else None
    return Seen(loss, count, mean is not None, classes, num_classes, scores, labels)


def in_order(world: Communicator, found: dict[int, Any]) -> dict[int, Any]:
    """The results of all ranks by the numbers of the batches, in order."""
    everything = {number: one for part in world.all_gather_object(found) for number, one in part.items()}
    return dict(sorted(everything.items()))


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
    title: str | None,
    call: Callable[[Module, Any], Any] = called,
) -> np.ndarray:
    """The model's logits (items, classes) for the next pass of `loader`, put back in the order of its dataset.

    `title` is that of a progress bar; None for no bar.
    """
    order = np.concatenate(loader.batches(loader.epoch))
    return joined(logits_of(model, loader, data_collator, title, call), order)


def logits_of(
    model: Module,
    loader: DataLoader,
    data_collator: Callable[[list], Any],
    title: str | None,
    call: Callable[[Module, Any], Any] = called,
    world: Communicator | None = None,
) -> list[np.ndarray]:
    """The model's logits (items, classes) for each batch of the loaders of all ranks, in order."""
    model.eval()
    world = Communicator() if world is None else world
    logits = {}
    with no_grad(), nullcontext() if title is None else progress(len(loader.dataset), title) as bar:
        for number, items in enumerate(loader):
            out = call(model, data_collator(items))
            scores = out if isinstance(out, Tensor) else loss_and_logits(out)[1]
            if scores is None:
                raise ValueError(f"{type(model).__name__} returned no logits, but a {type(out).__name__}")
            logits[number * world.size + world.rank] = scores.numpy()
            if bar is not None:
                bar.update(len(items))
    return list(in_order(world, logits).values())


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
