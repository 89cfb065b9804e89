"""Fine-tuning in one call: from a pretrained model and a file of examples to a directory with a fine-tuned model."""

from __future__ import annotations

import copy
import json
import math
import os
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from ..distributed import printing_once, world
from ..errors import is_whole
from ..finetune import LoraConfig, PeftModel, get_peft_model
from ..nn.quantized import dequantize
from ..pretrained import AutoConfig
from ..pretrained.checkpoint.files import path_of, replacing
from ..tasks import TASKS, Task, task_class
from .arguments import MEANT, TrainingArguments, check_names
from .callbacks import JSONLinesCallback, TrainerCallback
from .optimizers import trained_parameters
from .plots import plot_confusion_matrix, plot_history
from .run import load_weights
from .state import Record
from .task_trainer import TaskTrainer, naming, scores_of
from .trainer import Trainer

DEFAULTS: dict[str, Any] = {  # training arguments that suit a few thousand texts better than Hugging Face's defaults
    "learning_rate": 2e-4,
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 64,
    "weight_decay": 0.01,
    "warmup_ratio": 0.1,
    "logging_steps": 1,
    "seed": 0,
    "group_by_length": True,
    "eval_strategy": "epoch",
    "save_strategy": "no",
}
LORA_RATE = 10  # the factor by which the default learning rate of LoRA is larger, as peft's documentation recommends
NOTES = "run.json", "finetune.json"  # files for the Trainer and `minigrad verify-resume`, not listed for the user

Source = str | os.PathLike | Iterable[Any]


@printing_once
def finetune(
    model_dir: str | os.PathLike,
    train: Source,
    eval: Source | None = None,
    *,
    output: str | os.PathLike,
    task: str = "text-classification",
    overwrite: bool = False,
    eval_fraction: float = 0.2,
    freeze: str | Sequence[str] = (),
    lora: int = 0,
    find_lr: bool = False,
    ignore_mismatched_sizes: bool = False,
    callbacks: Sequence[Callable[[Record], None] | TrainerCallback] = (),
    **arguments: Any,
) -> Trainer:
    """Fine-tune a pretrained model for a task, and report the progress on standard output.

    Args:
        model_dir: a Hugging Face model directory: config.json, safetensors, tokenizer files.
        train, eval: each a file that the task reads, or a list of examples.  For text classification that is a .csv,
            .tsv, .jsonl or .json file with a text and a label column, or a list of (text, label).  Without `eval`,
            `eval_fraction` of the training examples is held out, with no text in both parts.
        output: a new directory for the best epoch's model with its tokenizer and label names, for `metrics.jsonl` (a
            record for each step and epoch), `evaluation.txt` (the scores) and, with matplotlib, pictures.
        task: one of `minigrad.tasks.TASKS`.
        overwrite: replace the model that an earlier run left in `output`.
        freeze: a pattern of parameters to freeze, such as "bert.embeddings.**", or several patterns.
        lora: the rank of LoRA adapters, such as 8, on every Linear; they are trained with the head instead of the whole
            model, which takes less memory and time, by default at ten times the usual learning rate.  The model is
            saved with the adapters merged, and the adapters beside it.
        find_lr: whether to run `Trainer.lr_find` first, with rates from 1e-7 to 1 in 100 steps, and train at the rate
            at which the loss fell fastest; `learning_rates.png` shows the test.
        ignore_mismatched_sizes: whether to initialise weights of another shape anew, such as the head of a model that
            was fine-tuned for other labels.
        callbacks: each is a `TrainerCallback`, or a function that is called with every record of the run.
        arguments: options of the task, such as max_length=64 (tokens to which texts are truncated), and any of
            `TrainingArguments`, such as num_train_epochs=5.  The defaults are those in `DEFAULTS`, which are printed,
            and Hugging Face's.  resume_from_checkpoint=True continues an interrupted run.

    Returns:
        The trainer, with the best epoch's `model`, the `history` and the `best` record.

    Raises:
        OSError, ValueError, ImportError: a file cannot be read, is missing or does not match the others, `output` is
            not empty, or the tokenizers library is not installed; in one line, and before anything is written.
        TypeError: an argument is unknown; the message suggests the nearest one.
        KeyboardInterrupt: the run was interrupted; the message says which model was saved.

    Warns of labels that differ only by case, of evaluation texts that are also training texts, and of classes without
    an evaluation example.
    """
    given = {
        "model_dir": model_dir,
        "train": train,
        "eval": eval,
        "output": output,
        "task": task,
        "overwrite": overwrite,
        "eval_fraction": eval_fraction,
        "freeze": freeze,
        "lora": lora,
        "ignore_mismatched_sizes": ignore_mismatched_sizes,
        **arguments,
    }
    trainer = trainer_for(**given, callbacks=callbacks)
    if find_lr:
        given["learning_rate"] = arguments["learning_rate"] = found_rate(trainer)
    complete(trainer, arguments, given)
    return trainer


