"""The arguments of a training run, with the names and defaults of Hugging Face's TrainingArguments."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from math import ceil, inf, isfinite
from pathlib import Path
from typing import Any

from ..pretrained.checkpoint.files import check_parent, output_directory

MAX_COUNT = 2**31 - 1
RANGES = {
    "num_train_epochs": (0, inf),
    "per_device_train_batch_size": (1, MAX_COUNT),
    "per_device_eval_batch_size": (1, MAX_COUNT),
    "gradient_accumulation_steps": (1, MAX_COUNT),
    "learning_rate": (0, inf),
    "weight_decay": (0, inf),
    "warmup_ratio": (0, 1),
    "max_grad_norm": (0, inf),
    "logging_steps": (0, MAX_COUNT),
    "save_steps": (0, MAX_COUNT),
    "eval_steps": (0, MAX_COUNT),
    "warmup_steps": (0, MAX_COUNT),
    "max_steps": (-1, MAX_COUNT),
    "label_smoothing_factor": (0, 1),
    "adam_beta1": (0, 1),
    "adam_beta2": (0, 1),
    "adam_epsilon": (0, inf),
    "dataloader_num_workers": (0, MAX_COUNT),
    "eval_delay": (0, inf),
    "save_total_limit": (1, MAX_COUNT),
    "seed": (0, inf),
    "data_seed": (0, inf),
    "ema_decay": (0, 1),
    "zero_stage": (0, 2),
}
NOT_ZERO = {"num_train_epochs", "logging_steps", "save_steps", "eval_steps"}
STRATEGIES = ("no", "steps", "epoch")
OPTIMIZERS = {  # Hugging Face's names, and those of `minigrad.optim` in small letters
    "adamw_torch": "AdamW",
    "adamw_torch_fused": "AdamW",
    **{
        name.lower(): name
        for name in (
            *("AdamW", "Adam", "SGD", "RMSprop", "Adagrad", "NAdam", "RAdam", "Adamax", "Adadelta", "ASGD"),
            "Lion",
        )
    },
}
CHOICES = {
    "eval_strategy": STRATEGIES,
    "logging_strategy": STRATEGIES,
    "save_strategy": (*STRATEGIES, "best"),
    "lr_scheduler_type": (
        "linear",
        "cosine",
        "cosine_with_restarts",
        "cosine_with_min_lr",
        "polynomial",
        "constant",
        "constant_with_warmup",
        "inverse_sqrt",
        "reduce_lr_on_plateau",
    ),
    "optim": tuple(OPTIMIZERS),
}
# Names that other libraries use.
MEANT = {
    "lr": "learning_rate",
    "epochs": "num_train_epochs",
    "num_epochs": "num_train_epochs",
    "batch_size": "per_device_train_batch_size",
    "train_batch_size": "per_device_train_batch_size",
    "eval_batch_size": "per_device_eval_batch_size",
    "clip": "max_grad_norm",
    "evaluation_strategy": "eval_strategy",
    "resume": "resume_from_checkpoint",
    "optimizer": "optim",
}
TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
KINDS = {"int": "a whole number", "float": "a number", "bool": "True or False"}


@dataclass
class TrainingArguments:
    """The arguments of a training run, named as Hugging Face's.  Values may be strings, such as "2e-4" or "yes".

    An optimiser step uses `per_device_train_batch_size` × `gradient_accumulation_steps` examples.  The run has
    `max_steps` steps or, if that is not positive, `num_train_epochs` epochs, which need not be a whole number.  A
    `*_strategy` is "steps" (every `*_steps` steps), "epoch" (after each epoch) or "no".  `eval_steps`, `save_steps`,
    `logging_steps` and `warmup_steps` below 1 are fractions of all steps; `warmup_ratio` is an older name for such a
    fraction.  `save_strategy="best"` saves whenever an evaluation is the best so far.

    `load_best_model_at_end` loads the checkpoint whose evaluation had the best `metric_for_best_model` ("loss" by
    default); greater is better unless its name ends in "loss" or `greater_is_better` says otherwise.  At most
    `save_total_limit` checkpoints are kept, the newest and the best among them.

    `dataloader_num_workers` threads read the items of the next batches while the model computes (see
    `minigrad.data.DataLoader`); batches are collated in the main thread.

    `label_smoothing_factor` smooths cross-entropies; `max_grad_norm` limits the joint 2-norm of the gradients (0: no
    limit); `group_by_length` puts texts of similar length into a batch; `auto_find_batch_size` halves the micro-batches
    when memory runs out; `gradient_checkpointing` computes the layers of a stack again in the backward pass instead of
    keeping their activations.  `fp16` and `bf16` compute matrix products in 16 bits (see `mg.autocast`), `fp16` with
    loss scaling; the weights stay in float32.  `optim_args` and `lr_scheduler_kwargs` are dicts or texts such as
    "momentum=0.9,nesterov=true".

    Not in Hugging Face's are `overwrite_output_dir`, which `finetune` uses, `ema_decay`, with which evaluations and the
    final model use an exponential moving average of the weights, `zero_stage`: 1 shards the state of the optimiser over
    the ranks (see `minigrad.distributed.Shards`), 2 the gradients too; and `reduce_dtype`: "float16" or "bfloat16" lets
    GPUs sum gradients over the ranks in 16 bits.

    Raises:
        ValueError: a value is out of range, not finite, not a number, or not one of the choices.
        TypeError: an argument does not exist (the message has the nearest name), or output_dir is not a path.
    """

    output_dir: str | os.PathLike = "trainer_output"
    overwrite_output_dir: bool = False
    per_device_train_batch_size: int = 8
    per_device_eval_batch_size: int = 8
    num_train_epochs: float = 3.0
    max_steps: int = -1
    learning_rate: float = 5e-5
    lr_scheduler_type: str = "linear"
    lr_scheduler_kwargs: dict | str | None = None
    warmup_steps: float = 0.0
    warmup_ratio: float = 0.0
    optim: str = "adamw_torch_fused"
    optim_args: dict | str | None = None
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    gradient_accumulation_steps: int = 1
    gradient_checkpointing: bool = False
    label_smoothing_factor: float = 0.0
    bf16: bool = False
    fp16: bool = False
    ema_decay: float | None = None
    zero_stage: int = 0
    reduce_dtype: str | None = None
    auto_find_batch_size: bool = False
    group_by_length: bool = False
    dataloader_drop_last: bool = False
    dataloader_num_workers: int = 0
    remove_unused_columns: bool = True
    seed: int = 42
    data_seed: int | None = None
    logging_strategy: str = "steps"
    logging_steps: float = 500
    logging_first_step: bool = False
    eval_strategy: str = "no"
    eval_steps: float | None = None
    eval_delay: float = 0.0
    eval_on_start: bool = False
    prediction_loss_only: bool = False
    save_strategy: str = "steps"
    save_steps: float = 500
    save_total_limit: int | None = None
    save_only_model: bool = False
    load_best_model_at_end: bool = False
    metric_for_best_model: str | None = None
    greater_is_better: bool | None = None
    report_to: str | list | None = "none"
    run_name: str | None = None
    disable_tqdm: bool | None = None
    resume_from_checkpoint: bool | str | None = None

    def __new__(cls, *args: Any, **arguments: Any) -> TrainingArguments:
        check_names(cls.__name__, arguments, [field.name for field in fields(cls)])
        return super().__new__(cls)

    def __post_init__(self):
        if not isinstance(self.output_dir, (str, os.PathLike)):
            raise TypeError(f"output_dir is {self.output_dir!r}; expected the name of a directory")
        for field in fields(self):
            kind, _, none = field.type.partition(" | ")
            value = getattr(self, field.name)
            if none == "None" and (value is None or str(value).lower() == "none"):
                setattr(self, field.name, None)
            elif kind in KINDS and none in ("", "None"):
                setattr(self, field.name, converted(field.name, value, kind))
        for name, (low, high) in RANGES.items():
            check_range(name, getattr(self, name), low, high)
        for name in ("logging_steps", "save_steps", "eval_steps", "warmup_steps"):
            value = getattr(self, name)
            if value is not None and value > 1 and value != round(value):
                raise ValueError(f"{name} is {value:g}; expected a whole number, or a fraction of all steps below 1")
        for name, choices in CHOICES.items():
            setattr(self, name, chosen(name, getattr(self, name), choices))
        if self.reduce_dtype is not None:
            self.reduce_dtype = chosen("reduce_dtype", self.reduce_dtype, ("float16", "bfloat16", "float32"))
        self.optim_args, self.lr_scheduler_kwargs = (
            pairs(name, getattr(self, name)) for name in ("optim_args", "lr_scheduler_kwargs")
        )
        self.report_to = listed(self.report_to)
        if isinstance(self.resume_from_checkpoint, str):
            self.resume_from_checkpoint = TRUTHS.get(self.resume_from_checkpoint.lower(), self.resume_from_checkpoint)
        self.settle_best_model()
        if self.fp16 and self.bf16:
            raise ValueError("fp16=True and bf16=True: expected one of them, bf16 where the GPU can, or neither")

    def settle_best_model(self) -> None:
        """Set the metric that chooses the best model, and its direction, by Hugging Face's rules."""
        if (self.load_best_model_at_end or self.save_strategy == "best") and self.metric_for_best_model is None:
            self.metric_for_best_model = "loss"
        if isinstance(self.metric_for_best_model, str):  # with or without "eval_", as in Hugging Face's
            self.metric_for_best_model = self.metric_for_best_model.removeprefix("eval_")
            if self.greater_is_better is None:
                self.greater_is_better = not self.metric_for_best_model.endswith("loss")
        if self.load_best_model_at_end:
            if self.eval_strategy == "no" or self.save_strategy not in (self.eval_strategy, "best"):
                raise ValueError(
                    "load_best_model_at_end needs evaluations and checkpoints at the same steps, but eval_strategy "
                    f'is "{self.eval_strategy}" and save_strategy "{self.save_strategy}": give both "epoch", say'
                )
            every, evaluated = self.save_steps, self.logging_steps if self.eval_steps is None else self.eval_steps
            if self.save_strategy == "steps" and every / evaluated != round(every / evaluated):
                raise ValueError(
                    f"load_best_model_at_end needs save_steps to be a multiple of eval_steps, but they are "
                    f"{every:g} and {evaluated:g}"
                )

    def every(self, what: str, total_steps: int) -> int:
        """The number of steps between two records, evaluations or checkpoints (`what`: "logging", "eval" or "save")."""
        steps = getattr(self, f"{what}_steps")
        steps = self.logging_steps if steps is None else steps
        return max(1, ceil(steps * total_steps) if steps < 1 else round(steps))

    def warmup(self, total_steps: int) -> int:
        """The number of steps in which the learning rate rises; 0 for a run of one step, which must train."""
        if self.warmup_steps >= 1:
            return round(self.warmup_steps)
        return ceil((self.warmup_steps or self.warmup_ratio) * total_steps) if total_steps > 1 else 0

    def to_dict(self) -> dict[str, Any]:
        """The arguments as values that JSON can hold."""
        return {
            name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in asdict(self).items()
        }

    def check_output_dir(self) -> None:
        """Refuse an output_dir whose contents would be lost, before any work is done.

        Raises ValueError or NotADirectoryError if it holds, or is, something other than a model; FileExistsError if it
        holds a model that is not to be overwritten.
        """
        out = Path(self.output_dir)
        check_parent(out)
        holds = out.exists() and any(not entry.name.startswith(".") for entry in output_directory(out).iterdir())
        if holds and not self.overwrite_output_dir:
            raise FileExistsError(
                f"{out} already holds a model, maybe of an interrupted run; it was left unchanged: "
                "pass another directory, or overwrite=True to replace it"
            )


