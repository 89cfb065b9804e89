"""Progress of a run in a notebook: a bar, a table of the records and their curve, in one cell, updated in place."""

from __future__ import annotations

import html
import math
import sys
import time
from typing import Any

from .callbacks import TrainerCallback
from .state import Record

ROWS, POINTS, WIDTH, HEIGHT = 20, 200, 420, 180  # of the table; of a curve; and pixels
PERIOD = 0.5  # seconds between two updates
COLOURS = {"loss": "#36c", "eval_loss": "#c63"}
UNTOLD = (
    "_runtime",
    "_per_second",
    "seconds",
    "epoch",
    "step",
    "best",
    "plan",
    "learning_rate",
    "grad_norm",
    "train_loss",
)


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook, as opposed to IPython in a terminal."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class Page:
    """The content of the cell: HTML, or one line where HTML cannot be displayed."""

    def __init__(self, content: str, line: str):
        self.content, self.line = content, line

    def _repr_html_(self) -> str:
        return self.content

    def __repr__(self) -> str:
        return self.line


class NotebookProgressCallback(TrainerCallback):
    """A live table and curve in one cell: losses and scores as they are recorded, and the progress of the run."""

    reports = True

    handle: Any = None
    shown = began = 0.0
    first = 0

    def on_train_begin(self, args, state, control, **more):
        from IPython.display import display

        self.began, self.first, self.shown = time.monotonic(), state.global_step, time.monotonic()
        self.handle = display(self.page(state, True), display_id=True)

    def on_step_end(self, args, state, control, **more):
        if self.handle is not None and time.monotonic() - self.shown >= PERIOD:
            self.show(state)

    def on_evaluate(self, args, state, control, **more):
        if self.handle is not None:
            self.show(state)

    def on_train_end(self, args, state, control, **more):
        if self.handle is not None:
            self.show(state, False)
        self.handle = None

    def close(self) -> None:
        """Stop updating the cell."""
        self.handle = None

    def state_dict(self):
        return {}

    def show(self, state: Any, running: bool = True) -> None:
        """Update the cell."""
        self.shown = time.monotonic()
        self.handle.update(self.page(state, running))

    def page(self, state: Any, running: bool) -> Page:
        """The page of a run's records, with the remaining time while it is running."""
        step, steps = state.global_step, state.max_steps
        line = f"step {step} of {steps}, epoch {state.epoch:.2f} of {state.num_train_epochs}"
        if running and step > self.first:
            left = (time.monotonic() - self.began) / (step - self.first) * (steps - step)
            line += f", {int(left // 60)}:{int(left % 60):02} min left"
        bar = f"<progress value='{step}' max='{steps}' style='width:{WIDTH}px'></progress> {line}"
        parts = table(state.log_history), curve(state.log_history)
        return Page(f"<div>{bar}</div><div style='display:flex;gap:24px'>{''.join(parts)}</div>", line)


def merged(history: list[Record]) -> dict[int, Record]:
    """The records by step: those of training and evaluation at the same step are merged into one row."""
    rows: dict[int, Record] = {}
    for record in history:
        told = {k: v for k, v in record.items() if isinstance(v, (int, float)) and not k.endswith(UNTOLD)}
        if told:
            rows.setdefault(record["step"], {"epoch": record["epoch"]}).update(told)
    return rows


def table(history: list[Record]) -> str:
    """The newest rows as an HTML table; only those of evaluations, if there are any."""
    rows = merged(history)
    if evaluated := {step: row for step, row in rows.items() if any(name.startswith("eval_") for name in row)}:
        rows = evaluated
    rows = dict(list(rows.items())[-ROWS:])
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    if not names:
        return ""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("step", *names))
    lines = [
        f"<tr><td>{step}</td>{''.join(f'<td>{short(row.get(name))}</td>' for name in names)}</tr>"
        for step, row in rows.items()
    ]
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def short(value: float | None) -> str:
    """A number as text for a cell of the table; empty for None."""
    return "" if value is None else f"{value:.4g}"


def curve(history: list[Record]) -> str:
    """The losses over the steps as an SVG picture; "" as long as no kind has two values."""
    lines = {}
    for name in COLOURS:
        points = [(r["step"], r[name]) for r in history if isinstance(r.get(name), float) and math.isfinite(r[name])]
        if len(points) > 1:
            lines[name] = points[:: len(points) // POINTS + 1] + points[-1:]
    if not lines:
        return ""
    every = [point for points in lines.values() for point in points]
    last, low, high = max(x for x, _ in every), min(y for _, y in every), max(y for _, y in every)

    def place(x: float, y: float) -> str:
        return f"{WIDTH * x / last:.1f},{(HEIGHT - 4) * (high - y) / ((high - low) or 1) + 2:.1f}"

    drawn = "".join(
        f"<polyline points='{' '.join(place(*point) for point in points)}' fill='none' stroke='{COLOURS[name]}'/>"
        f"<text x='{WIDTH}' y='{16 * i + 14}' text-anchor='end' font-size='12' fill='{COLOURS[name]}'>{name}</text>"
        for i, (name, points) in enumerate(lines.items())
    )
    limits = ((12, high), (HEIGHT - 4, low))
    marks = "".join(f"<text x='2' y='{y}' font-size='11'>{value:.3g}</text>" for y, value in limits)
    return f"<svg width='{WIDTH}' height='{HEIGHT}' style='border:1px solid #ccc'>{drawn}{marks}</svg>"
