"""The command line: `minigrad finetune` trains a model, `minigrad predict` uses it, and further commands.

Options of finetune are arguments of `minigrad.train.finetune`, of `TrainingArguments` or of the task, with the same
types and defaults.
"""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from . import __version__
from .compress import distill
from .data import VectorIndex
from .data.readers import check_utf8, decode
from .distributed import world
from .pretrained.checkpoint.files import replacing
from .serve import Limits, serve
from .tasks import DEFAULT, TASKS, Task, task_class, task_of
from .train import Pipeline, TrainingArguments, finetune, pipeline, pretrain
from .train.finetune import defaults_of
from .train.pretrain import KINDS, objective

FINETUNE_OPTIONS = (  # the option, the argument, and the help text
    ("--task", "task", "the task: " + ", ".join(TASKS)),
    ("--eval-fraction", "eval_fraction", "without --eval, the fraction of the training file to hold out"),
    ("--overwrite", "overwrite", "replace the model that an earlier run left in the output directory"),
    (
        "--lora",
        "lora",
        "train LoRA adapters of this rank, such as 8, and the head, by default at ten times the usual rate; 0 trains "
        "the whole model",
    ),
    ("--epochs", "num_train_epochs", "the number of passes over the training examples"),
    ("--batch-size", "per_device_train_batch_size", "examples in a batch"),
    ("--gradient-accumulation-steps", "gradient_accumulation_steps", "batches accumulated for one optimiser step"),
    ("--lr", "learning_rate", "the highest learning rate, at the end of the warm-up"),
    ("--warmup-ratio", "warmup_ratio", "the fraction of all steps in which the learning rate rises"),
    ("--weight-decay", "weight_decay", "the weight decay, which the learning rate multiplies"),
    ("--max-grad-norm", "max_grad_norm", "the norm to which larger gradients are scaled down"),
    (
        "--logging-steps",
        "logging_steps",
        "steps between records of mean loss and accuracy; on a GPU more steps are faster",
    ),
    ("--metric-for-best-model", "metric_for_best_model", "the score that selects the epoch to keep, such as loss"),
    ("--resume", "resume_from_checkpoint", "continue from a checkpoint: its directory, or true for the newest"),
    ("--save-strategy", "save_strategy", "when to save a checkpoint for --resume: no, epoch, steps or best"),
    ("--seed", "seed", "the same seed gives the same run, bit for bit"),
    ("--fp16", "fp16", "compute products in float16, with loss scaling: for GPUs"),
    ("--bf16", "bf16", "compute products in bfloat16: for GPUs since 2020"),
    ("--find-lr", "find_lr", "test learning rates first, and use the one at which the loss falls fastest"),
    ("--zero-stage", "zero_stage", "1: shard the optimiser's state over the ranks of mpiexec; 2: and the gradients"),
    (
        "--ignore-mismatched-sizes",
        "ignore_mismatched_sizes",
        "initialise weights of another shape anew, such as another task's head",
    ),
)


