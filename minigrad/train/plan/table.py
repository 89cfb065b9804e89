"""A plan as a table: each point of the run at which something changes, and the changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .amounts import told_period
from .changes import short

if TYPE_CHECKING:
    from .timeline import Timeline


def rows(plan: Timeline) -> list[tuple[int, str, str, list[str]]]:
    """The points at which something changes: step, name and rate of a phase that begins there, and the changes."""
    told: dict[int, tuple[str, str, list[str]]] = {}
    for start, tick in plan.ticks:
        phase = next((phase for begin, _, phase in plan.phases if phase.begin is tick and begin == start), None)
        known = told.get(start, ("", "", []))
        name, rate = (phase.name, "" if phase.lr is None else short(phase.lr)) if phase else known[:2]
        told[start] = name, rate, known[2] + tick.told()
    for change in plan.changes_of_settings:
        told[change.start][2].append(change.told())
        if change.over and change.end < plan.total_steps:
            end = change.value(1.0) if callable(change.value) else change.value
            told.setdefault(change.end, ("", "", []))[2].append(
                f"{change.pattern}: {change.name} = {short(end)} reached"
            )
    return [(step, *told[step]) for step in sorted(told)]


def table_of(plan: Timeline) -> str:
    """The table of a plan as text, a line for each change."""
    cells = [["step", "epoch", "phase", "lr", "what changes"]]
    for step, phase, rate, what in rows(plan):
        for i, one in enumerate(what or [""]):
            first = [str(step), f"{step / plan.steps_per_epoch:.3g}", phase, rate] if i == 0 else [""] * 4
            cells.append([*first, one])
    cells.append([str(plan.total_steps), f"{plan.total_steps / plan.steps_per_epoch:.3g}", "", "", "the end"])
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    lines = [
        "  ".join(
            [row[0].rjust(widths[0]), row[1].rjust(widths[1]), row[2].ljust(widths[2]), row[3].ljust(widths[3]), row[4]]
        ).rstrip()
        for row in cells
    ]
    regular = [f"every {told_period(period)}: {', '.join(actions)}" for period, actions in plan.regular]
    run = plan.run_in_words()
    return "\n".join([run[0].upper() + run[1:], *lines, *regular])
