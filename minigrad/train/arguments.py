"""How a run is to go, in one place: sizes, rates, seed, and where the result is put."""
from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from difflib import get_close_matches
from math import inf, isfinite
from pathlib import Path
from typing import Any

from ..pretrained.checkpoint.files import output_directory

MOST = 2**31 - 1                                             # of what is counted
RANGES = {"num_train_epochs": (0, inf), "per_device_train_batch_size": (1, MOST), "per_device_eval_batch_size": (1, MOST),
          "gradient_accumulation_steps": (1, MOST), "learning_rate": (0, inf), "weight_decay": (0, inf), "warmup_ratio": (0, 1),
          "max_grad_norm": (0, inf), "logging_steps": (1, MOST), "seed": (0, inf)}
SIGNS = {"accuracy": 1, "macro_f1": 1, "loss": -1}           # what may choose the best model, and whether more of it is better
MEANT = {"lr": "learning_rate", "epochs": "num_train_epochs", "num_epochs": "num_train_epochs",
         "batch_size": "per_device_train_batch_size", "train_batch_size": "per_device_train_batch_size",
         "eval_batch_size": "per_device_eval_batch_size", "clip": "max_grad_norm"}           # what others call them
TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass
class TrainingArguments:
    """How to train, under Hugging Face's names.

    An optimiser step sees `per_device_train_batch_size` × `gradient_accumulation_steps` examples.  `num_train_epochs` need not
    be whole: 0.5 stops in the middle of the first.  The learning rate rises from 0 during the first `warmup_ratio` of all
    steps, but not if there is only one, and then falls back to 0.  `max_grad_norm` limits the gradients' joint 2-norm; 0 means
    no limit.  Every `logging_steps` steps there is a record of loss and accuracy, the means over these steps; on a GPU, where
    a record is something to wait for, fewer make training faster.  `metric_for_best_model`, measured on the evaluation set,
    decides which epoch's model is kept: by default "macro_f1", or "loss" where labels are not classes.  `fp16` and `bf16`
    compute products in 16 bits (see `mg.autocast`), `fp16` with a loss scale; the weights stay in float32.

    Numbers may be given as strings, such as "2e-4".

    Raises ValueError if a number is out of range, not finite, or none at all, the metric is none of accuracy, macro_f1 and
    loss, or both of fp16 and bf16 are asked for; TypeError, with the nearest name, for an argument that does not exist, and for
    an output_dir that is no name.
    """
    output_dir: str | os.PathLike
    overwrite_output_dir: bool = False
    num_train_epochs: float = 3.0
    learning_rate: float = 2e-4
    per_device_train_batch_size: int = 32
    per_device_eval_batch_size: int = 64
    gradient_accumulation_steps: int = 1
    weight_decay: float = 0.01
    warmup_ratio: float = 0.1
    max_grad_norm: float = 1.0
    logging_steps: int = 1
    metric_for_best_model: str | None = None
    seed: int = 0
    fp16: bool = False
    bf16: bool = False

    def __new__(cls, *args: Any, **arguments: Any) -> TrainingArguments:
        check_names(cls.__name__, arguments, [field.name for field in fields(cls)])
        return super().__new__(cls)

    def __post_init__(self):
        if not isinstance(self.output_dir, (str, os.PathLike)):
            raise TypeError(f"output_dir is {self.output_dir!r}; expected the name of a directory")
        for field in fields(self):
            if field.type in ("int", "float", "bool"):
                setattr(self, field.name, converted(field.name, getattr(self, field.name), field.type))
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            above = name == "num_train_epochs"               # more than 0, the others also 0
            if not (low <= value <= high and value < inf) or above and value == 0:
                expected = "above 0" if above else f"from {low} {f'to {high}' if high == 1 or value > high else 'upwards'}"
                raise ValueError(f"{name} is {value:g}; expected a finite number {expected}")
        if isinstance(self.metric_for_best_model, str):      # Hugging Face knows it under both names
            self.metric_for_best_model = self.metric_for_best_model.removeprefix("eval_")
        if self.metric_for_best_model not in (None, *SIGNS):
            raise ValueError(f"metric_for_best_model is {self.metric_for_best_model!r}; expected one of {', '.join(SIGNS)}")
        if self.fp16 and self.bf16:
            raise ValueError("fp16=True and bf16=True: expected one of them, bf16 where the GPU can, or neither")

    def check_output_dir(self) -> None:
        """Refuse an output_dir whose contents would be lost, before any work is done.

        Raises ValueError or NotADirectoryError if it holds, or is, something other than a model; FileExistsError if it holds a
        model that is not to be overwritten.
        """
        out = Path(self.output_dir)
        if out.exists() and any(not entry.name.startswith(".") for entry in output_directory(out).iterdir()):
            if not self.overwrite_output_dir:
                raise FileExistsError(f"{out} holds a model already, maybe of an interrupted run; it was left as it is: "
                                      "pass another directory, or overwrite=True to replace it")


def converted(name: str, value: Any, kind: str) -> int | float | bool:
    """A number or a text as an argument's own kind.  Raises ValueError if it is not one, such as 2.5 for an int."""
    try:
        if kind == "bool":
            return TRUTHS[str(value).strip().lower()]
        if isinstance(value, bool):
            raise TypeError
        number = float(value)
        if kind == "float" or not isfinite(number):          # the range will say what is wrong with the latter
            return number
        whole = int(value)                                   # of a text such as "2.5" a ValueError
        if not isinstance(value, str) and whole != value:
            raise ValueError
        return whole
    except (TypeError, ValueError, KeyError, OverflowError):
        expected = {"int": "a whole number", "float": "a number", "bool": "True or False"}[kind]
        raise ValueError(f"{name} is {value!r}; expected {expected}") from None


def check_names(what: str, given: Iterable[str], known: list[str], meant: dict[str, str] = MEANT) -> None:
    """Raises TypeError for a name that is not known, with the one that is probably meant."""
    for name in given:
        if name not in known:
            near = [meant[name]] if name in meant else get_close_matches(name, known, 1, 0.6)
            raise TypeError(f"{what} has no argument {name!r}: " + (f"type {near[0]}=" if near else f"it has {', '.join(known)}"))
