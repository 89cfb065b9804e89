"""The plan as a user writes it: phases, changes at a point, and actions every so many steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from ...nn import Module
from .amounts import When, amount_of, checked_number
from .bound import BoundPlan
from .changes import ACTIONS, Patterns, Phase, Rate, Set, State, Tick, checked_actions, new_tick


class Plan:
    """A plan of a training run, made of phases, of changes at a point, and of actions every so many steps.

    Points and durations are steps if they are whole numbers, fractions of the whole run if they are floats, and epochs
    if they are text such as "3 epochs".  Whatever a plan does not mention keeps its value: that of the model and the
    arguments, or that of the phase before.  `phase`, `at` and `every` return a new plan with the addition; this one
    stays unchanged.
    """

    def __init__(self) -> None:
        self.phases: tuple[Phase, ...] = ()
        self.ticks: tuple[tuple[When, Tick], ...] = ()
        self.regular: tuple[tuple[When, tuple[str, ...]], ...] = ()
        self._before: WeakKeyDictionary[Module, dict[str, dict]] = WeakKeyDictionary()  # state before the first apply
        self._bound: BoundPlan | None = None  # for the last run given, for example by `table(total_steps=3000)`

    def phase(
        self,
        name: str,
        until: When = 1.0,
        *,
        lr: Rate | None = None,
        freeze: Patterns = (),
        unfreeze: Patterns = (),
        lr_factors: Mapping[str, float] | None = None,
        weight_decay: float | None = None,
        batch_size: int | None = None,
    ) -> Plan:
        """Add a phase, from the end of the one before it up to `until`; the last one ends with the run.

        Args:
            lr: the learning rate: a number, or a function of the progress in this phase (0 to 1) such as linear(0,
                2e-4). Without it, the phase keeps the rate at the end of the phase before.
            freeze, unfreeze: patterns of parameters, such as "bert.embeddings.**"; unfreeze takes precedence.
            lr_factors: factors of the rate, by patterns of parameters; other parameters have the rate itself.
            weight_decay: that of the optimiser's groups, except one named "no_decay".
            batch_size: the number of examples of an optimiser step.

        Raises:
            TypeError, ValueError: a value has the wrong type or is out of range, two phases have the same name, or a
                later phase has a rate but the first has none.
        """
        if not isinstance(name, str) or not name:
            raise TypeError(f"the name of a phase is {name!r}; expected text such as 'warm-up'")
        if name in (phase.name for phase in self.phases):
            raise ValueError(f"there is a phase {name!r} already: give each its own name")
        title = f"phase {name!r}"
        amount_of(until, f"{title}: until")
        rated = any(phase.lr is not None for phase in self.phases)
        if lr is not None and not callable(lr):
            checked_number(f"{title}: lr", lr, least=0)
        if lr is not None and self.phases and not rated:
            raise ValueError(
                f"{title} has an lr, but {self.phases[0].name!r}, the first phase, has none: give it one, too"
            )
        if lr_factors is not None and lr is None and not rated:
            raise ValueError(f"{title}: lr_factors multiply the phase's lr: give lr, too")
        begin = new_tick(
            title, (), freeze, unfreeze, lr_factors=lr_factors, weight_decay=weight_decay, batch_size=batch_size
        )
        return self._with(phases=(*self.phases, Phase(name, until, lr, begin)))

    def at(
        self,
        when: When,
        *what: Set | str,
        freeze: Patterns = (),
        unfreeze: Patterns = (),
        weight_decay: float | None = None,
        batch_size: int | None = None,
    ) -> Plan:
        """When `when` is reached, change settings with set(...) or as a phase does, or "evaluate", "save" or "log".

        Raises:
            TypeError, ValueError: a value has the wrong type or is out of range, or nothing is to change.
        """
        title = f"at({when!r})"
        amount_of(when, title)
        tick = new_tick(title, what, freeze, unfreeze, weight_decay=weight_decay, batch_size=batch_size)
        if not (tick.frozen or tick.sets or tick.due or tick.options):
            raise ValueError(
                f"{title} changes nothing: give it set(...), freeze=, unfreeze=, weight_decay=, batch_size= or an "
                f"action, of {', '.join(ACTIONS)}"
            )
        return self._with(ticks=(*self.ticks, (when, tick)))

    def every(self, period: When, *actions: str) -> Plan:
        """Add regular actions, "evaluate", "save" or "log", the first after one period.

        Raises:
            TypeError, ValueError: the period is invalid or 0, or there is no action, or an unknown one.
        """
        title = f"every({period!r})"
        if not amount_of(period, title)[0]:
            raise ValueError(f"{title} has no length: give a period of one step or more, such as 500 or '1 epoch'")
        if not actions:
            raise ValueError(f"{title} does nothing: give it actions, of {', '.join(ACTIONS)}")
        return self._with(regular=(*self.regular, (period, checked_actions(title, actions))))

    def bind(self, total_steps: int, steps_per_epoch: int | None = None, model: Module | None = None) -> BoundPlan:
        """This plan for a run of `total_steps`: points become steps and, with a model, patterns become names.

        Without `steps_per_epoch` the run counts as 3 epochs, the default of `TrainingArguments`.

        Raises:
            ValueError: a point lies outside of the run, phases or changes overlap, or a pattern matches nothing in the
                model; the message has the nearest names.
        """
        bound = BoundPlan(self, total_steps, steps_per_epoch, model)
        self._bound = bound
        return bound

    def state(self, step: int, total_steps: int | None = None, steps_per_epoch: int | None = None) -> State:
        """The state after `step` steps of a run of `total_steps`, by default of the run that was given last."""
        return self._for(total_steps, steps_per_epoch).state(step)

    def table(self, total_steps: int | None = None, steps_per_epoch: int | None = None) -> str:
        """The plan as a table: each point of the run at which something changes, and what."""
        return self._for(total_steps, steps_per_epoch).table()

    def plot(self, total_steps: int | None = None, steps_per_epoch: int | None = None) -> Any:
        """The plan as a matplotlib Figure: rates, what is frozen, settings and actions over the steps."""
        return self._for(total_steps, steps_per_epoch).plot()

    def _for(self, total_steps: int | None, steps_per_epoch: int | None) -> BoundPlan:
        if total_steps is not None:
            return self.bind(total_steps, steps_per_epoch)
        if self._bound is None:
            raise ValueError("a plan needs to know how long the run is: give total_steps, for example total_steps=3000")
        return self._bound

    def _with(self, **changed: Any) -> Plan:
        new = Plan()
        vars(new).update({**vars(self), **changed, "_bound": None, "_before": WeakKeyDictionary()})
        return new

    def __repr__(self) -> str:
        parts = [phase.begin.title for phase in self.phases] + [tick.title for _, tick in self.ticks]
        return f"Plan({', '.join([*parts, *(f'every({period!r})' for period, _ in self.regular)])})"
