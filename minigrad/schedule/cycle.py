"""Schedules that go up as well as down, once or again and again, and momentum with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..optim import Optimizer
from .curves import cosine, done, line
from .decay import LambdaLR
from .scheduler import LRScheduler, one_each, whole


class CosineAnnealingWarmRestarts(LRScheduler):
    """From lr along half a cosine to eta_min in T_0 steps, then anew in T_mult times as many (SGDR).

    Loshchilov & Hutter 2017, equation 5.  `step(epoch)` goes to any point, also between two steps, for example
    `step(epoch + i / len(loader))` after each batch.
    """

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1):
        whole(self, T_0=(T_0, 1), T_mult=(T_mult, 1))

        def rate(base: float, step: float) -> float:
            length = T_0
            if T_mult == 1:
                step %= T_0
            while step >= length:
                step, length = step - length, length * T_mult
            return cosine(base, eta_min, step / length)

        super().__init__(optimizer, rate, last_epoch)

    then = LambdaLR.then

    def step(self, epoch: float | None = None) -> None:
        """Advance to the next step, or to the point that is given, and set its rates in the optimiser.

        Raises:
            ValueError: the point is below 0.
        """
        if epoch is not None and not epoch >= 0:
            raise ValueError(f"CosineAnnealingWarmRestarts: step({epoch!r}) goes to a point of at least 0")
        point: Any = self.last_epoch + 1 if epoch is None else epoch
        self._go_to(point)


class _WithMomentum(LRScheduler):
    """A schedule of the rate and, the other way, of the momentum: `momentum_at(step, group)` (of Adam, beta1)."""

    momentum_at: Callable[[float, int], float]
    then = LambdaLR.then

    def _find_momentum(self, optimizer: Optimizer, wanted: bool) -> None:
        self.cycled = [name for name in ("betas", "momentum") if name in optimizer.defaults and wanted]
        if wanted and not self.cycled:
            raise ValueError(
                f"{type(optimizer).__name__} has neither momentum nor betas: give {type(self).__name__} "
                "cycle_momentum=False"
            )

    def _set(self, rates: list[float]) -> None:
        super()._set(rates)
        for i, group in enumerate(self.optimizer.param_groups):
            for name in self.cycled:
                momentum = self.momentum_at(self.last_epoch, i)
                group[name] = (momentum, *group["betas"][1:]) if name == "betas" else momentum


class CyclicLR(_WithMomentum):
    """Up from base_lr to max_lr in a straight line and down again, and so on (Smith 2017).

    Momentum (of Adam, beta1) goes the other way, between max_momentum and base_momentum.

    Args:
        base_lr, max_lr: one for all groups, or a list with one for each; the groups' own lr are not used.
        step_size_up, step_size_down: the steps of the way up, and down; as many down as up if that is None.
        mode: "triangular"; "triangular2" halves the height with each cycle; "exp_range" scales it by gamma^step.
        scale_fn, scale_mode: another scale of the height, a function of the number of the "cycle" or of "iterations",
            the step; `mode` does not count then.

    Raises:
        ValueError: an unknown mode, or an optimiser without momentum and betas.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[int], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ):
        scales = {"triangular": lambda n: 1.0, "triangular2": lambda n: 0.5 ** (n - 1), "exp_range": lambda n: gamma**n}
        if scale_fn is None and mode not in scales or scale_mode not in ("cycle", "iterations"):
            raise ValueError(
                f'CyclicLR: mode={mode!r} must be {", ".join(scales)}, and scale_mode={scale_mode!r} "cycle" or '
                '"iterations"'
            )
        down = step_size_up if step_size_down is None else step_size_down
        whole(self, step_size_up=(step_size_up, 1), step_size_down=(down, 1))
        self._find_momentum(optimizer, cycle_momentum)
        by_cycle = scale_mode == "cycle" if scale_fn else mode != "exp_range"
        scale = scale_fn or scales[mode]

        def height(step: Any) -> float:
            """How far from the base a step is, 0 to 1, and less where the cycles are scaled."""
            cycle, place = divmod(step, step_size_up + down)
            way = place / step_size_up if place <= step_size_up else (step_size_up + down - place) / down
            return way * scale(cycle + 1 if by_cycle else step)

        lows, highs = (one_each(lr, optimizer, "rates") for lr in (base_lr, max_lr))
        slow, fast = (one_each(momentum, optimizer, "momenta") for momentum in (base_momentum, max_momentum))
        self.momentum_at = lambda step, group: line(fast[group], slow[group], height(step))
        if last_epoch < 0:
            for group, low in zip(optimizer.param_groups, lows):
                group["initial_lr"] = low
        rates = [lambda base, step, high=high: line(base, high, height(step)) for high in highs]
        super().__init__(optimizer, rates, last_epoch)


class OneCycleLR(_WithMomentum):
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
        self._find_momentum(optimizer, cycle_momentum)
        total = (epochs or 0) * (steps_per_epoch or 0) if total_steps is None else total_steps
        whole(self, total_steps=(total, 1))
        if not 0 <= pct_start <= 1:
            raise ValueError(
                f"OneCycleLR: pct_start={pct_start} is the share of the steps that the rise takes: give 0 to 1"
            )
        up, anneal = pct_start * total - 1, cosine if anneal_strategy == "cos" else line
        ends = [up, 2 * up, total - 1] if three_phase else [up, total - 1]  # the last step of each phase

        def along(values: list[float], step: float) -> float:
            """The value at a step, on a way that has these values before the first phase and at the end of each."""
            phase = min(sum(end < step for end in ends), len(ends) - 1)
            start = ends[phase - 1] if phase else 0.0
            return anneal(values[phase], values[phase + 1], done(step, start, ends[phase]))

        def rate(base: float, step: float) -> float:
            return along([base, base * div_factor, *[base] * three_phase, base / final_div_factor], step)

        momenta = [max_momentum, base_momentum, *[max_momentum] * (1 + three_phase)]
        self.momentum_at = lambda step, group: along(momenta, step)
        for group, highest in zip(optimizer.param_groups, one_each(max_lr, optimizer, "rates max_lr")):
            group["initial_lr"] = highest / div_factor
        super().__init__(optimizer, rate, last_epoch)
