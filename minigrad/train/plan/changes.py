"""The parts of a plan: curves of values, settings of modules, phases, and the changes at a point of the run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any

from ...errors import is_whole
from ...patterns import matches
from ...schedule import curves
from .amounts import When, amount_of, checked_number

Patterns = str | Sequence[str]
Rate = float | Callable[[float], float]
CURVES = {"linear": curves.line, "cosine": curves.cosine, "cubic": curves.cubic}
ACTIONS = ("evaluate", "save", "log")


@dataclass(frozen=True)
class Curve:
    """A value that moves from `start` to `end`, as a function of the progress, 0 to 1."""

    kind: str
    start: float
    end: float
    stairs: int = 0  # in how many equal spans of the progress it moves, all at once at the end of each; 0: all the time

    def __call__(self, progress: float) -> float:
        progress = math.floor(round(progress * self.stairs, 6)) / self.stairs if self.stairs else progress
        return CURVES[self.kind](self.start, self.end, progress)

    def __repr__(self) -> str:
        return f"{self.kind}({self.start:g}, {self.end:g}{f', stairs={self.stairs}' * bool(self.stairs)})"


def linear(start: float, end: float) -> Curve:
    """From start to end in a straight line."""
    return Curve("linear", checked_number("linear: start", start), checked_number("linear: end", end))


def cosine(start: float, end: float) -> Curve:
    """From start to end along half a cosine wave, flat at both ends (Loshchilov & Hutter 2017)."""
    return Curve("cosine", checked_number("cosine: start", start), checked_number("cosine: end", end))


def cubic(start: float, end: float, stairs: int = 0) -> Curve:
    """From start to end, fast at first and flat at the end: the schedule of pruning of Zhu & Gupta 2017, eq. 1.

    Args:
        stairs: move in so many steps, at equal distances, instead of with every step of training.
    """
    if not is_whole(stairs, 0):
        raise ValueError(f"cubic: stairs is {stairs!r}; expected a whole number, 0 or more")
    return Curve("cubic", checked_number("cubic: start", start), checked_number("cubic: end", end), stairs)


@dataclass(frozen=True)
class Set:
    """New values for settings of the modules that match a pattern; see `set`."""

    pattern: str
    values: tuple[tuple[str, Any], ...]
    over: When

    def __repr__(self) -> str:
        over = f", over={self.over!r}" if self.over else ""
        return f"set({self.pattern!r}, {', '.join(f'{name}={value!r}' for name, value in self.values)}{over})"


def set(pattern: str, *, over: When = 0, **values: Any) -> Set:
    """Give settings of modules new values, such as the `blend` of a LayerNorm or the `p` of a Dropout.

    The pattern is compared with the path of a module, and with the path followed by its class: "**.LayerNorm" matches
    every module of that name and every LayerNorm.  Matching modules without the setting are skipped.

    Args:
        over: the duration in which the value moves linearly from its present value; 0, the default, means at once.
            A curve as the value, such as blend=linear(0, 1), is followed instead.

    Raises:
        TypeError, ValueError: the pattern is not text, there is no value, or a curve comes without `over`.
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
    """A setting that is `done` (0 to 1) of the way to `value`, or at that point of the curve `value`."""

    pattern: str
    name: str
    value: Any
    done: float

    def after(self, before: Any) -> Any:
        """The value for a module whose value was `before`."""
        if callable(self.value):
            return self.value(self.done)
        return self.value if self.done >= 1 else curves.line(before, self.value, self.done)


@dataclass(frozen=True)
class State:
    """The state of a run after `step` steps: the values for the next step, and the actions that are due before it.

    Attributes:
        lr: the learning rate; None if the plan does not set it.  For parameters that match a pattern of `lr_factors` it
            is multiplied by the factor.
        frozen: pairs of a pattern and whether it is frozen; the last one that matches a parameter applies.
        settings: the settings of modules; the last one that matches a module applies.
        weight_decay, batch_size: None if the plan does not set them.  `batch_size` is the number of examples of an
            optimiser step.
        due: actions among "evaluate", "save" and "log".
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
    """The changes and actions at one point of the run, with a title for messages."""

    title: str
    frozen: tuple[tuple[str, bool], ...] = ()
    sets: tuple[Set, ...] = ()
    due: tuple[str, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()  # lr_factors, weight_decay, batch_size

    def told(self) -> list[str]:
        """A short description of each change and action."""
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
    """A part of the run, up to `until`, and the learning rate in it."""

    name: str
    until: When
    lr: Rate | None
    begin: Tick


@dataclass(frozen=True)
class Change:
    """A change of a setting in a run: it reaches `value` in `over` steps from the step `start`."""

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
        """A short description of the change, for tables and records."""
        over = f" over {self.over} steps" if self.over else ""
        return f"{self.pattern}: {self.name} {'along' if callable(self.value) else '→'} {short(self.value)}{over}"


def new_tick(title: str, what: Sequence[Set | str], freeze: Patterns, unfreeze: Patterns, **options: Any) -> Tick:
    """A tick of the arguments of `at` and `phase`, which are checked."""
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
    """One or several patterns as a list.  Raises TypeError or ValueError if one is not a pattern."""
    patterns = [given] if isinstance(given, str) else list(given)
    for pattern in patterns:
        if not isinstance(pattern, str) or not pattern:
            raise TypeError(f"{title}: a pattern is {pattern!r}; expected text such as 'bert.embeddings.**'")
        matches([pattern], "")  # raises ValueError if the pattern cannot be parsed
    return patterns


def checked_actions(title: str, given: Sequence[str]) -> tuple[str, ...]:
    """The actions as a tuple.  Raises ValueError, with the nearest name, for one that does not exist."""
    for action in given:
        if action not in ACTIONS:
            near = get_close_matches(str(action), ACTIONS, 1)
            raise ValueError(
                f"{title}: {action!r} is not an action; expected "
                + (f"{near[0]!r}" if near else (f"one of {', '.join(ACTIONS)}, or a set(...)"))
            )
    return tuple(given)


def short(value: Any) -> str:
    """A value as text for a table."""
    if callable(value) and not isinstance(value, Curve):
        return getattr(value, "__name__", type(value).__name__)
    return f"{value:g}" if isinstance(value, Real) and not isinstance(value, bool) else str(value)
