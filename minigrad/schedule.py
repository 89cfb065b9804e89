"""Learning-rate schedules.  The rate is a function of the step's number alone, so it can be printed, plotted and resumed."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .optim import Optimizer


class LambdaLR:
    """Set each group's lr to the one it began with, times `lr_lambda(step)`.

    Call `step()` once after each `optimizer.step()`.  `lr_lambda` is one function for all groups, or a list with one for each.
    As in torch, `last_epoch` is the number of the current step, and the lr begun with is kept in the group as "initial_lr",
    so that a schedule built on a resumed optimiser still knows it.

    Raises:
        ValueError: there are not as many functions as groups.
    """
    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
                 last_epoch: int = -1):
        groups = optimizer.param_groups
        self.optimizer = optimizer
        self.lr_lambdas = [lr_lambda] * len(groups) if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != len(groups):
            raise ValueError(f"got {len(self.lr_lambdas)} functions for {len(groups)} parameter groups: give one, or one each")
        self.base_lrs = [group.setdefault("initial_lr", group["lr"]) for group in groups]
        self.last_epoch = last_epoch
        self.step()

    def lr_at(self, step: int) -> list[float]:
        """The rate of each group at any step, past or to come; nothing is changed."""
        return [base * factor(step) for base, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)]

    def step(self) -> None:
        """Go on to the next step and give its rates to the optimiser."""
        self._go_to(self.last_epoch + 1)

    def get_last_lr(self) -> list[float]:
        """The rate of each group at the current step."""
        return self.lr_at(self.last_epoch)

    def state_dict(self) -> dict[str, Any]:
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to the step that was saved.

        Raises:
            ValueError: the state was saved for another number of groups.
        """
        saved = list(state_dict["base_lrs"])
        if len(saved) != len(self.base_lrs):
            raise ValueError(f"the saved schedule is for {len(saved)} parameter groups, this one for {len(self.base_lrs)}")
        self.base_lrs = saved
        self._go_to(state_dict["last_epoch"])

    def _go_to(self, step: int) -> None:
        self.last_epoch = step
        for group, lr in zip(self.optimizer.param_groups, self.lr_at(step), strict=True):
            group["lr"] = lr


def constant_schedule_with_warmup(optimizer: Optimizer, num_warmup_steps: int, last_epoch: int = -1) -> LambdaLR:
    """Rise from 0 to lr in a straight line over `num_warmup_steps`, then stay there."""
    return _after_warmup(optimizer, num_warmup_steps, num_warmup_steps, lambda progress: 1.0, last_epoch)


def linear_schedule_with_warmup(optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int,
                                last_epoch: int = -1) -> LambdaLR:
    """Rise from 0 to lr over `num_warmup_steps`, then fall in a straight line to 0 at `num_training_steps`, and stay there."""
    return _after_warmup(optimizer, num_warmup_steps, num_training_steps, lambda progress: 1.0 - progress, last_epoch)


def cosine_schedule_with_warmup(optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int,
                                num_cycles: float = 0.5, last_epoch: int = -1) -> LambdaLR:
    """Rise from 0 to lr over `num_warmup_steps`, then follow `num_cycles` waves of a cosine (Loshchilov & Hutter 2017).

    Half a wave, the default, falls to 0.  After `num_training_steps` the rate stays as it is (that of transformers rises again).
    """
    return _after_warmup(optimizer, num_warmup_steps, num_training_steps,
                         lambda progress: 0.5 * (1.0 + math.cos(2.0 * math.pi * num_cycles * progress)), last_epoch)


def _after_warmup(optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int, decay: Callable[[float], float],
                  last_epoch: int) -> LambdaLR:
    """Warm up, then follow `decay`, a function of how much of the rest of the training is done (0 to 1)."""
    for name, steps in (("num_warmup_steps", num_warmup_steps), ("num_training_steps", num_training_steps)):
        if steps < 0 or steps % 1:
            raise ValueError(f"{name} counts optimiser steps, so it must be a whole number, 0 or more, but got {steps}; "
                             "for a ratio, type int(ratio * number_of_steps)")

    def factor(step: int) -> float:
        if step < num_warmup_steps:
            return step / num_warmup_steps
        return decay(min(1.0, (step - num_warmup_steps) / max(1, num_training_steps - num_warmup_steps)))

    return LambdaLR(optimizer, factor, last_epoch)
