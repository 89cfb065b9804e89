"""Pipelines, which use a fine-tuned model: for answers to inputs, and for scores on a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np

from ..data import DataLoader
from ..pretrained import PretrainedModel
from ..pretrained.values import found_in
from ..tasks import DEFAULT, Task, kind_of_model, task_class, task_named, task_of
from .arguments import TrainingArguments, check_names
from .batches import agreed_collator, used_columns
from .evaluation import predict
from .task_trainer import TaskTrainer, naming, scores_of

SWITCHES = ("do_sample", "handle_impossible_answer", "normalize")  # options of calls that are True or False


def check_switches(options: Mapping[str, Any]) -> None:
    """Raise TypeError unless the options of a call that are switches are True or False: the text "false" is true."""
    for name in SWITCHES:
        if not isinstance(value := options.get(name), (bool, np.bool_, type(None))):
            raise TypeError(f"{name} is {value!r:.60}; expected true or false")


class Pipeline:
    """A task with a trained model, as a function of inputs; `pipeline` makes one."""

    def __init__(self, task: Task):
        task.model.update_config()  # in case the head was replaced
        self.task = task

    def __call__(self, inputs: Any = None, *, batch_size: int = 64, **options: Any) -> Any:
        """The answers, in the form of transformers' pipeline of the same name; `options` are those of its call.

        Raises TypeError for an option that the task does not have, and for one that is not True or False but should be.
        """
        check_switches(options)
        if "max_new_tokens" not in self.task.answer_options:  # otherwise `generate` checks them
            check_names(f"a call of {self.task.name}", options, self.call_options(), {})
        examples = self.task.examples(inputs, **options)
        return self.task.returned(self.answers(examples, batch_size, **options), inputs, **options)

    def call_options(self) -> list[str]:
        """The names of the options of a call, from the signatures of the task's methods that take them."""
        methods = (self.task.examples, self.task.answers, self.task.returned)
        names = dict.fromkeys(name for method in methods for name in signature(method).parameters)
        return [name for name in names if name not in ("inputs", "outputs", "dataset", "answers", "options")]

    def answers(
        self, examples: Sequence[Any], batch_size: int = 64, *, title: str | None = "predict", **options: Any
    ) -> list[Any]:
        """The answer to each of the task's examples; `title` is that of the progress bar, None for no bar."""
        task, model = self.task, self.task.model
        dataset = task.encode(examples, labelled=False)
        collate = agreed_collator(model, task.processor, task.collator())
        used = used_columns(model, dataset[0])
        unpadded = getattr(model.config, "pad_token_id", 0) is None  # then each text is a batch
        lengths = getattr(dataset, "lengths", None)
        outputs = predict(
            model,
            DataLoader(dataset, 1 if unpadded else batch_size, lengths=lengths),
            lambda items: collate([{name: item[name] for name in used} for item in items] if used else items),
            title,
            lambda _, batch: task.outputs(model, batch, **options),
        )
        return task.answers(outputs, dataset, **options)

    def evaluate(self, source: str | os.PathLike | Iterable[Any], batch_size: int = 64) -> dict[str, Any]:
        """The loss and the task's scores on a file of labelled examples, or a list of them."""
        examples = self.task.read(source)
        self.task.warn_of_gaps(examples)
        with naming(source):
            dataset = self.task.encode(examples)
        args = TrainingArguments(per_device_eval_batch_size=batch_size)
        return scores_of(TaskTrainer(self.task, args, eval_dataset=dataset).measured(dataset, "eval"))


def pipeline(
    task: str | None = None,
    model: str | os.PathLike | PretrainedModel | None = None,
    tokenizer: Any = None,
    **options: Any,
) -> Pipeline:
    """A pipeline of a fine-tuned model, called as in transformers.

        classify = pipeline("text-classification", "outputs/mine")
        classify("Open a socket.")              # [{"label": "asyncio", "score": 0.91}]
        classify.evaluate("test.csv")           # {"loss": 0.31, "accuracy": 0.88, ...}

    Args:
        task: one of `minigrad.tasks.TASKS`, or "feature-extraction"; None for the task of the fine-tuning.
        model: a model directory, the name of one on the Hub, or a model.
        tokenizer: the tokenizer or image processor, needed if `model` is a model.
        options: options of the task, such as max_length=64.

    Raises:
        FileNotFoundError, ValueError: the model or its tokenizer cannot be loaded, the model is not for this task, or
            it was never trained for it.
        TypeError: there is no model, or the task does not have an option.
    """
    if model is None or isinstance(model, PretrainedModel) and tokenizer is None:
        raise TypeError("a pipeline needs a model: type pipeline(task, directory), or pipeline(task, model, tokenizer)")
    kind = task_of(model) if task is None else task_class(task)
    check_names("pipeline", options, list(kind.options()), {})
    this = kind(**usual(kind, options))
    if isinstance(model, PretrainedModel):
        this.attach(model, tokenizer)
        return Pipeline(this)
    loaded = kind.model_class.from_pretrained(model)
    report = loaded.load_report
    if kind.has_head and report is not None and (new := report.newly_initialised):
        named = "" if kind.name == DEFAULT else f" --task {kind.name}"
        raise ValueError(
            f"the model in {model} was not fine-tuned, it has no {new[0]}: expected one that was trained for "
            f"{kind.name}; type: minigrad finetune {model}{named} --train FILE --output DIR"
        )
    other = task_named(kind_of_model(model)[1])
    if kind.has_head and other not in (None, kind):  # a task whose head has weights of the same names and shapes
        raise ValueError(
            f"the model in {model} was trained for {other.name}, not for {kind.name}: pass task={other.name!r}"
        )
    with found_in(model):
        this.attach(loaded, this.load_processor(model))
        return Pipeline(this)


def usual(kind: type[Task], options: dict[str, Any]) -> dict[str, Any]:
    """The options of a task for a trained model: texts are truncated as in training."""
    return {"max_length": None} | options if "max_length" in kind.options() else options
