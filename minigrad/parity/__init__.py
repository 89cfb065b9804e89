"""Compares a model with the one it was ported from, and names the first place where they diverge.

It compares the weights, the output of every module, the loss, every gradient, the weights after a few AdamW steps, and
generated tokens.  Differences are given in units of rounding noise, which is measured: one unit is the change of a
number in the reference when each weight moves to the next floating point number; in a comparison in float32 it is also
at least the error of the reference in float32.  Correct implementations differ by a few units; in float64, the smallest
mistake that matters differs by thousands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..nn import Module
from .causes import Divergence, cause
from .sides import Record, Side, array, pair_outputs, spelling

EQUAL = 100.0  # units up to which two numbers count as equal
STAGES = ("weights", "activations", "loss", "gradients", "after the steps", "tokens")


@dataclass(frozen=True)
class Row:
    """One comparison: of a weight, a module's output, the loss, …, with the difference in units."""

    stage: str
    name: str
    units: float

    @property
    def equal(self) -> bool:
        """Whether the two sides differ by no more than noise."""
        return self.units <= EQUAL


@dataclass
class Parity:
    """The result of comparing two models; print it, or test `.ok`.

    `rows` holds all comparisons in order; `divergence` is the first that failed, or None.  `only` lists what could not
    be compared: weights, outputs and gradients that only one side has, modules whose outputs differ in shape, and
    results without a finite number.  `nothing` is the reason if no output at all could be compared, else empty.
    """

    title: str
    dtype: str
    rows: list[Row]
    divergence: Divergence | None = None
    only: dict[str, list[str]] = field(default_factory=dict)
    nothing: str = ""

    @property
    def ok(self) -> bool:
        """Whether at least one output was compared and everything compared is equal."""
        return self.divergence is None and not self.nothing

    def worst(self, stage: str) -> Row | None:
        """The row of a stage with the largest difference; None if nothing was compared there."""
        return max((row for row in self.rows if row.stage == stage), key=lambda row: row.units, default=None)

    def count(self, stage: str) -> int:
        """The number of comparisons in a stage."""
        return sum(row.stage == stage for row in self.rows)

    @property
    def verdict(self) -> str:
        """One sentence: equal, or the first divergence with a guess at its cause."""
        if self.ok:
            missing = [
                f"{', '.join(self.only[where])} (only in {where.partition(' (')[0]})"
                for where in self.only
                if where.endswith("(outputs)")
            ]
            missing += ["gradients, since no parameter of one side is trained"] * any(
                "(gradients)" in key for key in self.only
            )
            return "equal" + (f"; not compared: {'; '.join(missing)}" if missing else "")
        if self.divergence is None:
            return self.nothing
        guess = f"Guess: {self.divergence.guess}" if self.divergence.guess else "No change that was tried explains it"
        return f"first divergence: {self.divergence}. {guess}."

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values for JSON; an infinite difference is the string "inf"."""
        first = self.divergence
        return {
            "title": self.title,
            "dtype": self.dtype,
            "ok": self.ok,
            "equal_up_to_units": EQUAL,
            "divergence": first
            and {
                "stage": first.stage,
                "name": first.name,
                "module": first.module,
                "units": _plain(first.units),
                "guess": first.guess,
            },
            "nothing": self.nothing,
            "rows": [{"stage": row.stage, "name": row.name, "units": _plain(row.units)} for row in self.rows],
            "only": self.only,
        }

    def __str__(self) -> str:
        lines = [
            f"{self.title}, {self.dtype}; 1 unit is the change when each weight moves by one ulp, "
            f"up to {EQUAL:.0f} units are equal"
        ]
        for stage in STAGES:
            if row := self.worst(stage):
                where = row.name if row.units else ""
                lines.append(
                    f"  {stage:<15} {self.count(stage):>5} compared   worst {shown(row.units):>8}  {where}".rstrip()
                )
        lines += [f"  {told(where)}: {len(names)}, such as {names[0]}" for where, names in self.only.items()]
        return "\n".join([*lines, f"  {self.verdict}"])


def parity(
    ours: Module,
    reference: Any,
    inputs: Any,
    *,
    dtype: str = "float64",
    steps: int = 3,
    new_tokens: int = 8,
    title: str | None = None,
) -> Parity:
    """Compare a model with the one it should be equal to.

    Modules and weights are matched by name.  Where the names differ, weights are matched by their values and modules by
    their weights.

    Both models are copied first and stay unchanged.  They run in the mode they are in: call `.eval()` on both, or
    dropout will be reported as the difference.  If the output has no `loss`, the gradients are those of a fixed random
    linear combination of all outputs.

    Args:
        ours: a minigrad model with its weights loaded.
        reference: a torch module, or another minigrad model.
        inputs: the arguments of both models: a mapping of names to arrays, one array, or a tuple of arrays.
        dtype: "float64", which separates mistakes from noise best, or "float32".
        steps: number of AdamW steps.
        new_tokens: number of tokens to generate, if both models can generate.
        title: name of the comparison in the report; by default that of our class.

    Raises:
        TypeError: one of the two is not a module, or returns something other than Tensors; the inputs are not arrays.
        ValueError: no module of one could be matched with a module of the other.
        ImportError: the reference is not a minigrad model, and torch is not installed.
    """
    if not isinstance(ours, Module):
        raise TypeError(f"ours is a {type(ours).__name__}: give a minigrad Module first, then the reference")
    if dtype not in ("float64", "float32"):
        raise ValueError(f'dtype is {dtype!r}: type "float64", where equality is sharp, or "float32"')
    mine = side(ours, inputs, dtype)
    theirs = side(reference, inputs, dtype)
    theirs.spelling = spelling(theirs, mine)
    for one in (mine, theirs):
        one.forward()
    pair_outputs(mine, theirs)
    shared = mine.outputs.keys() & theirs.outputs.keys()
    theirs.train(shared, steps)
    noise: dict[tuple[str, str], float] = {}
    for other in {dtype, "float64"}:  # the same dtype with nudged weights, and for float32 also float64
        moved = side(reference, inputs, other)
        moved.spelling, moved.aliases = theirs.spelling, theirs.aliases
        if other == dtype:
            moved.nudge()
        moved.forward()
        moved.train(shared, steps)
        noise |= {key: max(apart, noise.get(key, 0)) for key, apart in distances(moved.record, theirs.record).items()}
        del moved  # copies with gradients are large: keep one at a time
    mine.train(shared, steps)
    if new_tokens and "input_ids" in mine.inputs and hasattr(ours, "generate") and hasattr(reference, "generate"):
        for one in (mine, theirs):
            one.record["tokens", "greedy"] = one.generate(new_tokens)

    def judge(a: Record, b: Record) -> list[Row]:
        return compare(a, b, noise, float(np.finfo(dtype).eps))

    rows = judge(mine.record, theirs.record)
    if not any(row.stage == "activations" for row in rows):
        raise ValueError(
            f"no module of {type(ours).__name__} matches one of {type(reference).__name__} by name or weights, and by "
            "the shape of its output: load the reference's weights into ours first"
        )
    found = Parity(title or type(ours).__name__, dtype, rows, only=lonely(mine, theirs), nothing=nothing(mine, theirs))
    first = next((row for row in rows if not row.equal), None)
    if first:
        found.divergence = cause(mine, theirs, first, judge)
    return found


def side(model: Any, inputs: Any, dtype: str) -> Side:
    """A copy of a model of either library, ready to run."""
    if isinstance(model, Module):
        return Side(model, inputs, dtype)
    from .reference import TorchSide

    return TorchSide(model, inputs, dtype)


def distances(a: Record, b: Record) -> dict[tuple[str, str], float]:
    """The largest difference between each pair of arrays that have the same key and shape."""
    return {key: distance(a[key], b[key]) for key in b if key in a and a[key].shape == b[key].shape}


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The largest absolute difference; infinite where one is NaN or infinite and the other differs."""
    with np.errstate(invalid="ignore"):
        apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, np.abs(a.astype(float) - b.astype(float)))
    return float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max(initial=0))