TASK_OPTIONS: tuple[tuple[str, str, type, str], ...] = (  # those of the tasks, with their types
    ("--text-column", "text_column", str, "the column of texts, if not text or sentence"),
    ("--label-column", "label_column", str, "the column of labels, if not label"),
    ("--max-length", "max_length", int, "tokens to which texts are truncated (default: 128, or as in training)"),
    ("--problem-type", "problem_type", str, "single_label_classification, multi_label_classification or regression"),
    ("--scheme", "scheme", str, "the tags of entities that are given as spans: BIO (default) or BIOES"),
    ("--doc-stride", "doc_stride", int, "tokens by which windows of a long context overlap (default: 128)"),
    ("--max-answer-length", "max_answer_length", int, "the largest number of tokens of an answer (default: 30)"),
    ("--class-weights", "class_weights", str, "balanced, to give rare classes more weight"),
    ("--balanced-sampling", "balanced_sampling", bool, "draw each class equally often"),
    ("--image-column", "image_column", str, "the column of pictures, if not image, path or file_name"),
    ("--augmentation", "augmentation", str, "random changes of training pictures, such as crop,flip,color, or none"),
    ("--mlm-probability", "mlm_probability", float, "the fraction of tokens to mask (default: 0.15)"),
    ("--whole-word-mask", "whole_word_mask", bool, "mask all tokens of a word together"),
    ("--source-column", "source_column", str, "the column of source texts, if not source"),
    ("--target-column", "target_column", str, "the column of target texts, if not target"),
    ("--source-prefix", "source_prefix", str, "the text to put before each source text"),
    ("--max-target-length", "max_target_length", int, "tokens to which targets are truncated (default: 128)"),
    ("--num-beams", "num_beams", int, "beams of the search for a target text (default: 1)"),
)
DISTILL_OPTIONS = (  # besides those of finetune
    (
        "--temperature",
        "temperature",
        "what the scores of both are divided by: higher shows more of the unlikely labels",
    ),
    ("--alpha", "alpha", "the part of the loss that is the teacher's answers; the rest is that of the labels"),
    ("--hidden-weight", "hidden_weight", "the factor of the squared difference of hidden states"),
    ("--cosine-weight", "cosine_weight", "the factor of the angle between hidden states"),
    ("--attention-weight", "attention_weight", "the factor of the squared difference of attention weights"),
)
ANSWER_OPTIONS: tuple[tuple[str, str, type, str], ...] = (  # of predict
    ("--aggregation-strategy", "aggregation_strategy", str, "of entities: first (default), simple, average, max"),
    ("--handle-impossible-answer", "handle_impossible_answer", bool, "allow that there is no answer"),
    ("--max-new-tokens", "max_new_tokens", int, "the largest number of tokens to generate"),
    ("--do-sample", "do_sample", bool, "sample each token instead of taking the most probable one"),
    ("--temperature", "temperature", float, "with --do-sample: below 1 for likelier tokens, above 1 for rarer ones"),
    ("--seed", "seed", int, "with --do-sample: the same seed generates the same text"),
)


