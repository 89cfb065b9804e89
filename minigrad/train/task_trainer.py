"""A Trainer that takes the loss, the outputs to keep in an evaluation, and the scores from a task."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..data import Sampler
from ..pretrained import PretrainedModel
from ..tasks import Task
from .arguments import TrainingArguments
from .batches import labels_of, loss_and_logits
from .evaluation import EvalPrediction
from .state import Record
from .trainer import Trainer

CLOCKS = ("runtime", "_per_second")


class TaskTrainer(Trainer):
    """Trains the model of a task, on datasets that the task has encoded (see `minigrad.tasks.base`)."""

    model: PretrainedModel

    def __init__(
        self, task: Task, args: TrainingArguments, train_dataset: Any = None, eval_dataset: Any = None, **more
    ):
        self.task = task
        super().__init__(
            task.model,
            args,
            train_dataset,
            eval_dataset,
            data_collator=task.collator(),
            processing_class=task.processor,
            compute_metrics=self.scored,
            **more,
        )

    def training_step(self, batch: Any) -> Any:
        """The model's loss for a batch, or the task's; in an evaluation also the outputs for the task's scores."""
        return self.judged(batch, super().training_step(batch))

    def judged(self, batch: Any, out: Any) -> dict[str, Any]:
        """The task's loss and outputs, from a model's output for a batch."""
        loss, logits = loss_and_logits(out)
        smoothing = self.args.label_smoothing_factor if self.model.training else 0.0
        own = None if logits is None else self.task.loss(logits, labels_of(batch), smoothing)
        if not self.model.training:
            logits = self.task.outputs(self.model, batch, out)
        return {"loss": loss if own is None else own, "logits": logits}

    def train_sampler(self) -> Sampler | None:
        return self.task.sampler(self.train_dataset)

    def measured(self, dataset: Any, prefix: str) -> Record:
        """The loss and the task's scores."""
        self.dataset = dataset
        return super().measured(dataset, prefix)

    def scored(self, found: EvalPrediction) -> dict[str, Any]:
        """The task's scores from the outputs of an evaluation."""
        return self.task.scores(found.predictions, found.label_ids, self.dataset)


def scores_of(record: Record) -> dict[str, Any]:
    """The scores of an evaluation by their names without a prefix; durations and speeds are left out."""
    found = {name.removeprefix("eval_"): value for name, value in record.items() if name.startswith("eval_")}
    return {name: value for name, value in found.items() if not name.endswith(CLOCKS)}


@contextmanager
def naming(*sources: Any) -> Iterator[None]:
    """In the block, a ValueError about all examples gets the names of their files, unless it has one already."""
    try:
        yield
    except ValueError as error:
        files = [os.fspath(source) for source in sources if isinstance(source, (str, os.PathLike))]
        if not files or any(file in str(error) for file in files):
            raise
        raise ValueError(f"{' and '.join(files)}: {error}") from None
