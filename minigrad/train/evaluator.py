"""Evaluation and prediction in a Trainer, and the checks that its datasets and its model fit together."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ..data import DataLoader, Dataset, Subset
from ..data.text import IGNORED
from ..pretrained.inputs import as_given
from . import ranks, run
from .batches import LABELS, called, check_arguments, check_items, count_labels, labels_of, used_columns, without
from .evaluation import EvalPrediction, PredictionOutput, joined, logits_of, measure, plain, prefixed, speeds
from .gradients import Gradients
from .notebook import in_notebook
from .state import Record


class Evaluator(Gradients):
    """The part of a Trainer that evaluates and predicts."""

    def check_datasets(self) -> None:
        """Raise ValueError for datasets that the model cannot read, or a metric that does not suit their labels."""
        if isinstance(self.eval_dataset, dict) and not set(LABELS).isdisjoint(self.eval_dataset):
            check_items("eval_dataset", self.eval_dataset)
        parts = self.eval_dataset if isinstance(self.eval_dataset, dict) else {"eval_dataset": self.eval_dataset}
        for name, dataset in {"train_dataset": self.train_dataset, **parts}.items():
            if dataset is None:
                continue
            labels = labels_of(self.first_batch(name, dataset))
            metric = self.args.metric_for_best_model
            if (
                self.compute_metrics is None
                and metric in ("accuracy", "macro_f1")
                and (labels is None or as_given(labels).dtype.kind not in "iu")
            ):
                raise ValueError(
                    f"metric_for_best_model is {metric!r}, which is for classes, but the labels "
                    f'of {name} are {"none" if labels is None else as_given(labels).dtype}: expected "loss"'
                )
        if self.args.eval_strategy != "no" and self.eval_dataset is None:
            raise ValueError(
                f'eval_strategy is "{self.args.eval_strategy}", but eval_dataset is None; expected a dataset: '
                "split(...) of minigrad.data holds out a part of the training examples"
            )

    def first_batch(self, name: str, dataset: Any) -> Any:
        """The batch of the first item.  Raises ValueError if there is none, or the model cannot be called with it."""
        if not hasattr(dataset, "__len__") or not len(dataset):
            given = "None" if dataset is None else "empty" if hasattr(dataset, "__len__") else "without a length"
            raise ValueError(
                f"{name} is {given}; expected a dataset of one item or more: split(...) of minigrad.data holds "
                "out a part of the training examples"
            )
        check_items(name, dataset)
        item = dataset[0]
        if self.args.remove_unused_columns and (used := used_columns(self.model, item)):
            self.collator = lambda items: self.data_collator(
                [{key: one[key] for key in one if key in used} for one in items]
            )
        batch = self.collator([item])
        check_arguments(self.model, batch, name, self.loss_fn is not None)
        return batch

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Record:
        """Evaluate the model on a labelled dataset, by default `eval_dataset`; log and return the record.

        It contains `eval_loss`, the mean over the labels that count, and the scores from `compute_metrics`.  Without
        `compute_metrics`, if labels are classes, it contains `eval_accuracy` and, unless the classes are a vocabulary,
        `eval_macro_f1` and `eval_confusion_matrix` (row = true class).  For a dict of datasets, the names begin with
        eval_<name of the dataset>.
        """
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(dataset, dict):
            told = {}
            for name, part in dataset.items():
                told |= self.measured(part, f"{metric_key_prefix}_{name}")
        else:
            told = self.measured(dataset, metric_key_prefix)
        if self.is_training:
            told = {**self.progress.epoch_means(), **told}
            if run.note_best(self.args, self.state, told):
                told["best"] = True
        self.log(told)
        self.event("on_evaluate", metrics=told)
        return told

    def measured(self, dataset: Any, prefix: str) -> Record:
        """The metrics of one dataset."""
        self.first_batch("the dataset", dataset)
        start, batches = time.perf_counter(), self.eval_batches(dataset)
        metrics = None if self.args.prediction_loss_only else self.compute_metrics
        world = ranks.sharing(dataset, self.world)
        ranks.broadcast(self.world, dict(self.model.named_buffers()))
        with self.autocast(), self.averaged():
            found = measure(
                self.model,
                self.loader_of(dataset, batches[world.rank :: world.size]),
                self.collator,
                self.evaluated,
                metrics is not None,
                "evaluate",
                self.preprocess_logits,
                not (self.args.disable_tqdm or in_notebook()),
                world,
            )
        if not found.counted:
            raise ValueError(f"no label of the {len(dataset)} items of the dataset counts: all are {IGNORED}")
        told = {"loss": found.loss / found.counted}
        if metrics is not None:
            order = np.concatenate([batches[number] for number in found.numbers])
            told |= metrics(EvalPrediction(*(joined(parts, order) for parts in (found.scores, found.labels))))
        elif not self.args.prediction_loss_only:
            told |= found.scored()
        return {
            **plain(prefixed(told, prefix).items()),
            **speeds(time.perf_counter() - start, len(dataset), len(batches), prefix),
        }

    def evaluated(self, batch: Any) -> tuple[Any, Any]:
        """Loss and logits of a batch, in an evaluation."""
        self.total = count_labels(self.model, batch)
        return self.outputs(batch)

    def predict(
        self, test_dataset: Dataset, ignore_keys: Any = None, metric_key_prefix: str = "test"
    ) -> PredictionOutput:
        """The logits (items, classes), or (items, tokens, classes) padded with -100, in the order of the dataset.

        If the items have labels, the result also has these, and the metrics of `evaluate` under names that begin with
        test_.
        """
        batch = self.first_batch("the dataset", test_dataset)
        start, batches = time.perf_counter(), self.eval_batches(test_dataset)
        order = np.concatenate(batches)
        call = (lambda model, batch: called(model, without(batch)[0])) if self.loss_fn else called
        with self.autocast(), self.averaged():
            world = ranks.sharing(test_dataset, self.world)
            ranks.broadcast(self.world, dict(self.model.named_buffers()))
            loader = self.loader_of(test_dataset, batches[world.rank :: world.size])
            logits: Any = joined(logits_of(self.model, loader, self.collator, "predict", call, world), order)
        logits = logits.astype(np.result_type(logits.dtype, np.float32), copy=False)
        labels, told = None, speeds(time.perf_counter() - start, len(test_dataset), len(batches), metric_key_prefix)
        if labels_of(batch) is not None:
            labels = joined(
                [np.asarray(as_given(labels_of(self.collator([test_dataset[i] for i in part])))) for part in batches],
                order,
            )
            told = self.measured(test_dataset, metric_key_prefix)
        self.event("on_predict", metrics=told)
        return PredictionOutput(logits, labels, told)

    def eval_batches(self, dataset: Dataset) -> list[np.ndarray]:
        """The indices of the items of each batch; those of similar length are together."""
        size, lengths = self.args.per_device_eval_batch_size, getattr(dataset, "lengths", None)
        return DataLoader(dataset, size, lengths=lengths).batches(0)

    def loader_of(self, dataset: Dataset, batches: list[np.ndarray]) -> DataLoader:
        """Gives some of the batches of a dataset."""
        items = Subset(dataset, [index for batch in batches for index in batch.tolist()])
        return DataLoader(items, self.args.per_device_eval_batch_size, num_workers=self.args.dataloader_num_workers)