SERVE_OPTIONS: tuple[tuple[str, str, str], ...] = (  # those of serve, and its limits
    ("--host", "host", "the address to listen at; 0.0.0.0 for all machines that can reach this one"),
    ("--port", "port", "where to listen; 0 for any port that is free"),
    ("--batch-size", "batch_size", "inputs that the model is given at a time"),
    ("--timeout-graceful-shutdown", "timeout_graceful_shutdown", "seconds to answer what was accepted, when stopping"),
    *(
        (f"--{limit.name.replace('_', '-')}", limit.name, f"the most {limit.metadata['meaning']}")
        for limit in fields(Limits)
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    The status is 0, 1 if models or gradients differ, 2 for bad input (after one line that says what to type), or 130
    if the command was interrupted.
    """
    args = parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = lambda message, *_, **__: (
                world().rank or print(f"minigrad: warning: {as_typed(' '.join(str(message).split()))}", file=sys.stderr)
            )
            return args.run(args) or 0
    except BrokenPipeError:  # the reader has stopped: minigrad doctor | head -1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ImportError) as error:
        words = " ".join([str(error), *getattr(error, "__notes__", ())]).split()  # a note may name the item
        world().end(f"error: {as_typed(' '.join(words))}", 2)
        print(f"minigrad: error: {as_typed(' '.join(words))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        if world().rank == 0:
            print(f"\nminigrad: {as_typed(str(stop)) or 'interrupted'}", file=sys.stderr)
        return 130


class Parser(ArgumentParser):
    """An ArgumentParser that accepts learning_rate for learning-rate; errors are one line with the nearest option."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:
        args = [
            re.sub(r"^--[^=]+", lambda option: option[0].replace("_", "-"), arg)
            for arg in (sys.argv[1:] if args is None else args)
        ]
        known = [option for option in self._option_string_actions if option.startswith("--")]
        commands = self._subparsers._group_actions[0].choices if self._subparsers else ()
        asked = [] if commands and args and not args[0].startswith("-") else args  # the command's parser checks its own
        for option in (arg.partition("=")[0] for arg in asked if re.match(r"--?[a-z]", arg)):
            if option != "-h" and not any(option.startswith("--") and name.startswith(option) for name in known):
                self.error(f"there is no option {option}" + _nearest(f"--{option.lstrip('-')}", known))
        if commands and args and not args[0].startswith("-") and args[0] not in commands:
            self.error(f"there is no command {args[0]}" + _nearest(args[0], commands))
        found, rest = super().parse_known_args(args, namespace)
        if texts := [arg for arg in rest if not arg.startswith("-")] if "texts" in found else []:  # after an option
            found.texts, rest = [*found.texts, *texts], [arg for arg in rest if arg not in texts]
        return found, rest

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}; type {self.prog} --help\n")


def _nearest(word: str, known: Iterable[str]) -> str:
    """A suggestion of the nearest known name, or "" if none is near."""
    return "".join(f"; the nearest is {name}" for name in get_close_matches(word, list(known), 1, 0.6))


def parser() -> ArgumentParser:
    whole = Parser("minigrad", description="Fine-tune small pretrained models on texts of your own.")
    whole.add_argument("--version", action="version", version=f"minigrad {__version__}")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("finetune", help="fine-tune a pretrained model for a task")
    command.set_defaults(run=run_finetune)
    command.add_argument("model_dir", metavar="MODEL_DIR", help="a Hugging Face model directory")
    add_finetune_options(command, FINETUNE_OPTIONS)

    command = commands.add_parser("distill", help="train a small model with the answers of a fine-tuned one")
    command.set_defaults(run=run_distill)
    command.add_argument("teacher", metavar="TEACHER", help="what finetune wrote")
    command.add_argument(
        "student",
        metavar="STUDENT",
        help="a model directory with the same tokenizer; or the number of the teacher's layers to keep, such as 3, "
        "or their numbers, such as 0,2,5",
    )
    defaults = {name: parameter.default for name, parameter in signature(distill).parameters.items()}
    for option, name, meaning in DISTILL_OPTIONS:
        text = f"{meaning} (default: {defaults[name]})"
        command.add_argument(option, dest=name, default=SUPPRESS, metavar="X", type=float, help=text)
    add_finetune_options(command, [row for row in FINETUNE_OPTIONS if row[1] not in ("lora", "find_lr")])

    command = commands.add_parser(
        "pretrain", help="let a model learn from texts without labels, before it is fine-tuned"
    )
    command.set_defaults(run=run_pretrain)
    command.add_argument(
        "model_dir", metavar="MODEL_OR_CONFIG", help="a model directory, or a config.json to begin with random weights"
    )
    command.add_argument(
        "--text", metavar="FILE", nargs="+", required=True, help="text files, directories of them, or tables"
    )
    command.add_argument("--eval", metavar="FILE", help="texts for evaluation; by default a part of the others")
    command.add_argument("--output", metavar="DIR", required=True, help="a new directory for the model")
    others = ("task", "ignore_mismatched_sizes")
    add_training_options(command, [row for row in FINETUNE_OPTIONS if row[1] not in others], "fill-mask")
    learnt = {name for _, task, _ in KINDS for name in task_class(task).options()}
    add_task_options(command, [row for row in TASK_OPTIONS if row[1] in learnt])

    command = commands.add_parser("predict", aliases=["generate"], help="answer with a fine-tuned model")
    command.set_defaults(run=run_predict)
    command.add_argument("model_dir", metavar="DIR", help="the output directory of finetune")
    command.add_argument("texts", metavar="TEXT", nargs="*", help="a sentence, in quotes")
    command.add_argument(
        "--file",
        metavar="FILE",
        help=".csv, .tsv, .jsonl or .json with a text column, or .txt with a text on each line",
    )
    command.add_argument("--output", metavar="FILE", help="a new .jsonl file for the answers, instead of the screen")
    command.add_argument("--top-k", metavar="N", type=int, help="answers for each input (default: 3 labels, or 1)")
    command.add_argument("--context", metavar="TEXT", help="the text that questions are about, or a file with it")
    command.add_argument(
        "--task", metavar="X", help="what the model was fine-tuned for, if its config.json does not say"
    )
    for option, name, kind, meaning in ANSWER_OPTIONS:
        given: dict[str, Any] = {"action": "store_true"} if kind is bool else {"metavar": "X", "type": kind}
        command.add_argument(option, dest=name, default=None, help=meaning, **given)
    add_task_options(command)

    command = commands.add_parser("embed", help="make a vector of each text, for search and comparison")
    command.set_defaults(run=run_embed)
    command.add_argument("model_dir", metavar="DIR", help="a Hugging Face model directory")
    command.add_argument("texts", metavar="TEXT", nargs="*", help="a sentence, in quotes")
    command.add_argument("--file", metavar="FILE", help="as for predict")
    command.add_argument("--output", metavar="FILE", help="a new .npy or .jsonl file, instead of the screen")
    add_task_options(command)

    command = commands.add_parser("search", help="find the texts of a file that are nearest to a text")
    command.set_defaults(run=run_search)
    command.add_argument("model_dir", metavar="DIR", help="a Hugging Face model directory")
    command.add_argument("texts", metavar="TEXT", nargs="+", help="what to look for, in quotes")
    command.add_argument("--file", metavar="FILE", required=True, help="the texts to search, as for predict")
    command.add_argument(
        "--vectors", metavar="FILE", help="their vectors, a .npy file that embed wrote; saves the time"
    )
    command.add_argument("--top-k", metavar="N", type=int, default=5, help="texts to show for each (default: 5)")
    add_task_options(command)

    command = commands.add_parser("serve", help="answer requests over HTTP, with a page to try it in a browser")
    command.set_defaults(run=run_serve)
    command.add_argument("model_dir", metavar="DIR", help="what finetune wrote")
    command.add_argument("--task", metavar="X", help="what for, if the model's config.json does not say")
    defaults = {name: parameter.default for name, parameter in signature(serve).parameters.items()}
    defaults |= {limit.name: limit.default for limit in fields(Limits)}
    for option, name, meaning in SERVE_OPTIONS:
        given = {"type": type(defaults[name]), "default": SUPPRESS, "help": f"{meaning} (default: {defaults[name]})"}
        command.add_argument(option, dest=name, metavar="X", **given)
    add_task_options(command)

    command = commands.add_parser("evaluate", help="score a fine-tuned model on a file of labelled examples")
    command.set_defaults(run=run_evaluate)
    command.add_argument("model_dir", metavar="DIR", help="the output directory of finetune")
    command.add_argument("--file", metavar="FILE", required=True, help="examples, as for finetune --eval")
    command.add_argument("--output", metavar="FILE", help="a new .json file for the scores")
    command.add_argument("--batch-size", metavar="N", type=int, default=64, help="examples at a time (default: 64)")
    command.add_argument(
        "--task", metavar="X", help="what the model was fine-tuned for, if its config.json does not say"
    )
    add_task_options(command)

    command = commands.add_parser("quantize", help="make a model's weights whole numbers of 8 or 4 bits")
    command.set_defaults(run=run_quantize)
    command.add_argument("model_dir", metavar="DIR", help="a model directory")
    command.add_argument("--output", metavar="DIR", required=True, help="a new directory for the model and the report")
    command.add_argument("--weights", choices=("int8", "int4"), default="int8", help="(default: int8)")
    command.add_argument(
        "--activations", choices=("dynamic", "static"), help="round what layers read to 8 bits, too; static: see below"
    )
    command.add_argument("--calibrate", metavar="FILE", help="examples that the scales of static activations are from")
    command.add_argument("--eval", metavar="FILE", help="other examples, as for finetune, to score both models on")
    command.add_argument("--layers", action="store_true", help="tell what each layer costs, on examples of --eval")
    command.add_argument(
        "--keep",
        metavar="PATTERN",
        action="append",
        default=[],
        help="layers that keep their floats, such as 'transformer.h.0.**'; may be given several times",
    )

    command = commands.add_parser("parity", help="compare models with those of transformers, number by number")
    command.set_defaults(run=run_parity)
    command.add_argument(
        "model", metavar="MODEL", nargs="?", help="a family, such as bert, or a model directory (default: all families)"
    )
    command.add_argument(
        "--set",
        dest="size",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an entry of the family's configuration, such as hidden_size=64; may be given several times",
    )
    command.add_argument(
        "--dtype", choices=("float64", "float32"), help="the dtype of the comparison (default: float64 if possible)"
    )
    command.add_argument("--json", metavar="FILE", help="write every comparison to a file")
    command.add_argument("--html", metavar="FILE", help="write a page with every comparison")

    command = commands.add_parser("export", help="write a model as an ONNX file, for programs without minigrad")
    command.set_defaults(run=run_export)
    command.add_argument(
        "model_dir", metavar="DIR", nargs="?", help="a model directory (default: try all families, with random weights)"
    )
    command.add_argument("--onnx", metavar="FILE", help="the new file")
    command.add_argument(
        "--image-size",
        metavar="N",
        type=int,
        help="height and width of pictures (default: that of config.json, or 224)",
    )
    command.add_argument(
        "--published-sizes", action="store_true", help="without DIR: models as large as the published ones"
    )

    command = commands.add_parser(
        "gradcheck", help="check gradients of every op, or of one function, with finite differences"
    )
    command.set_defaults(run=run_gradcheck)
    command.add_argument(
        "function", metavar="MODULE:FUNCTION", nargs="?", help="a function of Tensors; default: every op"
    )
    command.add_argument(
        "--inputs",
        metavar="SHAPES",
        help='the shapes of its inputs: "3,4 4" is a 3 × 4 matrix and a vector of 4; '
        "by default those of the function's example_inputs",
    )
    command.add_argument("--order", metavar="N", type=int, default=2, help="the highest derivative (default: 2)")
    command.add_argument(
        "--seed", metavar="N", type=int, default=0, help="random seed of the inputs and directions (default: 0)"
    )
    command.add_argument(
        "--mutation", action="store_true", help="test the checker: plant mistakes and print how many it finds"
    )

    command = commands.add_parser("verify-resume", help="verify that a resumed run equals an uninterrupted one exactly")
    command.set_defaults(run=run_verify_resume)
    command.add_argument("directory", metavar="DIR", help="the output directory of finetune")
    command.add_argument("--trainer", metavar="MODULE:FUNCTION", help="a function of a directory that makes a Trainer")
    command.add_argument(
        "--steps", metavar="N", type=int, default=3, help="compare N steps and N resumed ones with 2 N (default: 3)"
    )
    command.add_argument(
        "--kills", metavar="N", type=int, default=0, help="then kill it N times at random moments (default: 0)"
    )

    command = commands.add_parser(
        "plan", help="estimate the memory and time that training needs on each rank, before running it"
    )
    command.set_defaults(run=run_plan)
    command.add_argument(
        "model", metavar="MODEL", help="a model directory with config.json, bert-base, gpt2 or llama-7b"
    )
    command.add_argument("--task", metavar="X", help="the task (default: that of its architecture)")
    command.add_argument("--ranks", metavar="N", default="1", help="numbers of ranks, such as 1,8,64 (default: 1)")
    command.add_argument("--batch-size", metavar="N", type=int, default=8, help="texts in a micro-batch (default: 8)")
    command.add_argument("--length", metavar="N", type=int, default=128, help="tokens of a text (default: 128)")
    command.add_argument(
        "--device", metavar="X", default="here", help="here (this machine), h200, h100, a100, v100, rtx4090, t4"
    )
    command.add_argument(
        "--link", metavar="X", help="between machines: infiniband400, ethernet10, … or GB/s in each direction"
    )
    command.add_argument("--link-inside", metavar="X", help="between ranks of one machine: nvlink, pcie4, … or GB/s")
    command.add_argument("--ranks-per-machine", metavar="N", type=int, default=8, help="(default: 8)")
    for option in ("--gradient-accumulation-steps", "--zero-stage"):
        command.add_argument(option, metavar="N", type=int, help="as for finetune")
    command.add_argument("--optim", metavar="X", help="the optimiser (default: adamw)")
    for option in ("--bf16", "--fp16"):
        command.add_argument(option, action="store_true", help="as for finetune")

    command = commands.add_parser(
        "doctor", help="list the devices and libraries of this machine, and how to install what is missing"
    )
    command.set_defaults(run=run_doctor)
    return whole


def add_finetune_options(command: ArgumentParser, rows: Iterable[tuple[str, str, str]]) -> None:
    """Add the options of a command that fine-tunes a model; `rows` are those of FINETUNE_OPTIONS that it has."""
    command.add_argument(
        "--train", metavar="FILE", required=True, help="examples, such as a .csv with a text and a label column"
    )
    command.add_argument("--eval", metavar="FILE", help="evaluation examples; by default a part of the training file")
    command.add_argument(
        "--output", metavar="DIR", required=True, help="a new directory for the model, its scores and pictures"
    )
    command.add_argument(
        "--freeze",
        metavar="PATTERN",
        action="append",
        default=[],
        help="parameters to freeze, such as 'bert.embeddings.**'; may be given several times",
    )
    add_training_options(command, rows, DEFAULT)
    add_task_options(command)


def add_training_options(command: ArgumentParser, rows: Iterable[tuple[str, str, str]], task: str) -> None:
    """Add those of FINETUNE_OPTIONS in `rows`, with the defaults of a task."""
    defaults = finetune_defaults(task_class(task)())
    for option, name, meaning in rows:
        default = defaults[name]
        given: dict[str, Any]
        if default is False:
            given = {"action": "store_true"}
        elif default is None:
            given = {"metavar": "X"}
        else:
            given = {"metavar": "X", "type": type(default)}
            meaning += f" (default: {default})"
        command.add_argument(option, dest=name, default=SUPPRESS, help=meaning, **given)
        others = {f"--{name.replace('_', '-')}", *(["--num-epochs"] if option == "--epochs" else [])} - {option}
        if others:  # Hugging Face's names
            command.add_argument(*others, dest=name, default=SUPPRESS, help=SUPPRESS, **given)


def add_task_options(command: ArgumentParser, rows: Iterable[tuple[str, str, type, str]] = TASK_OPTIONS) -> None:
    """Add the options of all tasks, or those in `rows`; `task_options` checks which of them a task has."""
    for option, name, kind, meaning in rows:
        given: dict[str, Any] = {"action": "store_true"} if kind is bool else {"metavar": "X", "type": kind}
        command.add_argument(option, dest=name, default=SUPPRESS, help=meaning, **given)


def task_options(kind: type[Task], given: dict[str, Any]) -> dict[str, Any]:
    """The options of a task among those that were typed.  Raises ValueError for an option of another task."""
    for option, name, _, _ in TASK_OPTIONS:
        if name in given and name not in kind.options():
            own = [option for option, name, _, _ in TASK_OPTIONS if name in kind.options()]
            raise ValueError(f"{kind.name} has no {option}; expected one of {', '.join(own)}")
    return {name: given[name] for name in kind.options() if name in given}


def run_finetune(args: Namespace) -> None:
    given = {name: value for name, value in vars(args).items() if name != "run"}
    kind = task_class(given.get("task", DEFAULT))
    usual = finetune_defaults(kind(**task_options(kind, given)), given.get("lora", 0))
    own = {name: default for name, default in kind.options().items() if default}
    finetune(**{name: usual[name] for _, name, _ in FINETUNE_OPTIONS if name != "task"} | own | given)


def run_distill(args: Namespace) -> None:
    given = {name: value for name, value in vars(args).items() if name != "run"}
    if re.fullmatch(r"\d+(,\d+)*", args.student) and not Path(args.student).exists():
        layers = [int(number) for number in args.student.split(",")]
        given["student"] = layers[0] if len(layers) == 1 else layers
    distill(**given)


def run_pretrain(args: Namespace) -> None:
    task_options(task_class(objective(args.model_dir)[2]), vars(args))  # refuses those of the other task
    given = {name: value for name, value in vars(args).items() if name not in ("run", "model_dir", "text")}
    pretrain(args.model_dir, args.text[0] if len(args.text) == 1 else [*map(Path, args.text)], **given)


def finetune_defaults(task: Task, lora: int = 0) -> dict[str, Any]:
    """The defaults of finetune's options for a task, and for LoRA adapters of this rank unless it is 0."""
    defaults = {name: parameter.default for name, parameter in signature(finetune).parameters.items()}
    return defaults | {field.name: field.default for field in fields(TrainingArguments)} | defaults_of(task, lora)


def run_predict(args: Namespace) -> None:
    output = checked_output(args)
    check_top_k(args.top_k)
    given, kind = vars(args), kind_of(args)
    task = kind(**task_options(kind, given))
    for name in ("top_k", "context", *(name for _, name, _, _ in ANSWER_OPTIONS)):
        if given.get(name) is not None and name not in kind.answer_options:
            raise ValueError(f"{kind.name} has no --{name.replace('_', '-')}: leave it out")
    options = kind.answer_options | {name: given[name] for name in kind.answer_options if given.get(name) is not None}
    options = {name: value for name, value in options.items() if value is not None}
    if args.context and args.file:
        raise ValueError("--context is for questions that are typed, but --file has its own: leave out one of them")
    if "context" in kind.answer_options and args.texts:
        options["context"] = context_of(args.context)
    examples = task.read(args.file, labelled=False) if args.file else task.examples(list(args.texts), **options)
    pipe = pipeline_for(args)
    if args.file or output:
        write_records(pipe.task, examples, pipe.answers(examples, **options), output)
    elif "max_new_tokens" in kind.answer_options:
        for example in examples:
            show_while_written(pipe, example, options)
    else:
        for example, answer in zip(examples, pipe.answers(examples, **options), strict=True):
            print(pipe.task.format_answer(example, answer))


def check_top_k(given: int | None) -> None:
    if given is not None and given < 1:
        raise ValueError(f"--top-k is {given}; expected 1 or more")


def checked_output(args: Namespace) -> Path | None:
    """The output file of predict or embed, after a look at what was typed."""
    if bool(args.texts) == bool(args.file):
        raise ValueError("expected either texts in quotes or --file FILE")
    for i, text in enumerate(args.texts, 1):
        check_utf8(f"text {i}", text)
    output = args.output and Path(args.output)
    check_new(output)
    return output


def write_records(task: Task, examples: Sequence[Any], answers: Sequence[Any], output: Path | None) -> None:
    """Write each example with its answer as a line of JSON."""
    lines = [
        json.dumps(task.record(example, answer), ensure_ascii=False)
        for example, answer in zip(examples, answers, strict=True)
    ]
    if output:
        with replacing(output) as [part]:
            part.write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{len(lines)} answers written to {output}")
    else:
        print("\n".join(lines))


def show_while_written(pipe: Pipeline, example: Any, options: dict[str, Any]) -> None:
    """Print the answer of a task that writes, token by token if it can."""
    streamer = pipe.task.streamer(example, lambda text: print(text, end="", flush=True))
    if streamer is None:
        print(pipe.task.format_answer(example, pipe.answers([example], **options)[0]))
        return
    pipe.answers([example], title=None, streamer=streamer, **options)
    streamer.end()
    print()


def run_embed(args: Namespace) -> None:
    output = checked_output(args)
    if output and output.suffix not in (".npy", ".jsonl"):
        raise ValueError(f"--output is {output}; expected a name that ends in .npy or .jsonl")
    pipe = embedder(args)
    task: Any = pipe.task
    examples = task.read(args.file, labelled=False) if args.file else task.examples(list(args.texts))
    vectors = embedded(pipe, examples)
    if output and output.suffix == ".npy":
        with replacing(output) as [part], open(part, "wb") as file:
            np.save(file, vectors)
        print(f"{len(vectors)} vectors of {len(vectors[0])} numbers written to {output}")
    else:
        write_records(task, examples, [vector.tolist() for vector in vectors], output)


def run_search(args: Namespace) -> None:
    check_top_k(args.top_k)
    for i, text in enumerate(args.texts, 1):
        check_utf8(f"text {i}", text)
    pipe = embedder(args)
    texts = pipe.task.read(args.file, labelled=False)
    vectors = read_vectors(args.vectors) if args.vectors else embedded(pipe, texts)
    if len(vectors) != len(texts):
        raise ValueError(
            f"{args.vectors} has {len(vectors)} vectors and {args.file} {len(texts)} texts: expected one for each; "
            f"type minigrad embed {args.model_dir} --file {args.file} --output {args.vectors}"
        )
    found = VectorIndex(vectors).search(embedded(pipe, pipe.task.examples(list(args.texts))), args.top_k)
    for query, scores, ids in zip(args.texts, *found, strict=True):
        print("\n".join([query, *(f"  {score:6.3f}  {texts[i]}" for score, i in zip(scores, ids, strict=True))]))


def read_vectors(path: str) -> np.ndarray:
    """The vectors (texts, size) that embed wrote to a file."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; expected the .npy file that minigrad embed --output wrote")
    try:
        vectors = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        vectors = None
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2:
        raise ValueError(f"{path} holds no vectors: expected the .npy file that minigrad embed --output wrote")
    return vectors


def embedder(args: Namespace) -> Pipeline:
    """The pipeline that makes vectors of texts with the model of a command."""
    kind = task_class("feature-extraction")
    return pipeline(kind.name, args.model_dir, **task_options(kind, vars(args)))


def embedded(pipe: Pipeline, texts: Sequence[str]) -> np.ndarray:
    """The vectors (texts, size) of texts."""
    task: Any = pipe.task
    return np.stack(pipe.answers(texts, return_tensors=True, **task.of_texts))


def run_serve(args: Namespace) -> None:
    kind, given = kind_of(args), vars(args)
    chosen = {name: given[name] for _, name, _ in SERVE_OPTIONS if name in given}
    serve(args.model_dir, task=kind.name, **chosen, **task_options(kind, given))


def context_of(given: str | None) -> str:
    """The context of questions: the text that was typed, or the content of a file.

    A single word with a slash or the ending of a text file is always taken for the name of a file.
    """
    if not given or not given.strip():
        raise ValueError("there is no context for the question: add --context TEXT or FILE")
    from .tasks.language_modeling import ENDINGS

    path = Path(given)
    named = len(given.split()) == 1 and ("/" in given or path.suffix.lower() in ENDINGS)
    if len(given) > 255 or not named and not path.exists():
        return given
    if not path.is_file():
        raise FileNotFoundError(
            f"--context {given}: no such file; expected a text, or the name of a file that holds it"
        )
    return decode(path)


def run_evaluate(args: Namespace) -> None:
    if args.batch_size < 1:
        raise ValueError(f"--batch-size is {args.batch_size}; expected 1 or more")
    output = args.output and Path(args.output)
    check_new(output)
    pipe = pipeline_for(args)
    scores = pipe.evaluate(args.file, args.batch_size)
    line = "  ".join(f"{name} {value:.4f}" for name, value in scores.items() if isinstance(value, float))
    print(f"{pipe.task.name}  {line}\n\n{pipe.task.report(scores)}")
    if output:
        with replacing(output) as [part]:
            part.write_text(json.dumps(scores, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        print(f"\nThe scores were written to {output}")


def check_new(output: Path | None, option: str = "--output") -> None:
    """Refuse an output file that exists, or whose directory does not."""
    if output and output.exists():
        raise FileExistsError(f"{output} exists already and was not overwritten: pass another name to {option}")
    if output and not output.parent.is_dir():
        raise FileNotFoundError(f"there is no directory {output.parent} to write {output.name} in: make it first")


def kind_of(args: Namespace) -> type[Task]:
    """The task given by --task, or the one that the model was fine-tuned for."""
    return task_class(args.task) if args.task else task_of(args.model_dir)


def pipeline_for(args: Namespace) -> Pipeline:
    """The pipeline of a command's model, with the options of its task."""
    kind = kind_of(args)
    return pipeline(kind.name, args.model_dir, **task_options(kind, vars(args)))


def run_quantize(args: Namespace) -> None:
    from .compress import command

    given = {name: value for name, value in vars(args).items() if name not in ("run", "model_dir")}
    command.command(args.model_dir, **given)


def run_parity(args: Namespace) -> int:
    from .parity import report

    return report.command(args.model, args.size, args.dtype, args.json, args.html)


def run_export(args: Namespace) -> int:
    if (args.model_dir is None) != (args.onnx is None):
        raise ValueError("expected a model and a file for it: minigrad export DIR --onnx FILE")
    check_new(args.onnx and Path(args.onnx), "--onnx")
    from .onnx import check

    if args.model_dir is None:
        return check.families(args.published_sizes)
    return check.command(args.model_dir, args.onnx, args.image_size)


def run_gradcheck(args: Namespace) -> int:
    from .checking import command, mutation

    if args.function:
        return command.check_function(args.function, args.inputs, args.order, args.seed)
    return mutation.main() if args.mutation else command.check_catalogue()


def run_verify_resume(args: Namespace) -> int:
    from .train import verify

    return verify.command(args.directory, args.trainer, args.steps, args.kills)


def run_plan(args: Namespace) -> None:
    from .train import estimate

    print(estimate.report(**{name: value for name, value in vars(args).items() if name != "run"}))


def run_doctor(args: Namespace) -> None:
    from . import doctor

    print(doctor.report())


def as_typed(message: str) -> str:
    """A message with command-line options in place of Python arguments."""
    again = "type finetune(..., resume_from_checkpoint=True)", "add --resume true to the same command"
    message = message.replace(*again)
    tables = (FINETUNE_OPTIONS, DISTILL_OPTIONS, TASK_OPTIONS, ANSWER_OPTIONS, SERVE_OPTIONS[2:])
    for option, name in [row[:2] for table in tables for row in table]:  # host and port are words of English, too
        after = "(=True)?" if "_" in name else "(=True|(?==)|(?= is (?!a )))"  # lora alone may be a directory's name
        message = re.sub(rf"(?<![\w/.'\"-]){name}{after}(?![\w/.'\"-])", option, message)
    return message


if __name__ == "__main__":
    sys.exit(main())
