"""Schedules that are made of others: one after the other, or several at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from ..optim import Optimizer
from .plateau import ReduceLROnPlateau
from .scheduler import LRScheduler


class ChainedScheduler(LRScheduler):
    """Several schedules at once: each `step()` advances all of them, and each goes on from the rate of the one before.

    Raises:
        ValueError: there are none, or a schedule is for another optimiser or needs metrics.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None):
        if not schedulers:
            raise ValueError("ChainedScheduler got no schedules: give it a list of at least one")
        self.schedulers = list(schedulers)
        self.optimizer = self.schedulers[0].optimizer if optimizer is None else optimizer
        _check_members(self.schedulers, self.optimizer)
        self.base_lrs = [group["initial_lr"] for group in self.optimizer.param_groups]
        self._read()

    def lr_at(self, step: int) -> list[float]:
        """The rate of each group at any step, past or to come; nothing is changed."""
        rates = list(self.base_lrs)
        for t in range(step + 1):
            for scheduler in self.schedulers:
                own = scheduler.lr_at(t)
                rates = [
                    alone if (new := scheduler.then(lr, t, i)) is None else new
                    for i, (lr, alone) in enumerate(zip(rates, own, strict=True))
                ]
        return rates

    def step(self) -> None:
        """Advance every schedule to its next step."""
        for scheduler in self.schedulers:
            scheduler.step()
        self._read()

    def _read(self) -> None:
        self.last_epoch = self.schedulers[-1].last_epoch
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        return {"schedulers": [scheduler.state_dict() for scheduler in self.schedulers], "_last_lr": self.get_last_lr()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for scheduler, saved in zip(self.schedulers, state_dict["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        self.last_epoch = self.schedulers[-1].last_epoch
        self._set(state_dict["_last_lr"])


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
        _check_members(schedulers, optimizer)
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


def _check_members(schedulers: Sequence[LRScheduler], optimizer: Optimizer) -> None:
    for i, scheduler in enumerate(schedulers):
        if scheduler.optimizer is not optimizer or isinstance(scheduler, ReduceLROnPlateau):
            raise ValueError(
                f"schedule {i}, a {type(scheduler).__name__}, must be for this optimiser and need no metrics"
            )
