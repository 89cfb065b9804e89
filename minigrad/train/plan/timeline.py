"""A plan for a run of known length: every point resolved to a step, and the state at each step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from numbers import Integral
from typing import TYPE_CHECKING

from .amounts import When, amount_of, rounded_up
from .changes import Change, Phase, State, Tick
from .table import table_of

if TYPE_CHECKING:
    from .plan import Plan

EPOCHS = 3  # assumed where steps_per_epoch is not given: TrainingArguments' default


class Timeline:
    """A plan for a run of `total_steps` steps, `steps_per_epoch` of them an epoch, independent of the model."""

    def __init__(self, plan: Plan, total_steps: int, steps_per_epoch: int | None = None):
        for name, steps in (("total_steps", total_steps), ("steps_per_epoch", steps_per_epoch)):
            if steps is not None and (not isinstance(steps, Integral) or isinstance(steps, bool) or steps < 1):
                raise ValueError(f"{name} is {steps!r}; expected a whole number, 1 or more")
        self.plan, self.total_steps = plan, total_steps
        self.steps_per_epoch = steps_per_epoch or math.ceil(total_steps / EPOCHS)
        self.assumed = steps_per_epoch is None  # the number of epochs
        self.regular = plan.regular
        for period, _ in plan.regular:
            if self._exact(period) < 1:
                raise ValueError(f"every({period!r}) is less than a step, of {self.run_in_words()}")
        self.phases = list(self._spans(plan.phases))
        ticks = [(start, phase.begin) for start, _, phase in self.phases]
        ticks += [(self._step(when, tick.title), tick) for when, tick in plan.ticks]
        self.ticks = sorted(ticks, key=lambda pair: pair[0])
        self.changes_of_settings = [
            Change(start, self._step(one.over, f"over={one.over!r}"), one.pattern, name, value)
            for start, tick in self.ticks
            for one in tick.sets
            for name, value in one.values
        ]
        ends = [change.end for change in self.changes_of_settings]
        self.points = frozenset([0] * bool(self.ticks) + [start for start, _ in self.ticks] + ends)
        self._check_ticks()

    def state(self, step: int) -> State:
        """The state after `step` steps: the values for the next step, and the actions that are due before it."""
        if not isinstance(step, Integral) or not 0 <= step <= self.total_steps:
            raise ValueError(
                f"step is {step!r}; expected a whole number from 0 to {self.total_steps}, where the run ends"
            )
        begun = [tick for start, tick in self.ticks if start <= step]
        options = {name: value for tick in begun for name, value in tick.options}
        name = lr = None
        for start, end, phase in self.phases:
            if start <= step:
                name, rate = phase.name, phase.lr
                if rate is not None:
                    lr = float(rate(min(1.0, (step - start) / (end - start))) if callable(rate) else rate)
        return State(
            step,
            name,
            lr,
            options.get("lr_factors", ()),
            tuple(pair for tick in begun for pair in tick.frozen),
            tuple(change.at(step) for change in self.changes_of_settings if change.start <= step),
            options.get("weight_decay"),
            options.get("batch_size"),
            self._due(step),
        )

    def actions(self) -> tuple[str, ...]:
        """All actions that are due at some step."""
        named = [actions for _, actions in self.regular] + [tick.due for _, tick in self.ticks]
        return tuple(dict.fromkeys(action for actions in named for action in actions))

    def _due(self, step: int) -> tuple[str, ...]:
        named = [actions for period, actions in self.regular if self._returns(period, step)]
        named += [tick.due for start, tick in self.ticks if start == step]
        return tuple(dict.fromkeys(action for actions in named for action in actions))

    def _returns(self, period: When, step: int) -> bool:
        """Whether `step` is a multiple of the period, rounded up to a step."""
        exact = self._exact(period)
        return any(
            count > 0 and rounded_up(count * exact) == step for count in (int(step / exact), round(step / exact))
        )

    # Points of the plan as steps

    def _exact(self, when: When) -> float:
        amount, unit = amount_of(when, "a point")
        return amount * {"steps": 1, "epochs": self.steps_per_epoch, "parts": self.total_steps}[unit]

    def _step(self, when: When, title: str) -> int:
        """The first step that is not before a point."""
        if (step := rounded_up(self._exact(when))) > self.total_steps:
            raise ValueError(f"{title} is {step} steps, after the end of {self.run_in_words()}")
        return step

    def run_in_words(self) -> str:
        """The length of the run in words."""
        epochs = f"{self.total_steps / self.steps_per_epoch:.3g}"
        return f"a run of {self.total_steps} steps, {epochs} epochs of {self.steps_per_epoch} steps" + (
            " (assumed: steps_per_epoch was not given)" if self.assumed else ""
        )

    def _spans(self, phases: tuple[Phase, ...]) -> Iterator[tuple[int, int, Phase]]:
        start = 0
        for phase in phases:
            title = f"{phase.begin.title}, until={phase.until!r},"
            end = self._step(phase.until, f"the end of {title}")
            if end <= start:
                raise ValueError(
                    f"{title} ends at step {end}, but the phase before it ends at step {start}: phases follow each "
                    "other and must not overlap, so give it a later end"
                )
            yield start, end, phase
            start = end
        if phases and start < self.total_steps:
            raise ValueError(
                f"{title} is the last and ends at step {start} of {self.run_in_words()}: give it until=1.0, which is "
                "the whole run, or add another phase"
            )

    def _check_ticks(self) -> None:
        """Raise ValueError for changes after the last step, and for two simultaneous changes of the same thing."""
        said: dict[tuple[int, str], str] = {}
        for start, tick in self.ticks:
            if start == self.total_steps and (tick.frozen or tick.sets or tick.options):
                raise ValueError(
                    f"{tick.title} is the end of {self.run_in_words()}: what it changes would hold in no step"
                )
            for name, _ in tick.options:
                if (start, name) in said:
                    raise ValueError(
                        f"{said[start, name]} and {tick.title} overlap: both give {name} at step {start}; leave one out"
                    )
                said[start, name] = tick.title
        self._check_frozen({pattern: [pattern] for _, tick in self.ticks for pattern, _ in tick.frozen})
        for change in self.changes_of_settings:
            self._check_apart(
                [
                    other
                    for other in self.changes_of_settings
                    if (other.pattern, other.name) == (change.pattern, change.name)
                ],
                change.pattern,
            )

    def _check_frozen(self, names: Mapping[str, Sequence[str]]) -> None:
        """Raise ValueError if ticks at one step freeze and unfreeze the same name; `names`: pattern to its names."""
        said: dict[tuple[int, str], tuple[Tick, bool]] = {}
        for start, tick in self.ticks:
            for pattern, on in tick.frozen:
                for name in names[pattern]:
                    other, was = said.get((start, name), (tick, on))
                    if other is not tick and was != on:
                        raise ValueError(
                            f"{other.title} and {tick.title} overlap: at step {start} one freezes, one unfreezes "
                            f"{name}; leave one out, or give them different points"
                        )
                    said[start, name] = tick, on

    def _check_apart(self, changes: Sequence[Change], name: str) -> None:
        """Raise ValueError for changes of one setting that begin together, or of which one begins during the other."""
        for first, second in pairwise(changes):
            if second.start < first.end or second.start == first.start:
                way = f"over={first.over}, up to step {first.end}" if first.over else "at once"
                raise ValueError(
                    f"set({first.pattern!r}, {first.name}=...) at step {first.start}, {way}, and "
                    f"set({second.pattern!r}, {second.name}=...) at step {second.start} overlap: both change "
                    f"{second.name} of {name}"
                )

    def table(self) -> str:
        """The plan as a table: each point of the run at which something changes, and what."""
        return table_of(self)
