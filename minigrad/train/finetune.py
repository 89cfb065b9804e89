"""The main job in one call: a pretrained model and a file of labelled texts in, a directory with a classifier out."""

from __future__ import annotations

import json
import os
import shlex
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from inspect import signature
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Example, TextDataset, label_ids, label_names, read_examples, split
from ..data.readers import check_utf8, label_name
from ..data.split import fold
from ..metrics import classification_report, format_confusion_matrix
from ..pretrained import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from ..pretrained.checkpoint.files import replacing
from .arguments import MEANT, TrainingArguments, check_names
from .callbacks import JSONLinesCallback, TrainerCallback
from .classifier import MAX_LENGTH, check_vocabulary
from .optimizers import trained_parameters
from .plots import plot_confusion_matrix, plot_history
from .run import load_weights
from .state import Record
from .trainer import Trainer

DEFAULTS: dict[str, Any] = {  # better ones than Hugging Face's for a few thousand texts
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
    "metric_for_best_model": "macro_f1",
}
NOTES = "run.json", "finetune.json"  # what the Trainer and `minigrad verify-resume` need, and users do not
METRICS = "accuracy", "macro_f1", "loss"

Texts = str | os.PathLike | Iterable[Example | tuple[str, str | int]]


def finetune(
    model_dir: str | os.PathLike,
    train: Texts,
    eval: Texts | None = None,
    *,
    output: str | os.PathLike,
    overwrite: bool = False,
    eval_fraction: float = 0.2,
    text_column: str | None = None,
    label_column: str | None = None,
    max_length: int = 128,
    freeze: str | Sequence[str] = (),
    ignore_mismatched_sizes: bool = False,
    callbacks: Sequence[Callable[[Record], None] | TrainerCallback] = (),
    **arguments: Any,
) -> Trainer:
    """Fine-tune the model of a directory to tell the labels of texts, and tell on standard output how it goes.

    Args:
        model_dir: a Hugging Face model directory: config.json, safetensors, tokenizer files.
        train, eval: each a .csv, .tsv, .jsonl or .json file with a text and a label column, or a list of (text, label).
            Without `eval`, `eval_fraction` of the training examples is held out, no text on both sides.
        output: a new directory for the best epoch's model with its tokenizer and label names, for `metrics.jsonl` (a
            record for each step and epoch), `evaluation.txt` (scores per class, confusion matrix) and, with matplotlib,
            pictures of both.
        overwrite: replace the model that an earlier run left in `output`.
        max_length: texts are cut after this many tokens, [CLS] and [SEP] included.
        freeze: a pattern of parameters not to train, such as "bert.embeddings.**", or several.
        ignore_mismatched_sizes: begin weights of another shape anew, such as the head of a model fine-tuned for other
            labels.
        callbacks: each is a `TrainerCallback`, or is called with every record of the run as it is made.
        arguments: any of `TrainingArguments`, such as num_train_epochs=5.  Those that are not given are as in
            `DEFAULTS`, which it prints, and otherwise Hugging Face's.  With resume_from_checkpoint=True an interrupted
            run goes on.

    Returns:
        The trainer, with the best epoch's `model`, the `history` and the `best` record.

    Raises:
        OSError, ValueError, ImportError: files that cannot be read, do not fit together or are missing, an `output`
            that holds something, or the tokenizers library not installed; in one line, and before anything is written.
        TypeError: an argument that does not exist; the message has the name of the one that does.
        KeyboardInterrupt: with a message that says which model is kept.

    Warnings tell of labels that differ only by case, of evaluation texts that are training texts, too, and of classes
    without an evaluation example.
    """
    given = {
        "model_dir": model_dir,
        "train": train,
        "eval": eval,
        "output": output,
        "overwrite": overwrite,
        "eval_fraction": eval_fraction,
        "text_column": text_column,
        "label_column": label_column,
        "max_length": max_length,
        "freeze": freeze,
        "ignore_mismatched_sizes": ignore_mismatched_sizes,
        **arguments,
    }
    trainer = trainer_for(**given, callbacks=callbacks)
    model: Any = trainer.model
    names = list(model.config.id2label.values())
    print(chosen_by_finetune(arguments))
    print("epoch  train loss  accuracy  eval loss  accuracy  macro-F1     time", flush=True)
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
    report_best(trainer, names)
    written = sorted(file.name for file in Path(output).iterdir() if file.is_file() and file.name not in NOTES)
    print(
        f"\nSaved in {output}: {', '.join(written)}\n"
        f'To use it, type: minigrad predict {shlex.quote(str(output))} "a sentence of your own"'
    )
    return trainer


