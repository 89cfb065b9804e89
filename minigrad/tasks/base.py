"""What a task consists of: from a file to a dataset, and from a model's outputs to scores, a report and answers.

A task runs no model: `minigrad.train` does, and calls the task's methods, `finetune` in this order:

    task = TextClassification(max_length=64)          the fields of the dataclass are the task's options
    examples = task.read("train.csv")                 and the same for the evaluation file; without one,
    train, eval = task.split(examples, 0.2, seed=0)
    changes = task.study(train, eval, config)         entries for the model's configuration, such as labels; warnings
    model = task.model_class.from_pretrained(directory, **changes)
    task.attach(model, task.load_processor(directory))
    task.describe(train, eval)                        printed
    datasets = task.encode(train), task.encode(eval)
    task.sampler(train), task.collator(), task.loss(logits, labels)        in each epoch and step
    task.outputs(model, batch, out)                   in each evaluation, for every batch, joined in dataset order, then
    scores = task.scores(outputs, labels, dataset)
    task.report(scores)                               printed, and kept as evaluation.txt

`evaluate` begins with `attach`, reads a file, calls `warn_of_gaps`, and ends with `report`.  `pipeline` and `minigrad
predict` turn their inputs into examples without labels, by `examples` or `read(file, labelled=False)`, and the model's
outputs into `answers`.  The command line prints an answer by `format_answer` and writes it to a file by `record`.

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
    has_head: ClassVar[bool] = True  # whether the model has a head whose weights must be trained first
    sample_input: ClassVar[str] = '"a sentence of your own"'  # the argument in the advice to call `minigrad predict`
    # The options of a pipeline's call that `minigrad predict` takes too, with its defaults; None leaves the pipeline's.
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
        """The scores by which the best epoch may be selected; the first is the default."""
        return ("loss",)

    @property
    def columns(self) -> dict[str, str]:
        """The columns of the table of epochs: the key of each value in an epoch's record, and its title."""
        return {"train_loss": "train loss", "eval_loss": "eval loss"}

    # Files to examples.

    def read(self, source: str | os.PathLike | Iterable[Any], labelled: bool = True) -> Sequence[Any]:
        """The examples in a file, or those that a list holds; at least one.

        With `labelled=False` the labels may be missing and are ignored.  Raises OSError or ValueError for anything
        that cannot be read, in one line that names the file and the line.
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
        """The example that an item of a user's list describes; a ValueError about it begins with `where`."""
        raise NotImplementedError

    def examples(self, inputs: Any, **options: Any) -> Sequence[Any]:
        """The unlabelled examples for the inputs of a pipeline's call: one input, or a list of them."""
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
        """The text that identifies copies of an example, so that none is both trained on and evaluated."""
        raise NotImplementedError

    def split(self, examples: Sequence[Any], eval_fraction: float, seed: int) -> tuple[Sequence[Any], Sequence[Any]]:
        """Split into training and evaluation examples, with all copies of an example on the same side."""
        return split_by_key(examples, eval_fraction, seed, self.key)

    # Examples to a model and a dataset.

    def study(self, train: Sequence[Any], eval: Sequence[Any], config: Config) -> dict[str, Any]:
        """The entries of the model's configuration that follow from the examples, such as id2label.

        `config` is the model's present configuration: its labels keep their order if they are the same.  Raises
        ValueError for examples that cannot be learnt from, and warns of what makes the scores misleading.
        """
        return {}

    def warn_of_gaps(self, eval: Sequence[Any]) -> None:
        """Warn of what makes scores on these examples misleading, such as labels that none of them has."""

    def load_processor(self, source: str | os.PathLike) -> Any:
        """The tokenizer or image processor in a model directory, which turns examples into numbers."""
        raise NotImplementedError

    def attach(self, model: PretrainedModel, processor: Any) -> None:
        """Take the model and its processor; raises ValueError if they or the options do not fit together."""
        self.model, self.processor = model, processor

    def encode(self, examples: Sequence[Any], labelled: bool = True) -> Any:
        """A dataset: items that are dicts of the model's arguments, with `labels` or `label` if they are known.

        It holds whatever `scores` and `answers` need, and `examples` if there is not exactly one item for each.
        """
        raise NotImplementedError

    def collator(self) -> Callable[[list], Any] | None:
        """The function that makes a batch from a list of items; None pads with the tokenizer's padding token."""
        return None

    def sampler(self, dataset: Any) -> Sampler | None:
        """The sampler of the items that an epoch trains on; None for each of them once."""
        return None

    def describe(self, train: Sequence[Any], eval: Sequence[Any]) -> str:
        """A summary of the examples, for a person to check."""
        return f"{len(train)} training examples, {len(eval)} evaluation examples"

    def note(self, dataset: Any) -> str:
        """What encoding did to the training examples, such as truncating them; "" for nothing."""
        return ""

    def loss(self, logits: Tensor, labels: Any, label_smoothing: float = 0.0) -> Tensor | None:
        """The mean loss over the labels of a batch that are not ignored; None for the model's own loss."""
        return None

    # Outputs to scores and answers.

    def outputs(self, model: PretrainedModel, batch: Mapping[str, Any], out: Any = None, **options: Any) -> Tensor:
        """What scores and answers are computed from, (items, …): by default the logits.

        `out` is what the model returned for the batch, if it was called already; `options` are those of a pipeline's
        call.  Batches are concatenated in the order of the dataset; where their second axes differ, the shorter ones
        are padded with -100.
        """
        return (model(**batch) if out is None else out).logits

    def scores(self, outputs: np.ndarray, labels: np.ndarray | None, dataset: Any) -> dict[str, Any]:
        """The scores by name, and whatever else `report` needs: numbers, strings, lists and dicts."""
        raise NotImplementedError

    def report(self, scores: Mapping[str, Any]) -> str:
        """The scores of an evaluation, including its `loss`, as text without a final line break."""
        clocks = ("runtime", "_per_second")
        found = {
            name: value for name, value in scores.items() if isinstance(value, float) and not name.endswith(clocks)
        }
        return "\n".join(f"{name:20} {value:.4f}" for name, value in found.items())

    def answers(self, outputs: np.ndarray, dataset: Any, **options: Any) -> list[Any]:
        """What transformers' pipeline of that name returns for each example; `options` are those of its call."""
        raise NotImplementedError

    def returned(self, answers: list[Any], inputs: Any, **options: Any) -> Any:
        """What a pipeline returns for its inputs: the list of answers, or the answer alone for a single input."""
        return answers if isinstance(inputs, (list, tuple)) else answers[0]

    def streamer(self, example: Any, write: Callable[[str], Any]) -> TextStreamer | None:
        """For a task that generates text, a streamer that calls `write` with pieces of the text of `format_answer`."""
        return None

    def format_answer(self, example: Any, answer: Any) -> str:
        """An example and its answer, for a person to read on the screen."""
        return json.dumps(self.record(example, answer), ensure_ascii=False)

    def record(self, example: Any, answer: Any) -> dict[str, Any]:
        """An example and its answer as a line of a .jsonl file."""
        raise NotImplementedError

    def warn_of_overlap(
        self, train: Sequence[Any], eval: Sequence[Any], what: str = "texts", key: Callable[[Any], str] | None = None
    ) -> None:
        """Warn of evaluation examples that are also training examples, as identified by `key`."""
        key = self.key if key is None else key
        seen = {fold(key(example)) for example in train}
        if shared := sum(fold(key(example)) in seen for example in eval):
            warn(
                f"{shared} of {len(eval)} evaluation {what} are also training {what}: the scores on them say nothing "
                f"about new {what}"
            )


def counts_table(rows: Sequence[tuple[str, int, int]], title: str = "") -> list[str]:
    """The lines of a table of counts in training and in evaluation, with a line of titles first."""
    whole = [(title, "train", "eval"), *rows]
    width = max(len(name) for name, _, _ in whole)
    return [f"{name:{width}}  {train:>7}  {eval:>7}" for name, train, eval in whole]


def check_top_k(top_k: Any) -> None:
    """Raise ValueError unless `top_k` is a positive whole number, or None for all."""
    if top_k is not None and not is_whole(top_k, 1):
        raise ValueError(f"top_k is {top_k!r}; expected 1 or more")


def best_labels(p: np.ndarray, names: Sequence[str], top_k: int | None) -> list[list[dict[str, Any]]]:
    """The `top_k` highest scores (None: all) of each row of p (examples, labels): {"label": name, "score": score}."""
    check_top_k(top_k)
    best = (-p).argsort(-1, kind="stable")[:, :top_k]
    return [
        [{"label": names[i], "score": row[i].item()} for i in order.tolist()]
        for row, order in zip(p, best, strict=True)
    ]
