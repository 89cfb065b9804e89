"""Learning-rate schedules.  The rate is a function of the step's number alone, so it can be printed, plotted and resumed.

Names, arguments and defaults are those of torch.optim.lr_scheduler, and of transformers for the schedules with a warm-up.
"""
from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from .optim import Optimizer

Rate = Callable[[float, int], float]


class LRScheduler:
    """Set each group's lr to `rate(base, step)`, a function of the lr it began with and of the number of the step.

    `rate` is one function for all groups, or a list with one for each.

    Call `step()` once after each `optimizer.step()`.  As in torch, `last_epoch` is the number of the current step, and the lr
    begun with is kept in the group as "initial_lr", so that a schedule built on a resumed optimiser still knows it.
    """
    def __init__(self, optimizer: Optimizer, rate: Rate | Sequence[Rate], last_epoch: int = -1):
        self.optimizer, self.rates = optimizer, _one_each(rate, optimizer, "functions")
        self.base_lrs = [group.setdefault("initial_lr", group["lr"]) for group in optimizer.param_groups]
        self._go_to(last_epoch + 1)

    def lr_at(self, step: int) -> list[float]:
        """The rate of each group at any step, past or to come; nothing is changed."""
        return [rate(base, step) for rate, base in zip(self.rates, self.base_lrs, strict=True)]

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


class LambdaLR(LRScheduler):
    """lr · lr_lambda(step); `lr_lambda` is one function for all groups, or a list with one for each.

    Raises:
        ValueError: there are not as many functions as groups.
    """
    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
                 last_epoch: int = -1):
        factors = _one_each(lr_lambda, optimizer, "functions")
        super().__init__(optimizer, [lambda base, step, factor=factor: base * factor(step) for factor in factors], last_epoch)