def complete(trainer: TaskTrainer, arguments: dict[str, Any], given: dict[str, Any] | None = None) -> None:
    """Train, keep the best epoch's model, and tell how it went; with the arguments of finetune, they are noted."""
    output = trainer.args.output_dir
    print(chosen_by_finetune(trainer.task, (given or {}).get("lora", 0), arguments))
    print(EpochTable(trainer.task).head(), flush=True)
    world().barrier()  # every rank has checked that `output` is empty
    if given is not None and world().rank == 0:
        note_arguments(given)
    try:
        trainer.train()
    except KeyboardInterrupt as stop:
        best = trainer.best
        kept = (
            "no epoch was finished, so no model was saved"
            if best is None
            else (f"the best model so far, of epoch {best['epoch']:g}, is in {output}")
        )
        told, _, saved = str(stop).partition("; ")
        how = f"; {saved.replace('trainer.train(resume', 'finetune(..., resume')}" if "checkpoint-" in saved else ""
        raise KeyboardInterrupt(f"{told}; {kept}{how}") from None
    load_weights(trainer, Path(output))
    if world().rank == 0:
        report_best(trainer)
    written = sorted(file.name for file in Path(output).iterdir() if file.is_file() and file.name not in NOTES)
    print(
        f"\nSaved in {output}: {', '.join(written)}\n"
        f"To use it, type: minigrad predict {shlex.quote(str(output))} {trainer.task.sample_input}"
    )


def found_rate(trainer: TaskTrainer) -> float:
    """The learning rate that a range test suggests, which the trainer then uses; the test is also drawn."""
    found = trainer.lr_find()
    if found.suggestion is None:
        raise ValueError(
            f"the loss fell at none of {len(found.rates)} learning rates from {found.rates[0]:.0e} to "
            f"{found.rates[-1]:.0e}, as with too few examples or frozen weights: leave find_lr out"
        )
    trainer.args.learning_rate = found.suggestion
    print(f"Learning rate {found.suggestion:.2g}, at which the loss fell fastest in a test of {len(found.rates)} steps")
    if trainer.world.rank == 0:
        try:
            with replacing(Path(trainer.args.output_dir) / "learning_rates.png") as (part,):
                found.plot().savefig(part, format="png")
        except ImportError as error:
            print(f"No picture of it was drawn: {error}")
    return found.suggestion


def check_apart(model_dir: Any, output: Any) -> None:
    """Refuse an output directory that is the model's own, which the run would replace.  Raises ValueError."""
    if os.path.realpath(path_of(model_dir)) == os.path.realpath(output):
        raise ValueError(f"{model_dir} is the model itself, which would be lost: pass another output directory")


