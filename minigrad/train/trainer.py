"""The training loop: loss, gradients, step; and after each epoch a look at examples the model is not trained on."""
from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import reduce
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .. import backend, losses, metrics
from ..amp import GradScaler, autocast
from ..data import DataCollatorWithPadding, DataLoader, Dataset
from ..nn import Parameter
from ..optim import AdamW, clip_grad_norm_
from ..pretrained import AutoTokenizer, PretrainedModel
from ..pretrained.files import replacing
from ..pretrained.tokenizer import FILES as TOKENIZER_FILES
from ..schedule import linear_schedule_with_warmup
from ..tensor import Tensor, no_grad
from .arguments import SIGNS, TrainingArguments

IGNORED = -100                                               # a label that counts for nothing, as in cross-entropy
Record = dict[str, Any]


class Trainer:
    """Trains a classifier and keeps the best of its epochs in `args.output_dir`.

    Args:
        model: given a collated batch, it returns `logits` (items, classes) and `loss`, the mean over the items.
        train_dataset, eval_dataset: items with a class number `label`; if a dataset has `lengths`, those of similar length
            go into a batch together.
        data_collator: makes of a list of items a batch, a dict of arrays with `labels` (by default, pads token ids with 0).
        tokenizer: saved beside the model, so that the directory can be used by itself.
        callbacks: each is called with every record as it is made.

    `history` lists the records: one for every `logging_steps` steps (loss and accuracy, their means over these steps; learning
    rate and gradient norm of the last) and one per epoch, the latter with `train_loss` and `train_accuracy` over all items,
    `eval_loss`, `eval_accuracy`, `eval_macro_f1` and `eval_confusion_matrix`; `best` is that of the epoch whose model was kept.
    With fp16 a step says its `loss_scale` too; its `grad_norm` is None if that was too large and the step was left out.

    On a GPU what steps report stays there until a step is logged or an epoch ends, and comes to the host in one copy; in the
    steps between nothing waits.  (With fp16 there is one copy in every step: see `GradScaler.step`.)
    """

    def __init__(self, model: PretrainedModel, args: TrainingArguments, train_dataset: Dataset, eval_dataset: Dataset,
                 data_collator: Callable[[list], dict] | None = None, tokenizer: AutoTokenizer | None = None,
                 callbacks: Sequence[Callable[[Record], None]] = ()):
        if isinstance(model, PretrainedModel):
            model.update_config()               # of a head replaced by hand; refuses what could not be loaded again
        self.model, self.args, self.train_dataset, self.eval_dataset = model, args, train_dataset, eval_dataset
        self.data_collator, self.tokenizer, self.callbacks = data_collator or DataCollatorWithPadding(), tokenizer, callbacks
        self.history: list[Record] = []
        self.best: Record | None = None
        self.step = 0
        self.unlogged: list[list[float]] = []                # loss and accuracy of the steps since the last record
        self.scaler = GradScaler(enabled=args.fp16)

    def train(self) -> Record:
        """Train for all epochs, load the best model back, and return its record.

        What depends on chance is drawn from `args.seed` (and the dropout from the model's own generator).  Interrupted, it
        raises KeyboardInterrupt with a message that says which model is kept.

        Raises FileExistsError or ValueError, before anything is done, as `TrainingArguments.check_output_dir`; ValueError if no
        parameter is left to train, the gradients are not finite, or the evaluation loss is not when no model was saved yet.
        Gradients that are not finite never reach the weights, except on a GPU in a step that is not logged: there it is said
        when the next one is, or the epoch ends, and still before a model is saved.
        """
        args = self.args
        args.check_output_dir()
        batch_size = args.per_device_train_batch_size * args.gradient_accumulation_steps
        loader = self.loader(self.train_dataset, batch_size, shuffle=True)
        steps = len(loader) * args.num_train_epochs
        optimizer = AdamW(decay_groups(self.model, args.weight_decay), lr=args.learning_rate)
        schedule = linear_schedule_with_warmup(optimizer, math.ceil(args.warmup_ratio * steps), steps)
        Path(args.output_dir).mkdir(parents=True, exist_ok=True)
        try:
            for epoch in range(1, args.num_train_epochs + 1):
                start = time.perf_counter()
                record = {**self.train_epoch(epoch, loader, optimizer, schedule), **self.evaluate()}
                record["seconds"] = time.perf_counter() - start
                finite = math.isfinite(record["eval_loss"])
                if not finite and self.best is None:
                    raise ValueError(f"the evaluation loss of epoch {epoch} is {record['eval_loss']}, so no model was saved: "
                                     f"lower the learning_rate, which is {args.learning_rate}")
                record["best"] = finite and (self.best is None or self.score(record) > self.score(self.best))
                if record["best"]:
                    self.save_model()
                    self.best = record
                self.log(record)
                lines = [json.dumps(record) + "\n" for record in self.history]
                with replacing(Path(args.output_dir) / "metrics.jsonl") as (part,):
                    part.write_text("".join(lines), encoding="utf-8")
        except KeyboardInterrupt:
            kept = "no epoch was finished, so no model was saved" if self.best is None else (
                f"the best model so far, of epoch {self.best['epoch']}, is in {args.output_dir}")
            raise KeyboardInterrupt(f"interrupted at step {self.step} of {steps}; {kept}") from None
        self.model.load_state_dict(type(self.model).from_pretrained(args.output_dir).state_dict())
        return self.best

    def train_epoch(self, epoch: int, loader: DataLoader, optimizer: AdamW, schedule: Any) -> Record:
        """One pass over the training examples; returns its mean loss and accuracy, measured as the model changed."""
        self.model.train()
        args, fp16 = self.args, self.args.fp16
        home = backend.get(trained_parameters(self.model)[0].device)
        reports, sizes = Reports(home, min(args.logging_steps, len(loader))), []
        sums, seen = np.zeros(2), 0
        with progress(len(loader.dataset), f"epoch {epoch}/{args.num_train_epochs}") as bar:
            for i, items in enumerate(loader, 1):
                means = self.gradients(items)
                finite = self.scaler.unscale_(optimizer)
                norm = clip_grad_norm_(self.model.parameters(), args.max_grad_norm,
                                       error_if_nonfinite=home is backend.cpu and not fp16)
                reports.write(*means, norm, finite)
                sizes.append(len(items))
                logged, taken = (self.step + 1) % args.logging_steps == 0, True
                if logged or fp16 or i == len(loader):
                    rows = reports.read()
                    if fp16:
                        taken = bool(rows[-1][3])
                    else:
                        self.check_norms([row[2] for row in rows])
                    found = [row[:2] for row in rows]
                    sums, seen, sizes = sums + sizes @ np.array(found), seen + sum(sizes), []
                    self.unlogged += found
                    bar.set_postfix(loss=f"{sums[0] / seen:.3f}", accuracy=f"{sums[1] / seen:.3f}", refresh=False)
                rate, scale = optimizer.param_groups[0]["lr"], self.scaler.get_scale()
                self.scaler.step(optimizer, taken)
                optimizer.zero_grad()                        # before the next forward pass, so that the two never coexist
                self.scaler.update()
                if taken:
                    schedule.step()
                self.step += 1
                if logged:
                    loss, accuracy = np.mean(self.unlogged, axis=0).tolist()
                    self.unlogged.clear()
                    self.log({"epoch": epoch, "step": self.step, "loss": loss, "accuracy": accuracy, "learning_rate": rate,
                              "grad_norm": rows[-1][2] if taken else None, **({"loss_scale": scale} if fp16 else {})})
                bar.update(len(items))
        loss, accuracy = (sums / seen).tolist()
        return {"epoch": epoch, "step": self.step, "train_loss": loss, "train_accuracy": accuracy}

    def check_norms(self, norms: list[float]) -> None:
        """Refuse gradients that are not finite, by the norms of the steps up to the one that is being made."""
        for step, norm in enumerate(norms, self.step + 2 - len(norms)):
            if not math.isfinite(norm):
                raise ValueError(f"the gradients cannot be clipped: at step {step} their norm is {norm}; "
                                 "lower the learning rate, or look for log(0) or 0/0 in the loss")

    def gradients(self, items: list) -> list[Any]:
        """Leave in `.grad` the gradients of the mean loss over `items`; returns that loss and the accuracy, where the model is.

        The items go through the model in micro-batches.  Each one's mean loss is weighted by its share of all labels, so
        however they are cut, the sum is the gradient of the one big batch.
        """
        size = self.args.per_device_train_batch_size
        batches = [self.data_collator(items[i:i + size]) for i in range(0, len(items), size)]
        total = sum(np.count_nonzero(batch["labels"] != IGNORED) for batch in batches)
        return [reduce(add, parts) for parts in zip(*[self.backward(batch, total) for batch in batches])]

    def backward(self, batch: dict[str, np.ndarray], total: int) -> tuple[Any, Any]:
        """What one micro-batch adds to the gradients, the loss and the accuracy of a batch with `total` labels."""
        with self.autocast():
            out = self.model(**batch)
            loss = out.loss * (np.count_nonzero(batch["labels"] != IGNORED) / total)
        overflowing = {"over": "ignore", "invalid": "ignore"} if self.args.fp16 else {}        # the scaler will see it
        with np.errstate(**overflowing):
            self.scaler.scale(loss).backward()
        labels = backend.of(loss.data).xp.asarray(batch["labels"])
        return loss.data.astype(np.float64), (out.logits.data.argmax(-1) == labels).sum() / total

    def predict(self, dataset: Dataset, title: str = "predict") -> np.ndarray:
        """The logits (items, classes), in the dataset's order."""
        with self.autocast():
            logits = predict(self.model, self.loader(dataset, self.args.per_device_eval_batch_size), self.data_collator, title)
        return logits.astype(np.result_type(logits.dtype, np.float32), copy=False)

    def evaluate(self, dataset: Dataset | None = None) -> Record:
        """Loss, accuracy, macro-F1 and confusion matrix (row = true class) on a labelled dataset, by default `eval_dataset`."""
        dataset = self.eval_dataset if dataset is None else dataset
        logits = self.predict(dataset, "evaluate")
        labels = np.array([dataset[i]["label"] for i in range(len(dataset))])
        predicted, classes = logits.argmax(-1), logits.shape[-1]
        return {"eval_loss": float(losses.cross_entropy(logits, labels)),
                "eval_accuracy": metrics.accuracy(labels, predicted),
                "eval_macro_f1": metrics.f1(labels, predicted, num_classes=classes),
                "eval_confusion_matrix": metrics.confusion_matrix(labels, predicted, classes).tolist()}

    def save_model(self) -> None:
        """Save model and tokenizer in output_dir: written in full first, then moved in, so that no interruption can spoil it."""
        out = Path(self.args.output_dir)
        with TemporaryDirectory(prefix=".saving-", dir=out) as beside:
            self.model.save_pretrained(beside)
            if self.tokenizer is not None:
                self.tokenizer.save_pretrained(beside)
            written = os.listdir(beside)
            for name in written:
                os.replace(Path(beside) / name, out / name)
        for name in set(TOKENIZER_FILES).difference(written):           # of an earlier run's tokenizer, which would win over ours
            (out / name).unlink(missing_ok=True)

    def log(self, record: Record) -> None:
        self.history.append(record)
        for callback in self.callbacks:
            callback(record)

    def score(self, record: Record) -> float:
        """What the best epoch has most of."""
        metric = self.args.metric_for_best_model
        return SIGNS[metric] * record[f"eval_{metric}"]

    def autocast(self) -> AbstractContextManager:
        """In which precision the model computes, by the arguments."""
        return autocast("float16" if self.args.fp16 else "bfloat16", enabled=self.args.fp16 or self.args.bf16)

    def loader(self, dataset: Dataset, batch_size: int, shuffle: bool = False) -> DataLoader:
        return DataLoader(dataset, batch_size, shuffle, self.args.seed, lengths=getattr(dataset, "lengths", None))


