"""What a plan is made of: values that move, settings of modules, and what begins at a point of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any

from ...patterns import matches
from ...schedule import curves
from .amounts import When, amount_of, checked_number

Patterns = str | Sequence[str]
Rate = float | Callable[[float], float]
ACTIONS = ("evaluate", "save", "log")


@dataclass(frozen=True)
class Curve:
    """A value on its way from `start` to `end`, as a function of the progress, 0 to 1."""

    kind: str
    start: float
    end: float

    def __call__(self, progress: float) -> float:
        return (curves.line if self.kind == "linear" else curves.cosine)(self.start, self.end, progress)

    def __repr__(self) -> str:
        return f"{self.kind}({self.start:g}, {self.end:g})"


def linear(start: float, end: float) -> Curve:
    """From start to end in a straight line."""
    return Curve("linear", checked_number("linear: start", start), checked_number("linear: end", end))


def cosine(start: float, end: float) -> Curve:
    """From start to end along half a cosine wave, flat at both ends (Loshchilov & Hutter 2017)."""
    return Curve("cosine", checked_number("cosine: start", start), checked_number("cosine: end", end))


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
    amount_of(over, "set: over")
    for name, value in values.items():
        if callable(value) and not over:
            raise ValueError(
                f"set({pattern!r}, {name}={value!r}) is a curve: say over how many steps it goes, such as over=200"
            )
        if over and not callable(value):
            checked_number(f"set({pattern!r}, over={over!r}): {name}", value)
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
        return self.value if self.done >= 1 else curves.line(before, self.value, self.done)


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

    title: str
    frozen: tuple[tuple[str, bool], ...] = ()
    sets: tuple[Set, ...] = ()
    due: tuple[str, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()  # lr_factors, weight_decay, batch_size

    def told(self) -> list[str]:
        """What begins here, in a few words each."""
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
        """The step at which the value is reached."""
        return self.start + self.over

    def at(self, step: int) -> Setting:
        """The setting at a step of the run, not before `start`."""
        done = min(1.0, (step - self.start) / self.over) if self.over else 1.0
        return Setting(self.pattern, self.name, self.value, done)

    def told(self) -> str:
        """The change in a few words, as tables and records have it."""
        over = f" over {self.over} steps" if self.over else ""
        return f"{self.pattern}: {self.name} {'along' if callable(self.value) else '→'} {short(self.value)}{over}"


def new_tick(title: str, what: Sequence[Set | str], freeze: Patterns, unfreeze: Patterns, **options: Any) -> Tick:
    """A tick of what `at` and `phase` are given."""
    frozen = [
        (pattern, on) for given, on in ((freeze, True), (unfreeze, False)) for pattern in checked_patterns(title, given)
    ]
    if options.get("lr_factors") is not None:
        if not isinstance(options["lr_factors"], Mapping):
            raise TypeError(
                f"{title}: lr_factors is {options['lr_factors']!r}; expected a dict of patterns and factors"
            )
        options["lr_factors"] = tuple(
            (*checked_patterns(title, pattern), checked_number(f"{title}: lr_factors[{pattern!r}]", factor, 0))
            for pattern, factor in options["lr_factors"].items()
        )
    if options.get("weight_decay") is not None:
        checked_number(f"{title}: weight_decay", options["weight_decay"], 0)
    size = options.get("batch_size")
    if size is not None and (not isinstance(size, Integral) or isinstance(size, bool) or size < 1):
        raise ValueError(f"{title}: batch_size is {size!r}; expected a whole number, 1 or more")
    sets = tuple(one for one in what if isinstance(one, Set))
    due = checked_actions(title, [one for one in what if not isinstance(one, Set)])
    given = tuple((name, value) for name, value in options.items() if value is not None)
    return Tick(title, tuple(frozen), sets, due, given)


def checked_patterns(title: str, given: Patterns) -> list[str]:
    """Patterns, one or several, as a list.  Raises TypeError or ValueError for what is no pattern."""
    patterns = [given] if isinstance(given, str) else list(given)
    for pattern in patterns:
        if not isinstance(pattern, str) or not pattern:
            raise TypeError(f"{title}: a pattern is {pattern!r}; expected text such as 'bert.embeddings.**'")
        matches([pattern], "")  # refuses one that cannot be read
    return patterns


def checked_actions(title: str, given: Sequence[str]) -> tuple[str, ...]:
    """Actions.  Raises ValueError, with the nearest, for one that does not exist."""
    for action in given:
        if action not in ACTIONS:
            near = get_close_matches(str(action), ACTIONS, 1)
            raise ValueError(
                f"{title}: {action!r} is no action; expected "
                + (f"{near[0]!r}" if near else (f"one of {', '.join(ACTIONS)}, or a set(...)"))
            )
    return tuple(given)


def short(value: Any) -> str:
    """A value in a table."""
    if callable(value) and not isinstance(value, Curve):
        return getattr(value, "__name__", type(value).__name__)
    return f"{value:g}" if isinstance(value, Real) and not isinstance(value, bool) else str(value)