def trainer_for(
    model_dir: Any,
    train: Source,
    eval: Source | None,
    output: Any,
    task: str,
    overwrite: bool,
    eval_fraction: float,
    freeze: str | Sequence[str],
    lora: int,
    ignore_mismatched_sizes: bool,
    callbacks: Sequence[Any] = (),
    make: Callable[..., TaskTrainer] = TaskTrainer,
    **arguments: Any,
) -> TaskTrainer:
    """The trainer of such a run, before its first step; prints a summary of the model and the examples.

    `make` builds it from the arguments of a TaskTrainer.
    """
    kind = task_class(task)
    if not kind.has_head:
        raise ValueError(f"{kind.name} is not trained, it takes a model as it is; expected one of {', '.join(TASKS)}")
    taken = [name for name in signature(finetune).parameters if name != "arguments"]
    named = [field.name for field in fields(TrainingArguments) if not field.name.endswith("output_dir")]
    meant = MEANT | {"output_dir": "output", "overwrite_output_dir": "overwrite"}
    check_names("finetune", arguments, [*taken, *kind.options(), *named], meant)
    this = kind(**{name: arguments.pop(name) for name in kind.options() if name in arguments})
    if not is_whole(lora, 0):
        raise ValueError(f"lora is {lora!r}; expected the rank of the adapters, such as 8, or 0 to train the model")
    args = TrainingArguments(output, overwrite, **{**defaults_of(this, lora), **arguments})
    if args.metric_for_best_model not in this.metrics:
        known = ", ".join(sorted(this.metrics, key=lambda name: (name == "loss", name)))
        raise ValueError(f"metric_for_best_model is {args.metric_for_best_model!r}; expected one of {known}")
    if args.eval_strategy != "epoch":
        raise ValueError(f'eval_strategy is "{args.eval_strategy}"; expected "epoch": leave it out, or use a Trainer')
    if not args.resume_from_checkpoint:
        args.check_output_dir()
        check_apart(model_dir, output)
    learnt = this.read(train)
    given = None if eval is None else this.read(eval)
    config: Any = AutoConfig.from_pretrained(model_dir)
    own = list((config.id2label or {}).values())
    with naming(train, eval):
        learnt, judged = this.split(learnt, eval_fraction, args.seed) if given is None else (learnt, given)
        changes = this.study(learnt, judged, config)
    model: Any = this.model_class.from_pretrained(
        model_dir, ignore_mismatched_sizes=ignore_mismatched_sizes, rng=args.seed, **changes
    )
    names = list(changes.get("id2label", {}).values())
    if names and names != own and (new := model.reset_head(args.seed)):
        print(
            f"The head of this model was trained for {listed(own)}, not for {listed(names)}: "
            f"{' and '.join(new)} are newly initialised"
        )
    this.attach(model, this.load_processor(model_dir))
    if model.quantization is not None and not lora:
        raise ValueError(
            f"{model_dir} holds a model that is quantised to {model.quantization.weights}, whose weights are not "
            "trained: give lora=8 to train adapters beside them, or the model that it was made from"
        )
    if lora:
        heads = [model.label_layer.split(".")[0]] if model.label_layer else None
        config = LoraConfig(lora, "all-linear", lora_alpha=2 * lora, modules_to_save=heads)
        get_peft_model(model, config, rng=args.seed)
        print(f"{model.adapter_table()}\n")
    if freeze:
        model.freeze(*([freeze] if isinstance(freeze, str) else freeze))
    trained = sum(p.size for p in trained_parameters(model))
    with naming(train, eval):
        datasets = [this.encode(part) for part in (learnt, judged)]
    print(f"{model_dir}\n{model.load_report}\n")
    print(this.describe(learnt, judged))
    print("; ".join(filter(None, [f"{trained:,} parameters to train", this.note(datasets[0])])) + "\n")
    callbacks = [KeepBest(), EpochTable(this), *callbacks, JSONLinesCallback]
    return make(this, args, *datasets, callbacks=callbacks)


def listed(names: Sequence[str]) -> str:
    """The first twenty names, and the number of the others."""
    return ", ".join(names[:20]) + f" and {len(names) - 20:,} more" * (len(names) > 20)


def note_arguments(given: dict[str, Any]) -> None:
    """Write the run's arguments to the output directory for `minigrad verify-resume`, if all data is in files."""
    files = [given["train"], *([] if given["eval"] is None else [given["eval"]])]
    if not all(isinstance(file, (str, os.PathLike)) for file in files):
        return
    absolute = {
        name: os.path.abspath(value)
        for name, value in given.items()
        if name in ("model_dir", "train", "eval") and value is not None and Path(value).exists()
    }
    noted = {
        name: os.fspath(value) if isinstance(value, os.PathLike) else value
        for name, value in (given | absolute).items()
    }
    noted.pop("resume_from_checkpoint", None)
    out = Path(given["output"])
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "finetune.json") as (part,):
        part.write_text(json.dumps({**noted, "overwrite": True}, default=str, indent=2) + "\n", encoding="utf-8")