class Reports:
    """What steps report, a row each: loss, accuracy, gradient norm, are all gradients finite?  Kept on the device until read."""

    def __init__(self, home: backend.Backend, most: int):
        self.home, self.rows, self.written = home, home.xp.empty((most, 4), np.float64), 0

    def write(self, *numbers: Any) -> None:
        for column, number in enumerate(numbers):
            self.rows[self.written, column] = number.data if isinstance(number, Tensor) else number
        self.written += 1

    def read(self) -> list[list[float]]:
        """The rows written since the last time, in one copy, for which the host waits."""
        rows, self.written = self.home.to_numpy(self.rows[:self.written]).tolist(), 0
        return rows


def predict(model: PretrainedModel, loader: DataLoader, data_collator: Callable[[list], dict], title: str) -> np.ndarray:
    """The model's logits (items, classes) for the next pass of `loader`, put back in the order of its dataset."""
    model.eval()
    order = np.concatenate(loader.batches(loader.epoch))
    logits = []
    with no_grad(), progress(len(order), title) as bar:
        for items in loader:
            logits.append(model(**data_collator(items)).logits.numpy())
            bar.update(len(items))
    return np.concatenate(logits)[np.argsort(order)]


def trained_parameters(model: PretrainedModel) -> list[Parameter]:
    """Those that are not frozen.  Raises ValueError if there are none."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ValueError("no parameter is left to train: freeze fewer, such as 'bert.**', which leaves the classifier")
    return trained


def decay_groups(model: PretrainedModel, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser: decay for matrices; none for vectors, which are biases and LayerNorm's scales."""
    trained = trained_parameters(model)
    return [{"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0}]


def progress(total: int, title: str) -> Any:
    """A bar that counts texts; in a log file, where lines are not rewritten, a sparse one."""
    from tqdm import tqdm
    live = sys.stderr.isatty()
    return tqdm(total=total, desc=title, unit=" texts", leave=False, delay=1, ascii=not live, mininterval=0.1 if live else 10)
