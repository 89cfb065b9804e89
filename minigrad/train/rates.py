"""The learning-rate range test: a few steps at rates that rise exponentially, and the loss at each.

Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..optim.clip import NonFiniteError
from .callbacks import CallbackHandler, DefaultFlowCallback, TrainerCallback
from .search import copy_of, restoring

SMOOTHING = 0.9  # the weight of the earlier losses in the moving average
SKIPPED = 0.1  # the fraction of steps at the beginning that a suggestion skips, because their average is of few losses


@dataclass
class LearningRates:
    """The result of a range test: the rates, the loss at each (`losses`), and its moving average (`smooth`)."""

    rates: list[float]
    losses: list[float]

    @property
    def smooth(self) -> list[float]:
        """The exponential moving average of the losses, corrected for its initial value 0."""
        total, found = 0.0, []
        for i, loss in enumerate(self.losses, 1):
            total = SMOOTHING * total + (1 - SMOOTHING) * loss
            found.append(total / (1 - SMOOTHING**i))
        return found

    @property
    def suggestion(self) -> float | None:
        """The rate at which the smoothed loss falls fastest; None if it never falls."""
        first = int(SKIPPED * len(self.rates))
        smooth = np.array(self.smooth[first:])
        if len(smooth) < 3:
            return None
        slope = np.gradient(smooth)  # with respect to the logarithm of the rate, which rises in equal steps
        steepest = int(slope.argmin())
        return self.rates[first + steepest] if slope[steepest] < 0 else None

    def plot(self) -> Any:
        """The losses over the rates, with the suggestion, as a matplotlib Figure.

        Raises ImportError if matplotlib is not installed.
        """
        from .plots import new_figure

        figure = new_figure(6.4, 4.0)
        axes = figure.subplots()
        axes.plot(self.rates, self.losses, color="0.75", label="loss of each step")
        axes.plot(self.rates, self.smooth, color="C0", label="smoothed")
        if self.suggestion is not None:
            axes.axvline(self.suggestion, color="C3", linestyle="--", label=f"suggestion: {self.suggestion:.1e}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        axes.legend()
        return figure


class Rising(TrainerCallback):
    """Sets the rate of each step, records its loss, and ends the run when the loss is far above the lowest."""

    def __init__(self, rates: list[float], threshold: float):
        self.rates, self.threshold = rates, threshold
        self.found = LearningRates([], [])

    def on_step_begin(self, args, state, control, optimizer, **more):
        for group in optimizer.param_groups:
            group["lr"] = self.rates[state.global_step]

    def on_log(self, args, state, control, logs, **more):
        if "loss" not in logs:
            return
        self.found.rates.append(self.rates[state.global_step - 1])
        self.found.losses.append(logs["loss"])
        smooth = self.found.smooth
        if not smooth[-1] <= self.threshold * min(smooth):
            control.should_training_stop = True


def find(trainer: Any, min_lr: float, max_lr: float, num_training: int, early_stop_threshold: float) -> LearningRates:
    """See `Trainer.lr_find`."""
    if not 0 < min_lr < max_lr < math.inf:
        raise ValueError(f"min_lr is {min_lr:g} and max_lr {max_lr:g}; expected 0 < min_lr < max_lr")
    if num_training < 10:
        raise ValueError(f"num_training is {num_training}; expected at least 10 steps")
    if any(trainer.given):
        raise ValueError("lr_find makes its own optimiser: leave optimizers out")
    out = Path(trainer.args.output_dir) / "lr_find"
    changed: dict[str, Any] = {
        "output_dir": out,
        "max_steps": num_training,
        "lr_scheduler_type": "constant",
        "lr_scheduler_kwargs": None,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "eval_strategy": "no",
        "eval_on_start": False,
        "save_strategy": "no",
        "load_best_model_at_end": False,
        "metric_for_best_model": None,
        "ema_decay": None,
        "resume_from_checkpoint": None,
    }
    rising = Rising(np.geomspace(min_lr, max_lr, num_training).tolist(), early_stop_threshold)
    with restoring(trainer.model):
        one = copy_of(trainer, changed)
        one.plan = None
        one.handler = CallbackHandler([DefaultFlowCallback(), rising])
        try:
            one.train()
        except NonFiniteError:  # the rate is too large, which ends the test
            pass
        finally:
            if trainer.world.rank == 0:
                shutil.rmtree(out, ignore_errors=True)
    return rising.found
