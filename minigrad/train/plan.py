"""A plan of a training run: at which of its steps the learning rate, what is trained, and the model's settings change.

    plan = (Plan()
            .phase("warm-up", until=0.1, freeze="bert.**", lr=linear(0, 2e-4))
            .phase("fine-tune", until=1.0, unfreeze="bert.encoder.layer.{3..5}.**", lr=cosine(2e-4, 0))
            .at("1 epoch", set("**.Dropout", p=0.2, over=200))
            .every(500, "evaluate", "save"))
    print(plan.table(total_steps=3000))

The state of the run is a function of the number of its steps alone.  Nothing is accumulated, so a plan can be printed,
drawn and tested before the run, and a run that is resumed at any step goes on in the state in which it was.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any
from weakref import WeakKeyDictionary

from ..nn import Module, Parameter
from ..optim import Optimizer
from ..patterns import check_matched, match, matches
from ..schedule.curves import cosine as _cosine
from ..schedule.curves import line as _line

When = int | float | str  # a step; a part of the whole run; "3 epochs"
Patterns = str | Sequence[str]
Rate = float | Callable[[float], float]
ACTIONS = ("evaluate", "save", "log")
EPOCHS = 3  # assumed where steps_per_epoch is not given: TrainingArguments' default


@dataclass(frozen=True)
class Curve:
    """A value on its way from `start` to `end`, as a function of the progress, 0 to 1."""

    kind: str
    start: float
    end: float

    def __call__(self, progress: float) -> float:
        return (_line if self.kind == "linear" else _cosine)(self.start, self.end, progress)

    def __repr__(self) -> str:
        return f"{self.kind}({self.start:g}, {self.end:g})"


def linear(start: float, end: float) -> Curve:
    """From start to end in a straight line."""
    return Curve("linear", _number("linear: start", start), _number("linear: end", end))


def cosine(start: float, end: float) -> Curve:
    """From start to end along half a cosine wave, flat at both ends (Loshchilov & Hutter 2017)."""
    return Curve("cosine", _number("cosine: start", start), _number("cosine: end", end))


@dataclass(frozen=True)
class Set:
    """New values of settings of the modules that match; see `set`."""

    pattern: str
    values: tuple[tuple[str, Any], ...]
    over: When

    def __repr__(self) -> str:
        over = f", over={self.over!r}" if self.over else ""
        return f"set({self.pattern!r}, {', '.join(f'{name}={value!r}' for name, value in self.values)}{over})"


def set(pattern: str, *, over: When = 0, **values: Any) -> Set:
    """Give settings of modules new values, such as the `blend` of a LayerNorm or the `p` of a Dropout.

    A module goes by its path in the model, and also by that path with its class behind it: "**.LayerNorm" matches every
    module that is named so and every LayerNorm.  Of the modules that match, those that have the setting get it.

    Args:
        over: for how long the value moves, in a straight line from what it was; 0, the default, is at once.  With a
            curve, such as blend=linear(0, 1), it moves along the curve instead.
    """
    if not isinstance(pattern, str):
        raise TypeError(f"set: the pattern is {pattern!r}; expected text such as '**.LayerNorm'")
    if not values:
        raise ValueError(f"set({pattern!r}) has no value: type for example set({pattern!r}, blend=1.0)")
    _amount(over, "set: over")
    for name, value in values.items():
        if callable(value) and not over:
            raise ValueError(
                f"set({pattern!r}, {name}={value!r}) is a curve: say over how many steps it goes, such as over=200"
            )
        if over and not callable(value):
            _number(f"set({pattern!r}, over={over!r}): {name}", value)
    return Set(pattern, tuple(values.items()), over)


@dataclass(frozen=True)
class Setting:
    """A setting on its way: it is `done` (0 to 1) of the way to `value`, or at that point of the curve `value`."""

    pattern: str
    name: str
    value: Any
    done: float

    def after(self, before: Any) -> Any:
        """The value of a module for which it was `before`."""
        if callable(self.value):
            return self.value(self.done)
        return self.value if self.done >= 1 else _line(before, self.value, self.done)


@dataclass(frozen=True)
class State:
    """The state of a run of which `step` steps are done: what holds in the next step, and what is due before it.

    Attributes:
        lr: the learning rate; None where the plan says nothing of it.  Parameters that match a pattern of `lr_factors`
            have it times the factor.
        frozen: pairs of a pattern and whether it is frozen; of those that match a parameter the last one holds.
        settings: of modules, in the order in which they hold, the last one that matches over those before.
        weight_decay, batch_size: None where the plan says nothing of it.  `batch_size` counts the examples of an
            optimiser step.
        due: actions, of "evaluate", "save" and "log".
    """

    step: int
    phase: str | None
    lr: float | None
    lr_factors: tuple[tuple[str, float], ...]
    frozen: tuple[tuple[str, bool], ...]
    settings: tuple[Setting, ...]
    weight_decay: float | None
    batch_size: int | None
    due: tuple[str, ...]


@dataclass(frozen=True)
class Tick:
    """What begins at one point of the run, and how the plan calls it."""

    when: When | None  # None of a phase: it begins where the one before it ends
    title: str
    frozen: tuple[tuple[str, bool], ...] = ()
    sets: tuple[Set, ...] = ()
    due: tuple[str, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()  # lr_factors, weight_decay, batch_size

    def told(self) -> list[str]:
        """It in a few words each."""
        options = dict(self.options)
        factors = [f"lr × {factor:g} for {pattern}" for pattern, factor in options.pop("lr_factors", ())]
        return [
            *(f"{'freeze' if on else 'unfreeze'} {pattern}" for pattern, on in self.frozen),
            *factors,
            *(f"{name} = {value:g}" for name, value in options.items()),
            *self.due,
        ]


@dataclass(frozen=True)
class Phase:
    """A stretch of the run, up to `until`, and the learning rate in it."""

    name: str
    until: When
    lr: Rate | None
    begin: Tick


class Plan:
    """A plan of a training run, made of phases, of changes at a point, and of actions every so many steps.

    Points and durations are steps if they are whole numbers, parts of the whole run if they are floats, and epochs if
    they are text such as "3 epochs", each of as many steps as the arguments' batch size makes.  What is not said stays
    as it was: in the model and the arguments of the run, then in the phase before.  `phase`, `at` and `every` return a
    new plan, this one with an addition.
    """

    def __init__(self) -> None:
        self.phases: tuple[Phase, ...] = ()
        self.ticks: tuple[Tick, ...] = ()
        self.regular: tuple[tuple[When, tuple[str, ...]], ...] = ()
        self._before: WeakKeyDictionary[Module, dict[str, dict]] = WeakKeyDictionary()  # models before it was applied
        self._bound: BoundPlan | None = None  # for the run that was named last, that of `table(total_steps=3000)` say

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
                2e-4). Without it, the phase goes on with the rate at which the one before it ended.
            freeze, unfreeze: patterns of parameters, such as "bert.embeddings.**"; in a phase with both, unfreeze wins.
            lr_factors: what to multiply the rate by, for patterns of parameters; other parameters have the rate itself.
            weight_decay: of the optimiser's groups, but not of one named "no_decay".
            batch_size: the number of examples of an optimiser step.

        Raises:
            TypeError, ValueError: a value is of another kind or out of range, two phases have one name, or a rate was
                not said from the first phase on.
        """
        if not isinstance(name, str) or not name:
            raise TypeError(f"the name of a phase is {name!r}; expected text such as 'warm-up'")
        if name in (phase.name for phase in self.phases):
            raise ValueError(f"there is a phase {name!r} already: give each its own name")
        title = f"phase {name!r}"
        _amount(until, f"{title}: until")
        rated = any(phase.lr is not None for phase in self.phases)
        if lr is not None and not callable(lr):
            _number(f"{title}: lr", lr, least=0)
        if lr is not None and self.phases and not rated:
            raise ValueError(
                f"{title} has an lr, but {self.phases[0].name!r}, the first phase, has none: give it one, too"
            )
        if lr_factors is not None and lr is None and not rated:
            raise ValueError(f"{title}: lr_factors multiply the phase's lr: give lr, too")
        begin = _tick(
            None, title, (), freeze, unfreeze, lr_factors=lr_factors, weight_decay=weight_decay, batch_size=batch_size
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
        """Once `when` is reached, change options with set(...) or as a phase does, or "evaluate", "save" or "log"."""
        title = f"at({when!r})"
        _amount(when, title)
        tick = _tick(when, title, what, freeze, unfreeze, weight_decay=weight_decay, batch_size=batch_size)
        if not (tick.frozen or tick.sets or tick.due or tick.options):
            raise ValueError(
                f"{title} changes nothing: give it set(...), freeze=, unfreeze=, weight_decay=, batch_size= or an "
                f"action, of {', '.join(ACTIONS)}"
            )
        return self._with(ticks=(*self.ticks, tick))

    def every(self, period: When, *actions: str) -> Plan:
        """Add actions, "evaluate", "save" or "log", every so often, the first after one period."""
        title = f"every({period!r})"
        _amount(period, title)
        if not actions:
            raise ValueError(f"{title} does nothing: give it actions, of {', '.join(ACTIONS)}")
        return self._with(regular=(*self.regular, (period, _actions(title, actions))))

    def bind(self, total_steps: int, steps_per_epoch: int | None = None, model: Module | None = None) -> BoundPlan:
        """This plan for a run of that many steps, with every point resolved to a step; with a model, every pattern to
        names.

        Without `steps_per_epoch` the run counts as 3 epochs, the default of `TrainingArguments`.

        Raises:
            ValueError: a point lies outside of the run, phases or changes overlap, or a pattern matches nothing in the
                model; the message has the nearest names.
        """
        bound = BoundPlan(self, total_steps, steps_per_epoch, model)
        self._bound = bound
        return bound

    def state(self, step: int, total_steps: int | None = None, steps_per_epoch: int | None = None) -> State:
        """The state after `step` steps of a run of `total_steps`; by default of the run that was named last."""
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
        parts = [phase.begin.title for phase in self.phases] + [tick.title for tick in self.ticks]
        return f"Plan({', '.join([*parts, *(f'every({period!r})' for period, _ in self.regular)])})"


@dataclass(frozen=True)
class Change:
    """A setting's way in a run: from the step `start` over so many steps to `value`."""

    start: int
    over: int
    pattern: str
    name: str
    value: Any

    @property
    def end(self) -> int:
        return self.start + self.over

    def at(self, step: int) -> Setting:
        return Setting(
            self.pattern, self.name, self.value, min(1.0, (step - self.start) / self.over) if self.over else 1.0
        )

    def told(self) -> str:
        over = f" over {self.over} steps" if self.over else ""
        return f"{self.pattern}: {self.name} {'along' if callable(self.value) else '→'} {_short(self.value)}{over}"


class BoundPlan:
    """A plan for a run of `total_steps` steps, and perhaps for a model; `Plan.bind` makes it, and says which errors it
    raises.

    With a model, what is trained and what the settings are at this moment is what the plan starts from; if the plan was
    applied to this model before, then what they were before that, so that the same plan is the same run.
    """

    def __init__(self, plan: Plan, total_steps: int, steps_per_epoch: int | None = None, model: Module | None = None):
        for name, steps in (("total_steps", total_steps), ("steps_per_epoch", steps_per_epoch)):
            if steps is not None and (not isinstance(steps, Integral) or isinstance(steps, bool) or steps < 1):
                raise ValueError(f"{name} is {steps!r}; expected a whole number, 1 or more")
        self.plan, self.total_steps = plan, total_steps
        self.steps_per_epoch = steps_per_epoch or math.ceil(total_steps / EPOCHS)
        self.assumed = steps_per_epoch is None  # the number of epochs
        self.regular = plan.regular
        for period, _ in plan.regular:
            if self._exact(period) < 1:
                raise ValueError(f"every({period!r}) is less than a step, of {self._run()}")
        self.phases = list(self._spans(plan.phases))
        ticks = [(start, phase.begin) for start, _, phase in self.phases]
        ticks += [(self._step(tick.when, tick.title), tick) for tick in plan.ticks]
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
        self.model = model
        self.own_settings: dict[tuple[str, str], Any] = {}  # by the module's path and the setting's name
        self._known_trained: dict[tuple, dict[str, bool]] = {}
        self._regrouped: tuple[Optimizer | None, dict] = None, {}
        if model is not None:
            self._bind_model(model)

    def state(self, step: int) -> State:
        """The state when `step` steps are done, 0 to `total_steps`: what holds in the next step, and what is due before
        it.
        """
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
        return any(count > 0 and _up(count * exact) == step for count in (int(step / exact), round(step / exact)))

    # Points of the plan as steps

    def _exact(self, when: When) -> float:
        amount, unit = _amount(when, "a point")
        return amount * {"steps": 1, "epochs": self.steps_per_epoch, "parts": self.total_steps}[unit]

    def _step(self, when: When, title: str) -> int:
        """The first step that is not before a point."""
        if (step := _up(self._exact(when))) > self.total_steps:
            raise ValueError(f"{title} is {step} steps, after the end of {self._run()}")
        return step

    def _run(self) -> str:
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
                f"{title} is the last and ends at step {start} of {self._run()}: give it until=1.0, which is the "
                "whole run, or add another phase"
            )

    # What must not be

    def _check_ticks(self) -> None:
        """Refuse changes after the last step, and two at once of the same thing."""
        said: dict[tuple[int, str], str] = {}
        for start, tick in self.ticks:
            if start == self.total_steps and (tick.frozen or tick.sets or tick.options):
                raise ValueError(f"{tick.title} is the end of {self._run()}: what it changes would hold in no step")
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
        """Refuse that at one step one tick freezes what another unfreezes; `names` are those for which a pattern
        stands.
        """
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
        """Refuse changes of one setting that begin together, or of which one begins on the other's way."""
        for first, second in zip(changes, changes[1:]):
            if second.start < first.end or second.start == first.start:
                way = f"over={first.over}, up to step {first.end}" if first.over else "at once"
                raise ValueError(
                    f"set({first.pattern!r}, {first.name}=...) at step {first.start}, {way}, and "
                    f"set({second.pattern!r}, {second.name}=...) at step {second.start} overlap: both change "
                    f"{second.name} of {name}"
                )

    # The plan and a model

    def _bind_model(self, model: Module) -> None:
        self.parameters = dict(model.named_parameters())
        self.names = {id(p): name for name, p in self.parameters.items()}
        before = self.plan._before.get(model, {"trained": {}, "settings": {}})
        self.own_trained = {name: before["trained"].get(name, p.requires_grad) for name, p in self.parameters.items()}
        factors = [pattern for _, tick in self.ticks for pattern, _ in dict(tick.options).get("lr_factors", ())]
        frozen = [pattern for _, tick in self.ticks for pattern, _ in tick.frozen]
        check_matched([*frozen, *factors], self.parameters, f"parameter of {type(model).__name__}")
        self._check_frozen({pattern: [name for name in self.parameters if match(pattern, name)] for pattern in frozen})
        for _, tick in self.ticks:
            of = dict(tick.options).get("lr_factors", ())
            for name in self.parameters:
                if len(found := [pattern for pattern, _ in of if match(pattern, name)]) > 1:
                    raise ValueError(
                        f"the lr_factors of {tick.title} overlap: {found[0]!r} and {found[1]!r} both match {name}"
                    )
        self._modules: dict[tuple[str, str], tuple[Module, frozenset[str]]] = {}  # which patterns are about it
        for change in self.changes_of_settings:
            self._find_settings(model, change)
        self._check_settings()
        for start, _, phase in self.phases:
            if not any(self._trained(self.state(start)).values()):
                raise ValueError(
                    f"in {phase.begin.title} every parameter is frozen: freeze fewer, or unfreeze what it trains"
                )

    def _find_settings(self, model: Module, change: Change) -> None:
        """Note the modules that a change is about."""
        called = {path: [path, f"{path}.{type(m).__name__}".lstrip(".")] for path, m in model.named_modules()}
        all_names = [name for names in called.values() for name in names]
        check_matched([change.pattern], all_names, f"module of {type(model).__name__}")
        found = [
            (path, m) for path, m in model.named_modules() if any(match(change.pattern, name) for name in called[path])
        ]
        fitting = [(path, m) for path, m in found if change.name in vars(m)]
        if not fitting:
            known = [
                name for _, m in found for name, value in vars(m).items() if isinstance(value, (bool, int, float, str))
            ]
            near = get_close_matches(change.name, known, 3, 0.3) or dict.fromkeys(known) or ["nothing that can be set"]
            raise ValueError(
                f"no module that {change.pattern!r} matches has a setting {change.name!r}: "
                f"{found[0][0] or 'the model'}, a {type(found[0][1]).__name__}, has {', '.join(near)}"
            )
        for path, m in fitting:
            key = path, change.name
            own = self.plan._before.get(model, {"settings": {}})["settings"].get(key, getattr(m, change.name))
            _check_kind(f"{change.told()}: {path or 'the model'}", change, own)
            self.own_settings[key] = own
            self._modules[key] = m, self._modules.get(key, (m, frozenset()))[1] | {change.pattern}

    def _check_settings(self) -> None:
        """Refuse changes that overlap; warn of one that changes nothing."""
        idle = dict.fromkeys(self.changes_of_settings, True)
        for (path, name), own in self.own_settings.items():
            changes = [
                c for c in self.changes_of_settings if c.name == name and c.pattern in self._modules[path, name][1]
            ]
            self._check_apart(changes, path or "the model")
            for change in changes:
                if callable(change.value) or change.value != own:
                    idle[change] = False
                own = change.at(change.end).after(own)
        for change in idle:
            if idle[change]:
                hint = f"; to move from another value, begin with .at(0, set({change.pattern!r}, {change.name}=...))"
                warnings.warn(
                    f"{change.told()}, at step {change.start}, changes nothing: it has that value already"
                    + hint * bool(change.over),
                    stacklevel=5,
                )

    def param_groups(self, groups: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Groups for an optimiser, each split so that its parameters have the same learning rate throughout."""
        split: list[dict[str, Any]] = []
        every = dict.fromkeys(dict(tick.options).get("lr_factors", ()) for _, tick in self.ticks)
        for group in groups:
            alike: dict[tuple, list[Parameter]] = {}
            for p in group["params"]:
                alike.setdefault(tuple(_factor(of, self.names[id(p)]) for of in every), []).append(p)
            ordered = sorted(
                alike.items(), key=lambda pair: any(factor != 1 for factor in pair[0])
            )  # the rate itself first
            split += [{**group, "params": params} for _, params in ordered] or [group]
        return split

    def apply(self, state: State, optimizer: Optimizer | None = None) -> dict[str, Any]:
        """Make a state that of the model and the optimiser; returns what this changed.

        The entries are "trained" and "frozen", names of parameters that are so from now on; "settings", values by the
        names of the modules' attributes; and of the optimiser "lr" and "weight_decay".  What an optimiser keeps for a
        parameter while it is frozen is left alone.

        Raises:
            ValueError: the plan is not bound to a model, or parameters of one group need different rates: see
                `param_groups`.
        """
        if self.model is None:
            raise ValueError("this plan is bound to no model: type plan.bind(total_steps, steps_per_epoch, model)")
        self.plan._before.setdefault(self.model, {"trained": self.own_trained, "settings": self.own_settings})
        changed: dict[str, Any] = {"trained": [], "frozen": [], "settings": {}}
        for name, on in self._trained(state).items():
            if self.parameters[name].requires_grad != on:
                self.parameters[name].requires_grad = on
                changed["trained" if on else "frozen"].append(name)
        for (path, name), value in self._settings(state).items():
            module = self._modules[path, name][0]
            if getattr(module, name) != value:
                setattr(module, name, value)
                changed["settings"][f"{path}.{name}".lstrip(".")] = value
        if optimizer is not None:
            self._apply_to(optimizer, state, changed)
        return {key: value for key, value in changed.items() if value not in ([], {})}

    def _apply_to(self, optimizer: Optimizer, state: State, changed: dict[str, Any]) -> None:
        decayed = [group for group in optimizer.param_groups if group.get("name") != "no_decay"]
        if state.weight_decay is not None and any(group["weight_decay"] != state.weight_decay for group in decayed):
            changed["weight_decay"] = state.weight_decay
            for group in decayed:
                group["weight_decay"] = state.weight_decay
        if state.lr is not None:
            rates = [state.lr * factor for factor in self._factors(optimizer, state.lr_factors)]
            if rates != [group["lr"] for group in optimizer.param_groups]:
                changed["lr"] = state.lr
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate

    def _factors(self, optimizer: Optimizer, lr_factors: tuple[tuple[str, float], ...]) -> list[float]:
        """The factor of each group of an optimiser."""
        if self._regrouped[0] is not optimizer:
            self._regrouped = optimizer, {}
        if (known := self._regrouped[1].get(lr_factors)) is None:
            found = [
                {_factor(lr_factors, self.names.get(id(p), "")) for p in group["params"]} or {1.0}
                for group in optimizer.param_groups
            ]
            if any(len(of_one) > 1 for of_one in found):
                raise ValueError(
                    "parameters of one group of the optimiser have different lr_factors in the plan: make the "
                    "optimiser of bound.param_groups([{'params': model.parameters()}]), with bound = plan.bind(...)"
                )
            known = self._regrouped[1][lr_factors] = [of_one.pop() for of_one in found]
        return known

    def _trained(self, state: State) -> dict[str, bool]:
        """Of each parameter, whether it is trained in a state."""
        if (known := self._known_trained.get(state.frozen)) is None:
            known = dict(self.own_trained)
            for pattern, on in state.frozen:
                known.update({name: not on for name in known if match(pattern, name)})
            self._known_trained[state.frozen] = known
        return known

    def _settings(self, state: State) -> dict[tuple[str, str], Any]:
        """Of each setting that the plan is about, its value in a state."""
        values = {}
        for (path, name), value in self.own_settings.items():
            for setting in state.settings:
                if setting.name == name and setting.pattern in self._modules[path, name][1]:
                    value = setting.after(value)
            values[path, name] = value
        return values

    def changes(self, step: int) -> dict[str, Any]:
        """What the plan changes at a step, with all names: what a run notes in its log there; nothing where it changes
        nothing.

        The entries are those of `apply`, with "phase" and "batch_size" where they change, but without the learning
        rate, which each step's record has.  Of a setting on its way, the beginning is noted under "moving", and the
        end.
        """
        if step not in self.points:
            return {}
        now = self.state(step)
        before = self.state(step - 1) if step else None
        was = self._trained(before) if before else self.own_trained
        names = [name for name, on in self._trained(now).items() if on != was[name]]
        settings = self._settings(before) if before else self.own_settings
        changed = {
            "phase": now.phase if before is None or now.phase != before.phase else None,
            "trained": [name for name in names if not was[name]],
            "frozen": [name for name in names if was[name]],
            "settings": {
                f"{path}.{name}".lstrip("."): value
                for (path, name), value in self._settings(now).items()
                if value != settings[path, name]
            },
        }
        changed["moving"] = [
            change.told() for change in self.changes_of_settings if change.start == step and change.over
        ]
        for name in ("weight_decay", "batch_size"):
            value = getattr(now, name)
            changed[name] = value if before is None or value != getattr(before, name) else None
        return {key: value for key, value in changed.items() if value not in (None, [], {})}

    # Told and drawn

    def rows(self) -> list[tuple[int, str, str, list[str]]]:
        """Of each point at which something changes: the step, the phase and its rate if it begins here, and what
        changes.
        """
        told: dict[int, tuple[str, str, list[str]]] = {}
        for start, tick in self.ticks:
            phase = next((phase for begin, _, phase in self.phases if phase.begin is tick and begin == start), None)
            known = told.get(start, ("", "", []))
            name, rate = (phase.name, "" if phase.lr is None else _short(phase.lr)) if phase else known[:2]
            told[start] = name, rate, known[2] + tick.told()
        for change in self.changes_of_settings:
            told[change.start][2].append(change.told())
            if change.over and change.end < self.total_steps:
                end = change.value(1.0) if callable(change.value) else change.value
                told.setdefault(change.end, ("", "", []))[2].append(
                    f"{change.pattern}: {change.name} = {_short(end)} reached"
                )
        return [(step, *told[step]) for step in sorted(told)]

    def table(self) -> str:
        """The plan as a table: each point of the run at which something changes, and what."""
        cells = [("step", "epoch", "phase", "lr", "what changes")]
        for step, phase, rate, what in self.rows():
            for i, one in enumerate(what or [""]):
                first = (str(step), f"{step / self.steps_per_epoch:.3g}", phase, rate) if i == 0 else ("", "", "", "")
                cells.append((*first, one))
        cells.append((str(self.total_steps), f"{self.total_steps / self.steps_per_epoch:.3g}", "", "", "the end"))
        widths = [max(len(row[column]) for row in cells) for column in range(4)]
        lines = [
            "  ".join(
                [
                    row[0].rjust(widths[0]),
                    row[1].rjust(widths[1]),
                    row[2].ljust(widths[2]),
                    row[3].ljust(widths[3]),
                    row[4],
                ]
            ).rstrip()
            for row in cells
        ]
        regular = [f"every {_period(period)}: {', '.join(actions)}" for period, actions in self.regular]
        return "\n".join([self._run()[0].upper() + self._run()[1:], *lines, *regular])

    def plot(self) -> Any:
        """The plan as a matplotlib Figure: rates, what is frozen, settings and actions over the steps."""
        from .plan_picture import plot_plan  # which needs matplotlib, an extra

        return plot_plan(self)


def _tick(
    when: When | None, title: str, what: Sequence[Set | str], freeze: Patterns, unfreeze: Patterns, **options: Any
) -> Tick:
    """A tick of what `at` and `phase` are given."""
    frozen = [(pattern, on) for given, on in ((freeze, True), (unfreeze, False)) for pattern in _patterns(title, given)]
    if options.get("lr_factors") is not None:
        if not isinstance(options["lr_factors"], Mapping):
            raise TypeError(
                f"{title}: lr_factors is {options['lr_factors']!r}; expected a dict of patterns and factors"
            )
        options["lr_factors"] = tuple(
            (*_patterns(title, pattern), _number(f"{title}: lr_factors[{pattern!r}]", factor, 0))
            for pattern, factor in options["lr_factors"].items()
        )
    if options.get("weight_decay") is not None:
        _number(f"{title}: weight_decay", options["weight_decay"], 0)
    size = options.get("batch_size")
    if size is not None and (not isinstance(size, Integral) or isinstance(size, bool) or size < 1):
        raise ValueError(f"{title}: batch_size is {size!r}; expected a whole number, 1 or more")
    sets = tuple(one for one in what if isinstance(one, Set))
    due = _actions(title, [one for one in what if not isinstance(one, Set)])
    given = tuple((name, value) for name, value in options.items() if value is not None)
    return Tick(when, title, tuple(frozen), sets, due, given)


def _patterns(title: str, given: Patterns) -> list[str]:
    patterns = [given] if isinstance(given, str) else list(given)
    for pattern in patterns:
        if not isinstance(pattern, str) or not pattern:
            raise TypeError(f"{title}: a pattern is {pattern!r}; expected text such as 'bert.embeddings.**'")
        matches([pattern], "")  # refuses one that cannot be read
    return patterns


def _actions(title: str, given: Sequence[str]) -> tuple[str, ...]:
    for action in given:
        if action not in ACTIONS:
            near = get_close_matches(str(action), ACTIONS, 1)
            raise ValueError(
                f"{title}: {action!r} is no action; expected "
                + (f"{near[0]!r}" if near else (f"one of {', '.join(ACTIONS)}, or a set(...)"))
            )
    return tuple(given)


def _amount(when: When, title: str) -> tuple[float, str]:
    """A point or a duration as a number of "steps", "epochs" or "parts" of the run.

    Raises:
        TypeError, ValueError: it is none.
    """
    wanted = "expected steps such as 500, a part of the run from 0.0 to 1.0, or text such as '3 epochs'"
    if isinstance(when, str) and (text := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(epochs?|steps?|%)\s*", when)):
        amount, unit = float(text[1]), {"e": "epochs", "s": "steps", "%": "parts"}[text[2][0]]
        amount = amount / 100 if unit == "parts" else amount
    elif isinstance(when, str) or isinstance(when, bool) or not isinstance(when, Real):
        raise (ValueError if isinstance(when, str) else TypeError)(f"{title} is {when!r}; {wanted}")
    else:
        amount, unit = float(when), "steps" if isinstance(when, Integral) else "parts"
    if not (0 <= amount < math.inf) or unit == "parts" and amount > 1 or unit == "steps" and amount % 1:
        raise ValueError(f"{title} is {when!r}; {wanted}")
    return amount, unit


def _up(exact: float) -> int:
    """The first whole step not before `exact`; a millionth of a step is taken for rounding error."""
    return math.ceil(round(exact, 6))


def _number(title: str, value: Any, least: float = -math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{title} is {value!r}; expected a number")
    if not (math.isfinite(value) and value >= least):
        raise ValueError(f"{title} is {value!r}; expected a finite number" + f", {least} or more" * (least > -math.inf))
    return value


def _check_kind(title: str, change: Change, own: Any) -> None:
    """Refuse a value that a setting cannot have: of another kind than its own, or a probability out of range."""
    ends = [change.value(0.0), change.value(1.0)] if callable(change.value) else [change.value]
    for value in ends:
        kinds = [kind for kind in (bool, Integral, Real, str) if isinstance(own, kind)][:1] or [object]
        wanted = Real if kinds == [Integral] and change.over else kinds[0]
        if not isinstance(value, wanted) or isinstance(value, bool) != isinstance(own, bool):
            raise TypeError(
                f"{title} has {change.name}={own!r}, and cannot have {value!r}: give a value of the same kind"
            )
        if (change.name == "p" or "dropout" in change.name) and not 0 <= value < 1:
            raise ValueError(
                f"{title}: {change.name}={value!r} is not a probability below 1: give 0 <= {change.name} < 1"
            )


def _factor(lr_factors: tuple[tuple[str, float], ...], name: str) -> float:
    return next((factor for pattern, factor in lr_factors if match(pattern, name)), 1.0)


def _period(period: When) -> str:
    amount, unit = _amount(period, "")
    return f"{amount:.3%} of the run" if unit == "parts" else f"{amount:g} {unit}"


def _short(value: Any) -> str:
    """A value in a table."""
    if callable(value) and not isinstance(value, Curve):
        return getattr(value, "__name__", type(value).__name__)
    return f"{value:g}" if isinstance(value, Real) and not isinstance(value, bool) else str(value)
