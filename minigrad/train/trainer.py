"""The training loop: loss, gradients, step; and after each epoch a look at examples the model is not trained on."""
from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import reduce
from inspect import signature
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .. import backend, metrics
from ..amp import GradScaler, autocast
from ..data import DataCollatorWithPadding, DataLoader, Dataset
from ..data.text import IGNORED
from ..nn import Module, Parameter
from ..optim import AdamW, clip_grad_norm_
from ..pretrained import AutoModelForCausalLM, AutoTokenizer, PretrainedModel
from ..pretrained.checkpoint import safetensors
from ..pretrained.checkpoint.files import SHARDS, WHOLE, replacing
from ..pretrained.checkpoint.safetensors import contiguous
from ..pretrained.inputs import as_given, host_array
from ..pretrained.text.tokenizer import FILES as TOKENIZER_FILES
from ..schedule import linear_schedule_with_warmup
from ..tape import no_grad
from ..tensor import Tensor
from .arguments import SIGNS, TrainingArguments

Record = dict[str, Any]
NEXT_TOKEN = {name.partition(".")[2] for name in AutoModelForCausalLM.families.values()}     # their labels are the inputs


class Trainer:
    """Trains a model and keeps the best of its epochs in `args.output_dir`.

    Args:
        model: called with the entries of a batch by name, it returns `loss`, the mean over the labels that count, and
            `logits`, as attributes, as a dict, or as a tuple in that order.
        train_dataset, eval_dataset: items that are dicts, with a `label` (a class number, a float, a vector, or a class number
            for each token); if a dataset has `lengths`, those of similar length go into a batch together.
        data_collator: makes of a list of items a batch, a dict of arrays with `labels`; by default a
            `DataCollatorWithPadding` with the tokenizer's padding token and side, or else with the model's own token.
        tokenizer: saved beside the model, so that the directory can be used by itself.
        callbacks: each is called with every record as it is made.

    `history` lists the records: one for every `logging_steps` steps (loss and accuracy, their means over these steps; learning
    rate and gradient norm of the last) and one per epoch, the latter with `train_loss` and `train_accuracy` over all items, and
    what `evaluate` returns; `best` is that of the epoch whose model was kept.  Labels that are not classes have no accuracy.
    With fp16 a step says its `loss_scale` too; its `grad_norm` is None if that was too large and the step was left out.

    On a GPU what steps report stays there until a step is logged or an epoch ends, and comes to the host in one copy; in the
    steps between nothing waits.  (With fp16 there is one copy in every step: see `GradScaler.step`.)

    Raises:
        TypeError: the model is no Module.
        ValueError: a dataset is empty, or its items and the model do not fit together.
    """

    def __init__(self, model: Module, args: TrainingArguments, train_dataset: Dataset, eval_dataset: Dataset,
                 data_collator: Callable[[list], dict] | None = None, tokenizer: AutoTokenizer | None = None,
                 callbacks: Sequence[Callable[[Record], None]] = ()):
        if not isinstance(model, Module):
            raise TypeError(f"model is a {type(model).__name__}; expected a Module, such as a model of minigrad.pretrained")
        if isinstance(model, PretrainedModel):
            model.update_config()               # of a head replaced by hand; refuses what could not be loaded again
        self.model, self.args, self.train_dataset, self.eval_dataset = model, args, train_dataset, eval_dataset
        self.tokenizer, self.callbacks = tokenizer, callbacks
        self.data_collator = agreed_collator(model, tokenizer, data_collator)
        self.history: list[Record] = []
        self.best: Record | None = None
        self.step = self.steps = 0
        self.unlogged: list[list[float]] = []                # loss and accuracy of the steps since the last record
        self.scaler = GradScaler(enabled=args.fp16)
        for name, dataset in (("train_dataset", train_dataset), ("eval_dataset", eval_dataset)):
            labels = self.first_batch(name, dataset).get("labels")
            if args.metric_for_best_model in ("accuracy", "macro_f1") and (
                    labels is None or as_given(labels).dtype.kind not in "iu"):
                raise ValueError(f"metric_for_best_model is {args.metric_for_best_model!r}, which is for classes, but the labels "
                                 f'of {name} are {"none" if labels is None else as_given(labels).dtype}: expected "loss"')

    def first_batch(self, name: str, dataset: Any) -> dict[str, Any]:
        """The batch of the first item.  Refuses what the model could not read, before any time is spent on it."""
        if not hasattr(dataset, "__len__") or not len(dataset):
            given = "None" if dataset is None else "empty" if hasattr(dataset, "__len__") else "without a length"
            raise ValueError(f"{name} is {given}; expected a dataset of one item or more: split(...) of minigrad.data holds "
                             "out a part of the training examples")
        batch = self.data_collator([dataset[0]])
        try:
            signature(self.model.forward).bind(**batch)
        except TypeError as error:
            raise ValueError(f"{type(self.model).__name__}.forward{signature(self.model.forward)} cannot be called with "
                             f"{', '.join(batch)}, which the items of {name} have: {error}; write a forward that takes them "
                             "and returns loss and logits, or pass a data_collator that renames them") from None
        return batch

    def train(self) -> Record:
        """Train for all epochs, load the best model back, and return its record.

        What depends on chance, dropout included, is drawn from `args.seed`.  Interrupted, it raises KeyboardInterrupt with a
        message that says which model is kept.

        Raises FileExistsError or ValueError, before anything is done, as `TrainingArguments.check_output_dir`; ValueError if no
        parameter is left to train, the gradients are not finite, or the evaluation loss is not when no model was saved yet.
        Gradients that are not finite never reach the weights, except on a GPU in a step that is not logged: there it is said
        when the next one is, or the epoch ends, and still before a model is saved.
        """
        args = self.args
        args.check_output_dir()
        batch_size = args.per_device_train_batch_size * args.gradient_accumulation_steps
        loader = self.loader(self.train_dataset, batch_size, shuffle=True)
        self.step, self.steps = 0, math.ceil(args.num_train_epochs * len(loader))
        self.best = None
        self.history.clear()
        self.unlogged.clear()
        optimizer = AdamW(decay_groups(self.model, args.weight_decay), lr=args.learning_rate)
        warmup = math.ceil(args.warmup_ratio * self.steps) if self.steps > 1 else 0           # the only step must train
        schedule = linear_schedule_with_warmup(optimizer, warmup, self.steps)
        seed_generators(self.model, args.seed)
        Path(args.output_dir).mkdir(parents=True, exist_ok=True)
        try:
            for epoch in range(1, math.ceil(args.num_train_epochs) + 1):
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
            raise KeyboardInterrupt(f"interrupted at step {self.step} of {self.steps}; {kept}") from None
        self.load_model()
        return self.best

    def train_epoch(self, epoch: int, loader: DataLoader, optimizer: AdamW, schedule: Any) -> Record:
        """One pass over the training examples; returns its mean loss and accuracy, measured as the model changed."""
        self.model.train()
        args, fp16 = self.args, self.args.fp16
        home = backend.get(trained_parameters(self.model)[0].device)
        reports, counts = Reports(home, min(args.logging_steps, len(loader))), []
        sums, seen = np.zeros(2), 0
        with progress(len(loader.dataset), f"epoch {epoch}/{math.ceil(args.num_train_epochs)}") as bar:
            for i, items in enumerate(loader, 1):
                *means, count = self.gradients(items)
                finite = self.scaler.unscale_(optimizer)
                norm = clip_grad_norm_(self.model.parameters(), args.max_grad_norm or math.inf,
                                       error_if_nonfinite=home is backend.host and not fp16)
                reports.write(*means, norm, finite)
                counts.append(count)
                logged, taken = (self.step + 1) % args.logging_steps == 0, True
                last = i == len(loader) or self.step + 1 == self.steps
                if logged or fp16 or last:
                    rows = reports.read()
                    if fp16:
                        taken = bool(rows[-1][3])
                    else:
                        self.check_norms([row[2] for row in rows])
                    found = [row[:2] for row in rows]
                    sums, seen, counts = sums + counts @ np.array(found), seen + sum(counts), []
                    self.unlogged += found
                    bar.set_postfix({name: f"{mean:.3f}" for name, mean in named(*sums / seen).items()}, refresh=False)
                rate, scale = optimizer.param_groups[0]["lr"], self.scaler.get_scale()
                self.scaler.step(optimizer, taken)
                optimizer.zero_grad()                        # before the next forward pass, so that the two never coexist
                self.scaler.update()
                if taken:
                    schedule.step()
                self.step += 1
                if logged:
                    means = np.mean(self.unlogged, axis=0).tolist()
                    self.unlogged.clear()
                    self.log({"epoch": epoch, "step": self.step, **named(*means), "learning_rate": rate,
                              "grad_norm": rows[-1][2] if taken else None, **({"loss_scale": scale} if fp16 else {})})
                bar.update(len(items))
                if last:
                    break
        means = named(*(sums / seen).tolist())
        return {"epoch": epoch, "step": self.step, **{f"train_{name}": mean for name, mean in means.items()}}

    def check_norms(self, norms: list[float]) -> None:
        """Refuse gradients that are not finite, by the norms of the steps up to the one that is being made."""
        for step, norm in enumerate(norms, self.step + 2 - len(norms)):
            if not math.isfinite(norm):
                raise ValueError(f"the gradients cannot be clipped: at step {step} their norm is {norm}; "
                                 "lower the learning rate, or look for log(0) or 0/0 in the loss")

    def gradients(self, items: list) -> list[Any]:
        """Leave in `.grad` the gradients of the mean loss over `items`; returns it, the accuracy and the count of labels.

        The items go through the model in micro-batches.  Each one's mean loss is weighted by its share of all labels, so
        however they are cut, the sum is the gradient of the one big batch.  Loss and accuracy stay where the model is.
        """
        size = self.args.per_device_train_batch_size
        batches = [self.data_collator(items[i:i + size]) for i in range(0, len(items), size)]
        counts = [self.count(batch) for batch in batches]
        if not (total := sum(counts)):
            raise ValueError(f"no label of these {len(items)} items counts, all are {IGNORED}: leave such items out, or make "
                             "batches larger")
        parts = [self.backward(batch, total) for batch, count in zip(batches, counts, strict=True) if count]
        return [*(reduce(add, part) for part in zip(*parts, strict=True)), total]

    def backward(self, batch: dict[str, Any], total: int) -> tuple[Any, Any]:
        """What one micro-batch adds to the gradients, the loss and the accuracy of a batch with `total` labels."""
        with self.autocast():
            loss, logits = self.outputs(batch)
            loss = loss * (self.count(batch) / total)
        overflowing = {"over": "ignore", "invalid": "ignore"} if self.args.fp16 else {}        # the scaler will see it
        with np.errstate(**overflowing):
            self.scaler.scale(loss).backward()
        right = math.nan
        if (compared := self.classes(logits, batch)) is not None:
            predicted, labels = compared
            right = (predicted == labels).sum() / total
        return loss.data.astype(np.float64), right

    def outputs(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        """The model's loss and logits for a batch with labels."""
        out = self.model(**batch)
        loss, logits = loss_and_logits(out)
        if not isinstance(loss, Tensor):
            raise ValueError(f"{type(self.model).__name__} returned no loss for a batch of {', '.join(batch)}" + (
                ": the items need a label" if "labels" not in batch else
                f", but a {type(out).__name__}; expected one with loss and logits, a dict with them, or a tuple of them"))
        return loss, logits

    def count(self, batch: dict[str, Any]) -> int:
        """How many labels of a batch count, over which its loss is the mean; without `labels`, how many items it has."""
        if "labels" not in batch:
            return len(next(iter(batch.values())))
        labels = self.compared(host_array(batch["labels"]))
        return int(np.count_nonzero(labels != IGNORED)) if labels.dtype.kind in "iu" else labels.size

    def compared(self, labels: Any) -> Any:
        """The labels that scores are held to: of a model that guesses the next token, those from the second on."""
        return labels[:, 1:] if NEXT_TOKEN.intersection(kind.__name__ for kind in type(self.model).__mro__) else labels

    def classes(self, logits: Tensor | None, batch: dict[str, Any]) -> tuple[Any, Any] | None:
        """The predicted classes and the true ones, where the model is; None if labels are not classes."""
        if logits is None or "labels" not in batch:
            return None
        labels = as_given(batch["labels"])
        if labels.dtype.kind not in "iu" or logits.ndim != labels.ndim + 1 or logits.shape[-1] < 2:
            return None
        predicted = logits.data.argmax(-1)
        shift = predicted.shape[-1] - self.compared(labels).shape[-1]
        return predicted[:, :-1] if shift else predicted, backend.of(predicted).xp.asarray(self.compared(labels))

    def predict(self, dataset: Dataset, title: str = "predict") -> np.ndarray:
        """The logits (items, classes), in the dataset's order; of tokens (items, tokens, classes), filled with -100."""
        self.first_batch("the dataset", dataset)
        with self.autocast():
            logits = predict(self.model, self.loader(dataset, self.args.per_device_eval_batch_size), self.data_collator, title)
        return logits.astype(np.result_type(logits.dtype, np.float32), copy=False)

    def evaluate(self, dataset: Dataset | None = None) -> Record:
        """How good the model is on a labelled dataset, by default `eval_dataset`.

        It is `eval_loss`, the mean over the labels that count; where these are classes, `eval_accuracy`; and unless the
        classes are a vocabulary, `eval_macro_f1` and `eval_confusion_matrix` (row = true class).
        """
        dataset = self.eval_dataset if dataset is None else dataset
        self.first_batch("the dataset", dataset)
        self.model.eval()
        loss, total, found = 0.0, 0, []
        with no_grad(), self.autocast(), progress(len(dataset), "evaluate") as bar:
            for items in self.loader(dataset, self.args.per_device_eval_batch_size):
                batch = self.data_collator(items)
                if count := self.count(batch):
                    mean, logits = self.outputs(batch)
                    loss, total = loss + float(mean.numpy()) * count, total + count
                    if (compared := self.classes(logits, batch)) is not None:
                        home = backend.of(logits.data)
                        predicted, labels = (home.to_numpy(array) for array in compared)
                        found.append((labels[labels != IGNORED], predicted[labels != IGNORED]))
                bar.update(len(items))
        if not total:
            raise ValueError(f"no label of the {len(dataset)} items of the dataset counts: all are {IGNORED}")
        record = {"eval_loss": loss / total}
        if found:
            labels, predicted = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
            classes = logits.shape[-1]
            record["eval_accuracy"] = metrics.accuracy(labels, predicted)
            if logits.ndim == 2 or classes == getattr(getattr(self.model, "config", None), "num_labels", None):
                record["eval_macro_f1"] = metrics.f1(labels, predicted, num_classes=classes)
                record["eval_confusion_matrix"] = metrics.confusion_matrix(labels, predicted, classes).tolist()
        return record

    def save_model(self) -> None:
        """Save model and tokenizer in output_dir: written in full first, then moved in, so that no interruption can spoil it."""
        out = Path(self.args.output_dir)
        with TemporaryDirectory(prefix=".saving-", dir=out) as beside:
            if self.tokenizer is not None:
                self.tokenizer.save_pretrained(beside)
            if isinstance(self.model, PretrainedModel):      # config.json and weights change together, even if this is killed
                self.model.save_pretrained(out)
            else:                                            # a model of the user's own: its weights by name
                arrays = {name: contiguous(t.numpy()) for name, t in self.model.state_dict().items()}
                safetensors.write(Path(beside) / WHOLE, arrays)
            written = os.listdir(beside)
            for name in written:
                os.replace(Path(beside) / name, out / name)
        for path in out.iterdir():                           # shards and tokenizers of an earlier run would win over ours
            is_shard = SHARDS.fullmatch(path.name) and not isinstance(self.model, PretrainedModel)    # whose save removes them
            if path.name not in written and (is_shard or path.name in TOKENIZER_FILES):
                path.unlink()

    def load_model(self) -> None:
        """Load what `save_model` has saved."""
        out = self.args.output_dir
        if isinstance(self.model, PretrainedModel):
            dtype = str(self.model.parameters()[0].dtype)
            state = type(self.model).from_pretrained(out, dtype=dtype).state_dict()
        else:
            state = safetensors.read(Path(out) / WHOLE)
        self.model.load_state_dict(state)

    def log(self, record: Record) -> None:
        self.history.append(record)
        for callback in self.callbacks:
            callback(record)

    def score(self, record: Record) -> float:
        """What the best epoch has most of."""
        metric = self.args.metric_for_best_model or ("macro_f1" if "eval_macro_f1" in record else "loss")
        if f"eval_{metric}" not in record:
            raise ValueError(f"metric_for_best_model is {metric!r}, which these labels do not have; expected one of "
                             f"{', '.join(name for name in SIGNS if f'eval_{name}' in record)}")
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


def named(loss: float, accuracy: float) -> dict[str, float]:
    """Both by name; without the accuracy where there is none."""
    return {"loss": loss} if math.isnan(accuracy) else {"loss": loss, "accuracy": accuracy}


def loss_and_logits(out: Any) -> tuple[Any, Any]:
    """Of what a model returned: attributes, entries of a dict, or a tuple in that order; None for what is not there."""
    if isinstance(out, tuple):
        return out[:2] if len(out) > 1 else (None, None)
    if isinstance(out, Mapping):
        return out.get("loss"), out.get("logits")
    return getattr(out, "loss", None), getattr(out, "logits", None)


def predict(model: Module, loader: DataLoader, data_collator: Callable[[list], dict], title: str) -> np.ndarray:
    """The model's logits (items, classes) for the next pass of `loader`, put back in the order of its dataset."""
    model.eval()
    order = np.concatenate(loader.batches(loader.epoch))
    logits = []
    with no_grad(), progress(len(order), title) as bar:
        for items in loader:
            out = model(**data_collator(items))
            scores = loss_and_logits(out)[1]
            if scores is None:
                raise ValueError(f"{type(model).__name__} returned no logits, but a {type(out).__name__}")
            logits.append(scores.numpy())
            bar.update(len(items))
    if len({scores.shape[1:] for scores in logits}) > 1:     # of each token, in batches of different lengths
        longest = max(scores.shape[1] for scores in logits)
        logits = [np.pad(scores, [(0, 0), (0, longest - scores.shape[1]), *[(0, 0)] * (scores.ndim - 2)],
                         constant_values=IGNORED) for scores in logits]
    return np.concatenate(logits)[np.argsort(order)]


def agreed_collator(model: Module, tokenizer: AutoTokenizer | None, collator: Callable[[list], dict] | None) -> Any:
    """The collator, by default one that pads as the tokenizer does.  The model takes the tokenizer's padding token over.

    Raises ValueError if a given one pads with another token than the model's, by which models find where a text ends.
    """
    config = getattr(model, "config", None)
    own = getattr(config, "pad_token_id", None)
    if tokenizer is not None and tokenizer.pad_token_id is not None:
        own = tokenizer.pad_token_id
        if hasattr(config, "pad_token_id"):
            config.pad_token_id = own
    if collator is None:
        pad = 0 if own is None and not isinstance(model, PretrainedModel) else own
        return DataCollatorWithPadding(pad, tokenizer.settings.get("padding_side", "right") if tokenizer else "right")
    if isinstance(collator, DataCollatorWithPadding) and own not in (None, collator.pad_token_id):
        raise ValueError(f"data_collator pads with {collator.pad_token_id}, but the padding token of the model is {own}: leave "
                         f"data_collator out, or pass DataCollatorWithPadding({own})")
    return collator


def seed_generators(model: Module, seed: int) -> None:
    """Give the model's modules new generators in place of those they draw dropout from; who shared one still does."""
    new: dict[int, np.random.Generator] = {}
    for module in model.modules():
        for name, value in vars(module).items():
            if isinstance(value, np.random.Generator):
                setattr(module, name, new.setdefault(id(value), np.random.default_rng([seed, len(new)])))


def trained_parameters(model: Module) -> list[Parameter]:
    """Those that are not frozen.  Raises ValueError if there are none."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ValueError("no parameter is left to train: freeze fewer, such as 'bert.**', which leaves the classifier")
    return trained


def decay_groups(model: Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser: decay for matrices; none for vectors, which are biases and LayerNorm's scales."""
    trained = trained_parameters(model)
    return [{"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0}]


def progress(total: int, title: str) -> Any:
    """A bar that counts texts; in a log file, where lines are not rewritten, a sparse one."""
    from tqdm import tqdm
    live = sys.stderr.isatty()
    return tqdm(total=total, desc=title, unit=" texts", leave=False, delay=1, ascii=not live, mininterval=0.1 if live else 10)