class KeepBest(TrainerCallback):
    """Saves the model in the output directory whenever an evaluation is the best so far, and marks its record."""

    def __init__(self):
        self.start = time.perf_counter()

    def on_epoch_begin(self, args, state, control, **more):
        self.start = time.perf_counter()

    def on_log(self, args, state, control, logs, trainer, **more):
        if "eval_loss" not in logs:
            return
        logs["seconds"] = time.perf_counter() - self.start
        if logs.setdefault("best", False):
            trainer.save_model()
            if isinstance(trainer.model, PeftModel):  # so that the directory can be loaded without adapters
                with trainer.averaged():
                    merged = dequantize(copy.deepcopy(trainer.model)).merge_and_unload()
                if trainer.world.rank == 0:
                    merged.save_pretrained(args.output_dir)
        elif state.best_global_step is None:
            raise ValueError(
                f"the evaluation loss of epoch {logs['epoch']:g} is {logs['eval_loss']}, so no model was saved: "
                f"lower the learning_rate, which is {args.learning_rate}"
            )

    def state_dict(self):
        return {}


def defaults_of(task: Task, lora: int = 0) -> dict[str, Any]:
    """The training arguments that finetune chooses for a task, and for LoRA adapters of this rank unless it is 0."""
    chosen = DEFAULTS | {"metric_for_best_model": task.metrics[0]} | task.defaults
    return chosen | {"learning_rate": LORA_RATE * chosen["learning_rate"]} if lora else chosen


def chosen_by_finetune(task: Task, lora: int, arguments: dict[str, Any]) -> str:
    """A line with the arguments whose default differs from Hugging Face's, except those that were given."""
    defaults = defaults_of(task, lora)
    listed = ", ".join(f"{name}={value!r}" for name, value in defaults.items() if name not in arguments)
    return f"Defaults that differ from Hugging Face's: {listed}\n" if listed else ""


class EpochTable:
    """Prints a row for each epoch: its columns are those of the task."""

    def __init__(self, task: Task):
        self.columns = task.columns

    def head(self) -> str:
        return "  ".join(["epoch", *self.columns.values(), f"{'time':>7}"])

    def __call__(self, record: Record) -> None:
        if "eval_loss" in record:
            cells = [
                f"{record.get(name, math.nan):{len(title)}.{4 if name.endswith('loss') else 3}f}"
                for name, title in self.columns.items()
            ]
            row = "  ".join([f"{record['epoch']:5g}", *cells, f"{record['seconds']:5.0f} s"])
            print(row + "  saved" * record["best"], flush=True)


def report_best(trainer: TaskTrainer) -> None:
    """Print and save the scores of the best epoch, and draw the pictures."""
    best: Any = trainer.best
    dataset: Any = trainer.eval_dataset
    out, task = Path(trainer.args.output_dir), trainer.task
    scores = scores_of(best)
    report = task.report(scores)
    with replacing(out / "evaluation.txt") as (part,):
        part.write_text(report + "\n", encoding="utf-8")
    n = len(getattr(dataset, "examples", dataset))
    print(f"\nThe model of epoch {best['epoch']:g} on the {n} evaluation examples:\n\n{report}")
    pictures = {"training_curves.png": lambda: plot_history(trainer.history)}
    if (matrix := scores.get("confusion_matrix")) is not None:
        names = list(trainer.model.config.id2label.values())
        pictures["confusion_matrix.png"] = lambda: plot_confusion_matrix(np.array(matrix), names)
    try:
        with replacing(*(out / name for name in pictures)) as parts:
            for part, draw in zip(parts, pictures.values(), strict=True):
                draw().savefig(part, format="png")
    except ImportError as error:
        print(f"\nNo pictures were drawn: {error}")
