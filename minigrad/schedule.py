"""Learning-rate schedules.  The rate is a function of the step alone, so it can be printed, plotted and resumed.

Names, arguments and defaults are those of torch.optim.lr_scheduler, and of transformers for the schedules with a
warm-up.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

from .optim import Optimizer

Rate = Callable[[float, int], float]


class LRScheduler:
    """Set each group's lr to `rate(base, step)`, a function of the lr it began with and of the number of the step.

    `rate` is one function for all groups, or a list with one for each.

    Call `step()` once after each `optimizer.step()`.  As in torch, `last_epoch` is the number of the current step, and
    the lr begun with is kept in the group as "initial_lr", so that a schedule built on a resumed optimiser still knows
    it.

    Several schedules on one optimiser compose, and a rate set by hand is kept, as in torch: a schedule that finds
    another lr than the one it set continues from there (see `then`).

    Raises:
        ValueError: the schedule begins at a later step, but the optimiser has no "initial_lr".
    """

    def __init__(self, optimizer: Optimizer, rate: Rate | Sequence[Rate], last_epoch: int = -1):
        self.optimizer, self.rates = optimizer, _one_each(rate, optimizer, "functions")
        if not all(map(callable, self.rates)):
            raise TypeError(f"{type(self).__name__} takes functions of the step, but got {self.rates}")
        _whole(self, last_epoch=(last_epoch, -1))
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch >= 0 and "initial_lr" not in group:
                raise ValueError(
                    f"{type(self).__name__}(last_epoch={last_epoch}) resumes a run, but parameter group "
                    f"{i} has no 'initial_lr', the lr it began with: load the optimiser's state first, "
                    "or leave last_epoch out"
                )
        self.base_lrs = [group.setdefault("initial_lr", group["lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._go_to(last_epoch + 1)

    def lr_at(self, step: int) -> list[float]:
        """The rate of each group at any step, past or to come, by this schedule alone; nothing is changed."""
        return [rate(base, step) for rate, base in zip(self.rates, self.base_lrs, strict=True)]

    def then(self, lr: float, step: int, group: int) -> float | None:
        """The rate of a group at `step` where another schedule, or the user, has made the one before it `lr`.

        None means the rate that this schedule has by itself.  This method serves schedules that multiply the base by a
        function f of the step: lr · f(step) / f(step - 1).
        """
        factor = self.rates[group]
        before = factor(1.0, step - 1) if step else 1.0
        return lr * factor(1.0, step) / before if before else lr

    def step(self) -> None:
        """Advance to the next step and set its rates in the optimiser."""
        self._go_to(self.last_epoch + 1)

    def get_last_lr(self) -> list[float]:
        """The rate of each group that this schedule set last."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs, under torch's names."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs), "_last_lr": list(self._last_lr)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to the step that was saved.

        Raises:
            ValueError: the state was saved for another number of groups.
        """
        saved = list(state_dict["base_lrs"])
        if len(saved) != len(self.base_lrs):
            raise ValueError(
                f"the saved schedule is for {len(saved)} parameter groups, this one for {len(self.base_lrs)}"
            )
        self.base_lrs, self.last_epoch = saved, state_dict["last_epoch"]
        self._set(state_dict.get("_last_lr", self.lr_at(self.last_epoch)))

    def _go_to(self, step: int, afresh: bool = False) -> None:
        """Set the rates of a step; `afresh` whatever they are now, as when a sequence has come to this schedule."""
        groups = self.optimizer.param_groups
        if len(groups) != len(self.base_lrs):
            raise ValueError(
                f"{type(self).__name__} was made for {len(self.base_lrs)} parameter groups, but the "
                f"optimiser has {len(groups)} by now: call add_param_group first, then make the schedule"
            )
        before, rates = self.base_lrs if self.last_epoch < 0 else self.lr_at(self.last_epoch), self.lr_at(step)
        for i, group in enumerate(groups):
            if group["lr"] != before[i] and not afresh and (new := self.then(group["lr"], step, i)) is not None:
                rates[i] = new
        self.last_epoch = step
        self._set(rates)

    def _set(self, rates: list[float]) -> None:
        self._last_lr = list(rates)
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr


class LambdaLR(LRScheduler):
    """lr · lr_lambda(step); `lr_lambda` is one function for all groups, or a list with one for each.

    Raises:
        ValueError: there are not as many functions as groups.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ):
        factors = _one_each(lr_lambda, optimizer, "functions")
        if not all(map(callable, factors)):
            raise TypeError(f"LambdaLR takes functions of the step, but got {factors}")
        super().__init__(
            optimizer, [lambda base, step, factor=factor: base * factor(step) for factor in factors], last_epoch
        )

    def then(self, lr: float, step: int, group: int) -> None:
        """As in torch, the rate comes from the base whatever else has set it."""