def trainer_for(
    model_dir: Any,
    train: Texts,
    eval: Texts | None,
    output: Any,
    overwrite: bool,
    eval_fraction: float,
    text_column: str | None,
    label_column: str | None,
    max_length: int,
    freeze: str | Sequence[str],
    ignore_mismatched_sizes: bool,
    callbacks: Sequence[Any] = (),
    **arguments: Any,
) -> Trainer:
    """The trainer of such a run, before its first step; tells what it found in the model and the examples."""
    taken = [name for name in signature(finetune).parameters if name != "arguments"]
    named = [field.name for field in fields(TrainingArguments) if not field.name.endswith("output_dir")]
    check_names(
        "finetune", arguments, taken + named, MEANT | {"output_dir": "output", "overwrite_output_dir": "overwrite"}
    )
    args = TrainingArguments(output, overwrite, **{**DEFAULTS, **arguments})
    if args.metric_for_best_model not in METRICS:
        raise ValueError(
            f"metric_for_best_model is {args.metric_for_best_model!r}; expected one of {', '.join(METRICS)}"
        )
    if args.eval_strategy != "epoch":
        raise ValueError(f'eval_strategy is "{args.eval_strategy}"; expected "epoch": leave it out, or use a Trainer')
    if not args.resume_from_checkpoint:
        args.check_output_dir()
    learnt = read(train, text_column, label_column)
    given = None if eval is None else read(eval, text_column, label_column)
    check_classes(learnt)
    learnt, judged = split(learnt, eval_fraction, args.seed) if given is None else (learnt, given)
    config: Any = AutoConfig.from_pretrained(model_dir)
    names, own = label_names(learnt), list(config.id2label.values())
    if len(names) < 2:
        raise ValueError(f"all {len(learnt)} training texts have the label {names[0]!r}: expected two labels or more")
    if is_same_task := sorted(names) == sorted(own):  # then the rows of the model's head are in the order of its names
        names = own
    labels = label_ids(learnt, names), label_ids(judged, names)
    warn_of_evaluation(learnt, judged, names)

    model: Any = AutoModelForSequenceClassification.from_pretrained(
        model_dir,
        id2label=dict(enumerate(names)),
        problem_type="single_label_classification",
        ignore_mismatched_sizes=ignore_mismatched_sizes,
        rng=args.seed,
    )
    if not is_same_task and (new := model.reset_head(args.seed)):
        print(
            f"The head of this model was trained for {', '.join(own)}, not for {', '.join(names)}: "
            f"{' and '.join(new)} begin anew"
        )
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    if tokenizer.pad_token is None:  # GPT-2's; its end token, which no text holds, will do
        tokenizer = AutoTokenizer.from_pretrained(model_dir, pad_token=tokenizer.eos_token)
    check_vocabulary(model, tokenizer)
    if max_length > model.config.longest:
        raise ValueError(f"max_length is {max_length}; this model reads at most {model.config.longest} tokens")
    model.config.rest[MAX_LENGTH] = max_length
    if freeze:
        model.freeze(*([freeze] if isinstance(freeze, str) else freeze))
    trained = sum(p.size for p in trained_parameters(model))
    datasets = [
        TextDataset(tokenizer([example.text for example in part], padding=False, max_length=max_length), part_labels)
        for part, part_labels in zip((learnt, judged), labels, strict=True)
    ]

    print(f"{model_dir}\n{model.load_report}\n")
    print(describe_examples(learnt, judged, names))
    cut = np.mean([n == max_length for n in datasets[0].lengths])
    print(f"{trained:,} parameters to train; {cut:.0%} of the texts reach max_length={max_length} and may be cut\n")
    callbacks = [KeepBest(), print_epoch, *callbacks, JSONLinesCallback]
    return Trainer(model, args, datasets[0], datasets[1], tokenizer=tokenizer, callbacks=callbacks)


def note_arguments(given: dict[str, Any]) -> None:
    """Write the run's arguments to the output directory, if all data is in files, for `minigrad verify-resume`."""
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


def read(source: Any, text_column: str | None, label_column: str | None) -> Sequence[Example]:
    if isinstance(source, (str, os.PathLike)):
        return read_examples(Path(source), text_column, label_column)
    examples = []
    for i, item in enumerate(source, 1):
        if not isinstance(item, (tuple, list)) or len(item) != 2 or not isinstance(item[0], str):
            raise ValueError(
                f"example {i} is {str(item)[:60]!r}; expected a pair (text, label), such as ('A fine day.', 'fair')"
            )
        where = f"example {i}"
        examples.append(Example(check_utf8(where, item[0]), check_utf8(where, label_name(where, item[1]))))
    if not examples:
        raise ValueError("the list of examples is empty: expected at least one")
    return examples


