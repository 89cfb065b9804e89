"""What every schedule shares: the rate as a function of the step, and where several meet on one optimiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import is_whole
from ..optim import Optimizer

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
        self.optimizer, self.rates = optimizer, one_each(rate, optimizer, "functions")
        if not all(map(callable, self.rates)):
            raise TypeError(f"{type(self).__name__} takes functions of the step, but got {self.rates}")
        whole(self, last_epoch=(last_epoch, -1))
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


def whole(schedule: LRScheduler, **counts: tuple[Any, int]) -> None:
    """Refuse a count that is not a whole number or is below its minimum: name=(value, minimum)."""
    for name, (value, least) in counts.items():
        if not is_whole(value, least):
            raise ValueError(
                f"{type(schedule).__name__}: {name} must be a whole number, {least} or more, but got {value!r}"
            )


def one_each(value: Any, optimizer: Optimizer, what: str) -> list:
    """A list with one value for each parameter group, from one value for all or a list."""
    groups = len(optimizer.param_groups)
    values = list(value) if isinstance(value, Sequence) else [value] * groups
    if len(values) != groups:
        raise ValueError(f"got {len(values)} {what} for {groups} parameter groups: give one, or one each")
    return values