def compare(ours: Record, theirs: Record, noise: Mapping[tuple[str, str], float], eps: float) -> list[Row]:
    """A row for each key of both records, by stage and in the order of the reference.

    A unit is the measured noise, but at least the rounding error of the largest entry.
    """
    scale: dict[str, float] = {}
    for (stage, _), x in theirs.items():
        scale[stage] = max(scale.get(stage, 0.0), float(np.abs(x).max(initial=0)))
    rows = []
    for key, x in theirs.items():
        stage, name = key
        if key not in ours or (stage == "activations" and not fits(ours[key], x)):
            continue
        if not fits(ours[key], x):
            rows.append(Row(stage, name, np.inf))
            continue
        apart, largest = distance(ours[key], x), float(np.abs(x).max(initial=0))
        unit = max(noise.get(key, 0), eps * largest, eps * scale[stage] * 1e-3, np.finfo(float).tiny)
        rows.append(Row(stage, name, float(apart / unit) if stage != "tokens" else np.inf if apart else 0.0))
    return sorted(rows, key=lambda row: STAGES.index(row.stage))


def fits(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether two results are comparable: ours may broadcast, as a position embedding (1, T, D) does to (B, T, D)."""
    return ours.ndim == theirs.ndim and all(m in (1, n) for m, n in zip(ours.shape, theirs.shape))


def lonely(mine: Side, other: Side) -> dict[str, list[str]]:
    """What only one side has, and what cannot be compared, by reason."""
    ours, theirs = mine.record, other.record
    weights, gradients = (
        [{name for of, name in record if of == stage} for record in (ours, theirs)]
        for stage in ("weights", "gradients")
    )
    outputs = mine.outputs.keys(), other.outputs.keys()
    shapes = [
        f"{name} {ours[stage, name].shape} and {theirs[stage, name].shape}"
        for stage, name in theirs
        if stage == "activations" and (stage, name) in ours and not fits(ours[stage, name], theirs[stage, name])
    ]
    empty = [
        name
        for (stage, name), x in theirs.items()
        if stage == "activations" and (stage, name) in ours and not numbers(ours[stage, name]) and not numbers(x)
    ]
    found = {
        "ours (weights)": sorted(weights[0] - weights[1]),
        "the reference (weights)": sorted(weights[1] - weights[0]),
        "ours (outputs)": sorted(outputs[0] - outputs[1]),
        "the reference (outputs)": sorted(outputs[1] - outputs[0]),
        "two shapes (modules)": shapes,
        "without a finite number on either side (results)": empty,
    }
    if bool(gradients[0]) != bool(gradients[1]):
        found[f"{'ours' if gradients[0] else 'the reference'} (gradients)"] = sorted(gradients[0] or gradients[1])
    return {where: names for where, names in found.items() if names}


def nothing(ours: Side, theirs: Side) -> str:
    """Why no output could be compared; empty if one was."""

    def listed(side: Side) -> str:
        return ", ".join(f"{name} {tuple(x.shape)}" for name, x in side.outputs.items()) or "no floating Tensor"

    shared = [
        (array(ours.outputs[name]), array(theirs.outputs[name])) for name in theirs.outputs if name in ours.outputs
    ]
    pairs = [(a, b) for a, b in shared if fits(a, b)]
    if not pairs:
        return (
            "nothing was compared, since no output has the same name and shape on both sides: "
            f"ours returns {listed(ours)}, the reference {listed(theirs)}"
        )
    if all(not a.size and not b.size for a, b in pairs):
        return (
            f"nothing was compared, since the outputs are empty ({listed(theirs)}): "
            "give a batch with at least one example"
        )
    if not any(numbers(a) or numbers(b) for a, b in pairs):
        return (
            f"nothing was compared, since the outputs have no finite number on either side ({listed(theirs)}): "
            "find the NaN first, for example in `with mg.insight.debug():`"
        )
    return ""


def numbers(x: np.ndarray) -> bool:
    """Whether x has a finite entry."""
    return bool(np.isfinite(x).any())


def told(where: str) -> str:
    """A heading of `Parity.only`, as text."""
    return f"only in {where}" if where.startswith(("ours", "the reference")) else f"not compared, {where}"


def shown(units: float) -> str:
    """A number of units for a table."""
    return f"{units:.1f}" if units < 1e4 else f"{units:.1e}"


def _plain(units: float) -> float | str:
    return units if np.isfinite(units) else "inf"
