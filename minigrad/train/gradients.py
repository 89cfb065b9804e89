"""The gradients of one step: micro-batches through the model, each weighted by its share of the labels that count."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from ..data.text import IGNORED
from ..execution import no_grad
from ..nn import SyncBatchNorm
from ..ops import concatenate
from ..pretrained.inputs import host_array
from ..tensor import Tensor
from . import run
from .base import TrainerBase
from .batches import (
    called,
    count_labels,
    labels_of,
    looks_at_padding,
    loss_and_logits,
    padded_together,
    predicted_classes,
    shifts,
    smoothed,
    without,
)

CHECKED = 3  # the number of first steps in which a loss function is checked to suit gradient accumulation


class Gradients(TrainerBase):
    """The part of a Trainer that computes the loss and the gradients of a step."""

    total: int  # the number of labels that count in the batch of a step
    parts: list[tuple[Tensor, Any]] | None = None  # scores and labels of a step's micro-batches, for check_mean

    def gradients(self, items: list) -> list[Any]:
        """Accumulate the gradients of the mean loss over `items` in `.grad`; return loss, accuracy and label count.

        The items go through the model in micro-batches, which are distributed over the ranks.  The mean loss of each is
        weighted by its share of all labels, so for any division the sum is the gradient of the one large batch.  Random
        numbers are a function of the seed, the step and the place of the micro-batch, not of the rank that computes it.
        With one rank, loss and accuracy stay on the model's device.
        """
        while True:
            size = self.state.train_batch_size or self.args.per_device_train_batch_size
            try:
                return self.gradients_of([items[i : i + size] for i in range(0, len(items), size)])
            except MemoryError:
                if not self.args.auto_find_batch_size or size == 1:
                    raise
            self.model.zero_grad()
            self.state.train_batch_size = size // 2

    def gradients_of(self, parts: list[list]) -> list[Any]:
        """Accumulate the gradients of all micro-batches."""
        batches = self.own_batches(parts)
        counts = {place: count_labels(self.model, batch) for place, batch in batches.items()}
        total = self.total_of(sum(counts.values()))
        if not total:
            raise ValueError(
                f"no label of these {sum(map(len, parts))} items counts, all are {IGNORED}: leave such items out, "
                "or make batches larger"
            )
        checked = self.loss_fn if self.state.global_step < CHECKED and len(parts) > 1 else None
        self.parts = [] if checked is not None and not run.takes_total(checked) else None
        found = []
        work = {place: batches[place] for place in batches if counts[place]} | self.stand_ins(parts, batches)
        reducer = self.reducer
        sharded = reducer is not None and reducer.owner_of is not None
        for place in range(self.world.rank, len(parts) + self.world.rank, self.world.size):
            if place in work:
                self.draw_for(place, 1)
                if reducer is not None and (sharded or place == max(work)):
                    reducer.expect()
                part = self.backward(work[place], counts.get(place, 0), total)
                found += [part] if place in counts else []
            if reducer is not None and sharded:
                reducer.finish()
        means = self.means_of(found)
        if checked is not None and self.parts is not None:
            self.check_mean(checked, self.world.all_gather_object(self.parts), float(means[0]))
        return [*means, total]

    def own_batches(self, parts: list[list]) -> dict[int, Any]:
        """The batches of this rank's micro-batches, by their places among all of the step."""
        places = range(self.world.rank, len(parts), self.world.size)
        if len(parts) > 1 and looks_at_padding(parts[0][0]):
            self.draw_for(0, 0)
            whole = padded_together(self.collator, parts)
            return {place: whole[place] for place in places}
        batches = {}
        for place in places:
            self.draw_for(place, 0)
            batches[place] = self.collator(parts[place])
        return batches

    def stand_ins(self, parts: list[list], batches: dict[int, Any]) -> dict[int, Any]:
        """What a rank computes where others have a micro-batch and it has none, so that a SyncBatchNorm finds it there.

        It counts for nothing: not in the statistics, nor in the loss.
        """
        last = -(-len(parts) // self.world.size) * self.world.size - self.world.size + self.world.rank
        if last < len(parts) or not self.synchronised():
            return {}
        items = next((part for part in parts if part[0] is not None), None) or [self.train_dataset[0]]
        return {last: next(iter(batches.values())) if batches else self.collator(items)}

    def synchronised(self) -> list[SyncBatchNorm]:
        """The layers of the model that use the statistics of all ranks."""
        return [layer for layer in self.model.modules() if isinstance(layer, SyncBatchNorm)]

    def draw_for(self, place: int, what: int) -> None:
        """Seed the generators of model and collator for a micro-batch: `what` is 0 for its batch, 1 for its model."""
        run.seed_generators(self.drawn, [self.args.seed, self.state.global_step, place, what])

    def total_of(self, count: int) -> int:
        """The labels that count on all ranks."""
        return count if self.world.size == 1 else int(self.world.all_reduce(np.array([count]))[0])

    def means_of(self, found: list[tuple[Any, Any]]) -> list[Any]:
        """Loss and accuracy of the step, with the gradients of all ranks summed."""
        if self.reducer is None:
            return [reduce(add, part) for part in zip(*found, strict=True)]
        if self.reducer.owner_of is None:
            self.reducer.finish()
        own = [[float(part) for part in pair] for pair in found]
        return self.world.all_reduce(np.sum([[0.0, 0.0], *own], axis=0)).tolist()

    def backward(self, batch: Any, count: int, total: int) -> tuple[Any, Any]:
        """Accumulate the gradients of one micro-batch; return its part of the loss and accuracy over `total` labels.

        If its `count` of labels is 0, it is a stand-in.
        """
        self.total = total
        uncounted = [] if count else self.synchronised()
        for layer in uncounted:
            layer.counts = False
        with self.autocast():
            loss, logits = self.outputs(batch)
            if not run.takes_total(self.loss_fn) or not count:
                loss = loss * (count / total)
        # With fp16 an overflow is no error: the scaler finds it and skips the step.
        overflowing = np.errstate(over="ignore", invalid="ignore") if self.args.fp16 else nullcontext()
        with overflowing:
            self.scaler.scale(loss).backward()
        for layer in uncounted:
            layer.counts = True
        self.event("on_substep_end")
        right = math.nan
        if (compared := predicted_classes(self.model, logits, batch)) is not None:
            predicted, labels = compared
            right = (predicted == labels).sum() / total
        return loss.data.astype(np.float64), right

    def check_mean(self, loss_fn: Callable, ranks: list[list[tuple[Tensor, Any]]], found: float) -> None:
        """Raise ValueError for a loss function that is not a mean over the labels, since accumulation would be wrong.

        In the first steps it is called with the scores and labels of all micro-batches at once, if they can be joined.
        """
        scores, labels = zip(*(part for parts in ranks for part in parts))
        if len({out.shape[1:] for out in scores}) > 1 or len({host_array(part).shape[1:] for part in labels}) > 1:
            return
        with no_grad(), self.autocast():
            loss: Tensor = loss_fn(concatenate(scores), np.concatenate([host_array(part) for part in labels]))
        whole, tolerance = float(loss.numpy()), 1e-5 if loss.dtype.itemsize > 2 else 0.02
        if math.isfinite(whole) and not math.isclose(whole, found, rel_tol=tolerance):
            raise ValueError(
                f"loss_fn is not a mean over the labels: for all items of a step it is {whole:.6g}, but the losses of "
                f"the micro-batches, weighted by their numbers of labels, add up to {found:.6g}, so accumulated "
                "gradients would not be those of the large batch; add an argument num_items_in_batch, the number of "
                "labels of the step, and return a sum divided by it, or set gradient_accumulation_steps=1"
            )

    def outputs(self, batch: Any) -> tuple[Tensor, Any]:
        """Loss and logits for a batch with labels."""
        out = self.training_step(batch)
        loss, logits = (out, None) if isinstance(out, Tensor) and out.ndim == 0 else loss_and_logits(out)
        if isinstance(loss, Tensor) and loss.size != 1:
            whose = f"{type(self.model).__name__}'s loss" if self.loss_fn is None else "the result of loss_fn"
            raise ValueError(
                f"{whose} has shape {loss.shape}; expected one number, the mean over the labels that count: give it "
                'reduction="mean", or type loss.mean()'
            )
        if not isinstance(loss, Tensor):
            names = ", ".join(batch) if isinstance(batch, dict) else "arrays"
            raise ValueError(
                f"{type(self.model).__name__} returned no loss for a batch of {names}"
                + (
                    ": the items need a label"
                    if isinstance(batch, dict) and "labels" not in batch
                    else f", but a {type(out).__name__}; "
                    "expected one with loss and logits, a dict with them, or a tuple of them"
                )
            )
        return loss, logits

    def training_step(self, batch: Any) -> Any:
        """The model's loss for one batch, or an output with loss and logits: the one method to override.

        The loss is a mean over the labels that count.  Mixed precision, gradients, accumulation and records are handled
        by the caller.  Evaluations call it as well, with `self.model.training` False and no gradients recorded.
        """
        if self.loss_fn is not None:
            inputs, labels = without(batch)
            out = called(self.model, inputs)
            more = {"num_items_in_batch": self.total} if run.takes_total(self.loss_fn) else {}
            logits = out if isinstance(out, Tensor) else loss_and_logits(out)[1]
            if self.parts is not None and isinstance(out, Tensor) and all(one.counts for one in self.synchronised()):
                self.parts.append((out.detach(), labels))
            return {"loss": self.loss_fn(out, labels, **more), "logits": logits}
        out = called(self.model, batch)
        if self.args.label_smoothing_factor and self.model.training and labels_of(batch) is not None:
            return smoothed(out, labels_of(batch), self.args.label_smoothing_factor, shifts(self.model))
        return out