class StepLR(LRScheduler):
    """lr · gamma ^ ⌊step / step_size⌋: lower by a factor every `step_size` steps."""
    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        super().__init__(optimizer, lambda base, step: base * gamma ** (step // step_size), last_epoch)


class MultiStepLR(LRScheduler):
    """lr · gamma ^ (the number of milestones reached)."""
    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1):
        milestones = sorted(milestones)
        super().__init__(optimizer, lambda base, step: base * gamma ** bisect_right(milestones, step), last_epoch)


class ExponentialLR(LRScheduler):
    """lr · gamma ^ step."""
    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        super().__init__(optimizer, lambda base, step: base * gamma ** step, last_epoch)


class CosineAnnealingLR(LRScheduler):
    """From lr along half a cosine to eta_min at step T_max and, as in torch, up again (Loshchilov & Hutter 2017, eq. 5)."""
    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        super().__init__(optimizer, lambda base, step: _cosine(base, eta_min, step / T_max), last_epoch)


class LinearLR(LRScheduler):
    """From start_factor · lr in a straight line to end_factor · lr at step `total_iters`, and stay there."""
    def __init__(self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5,
                 last_epoch: int = -1):
        def rate(base: float, step: int) -> float:
            return base * _line(start_factor, end_factor, _done(step, 0, total_iters))

        super().__init__(optimizer, rate, last_epoch)


class PolynomialLR(LRScheduler):
    """lr · (1 − step / total_iters) ^ power, which is 0 at step `total_iters`, and stay there."""
    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1):
        super().__init__(optimizer, lambda base, step: base * (1 - _done(step, 0, total_iters)) ** power, last_epoch)


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr, then down to where it began, and further by final_div_factor (Smith & Topin 2018).

    The rise takes `pct_start` of the steps; with `three_phase` the way down to where it began takes as many again, and the rest
    go on from there.  Momentum (of Adam, beta1) goes the other way, between max_momentum and base_momentum.

    Args:
        max_lr: one for all groups, or a list with one for each; the groups' own lr are not used.
        total_steps: or give `epochs` and `steps_per_epoch`.  After the last step all stays as it is (torch raises an error).
        anneal_strategy: "cos" or "linear".

    Raises:
        ValueError: the steps are not given, an unknown strategy, or an optimiser without momentum and betas.
    """
    def __init__(self, optimizer: Optimizer, max_lr: float | Sequence[float], total_steps: int | None = None,
                 epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
                 anneal_strategy: str = "cos", cycle_momentum: bool = True, base_momentum: float = 0.85,
                 max_momentum: float = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4,
                 three_phase: bool = False, last_epoch: int = -1):
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            raise ValueError("OneCycleLR needs total_steps, or epochs and steps_per_epoch")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f'anneal_strategy={anneal_strategy!r} is not known: type "cos" or "linear"')
        self.cycled = [name for name in ("betas", "momentum") if name in optimizer.defaults and cycle_momentum]
        if cycle_momentum and not self.cycled:
            raise ValueError(f"{type(optimizer).__name__} has neither momentum nor betas: give OneCycleLR cycle_momentum=False")
        total = epochs * steps_per_epoch if total_steps is None else total_steps
        up, anneal = pct_start * total - 1, _cosine if anneal_strategy == "cos" else _line
        ends = [up, 2 * up, total - 1] if three_phase else [up, total - 1]     # the last step of each phase

        def along(values: list[float], step: int) -> float:
            """The value at a step, on a way that has these values before the first phase and at the end of each."""
            phase = min(sum(end < step for end in ends), len(ends) - 1)
            start = ends[phase - 1] if phase else 0.0
            return anneal(values[phase], values[phase + 1], _done(step, start, ends[phase]))

        def rate(base: float, step: int) -> float:
            return along([base, base * div_factor, *[base] * three_phase, base / final_div_factor], step)

        self.momentum_at = lambda step: along([max_momentum, base_momentum, *[max_momentum] * (1 + three_phase)], step)
        for group, highest in zip(optimizer.param_groups, _one_each(max_lr, optimizer, "rates max_lr")):
            group["initial_lr"] = highest / div_factor
        super().__init__(optimizer, rate, last_epoch)

    def _go_to(self, step: int) -> None:
        super()._go_to(step)
        momentum = self.momentum_at(step)
        for group in self.optimizer.param_groups:
            for name in self.cycled:
                group[name] = (momentum, *group["betas"][1:]) if name == "betas" else momentum


class ReduceLROnPlateau(LRScheduler):
    """Multiply lr by `factor` when a metric has not become better for more than `patience` steps.

    The rate is a function of the metrics given to `step`, which are kept, so that here too a resumed run is the same run.

    Args:
        mode: "min" or "max", what is better.
        threshold, threshold_mode: by how much it must be better than the best so far, "rel" to it or "abs".
        cooldown: for so many steps after a change nothing counts against it.
        min_lr: the lowest rate, one for all groups or a list with one for each.
        eps: a change that is not larger than this is not made.

    Raises:
        ValueError: an unknown mode, a factor of 1 or more.
    """
    def __init__(self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10, threshold: float = 1e-4,
                 threshold_mode: str = "rel", cooldown: int = 0, min_lr: float | Sequence[float] = 0.0, eps: float = 1e-8):
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(f'mode={mode!r} must be "min" or "max", and threshold_mode={threshold_mode!r} "rel" or "abs"')
        if not factor < 1:
            raise ValueError(f"factor={factor} must be below 1, or the rate would not go down")
        self.sign, self.threshold, self.relative = 1 if mode == "min" else -1, threshold, threshold_mode == "rel"
        self.factor, self.patience, self.cooldown, self.eps = factor, patience, cooldown, eps
        self.metrics: list[float] = []
        lowest = _one_each(min_lr, optimizer, "rates min_lr")
        super().__init__(optimizer, [lambda base, step, least=least: self._lowered(base, step, least) for least in lowest])

    def step(self, metrics: float) -> None:
        """Take note of the metric, a number, and set the rates for what follows."""
        self.metrics = [*self.metrics[:self.last_epoch], float(metrics)]
        super().step()

    def _lowered(self, lr: float, step: int, least: float) -> float:
        """The rate after the first `step` metrics."""
        best, bad, resting = math.inf, 0, 0
        for metric in self.metrics[:step]:
            metric *= self.sign
            if metric < (best * (1 - self.sign * self.threshold) if self.relative else best - self.threshold):
                best, bad = metric, 0
            else:
                bad += 1
            if resting:
                resting, bad = resting - 1, 0
            if bad > self.patience:
                lower, resting, bad = max(lr * self.factor, least), self.cooldown, 0
                lr = lower if lr - lower > self.eps else lr
        return lr

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "metrics": list(self.metrics)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.metrics = list(state_dict["metrics"])
        super().load_state_dict(state_dict)


class SequentialLR(LRScheduler):
    """One schedule after the other: the next takes over, at its own step 0, at each milestone.

    Raises:
        ValueError: there is not one schedule more than milestones, or a schedule is for another optimiser or needs metrics.
    """
    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1):
        if len(schedulers) != len(milestones) + 1:
            raise ValueError(f"{len(schedulers)} schedules need a milestone between each two of them, but got {len(milestones)}")
        for i, scheduler in enumerate(schedulers):
            if scheduler.optimizer is not optimizer or isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(f"schedule {i}, a {type(scheduler).__name__}, must be for this optimiser and need no metrics")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        groups = range(len(optimizer.param_groups))
        super().__init__(optimizer, [lambda base, step, i=i: self._current_rates(step)[i] for i in groups], last_epoch)

    def _current_rates(self, step: int) -> list[float]:
        scheduler, its_step = self._current(step)
        return scheduler.lr_at(its_step)

    def _current(self, step: int) -> tuple[LRScheduler, int]:
        i = bisect_right(self.milestones, step)
        return self.schedulers[i], step - self.milestones[i - 1] if i else step

    def _go_to(self, step: int) -> None:
        self.last_epoch = step
        scheduler, its_step = self._current(step)
        scheduler._go_to(its_step)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "schedulers": [scheduler.state_dict() for scheduler in self.schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for scheduler, saved in zip(self.schedulers, state_dict["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        super().load_state_dict(state_dict)


def constant_schedule_with_warmup(optimizer: Optimizer, num_warmup_steps: int, last_epoch: int = -1) -> LambdaLR:
    """Rise from 0 to lr in a straight line over `num_warmup_steps`, then stay there."""
    return _after_warmup(optimizer, num_warmup_steps, num_warmup_steps, lambda progress: 1.0, last_epoch)


def linear_schedule_with_warmup(optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int,
                                last_epoch: int = -1) -> LambdaLR:
    """Rise from 0 to lr over `num_warmup_steps`, then fall in a straight line to 0 at `num_training_steps`, and stay there."""
    return _after_warmup(optimizer, num_warmup_steps, num_training_steps, lambda progress: 1.0 - progress, last_epoch)


def polynomial_decay_schedule_with_warmup(optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int,
                                          lr_end: float = 1e-7, power: float = 1.0, last_epoch: int = -1) -> LambdaLR:
    """Rise from 0 to lr over `num_warmup_steps`, then fall as (1 − progress) ^ power to lr_end, and stay there.

    As in transformers, lr_end is for groups with the optimiser's own lr; others end in proportion.

    Raises:
        ValueError: lr_end is not below the optimiser's lr.
    """
    lr = optimizer.defaults["lr"]
    if not lr_end < lr:
        raise ValueError(f"lr_end={lr_end} must be below the optimiser's lr, {lr}")
    return _after_warmup(optimizer, num_warmup_steps, num_training_steps,
                         lambda progress: _line(lr_end / lr, 1.0, (1.0 - progress) ** power), last_epoch)


def cosine_schedule_with_warmup(optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int,
                                num_cycles: float = 0.5, last_epoch: int = -1) -> LambdaLR:
    """Rise from 0 to lr over `num_warmup_steps`, then follow `num_cycles` waves of a cosine (Loshchilov & Hutter 2017).

    Half a wave, the default, falls to 0.  After `num_training_steps` the rate stays as it is (that of transformers rises again).
    """
    return _after_warmup(optimizer, num_warmup_steps, num_training_steps,
                         lambda progress: _cosine(1.0, 0.0, 2.0 * num_cycles * progress), last_epoch)


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
        return decay(_done(step, num_warmup_steps, num_training_steps))

    return LambdaLR(optimizer, factor, last_epoch)


def _done(step: float, start: float, end: float) -> float:
    """How much of the way from start to end is done: 0 to 1."""
    return 1.0 if step >= end else (step - start) / (end - start)


def _line(start: float, end: float, progress: float) -> float:
    """From start to end in a straight line."""
    return start + (end - start) * progress


def _cosine(start: float, end: float, progress: float) -> float:
    """From start to end along half a cosine wave, flat at both ends."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def _one_each(value: Any, optimizer: Optimizer, what: str) -> list:
    """One for each parameter group, whether one was given or a list."""
    groups = len(optimizer.param_groups)
    values = list(value) if isinstance(value, Sequence) else [value] * groups
    if len(values) != groups:
        raise ValueError(f"got {len(values)} {what} for {groups} parameter groups: give one, or one each")
    return values