class StepLR(LRScheduler):
    """lr · gamma ^ ⌊step / step_size⌋: lower by a factor every `step_size` steps."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        _whole(self, step_size=(step_size, 1))
        super().__init__(optimizer, lambda base, step: base * gamma ** (step // step_size), last_epoch)


class MultiStepLR(LRScheduler):
    """lr · gamma ^ (the number of milestones reached)."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1):
        milestones = sorted(milestones)
        for milestone in milestones:
            _whole(self, milestones=(milestone, 0))
        super().__init__(optimizer, lambda base, step: base * gamma ** bisect_right(milestones, step), last_epoch)


class ExponentialLR(LRScheduler):
    """lr · gamma ^ step."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        super().__init__(optimizer, lambda base, step: base * gamma**step, last_epoch)


class CosineAnnealingLR(LRScheduler):
    """From lr along half a cosine to eta_min at T_max, then up again as in torch (Loshchilov & Hutter 2017, eq. 5)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        _whole(self, T_max=(T_max, 1))
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, lambda base, step: _cosine(base, eta_min, step / T_max), last_epoch)

    def then(self, lr: float, step: int, group: int) -> float:
        """The distance from eta_min follows the ratio of the cosines; at the lowest point their difference is added."""
        if not step:
            return lr
        if (step - 1 - self.T_max) % (2 * self.T_max) == 0:
            return lr + (self.base_lrs[group] - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
        now, before = (1 + math.cos(math.pi * t / self.T_max) for t in (step, step - 1))
        return self.eta_min + (lr - self.eta_min) * now / before


class LinearLR(LRScheduler):
    """From start_factor · lr in a straight line to end_factor · lr at step `total_iters`, and stay there."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ):
        _whole(self, total_iters=(total_iters, 1))
        if not (0 < start_factor <= 1 and 0 <= end_factor <= 1):
            raise ValueError(
                f"LinearLR: start_factor={start_factor} must be above 0 and at most 1, and "
                f"end_factor={end_factor} from 0 to 1"
            )

        def rate(base: float, step: int) -> float:
            return base * _line(start_factor, end_factor, _done(step, 0, total_iters))

        super().__init__(optimizer, rate, last_epoch)


class PolynomialLR(LRScheduler):
    """lr · (1 − step / total_iters) ^ power, which is 0 at step `total_iters`, and stay there."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1):
        _whole(self, total_iters=(total_iters, 1))
        super().__init__(optimizer, lambda base, step: base * (1 - _done(step, 0, total_iters)) ** power, last_epoch)


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr, back, and then down by final_div_factor (Smith & Topin 2018).

    The rise takes `pct_start` of the steps; with `three_phase` the way down to where it began takes as many again, and
    the rest go on from there.  Momentum (of Adam, beta1) goes the other way, between max_momentum and base_momentum.

    Args:
        max_lr: one for all groups, or a list with one for each; the groups' own lr are not used.
        total_steps: or give `epochs` and `steps_per_epoch`.  After the last step all stays as it is (torch raises an
            error).
        anneal_strategy: "cos" or "linear".

    Raises:
        ValueError: the steps are not given, an unknown strategy, or an optimiser without momentum and betas.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ):
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            raise ValueError("OneCycleLR needs total_steps, or epochs and steps_per_epoch")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f'anneal_strategy={anneal_strategy!r} is not known: type "cos" or "linear"')
        self.cycled = [name for name in ("betas", "momentum") if name in optimizer.defaults and cycle_momentum]
        if cycle_momentum and not self.cycled:
            raise ValueError(
                f"{type(optimizer).__name__} has neither momentum nor betas: give OneCycleLR cycle_momentum=False"
            )
        total = (epochs or 0) * (steps_per_epoch or 0) if total_steps is None else total_steps
        _whole(self, total_steps=(total, 1))
        if not 0 <= pct_start <= 1:
            raise ValueError(
                f"OneCycleLR: pct_start={pct_start} is the share of the steps that the rise takes: give 0 to 1"
            )
        up, anneal = pct_start * total - 1, _cosine if anneal_strategy == "cos" else _line
        ends = [up, 2 * up, total - 1] if three_phase else [up, total - 1]  # the last step of each phase

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

    then = LambdaLR.then

    def _set(self, rates: list[float]) -> None:
        super()._set(rates)
        momentum = self.momentum_at(self.last_epoch)
        for group in self.optimizer.param_groups:
            for name in self.cycled:
                group[name] = (momentum, *group["betas"][1:]) if name == "betas" else momentum