def check_range(name: str, value: Any, low: float, high: float) -> None:
    """Raise ValueError for a number that is not finite or out of range; None is accepted."""
    if value is None:
        return
    if not (low <= value <= high and value < inf) or name in NOT_ZERO and value == 0:
        expected = (
            "above 0"
            if name in NOT_ZERO and value <= 0
            else (f"from {low} {f'to {high}' if high == 1 or value > high else 'upwards'}")
        )
        raise ValueError(f"{name} is {value:g}; expected a finite number {expected}")


def converted(name: str, value: Any, kind: str) -> int | float | bool:
    """A number or a text, converted to an argument's type.  Raises ValueError if that fails, as for 2.5 as an int."""
    try:
        if kind == "bool":
            return TRUTHS[str(value).strip().lower()]
        if isinstance(value, bool):
            raise TypeError
        number = float(value)
        if kind == "float" or not isfinite(number):  # check_range refuses a number that is not finite
            return number
        whole = int(value)  # raises ValueError for a text such as "2.5"
        if not isinstance(value, str) and whole != value:
            raise ValueError
        return whole
    except (TypeError, ValueError, KeyError, OverflowError):
        raise ValueError(f"{name} is {value!r}; expected {KINDS[kind]}") from None


def chosen(name: str, value: Any, choices: Iterable[str]) -> str:
    """The word, if it is one of the choices.  Raises ValueError, with the nearest choice, if it is not."""
    word = str(getattr(value, "value", value)).lower() if value is not False else "no"
    if word not in choices:
        near = get_close_matches(word, choices, 1, 0.5)
        told = "".join(f": type {one!r}" for one in near)
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(choices)}{told}")
    return word


