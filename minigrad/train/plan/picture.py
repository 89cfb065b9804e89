"""The picture of a plan: learning rates, frozen parameters, settings and actions over the steps of a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from ...patterns import match
from ..plots import new_figure

if TYPE_CHECKING:
    from .bound import BoundPlan

POINTS = 600  # of a curve
SHADES = ("#eef3f8", "#fdf3e7")  # of the phases, in turn


def plot_plan(plan: BoundPlan) -> Any:
    """A plan for a run as a matplotlib Figure of panels, one above the other.

    The panels are the learning rate; a row for each pattern that is frozen or trained; the settings of modules, weight
    decay and batch size; and the actions.  Panels without content are omitted.

    Raises ImportError if matplotlib is not installed.
    """
    points = {step for step in plan.points if step <= plan.total_steps}
    points |= {step - 1 for step in points if step} | {plan.total_steps}
    steps = sorted(points.union(range(0, plan.total_steps, plan.total_steps // POINTS + 1)))
    states = [plan.state(step) for step in steps]
    curves = _settings(plan, states)
    patterns = list(dict.fromkeys(pattern for pattern, _ in states[-1].frozen))
    actions = _actions(plan)
    panels: list[tuple[float, Callable[[Any], None]]] = []  # the height of each, and what draws it
    if any(state.lr is not None for state in states):
        panels.append((3.0, partial(_draw_rates, states=states)))
    if patterns:
        panels.append((0.5 + 0.3 * len(patterns), partial(_draw_frozen, states=states, patterns=patterns)))
    for label, values in curves.items():
        panels.append((1.3, partial(_draw_curve, states=states, label=label, values=values, plan=plan)))
    if actions:
        panels.append((0.5 + 0.3 * len(actions), partial(_draw_actions, actions=actions)))
    heights = [height for height, _ in panels] or [1.0]
    figure = new_figure(9, sum(heights) + 0.9)
    rows = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (_, draw) in zip(rows, panels):
        draw(axes)
    for axes in rows:
        for i, (start, end, _) in enumerate(plan.phases):
            axes.axvspan(start, end, color=SHADES[i % 2], zorder=0)
        axes.margins(x=0)
    for start, end, phase in plan.phases:
        rows[0].annotate(
            phase.name,
            ((start + end) / 2, 1),
            (0, 4),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="bottom",
            textcoords="offset points",
            fontsize=9,
            rotation=0 if end - start > 0.12 * plan.total_steps else 20,
        )
    rows[-1].set_xlabel(f"step ({plan.steps_per_epoch} an epoch)")
    rows[-1].set_xlim(0, plan.total_steps)
    return figure


def _settings(plan: BoundPlan, states: list) -> dict[str, list]:
    """The numbers that a plan sets, by label; NaN where it does not set them."""
    curves: dict[str, list] = {}
    for change in plan.changes_of_settings:
        if not (callable(change.value) or isinstance(change.value, Real)):
            continue  # text has no curve
        values = []
        own = [value for (_, name), value in plan.own_settings.items() if name == change.name]
        for state in states:
            value = own[0] if len({*own}) == 1 else np.nan
            for setting in state.settings:
                if setting.name == change.name and setting.pattern == change.pattern:
                    value = setting.after(value)
            values.append(float(value) if isinstance(value, Real) else np.nan)
        curves[f"{change.name}\n{change.pattern}"] = values
    for name in ("weight_decay", "batch_size"):
        values = [getattr(state, name) for state in states]
        if any(value is not None for value in values):
            curves[name] = [np.nan if value is None else value for value in values]
    return curves


def _actions(plan: BoundPlan) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for step in range(plan.total_steps + 1) if plan.regular or any(tick.due for _, tick in plan.ticks) else ():
        for action in plan.state(step).due:
            found.setdefault(action, []).append(step)
    return found


def _draw_rates(axes: Any, states: list) -> None:
    steps = [state.step for state in states]
    axes.plot(steps, [state.lr for state in states], color="tab:blue", label="lr")
    for i, pattern in enumerate(dict.fromkeys(pattern for state in states for pattern, _ in state.lr_factors)):
        rates = [state.lr * dict(state.lr_factors).get(pattern, 1.0) for state in states]
        axes.plot(steps, rates, "--", color=f"C{i + 1}", linewidth=1, label=f"lr of {pattern}")
    axes.set_ylabel("learning rate")
    axes.yaxis.set_major_formatter("{x:.3g}")
    axes.set_ylim(0, None)
    axes.grid(alpha=0.3)
    if len(axes.lines) > 1:
        axes.legend(fontsize=8, framealpha=0.6)


def _draw_frozen(axes: Any, states: list, patterns: list[str]) -> None:
    """A row for each pattern: a bar where it is trained, and a pale, hatched one where it is frozen."""
    for row, pattern in enumerate(patterns):
        start, was = states[0].step, _is_frozen(states[0], pattern)
        for state in [*states[1:], None]:
            now = None if state is None else _is_frozen(state, pattern)
            if state is None or now != was:
                end = states[-1].step if state is None else state.step
                look = (
                    {"color": "tab:green", "alpha": 0.7}
                    if not was
                    else {"facecolor": "#dce6f2", "edgecolor": "#8fa8c4", "hatch": "///", "linewidth": 0}
                )
                axes.barh(row, end - start, left=start, height=0.6, zorder=2, **look)
                axes.text(
                    (start + end) / 2,
                    row,
                    "frozen" if was else "trained",
                    ha="center",
                    va="center",
                    fontsize=8,
                    zorder=3,
                )
                start, was = end, now
    labels = [
        f"the rest of {one}" if any(other != one and match(one, _example(other)) for other in patterns) else one
        for one in patterns
    ]
    axes.set_yticks(range(len(patterns)), labels, fontsize=8, parse_math=False)
    axes.set_ylim(len(patterns) - 0.5, -0.5)


def _is_frozen(state: Any, pattern: str) -> bool:
    """Whether the parameters that match a pattern are frozen, judged by one name that it matches."""
    name = _example(pattern)
    return next((on for known, on in reversed(state.frozen) if known == pattern or match(known, name)), False)


def _example(pattern: str) -> str:
    """A name that a pattern matches."""
    name = pattern
    while "{" in name and "}" in name[name.index("{") :]:
        before, _, rest = name.partition("{")
        choices, _, after = rest.partition("}")
        name = before + choices.split(",")[0].split("..")[0] + after
    return name.replace("**", "x").replace("*", "x")


def _draw_curve(axes: Any, states: list, label: str, values: list, plan: BoundPlan) -> None:
    """A value over the steps; grey where it moves from the model's own value, which may be unknown."""
    for change in plan.changes_of_settings:
        if label == f"{change.name}\n{change.pattern}" and change.over:
            axes.axvspan(change.start, change.end, color="grey", alpha=0.2, zorder=1)
    axes.plot([state.step for state in states], values, color="tab:purple")
    axes.set_ylabel(label, fontsize=8, parse_math=False, rotation=0, ha="right", va="center")
    low, high = np.nanmin(values, initial=0), np.nanmax(values, initial=0)
    axes.set_ylim(low, (high - low) * 1.15 + low or 1)
    axes.grid(alpha=0.3)


def _draw_actions(axes: Any, actions: dict[str, list[int]]) -> None:
    for row, steps in enumerate(actions.values()):
        axes.plot(steps, [row] * len(steps), "|", color="black", markersize=10, clip_on=False)
    axes.set_yticks(range(len(actions)), actions, fontsize=8)
    axes.set_ylim(len(actions) - 0.5, -0.5)