def check_classes(train: Sequence[Example]) -> None:
    """Refuse labels that look like values, not classes: many numbers with gaps or fractions, or most of them once."""
    try:
        values = {float(str(example.label)) for example in train}
    except ValueError:  # names
        return
    if len(values) <= 20 or not all(map(isfinite, values)):
        return
    low, high = min(values), max(values)
    numbered = low >= 0 and high < 2 * len(values) and all(value == int(value) for value in values)
    if not numbered or len(values) > len(train) / 2:
        raise ValueError(
            f"the labels of the {len(train)} training texts are {len(values)} different numbers, from {low:g} to "
            f"{high:g}; expected classes: is it a regression? Then train AutoModelForSequenceClassification."
            "from_pretrained(..., num_labels=1) with a Trainer, on floats; if each number is a class, make names "
            "of them, such as 'c7'"
        )


def warn_of_evaluation(train: Sequence[Example], eval: Sequence[Example], names: Sequence[str]) -> None:
    """Say what makes the scores mean less than they seem to."""
    seen = {fold(example.text) for example in train}
    if shared := sum(fold(example.text) in seen for example in eval):
        warnings.warn(
            f"{shared} of {len(eval)} evaluation texts are training texts, too: how well they are told says nothing "
            "about new texts",
            stacklevel=4,
        )
    judged = {example.label for example in eval}
    if unjudged := [name for name in names if name not in judged]:
        listed = ", ".join(unjudged[:5]) + f" and {len(unjudged) - 5} more" * (len(unjudged) > 5)
        warnings.warn(
            f"there is no evaluation example of {listed}: such a class counts 0 in the macro-F1", stacklevel=4
        )


def describe_examples(train: Sequence[Example], eval: Sequence[Example], names: Sequence[str]) -> str:
    """How many examples each class has, and one of them."""
    counts = [Counter(example.label for example in part) for part in (train, eval)]
    rows = [
        ("class", "train", "eval"),
        *((name, *(count[name] for count in counts)) for name in names),
        ("all", len(train), len(eval)),
    ]
    width = max(len(row[0]) for row in rows)
    text = " ".join(train[0].text.split())
    return "\n".join(
        [
            *(f"{name:{width}}  {a:>7}  {b:>7}" for name, a, b in rows),
            f"such as {train[0].label}: {text[:90]}{'...' * (len(text) > 90)}",
        ]
    )


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
        elif state.best_global_step is None:
            raise ValueError(
                f"the evaluation loss of epoch {logs['epoch']:g} is {logs['eval_loss']}, so no model was saved: "
                f"lower the learning_rate, which is {args.learning_rate}"
            )

    def state_dict(self):
        return {}


def chosen_by_finetune(arguments: dict[str, Any]) -> str:
    """Which arguments finetune chooses otherwise than Hugging Face, but for those that were given."""
    listed = ", ".join(f"{name}={value!r}" for name, value in DEFAULTS.items() if name not in arguments)
    return f"Chosen here, otherwise than Hugging Face's defaults: {listed}\n" if listed else ""


def print_epoch(record: Record) -> None:
    if "eval_loss" in record:
        row = "{epoch:5g} {train_loss:11.4f} {train_accuracy:9.3f}  "
        row += "{eval_loss:9.4f}  {eval_accuracy:8.3f}  {eval_macro_f1:8.3f}"
        print(row.format(**record), f" {record['seconds']:5.0f} s" + "  saved" * record["best"], flush=True)


def report_best(trainer: Trainer, names: Sequence[str]) -> None:
    """Print and save the scores of the best epoch, all of which its confusion matrix tells, and draw the pictures."""
    best: Any = trainer.best
    out, matrix = Path(trainer.args.output_dir), np.array(best["eval_confusion_matrix"])
    true, predicted = np.repeat(np.indices(matrix.shape).reshape(2, -1), matrix.ravel(), axis=1)
    report = f"{classification_report(true, predicted, names)}\n\n{format_confusion_matrix(matrix, names)}"
    with replacing(out / "evaluation.txt") as (part,):
        part.write_text(report + "\n", encoding="utf-8")
    print(f"\nThe model of epoch {best['epoch']:g} on the {matrix.sum()} evaluation examples:\n\n{report}")
    try:
        with replacing(out / "training_curves.png", out / "confusion_matrix.png") as (curves, confusion):
            plot_history(trainer.history).savefig(curves, format="png")
            plot_confusion_matrix(matrix, names).savefig(confusion, format="png")
    except ImportError as error:
        print(f"\nNo pictures were drawn: {error}")