def pairs(name: str, value: Any) -> dict[str, Any]:
    """A dict of options, from a dict, from JSON, or from "key=value,key=value" with numbers and true or false."""
    if value is None or isinstance(value, Mapping):
        return dict(value or {})
    try:
        if str(value).lstrip().startswith("{"):
            return dict(json.loads(value))
        found = {}
        for pair in filter(None, str(value).split(",")):
            key, text = (part.strip() for part in pair.split("=", 1))
            try:
                found[key] = json.loads(text.lower())
            except ValueError:
                found[key] = text
        return found
    except ValueError:
        raise ValueError(
            f'{name} is {value!r}; expected a dict, or a text such as "momentum=0.9,nesterov=true"'
        ) from None


def listed(report_to: Any) -> list[str]:
    """The names in `report_to`; empty for None and "none"."""
    names = report_to.replace(" ", "").split(",") if isinstance(report_to, str) else list(report_to or ())
    known = ("tensorboard", "wandb", "jsonl", "statistics")
    if names == ["all"]:
        return ["tensorboard", "jsonl"]
    return [chosen("report_to", name, known) for name in names if name.lower() not in ("none", "")]


def check_names(what: str, given: Iterable[str], known: list[str], meant: dict[str, str] = MEANT) -> None:
    """Raise TypeError for an unknown name; the message has the one that is probably meant."""
    for name in given:
        if name not in known:
            near = [meant[name]] if name in meant else get_close_matches(name, known, 1, 0.6)
            raise TypeError(
                f"{what} has no argument {name!r}: " + (f"type {near[0]}=" if near else f"it has {', '.join(known)}")
            )
