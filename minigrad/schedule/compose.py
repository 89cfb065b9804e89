"""Schedules that are made of others: one after the other, or several at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from ..optim import Optimizer
from .plateau import ReduceLROnPlateau
from .scheduler import LRScheduler


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
