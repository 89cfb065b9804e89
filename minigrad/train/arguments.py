"""How a run is to go, in one place: sizes, rates, seed, and where the result is put."""
from __future__ import annotations

import os
from dataclasses import dataclass
from math import inf
from pathlib import Path

from ..pretrained.files import output_directory

RANGES = {"num_train_epochs": (1, inf), "per_device_train_batch_size": (1, inf), "per_device_eval_batch_size": (1, inf),
          "gradient_accumulation_steps": (1, inf), "learning_rate": (0, inf), "weight_decay": (0, inf), "warmup_ratio": (0, 1),
          "max_grad_norm": (0, inf), "logging_steps": (1, inf), "seed": (0, inf)}
SIGNS = {"accuracy": 1, "macro_f1": 1, "loss": -1}           # what may choose the best model, and whether more of it is better


@dataclass
class TrainingArguments:
    """How to train, under Hugging Face's names.

    An optimiser step sees `per_device_train_batch_size` × `gradient_accumulation_steps` examples.  The learning rate rises
    from 0 during the first `warmup_ratio` of all steps and then falls back to 0.  `max_grad_norm` limits the gradients' joint
    2-norm.  Every `logging_steps` steps there is a record of loss and accuracy, the means over these steps; on a GPU, where a
    record is something to wait for, fewer make training faster.  `metric_for_best_model`, measured on the evaluation set,
    decides which epoch's model is kept.  `fp16` and `bf16` compute products in 16 bits (see `mg.autocast`), `fp16` with a loss
    scale; the weights stay in float32.

    Raises ValueError if a number is out of range or not finite, the metric is none of accuracy, macro_f1 and loss, or both of
    fp16 and bf16 are asked for.
    """
    output_dir: str | os.PathLike
    overwrite_output_dir: bool = False
    num_train_epochs: int = 3
    learning_rate: float = 2e-4
    per_device_train_batch_size: int = 32
    per_device_eval_batch_size: int = 64
    gradient_accumulation_steps: int = 1
    weight_decay: float = 0.01
    warmup_ratio: float = 0.1
    max_grad_norm: float = 1.0
    logging_steps: int = 1
    metric_for_best_model: str = "macro_f1"
    seed: int = 0
    fp16: bool = False
    bf16: bool = False

    def __post_init__(self):
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not (low <= value <= high and value < inf):
                upwards = "upwards" if high == inf else f"to {high}"
                raise ValueError(f"{name} is {value}; expected a finite number from {low} {upwards}")
        if self.metric_for_best_model not in SIGNS:
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
