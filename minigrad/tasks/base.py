"""What a task consists of: from a file to a dataset, and from a model's outputs to scores, a report and answers.

A task runs no model.  `minigrad.train` does, and asks the task; `finetune` in this order:

    task = TextClassification(max_length=64)          the fields of the dataclass are the task's options
    examples = task.read("train.csv")                 and the same with the evaluation file, or else
    train, eval = task.split(examples, 0.2, seed=0)
    changes = task.study(train, eval, config)         labels and the like, for the model's configuration; warnings
    model = task.model_class.from_pretrained(directory, **changes)
    task.attach(model, task.load_processor(directory))
    task.describe(train, eval)                        printed
    datasets = task.encode(train), task.encode(eval)
    task.sampler(train), task.collator(), task.loss(logits, labels)        in each epoch and step
    task.outputs(model, batch, out)                   in each evaluation, for every batch, joined in dataset order, then
    scores = task.scores(outputs, labels, dataset)
    task.report(scores)                               printed, and kept as evaluation.txt

`evaluate` begins with `attach`, reads a file, calls `warn_of_gaps`, and ends with `report`.  `pipeline` and `minigrad
predict` turn what they are called with into examples without labels, with `examples` or `read(file, labelled=False)`,
and what the model makes of them into `answers`, which the command line prints as `told` and writes as `record`.

To add a task, write a subclass of `Task` (of `TextTask` if its model reads tokens) in a file of its own, with the class
attributes and the methods that raise NotImplementedError here, and name it in `minigrad.tasks.TASKS`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..data.samplers import Sampler
from ..data.split import fold, split_by_key
from ..errors import is_whole
from ..places import warn
from ..pretrained import PretrainedModel
from ..pretrained.config import Config
from ..pretrained.text.streaming import TextStreamer
from ..tensor import Tensor


@dataclass
class Task:
    """A task with its options; from `attach` on it has a `model` and a `processor`, its tokenizer say."""

    name: ClassVar[str]
    model_class: ClassVar[Any]  # an AutoModelFor…, whose families the task can use
    has_head: ClassVar[bool] = True  # of weights that training makes; what has none is not trained
    to_type: ClassVar[str] = '"a sentence of your own"'  # what `minigrad predict` is called with
    # Options of a pipeline's call that `minigrad predict` takes, too, and what it chooses; None leaves it to the call.
    answer_options: ClassVar[dict[str, Any]] = {}
    defaults: ClassVar[dict[str, Any]] = {}  # training arguments that suit this task better than those of `finetune`

    model: Any = None
    processor: Any = None

    @classmethod
    def options(cls) -> dict[str, Any]:
        """The task's options with their defaults."""
        return {field.name: field.default for field in fields(cls) if field.name not in ("model", "processor")}

    @property
    def metrics(self) -> tuple[str, ...]:
        """The scores that may choose the best epoch; the first one does unless another is asked for."""
        return ("loss",)

    @property
    def columns(self) -> dict[str, str]:
        """The columns of the table of epochs: entries of its records, and their titles."""
        return {"train_loss": "train loss", "eval_loss": "eval loss"}

    # Files to examples.

    def read(self, source: str | os.PathLike | Iterable[Any], labelled: bool = True) -> Sequence[Any]:
        """The examples of a file, or of a list of what one consists of; at least one.

        With `labelled=False` what is to be predicted need not be there, and is not looked at.  Raises OSError or
        ValueError, in one line that names file and line, for anything that cannot be read.
        """
        if isinstance(source, (str, os.PathLike)):
            return self.read_file(Path(source), labelled)
        if not isinstance(source, Iterable):
            raise TypeError(f"examples come from a file or in a list, not in {source!r:.80}")
        if not (examples := [self.read_item(f"example {i}", item) for i, item in enumerate(source, 1)]):
            raise ValueError("the list of examples is empty: expected at least one")
        return examples

    def read_file(self, path: Path, labelled: bool) -> Sequence[Any]:
        """The examples of a file or a directory."""
        raise NotImplementedError

    def read_item(self, where: str, item: Any) -> Any:
        """An example of what a user puts in a list; `where` begins the ValueError for what is none."""
        raise NotImplementedError

    def examples(self, inputs: Any, **options: Any) -> Sequence[Any]:
        """The examples, without labels, of what a pipeline is called with: one input, or a list of them."""
        raise NotImplementedError

    def sample(self) -> Any:
        """An input as a request to a service holds it, for a person to try."""
        return "This is a sentence."

    def received(self, inputs: Any) -> Any:
        """What a pipeline is called with, of the inputs of a request, which are JSON.

        Raises TypeError or ValueError for inputs that are none.
        """
        return inputs

    def key(self, example: Any) -> str:
        """The text of an example by which copies of it are known, so that none is trained on and evaluated."""
        raise NotImplementedError

    def split(self, examples: Sequence[Any], eval_fraction: float, seed: int) -> tuple[Sequence[Any], Sequence[Any]]:
        """Training and evaluation examples, without a copy of one among the other."""
        return split_by_key(examples, eval_fraction, seed, self.key)

    # Examples to a model and a dataset.

    def study(self, train: Sequence[Any], eval: Sequence[Any], config: Config) -> dict[str, Any]:
        """Look at all examples: entries of the model's configuration that follow from them, such as id2label.

        `config` is that of the model as it is, whose labels keep their order if they are the same.  Raises ValueError
        for what cannot be learnt from, and warns of what makes the scores mean less than they seem to.
        """
        return {}

    def warn_of_gaps(self, eval: Sequence[Any]) -> None:
        """Warn of what makes scores on these examples mean less, such as labels that none of them has."""

    def load_processor(self, source: str | os.PathLike) -> Any:
        """The tokenizer, or what else makes numbers of examples, in a model directory."""
        raise NotImplementedError

    def attach(self, model: PretrainedModel, processor: Any) -> None:
        """Take the model and its processor; raises ValueError if they or the options do not fit together."""
        self.model, self.processor = model, processor

    def encode(self, examples: Sequence[Any], labelled: bool = True) -> Any:
        """A dataset: items that are dicts of the model's arguments, with `labels` or `label` if they are known.

        It holds whatever `scores` and `answers` will ask of it, and `examples` if its items are not one for each.
        """
        raise NotImplementedError

    def collator(self) -> Callable[[list], Any] | None:
        """What makes a batch of a list of items; None for padding with the tokenizer's token."""
        return None

    def sampler(self, dataset: Any) -> Sampler | None:
        """Which items an epoch trains on, if not each of them once."""
        return None

    def describe(self, train: Sequence[Any], eval: Sequence[Any]) -> str:
        """What there is to learn from, for a person to check."""
        return f"{len(train)} training examples, {len(eval)} evaluation examples"

    def note(self, dataset: Any) -> str:
        """What encoding did to the training examples, such as cutting them; "" for nothing."""
        return ""

    def loss(self, logits: Tensor, labels: Any, label_smoothing: float = 0.0) -> Tensor | None:
        """The mean loss over the labels of a batch that count; None for the model's own."""
        return None

    # Outputs to scores and answers.

    def outputs(self, model: PretrainedModel, batch: Mapping[str, Any], out: Any = None, **options: Any) -> Tensor:
        """What scores and answers are computed from, (items, …): by default the logits.

        `out` is what the model returned for the batch, if it was called already; `options` are those of a pipeline's
        call.  Batches are joined in the order of the dataset; where they differ along the second axis, they are filled
        with -100.
        """
        return (model(**batch) if out is None else out).logits

    def scores(self, outputs: np.ndarray, labels: np.ndarray | None, dataset: Any) -> dict[str, Any]:
        """The scores by name, and what else `report` needs; numbers, strings, lists and dicts."""
        raise NotImplementedError

    def report(self, scores: Mapping[str, Any]) -> str:
        """The scores of an evaluation, its `loss` among them, as text that ends without a line break."""
        clocks = ("runtime", "_per_second")
        found = {
            name: value for name, value in scores.items() if isinstance(value, float) and not name.endswith(clocks)
        }
        return "\n".join(f"{name:20} {value:.4f}" for name, value in found.items())

    def answers(self, outputs: np.ndarray, dataset: Any, **options: Any) -> list[Any]:
        """For each example what transformers' pipeline of that name returns; `options` are those of its call."""
        raise NotImplementedError

    def returned(self, answers: list[Any], inputs: Any, **options: Any) -> Any:
        """What a pipeline returns for what it was called with: all answers, or of a single input its own."""
        return answers if isinstance(inputs, (list, tuple)) else answers[0]

    def streamer(self, example: Any, write: Callable[[str], Any]) -> TextStreamer | None:
        """For a task that writes: what takes each new token, and calls `write` with pieces of what `told` returns."""
        return None

    def told(self, example: Any, answer: Any) -> str:
        """An example and its answer, for a person to read on the screen."""
        return json.dumps(self.record(example, answer), ensure_ascii=False)

    def record(self, example: Any, answer: Any) -> dict[str, Any]:
        """An example and its answer as a line of a .jsonl file."""
        raise NotImplementedError

    # What several tasks need.

    def warn_of_overlap(
        self, train: Sequence[Any], eval: Sequence[Any], what: str = "texts", key: Callable[[Any], str] | None = None
    ) -> None:
        """Warn of evaluation examples that are training examples, too, by their `key`."""
        key = self.key if key is None else key
        seen = {fold(key(example)) for example in train}
        if shared := sum(fold(key(example)) in seen for example in eval):
            warn(
                f"{shared} of {len(eval)} evaluation {what} are training {what}, too: how well they are told says "
                f"nothing about new {what}"
            )


def counts_table(rows: Sequence[tuple[str, int, int]], title: str = "") -> list[str]:
    """The lines of a table of what there is in training and in evaluation, with a line of titles first."""
    whole = [(title, "train", "eval"), *rows]
    width = max(len(name) for name, _, _ in whole)
    return [f"{name:{width}}  {train:>7}  {eval:>7}" for name, train, eval in whole]


def check_top_k(top_k: Any) -> None:
    """Raise ValueError unless so many answers can be given; None means all."""
    if top_k is not None and not is_whole(top_k, 1):
        raise ValueError(f"top_k is {top_k!r}; expected 1 or more")


def best_labels(p: np.ndarray, names: Sequence[str], top_k: int | None) -> list[list[dict[str, Any]]]:
    """Of each row of scores (examples, labels) the `top_k` highest (None: all): {"label": name, "score": score}."""
    check_top_k(top_k)
    best = (-p).argsort(-1, kind="stable")[:, :top_k]
    return [
        [{"label": names[i], "score": row[i].item()} for i in order.tolist()]
        for row, order in zip(p, best, strict=True)
    ]
