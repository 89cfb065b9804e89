"""Finds the line of the user's program that is running, and the names that its values have there.

It is used only for errors, warnings, and steps of the tape that are recorded with `insight.recording`; otherwise it
costs nothing.
"""

from __future__ import annotations

import linecache
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

LAYERS = ("nn", "pretrained")  # packages of ours whose lines are worth showing to a user
SHELLS = ("IPython", "ipykernel")  # programs whose functions hold the user's values under names of their own
MEANINGS = (*LAYERS, "functional", "losses")  # packages whose names for values are worth showing


class Line(NamedTuple):
    """A line of source; as a string "train.py:12"."""

    file: str
    number: int

    @property
    def text(self) -> str:
        """The source of the line; empty if it is not available."""
        return linecache.getline(self.file, self.number).strip()

    def __str__(self) -> str:
        path = Path(self.file)
        return f"{'cell' if 'ipykernel' in self.file else path.name}:{self.number}"


def frames(frame: FrameType | None = None) -> Iterator[FrameType]:
    """The functions that are running, from this one (the caller, by default) outwards."""
    frame = sys._getframe(1) if frame is None else frame
    while frame is not None:
        yield frame
        frame = frame.f_back


def room(frame: FrameType) -> str | None:
    """The package or module of minigrad that a function belongs to, such as "nn"; None for a user's function."""
    package, _, rest = frame.f_globals.get("__name__", "").partition(".")
    return rest.partition(".")[0] if package == "minigrad" else None


def warn(message: str) -> None:
    """Warn of something at the line of the user's program, wherever in the package it is found."""
    level = next((i for i, f in enumerate(frames(sys._getframe()), 1) if room(f) is None), 1)
    warnings.warn(message, stacklevel=level)


def telling(frame: FrameType, rooms: Sequence[str] = LAYERS) -> Iterator[FrameType]:
    """The frames worth showing to a user, the innermost first: those in `rooms`, and finally the user's own."""
    for f in frames(frame):
        here = room(f)
        if here is None or here in rooms:
            yield f
        if here is None:
            return


def variables() -> Iterator[tuple[str, Any]]:
    """Every (name, value) in the user's running functions, the innermost first: locals, attributes of self, globals."""
    seen: set[int] = set()
    for f in frames():
        if room(f) is not None or f.f_globals.get("__name__", "").partition(".")[0] in SHELLS:
            continue
        owner = getattr(f.f_locals.get("self"), "__dict__", {})
        for space, prefix in ((f.f_locals, ""), (owner, "self."), (f.f_globals, "")):
            if id(space) not in seen:
                seen.add(id(space))
                yield from (
                    (f"{prefix}{name}", value)
                    for name, value in list(space.items())
                    if isinstance(name, str) and not name.startswith("_")
                )


def line(frame: FrameType) -> Line:
    """The line that a function has reached."""
    return Line(frame.f_code.co_filename, frame.f_lineno)


def names(values: Sequence[Any], frame: FrameType, rooms: Sequence[str] = LAYERS) -> list[str | None]:
    """The name of each value in the user's function, or in one in `rooms`: a variable, or `self.name`."""
    found: dict[int, str] = {}
    wanted = {id(value) for value in values if hasattr(value, "shape")}  # equal numbers may be one object
    for f in telling(frame, rooms):
        owner = getattr(f.f_locals.get("self"), "__dict__", {})
        called = {
            **(f.f_globals if room(f) is None else {}),
            **{f"self.{name}": v for name, v in owner.items()},
            **f.f_locals,
        }
        found.update(
            {id(value): name for name, value in called.items() if id(value) in wanted and not name.startswith("_")}
        )
    return [found.get(id(value)) for value in values]


def told(error: Exception, labels: Sequence[str] = (), values: Sequence[Any] = ()) -> None:
    """Add a note to an error of ours, once, with the user's line that led to it and the names of the values there.

    `labels` are the names of the `values` in the message.
    """
    if hasattr(error, "line"):
        return
    trace, inner = error.__traceback__, []
    while trace is not None:
        inner.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    if inner and room(inner[-1][0]) is None:  # the user's own code failed, and its traceback says where
        return
    outer = ((f, f.f_lineno) for f in frames(sys._getframe(1)))
    frame, number = next(((f, n) for f, n in [*reversed(inner), *outer] if room(f) is None), (None, 0))
    if frame is not None:
        line = Line(frame.f_code.co_filename, number)
        vars(error)["line"] = line
        called = zip(labels, names(values, sys._getframe(1)))
        called = ", ".join(f"{label} is {name}" for label, name in called if name not in (None, label))
        where = f"at {line}: {line.text}" if line.text else f"at {line}"
        error.add_note("; ".join(filter(None, [called, where])))