class ReduceLROnPlateau(LRScheduler):
    """Multiply lr by `factor` when a metric has not improved for more than `patience` steps.

    The rate is a function of the metrics given to `step`, which are kept, so that here too a resumed run is the same
    run.

    Args:
        mode: "min" or "max", what is better.
        threshold, threshold_mode: by how much it must be better than the best so far, "rel" to it or "abs".
        cooldown: the number of steps after a change in which no step counts as bad.
        min_lr: the lowest rate, one for all groups or a list with one for each.
        eps: smaller changes of the rate are not made.

    Raises:
        ValueError: an unknown mode, a factor of 1 or more.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ):
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f'mode={mode!r} must be "min" or "max", and threshold_mode={threshold_mode!r} "rel" or "abs"'
            )
        if not factor < 1:
            raise ValueError(f"factor={factor} must be below 1, or the rate would not go down")
        self.sign, self.threshold, self.relative = 1 if mode == "min" else -1, threshold, threshold_mode == "rel"
        self.factor, self.patience, self.cooldown, self.eps = factor, patience, cooldown, eps
        self.lowest = _one_each(min_lr, optimizer, "rates min_lr")
        self.metrics: list[float] = []
        self._best, self._bad, self._resting = math.inf, 0, 0  # follows from the metrics so far
        self._reductions: list[int] = []  # the steps at which the rate is lowered
        super().__init__(
            optimizer, [lambda base, step, least=least: self._lowered(base, step, least) for least in self.lowest]
        )

    def step(self, metrics: float) -> None:
        """Record the metric, a number, and set the rates for the steps that follow."""
        self._note(float(metrics))
        super().step()

    def then(self, lr: float, step: int, group: int) -> float:
        """The rate in use is lowered, if that is due."""
        return self._reduced(lr, self.lowest[group]) if self._reductions[-1:] == [step] else lr

    def _note(self, metric: float) -> None:
        """Record a metric, and the step at which it lowers the rate, if it does."""
        self.metrics.append(metric)
        metric *= self.sign
        if metric < (self._best * (1 - self.sign * self.threshold) if self.relative else self._best - self.threshold):
            self._best, self._bad = metric, 0
        else:
            self._bad += 1
        if self._resting:
            self._resting, self._bad = self._resting - 1, 0
        if self._bad > self.patience:
            self._reductions.append(len(self.metrics))
            self._resting, self._bad = self.cooldown, 0

    def _reduced(self, lr: float, least: float) -> float:
        lower = max(lr * self.factor, least)
        return lower if lr - lower > self.eps else lr

    def _lowered(self, lr: float, step: int, least: float) -> float:
        """The rate after the first `step` metrics."""
        for _ in range(bisect_right(self._reductions, step)):
            before, lr = lr, self._reduced(lr, least)
            if lr == before:
                break
        return lr

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "metrics": list(self.metrics)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.metrics, self._reductions = [], []
        self._best, self._bad, self._resting = math.inf, 0, 0
        for metric in state_dict["metrics"]:
            self._note(metric)
        super().load_state_dict(state_dict)


class SequentialLR(LRScheduler):
    """One schedule after the other: the next takes over, at its own step 0, at each milestone.

    Raises:
        ValueError: there is not one schedule more than milestones, or a schedule is for another optimiser or needs
            metrics.
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ):
        if len(schedulers) != len(milestones) + 1:
            raise ValueError(
                f"{len(schedulers)} schedules need a milestone between each two of them, but got {len(milestones)}"
            )
        for i, scheduler in enumerate(schedulers):
            if scheduler.optimizer is not optimizer or isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(
                    f"schedule {i}, a {type(scheduler).__name__}, must be for this optimiser and need no metrics"
                )
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        groups = range(len(optimizer.param_groups))
        super().__init__(optimizer, [lambda base, step, i=i: self._current_rates(step)[i] for i in groups], last_epoch)

    def _current_rates(self, step: int) -> list[float]:
        scheduler, its_step = self._current(step)
        return scheduler.lr_at(its_step)

    def _current(self, step: int) -> tuple[LRScheduler, int]:
        i = bisect_right(self.milestones, step)
        return self.schedulers[i], step - self.milestones[i - 1] if i else step

    def _go_to(self, step: int, afresh: bool = False) -> None:
        self.last_epoch = step
        scheduler, its_step = self._current(step)
        scheduler._go_to(its_step, afresh or its_step == 0)
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "schedulers": [scheduler.state_dict() for scheduler in self.schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for scheduler, saved in zip(self.schedulers, state_dict["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        super().load_state_dict(state_dict)


def constant_schedule_with_warmup(optimizer: Optimizer, num_warmup_steps: int, last_epoch: int = -1) -> LambdaLR:
    """Rise from 0 to lr in a straight line over `num_warmup_steps`, then stay there."""
    return _after_warmup(optimizer, num_warmup_steps, num_warmup_steps, lambda progress: 1.0, last_epoch)


def linear_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int, last_epoch: int = -1
) -> LambdaLR:
    """Rise from 0 to lr over `num_warmup_steps`, then fall linearly to 0 at `num_training_steps`, and stay there."""
    return _after_warmup(optimizer, num_warmup_steps, num_training_steps, lambda progress: 1.0 - progress, last_epoch)


def polynomial_decay_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    lr_end: float = 1e-7,
    power: float = 1.0,
    last_epoch: int = -1,
) -> LambdaLR:
    """Rise from 0 to lr over `num_warmup_steps`, then fall as (1 − progress) ^ power to lr_end, and stay there.

    As in transformers, lr_end is for groups with the optimiser's own lr; others end in proportion.

    Raises:
        ValueError: lr_end is not below the optimiser's lr.
    """
    lr = optimizer.defaults["lr"]
    if not lr_end < lr:
        raise ValueError(f"lr_end={lr_end} must be below the optimiser's lr, {lr}")
    return _after_warmup(
        optimizer,
        num_warmup_steps,
        num_training_steps,
        lambda progress: _line(lr_end / lr, 1.0, (1.0 - progress) ** power),
        last_epoch,
    )


def cosine_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int, num_cycles: float = 0.5, last_epoch: int = -1
) -> LambdaLR:
    """Rise from 0 to lr over `num_warmup_steps`, then follow `num_cycles` waves of a cosine (Loshchilov & Hutter 2017).

    Half a wave, the default, falls to 0.  After `num_training_steps` the rate stays as it is (that of transformers
    rises again).
    """
    return _after_warmup(
        optimizer,
        num_warmup_steps,
        num_training_steps,
        lambda progress: _cosine(1.0, 0.0, 2.0 * num_cycles * progress),
        last_epoch,
    )


