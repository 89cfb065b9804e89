"""A schedule that lowers the rate when a metric no longer improves."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from ..optim import Optimizer
from .scheduler import LRScheduler, one_each


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
        self.lowest = one_each(min_lr, optimizer, "rates min_lr")
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
