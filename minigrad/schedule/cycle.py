"""Schedules that go up as well as down, once or again and again, and momentum with them."""

from __future__ import annotations

from collections.abc import Sequence

from ..optim import Optimizer
from .curves import cosine, done, line
from .decay import LambdaLR
from .scheduler import LRScheduler, one_each, whole


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
        whole(self, total_steps=(total, 1))
        if not 0 <= pct_start <= 1:
            raise ValueError(
                f"OneCycleLR: pct_start={pct_start} is the share of the steps that the rise takes: give 0 to 1"
            )
        up, anneal = pct_start * total - 1, cosine if anneal_strategy == "cos" else line
        ends = [up, 2 * up, total - 1] if three_phase else [up, total - 1]  # the last step of each phase

        def along(values: list[float], step: int) -> float:
            """The value at a step, on a way that has these values before the first phase and at the end of each."""
            phase = min(sum(end < step for end in ends), len(ends) - 1)
            start = ends[phase - 1] if phase else 0.0
            return anneal(values[phase], values[phase + 1], done(step, start, ends[phase]))

        def rate(base: float, step: int) -> float:
            return along([base, base * div_factor, *[base] * three_phase, base / final_div_factor], step)

        self.momentum_at = lambda step: along([max_momentum, base_momentum, *[max_momentum] * (1 + three_phase)], step)
        for group, highest in zip(optimizer.param_groups, one_each(max_lr, optimizer, "rates max_lr")):
            group["initial_lr"] = highest / div_factor
        super().__init__(optimizer, rate, last_epoch)

    then = LambdaLR.then

    def _set(self, rates: list[float]) -> None:
        super()._set(rates)
        momentum = self.momentum_at(self.last_epoch)
        for group in self.optimizer.param_groups:
            for name in self.cycled:
                group[name] = (momentum, *group["betas"][1:]) if name == "betas" else momentum