def _after_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    decay: Callable[[float], float],
    last_epoch: int,
) -> LambdaLR:
    """Warm up, then follow `decay`, a function of how much of the rest of the training is done (0 to 1)."""
    for name, steps in (("num_warmup_steps", num_warmup_steps), ("num_training_steps", num_training_steps)):
        if steps < 0 or steps % 1:
            raise ValueError(
                f"{name} counts optimiser steps, so it must be a whole number, 0 or more, but got "
                f"{steps}; for a ratio, type int(ratio * number_of_steps)"
            )

    def factor(step: int) -> float:
        if step < num_warmup_steps:
            return step / num_warmup_steps
        return decay(_done(step, num_warmup_steps, num_training_steps))

    return LambdaLR(optimizer, factor, last_epoch)


def _done(step: float, start: float, end: float) -> float:
    """The fraction, 0 to 1, of the way from start to end that is done at `step`."""
    return 1.0 if step >= end else (step - start) / (end - start)


def _line(start: float, end: float, progress: float) -> float:
    """From start to end in a straight line."""
    return start + (end - start) * progress


def _cosine(start: float, end: float, progress: float) -> float:
    """From start to end along half a cosine wave, flat at both ends."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def _whole(schedule: LRScheduler, **counts: tuple[Any, int]) -> None:
    """Refuse a count that is not a whole number or is below its minimum: name=(value, minimum)."""
    for name, (value, least) in counts.items():
        if not isinstance(value, Integral) or value < least:
            raise ValueError(
                f"{type(schedule).__name__}: {name} must be a whole number, {least} or more, but got {value!r}"
            )


def _one_each(value: Any, optimizer: Optimizer, what: str) -> list:
    """A list with one value for each parameter group, from one value for all or a list."""
    groups = len(optimizer.param_groups)
    values = list(value) if isinstance(value, Sequence) else [value] * groups
    if len(values) != groups:
        raise ValueError(f"got {len(values)} {what} for {groups} parameter groups: give one, or one each")
    return values
