"""Why two models diverge: reruns the module where they do, trying one change after another until they agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..execution import no_grad
from .sides import Call, Record, Side, attribute, leading
from .structure import width_factor
from .trials import trials

Judge = Callable[[Record, Record], list]  # compares two records; returns rows


@dataclass(frozen=True)
class Divergence:
    """The first comparison that failed: stage, place, difference in units, and a guess at the cause, or None."""

    stage: str
    name: str
    module: str  # class of our module that the guess is about; "" if it is about none
    units: float
    where: str
    guess: str | None

    def __str__(self) -> str:
        return f"{self.stage}: {self.where}, {self.units:.2g} units"


def cause(ours: Side, theirs: Side, first: Any, judge: Judge) -> Divergence:
    """Locate and explain a divergence; `first` is the row of the first comparison that failed."""
    if first.stage == "activations":
        call, where = blame(ours, theirs, first.name, judge)
        guess = left_on(ours, theirs, first, judge) or in_module(ours, theirs, first, call, judge)
        module = call.module if call else ours.model
        return Divergence(first.stage, first.name, type(module).__name__, first.units, where, guess)
    guesses = {"weights": in_weights, "loss": in_loss, "gradients": in_gradients, "tokens": in_tokens}
    guess = guesses[first.stage](ours, theirs, first.name, judge) if first.stage in guesses else None
    return Divergence(first.stage, first.name, "", first.units, first.name, guess)


def blame(ours: Side, theirs: Side, name: str, judge: Judge) -> tuple[Call | None, str]:
    """The innermost module around `name` whose inputs equal the reference's, or None; and where that is, in words."""
    mine, other = ({call.name: call for call in side.calls} for side in (ours, theirs))
    last = mine.get(name)
    if last is None:
        return None, name
    around = [
        call for call in ours.calls if call.name in other and call.began <= last.began and call.ended >= last.ended
    ]
    for call in sorted(around, key=lambda call: -call.began):
        if same_inputs(
            call, other[call.name], lambda a, b: judge({("activations", name): a}, {("activations", name): b})
        ):
            where = "given the same inputs" if call is last else f"given other inputs inside {called(call)}"
            return call, f"{called(last)}, {where}"
        if leading(call.inputs) is None and call.inputs:
            return call, f"{called(last)}, which looks up other rows"
    return None, f"{called(last)}, given other inputs"


def called(call: Call) -> str:
    """The name and the class of the module of a call."""
    return f"{call.name} ({type(call.module).__name__})"


def same_inputs(mine: Call, other: Call, judge: Callable[[np.ndarray, np.ndarray], list]) -> bool:
    """Whether both calls had the same input: the first floating array, or the first array if none is floating."""
    a, b = (next(iter(call.inputs), None) if (x := leading(call.inputs)) is None else x for call in (mine, other))
    return a is not None and b is not None and a.shape == b.shape and all(row.equal for row in judge(a, b))


def left_on(ours: Side, theirs: Side, first: Any, judge: Judge) -> str | None:
    """Dropout: a side whose results differ between two runs, but not in evaluation mode."""
    told, records = [], []
    for side, name in ((ours, "ours"), (theirs, "the reference")):
        if not same_twice(side):
            told.append(name)
            side.model.eval()
        records.append(side.observed()[0])
    if not told or not same_twice(ours) or not same_twice(theirs):
        return None
    closes = any(row.name == first.name and row.equal for row in judge(*records))
    who = " and ".join(told)
    return f"dropout is left on in {who}, so each run gives another result" + (
        f": call .eval() on it, and {agreeing(judge(*records))}"
        if closes
        else "; it is not the only cause, since in evaluation mode a difference remains: call .eval() and compare again"
    )


def same_twice(side: Side) -> bool:
    """Whether two runs with different seeds give the same results."""
    record = side.observed()[0]
    side.seed += 1
    again = side.observed()[0]
    return all(np.array_equal(x, again[key]) for key, x in record.items())


def in_module(ours: Side, theirs: Side, first: Any, call: Call | None, judge: Judge) -> str | None:
    """Try changes on the blamed module and the whole model; report the one that leaves the smallest difference."""
    other = next((c for c in theirs.calls if call and c.name == call.name), None)
    closing, nearest = [], (first.units / 10, None)
    for trial in trials(ours, theirs, call, other, first.name):
        for scope in [ours.model] if call is None or trial.whole else [call.module, ours.model]:
            try:
                with no_grad(), attribute(scope, "forward", trial.change(scope)):
                    rows = judge(ours.observed()[0], theirs.record)
            except Exception:  # many changes do not fit the module
                break
            row = next((row for row in rows if row.name == first.name), first)
            nearest = min(nearest, (row.units, trial.told), key=lambda pair: pair[0])
            if not row.equal and scope is not ours.model:
                break  # a change that does not help the module does not help the model
            if row.equal:
                left = sum(not row.equal for row in rows)
                closing.append((left, max(10, *(row.units for row in rows)), trial.told, rows))
        if closing and closing[-1][:2] == (0, 10):  # everything agrees, so no other change can be better
            break
    if closing:
        *_, told, rows = min(closing, key=lambda found: found[:2])
        return f"{told}; with that changed, {agreeing(rows)}"
    units, told = nearest
    if told is None:
        return scaled(ours, theirs, first.name, judge) or shifted(ours, theirs, first.name, judge)
    return f"{told}; that reduces the difference to {units:.2g} units, so it is not the only cause"


def scaled(ours: Side, theirs: Side, name: str, judge: Judge) -> str | None:
    """Whether the input of a module, or else its output, is a multiple of the reference's."""
    mine, other = ({call.name: call for call in side.calls}.get(name) for side in (ours, theirs))
    pairs = [("its input", leading(mine.inputs), leading(other.inputs))] if mine and other else []
    for what, a, b in (*pairs, ("its output", ours.record["activations", name], theirs.record["activations", name])):
        if a is not None and b is not None and a.shape == b.shape and (factor := proportion(a, b)):
            key = "activations", name
            if judge({key: a / factor}, {key: b})[0].equal:
                return (
                    f"{what} is {factor:.6g} times the reference's{width_factor(factor, a.shape[-1])}: a scale "
                    "is missing, or applied twice"
                )
    return None


def shifted(ours: Side, theirs: Side, name: str, judge: Judge) -> str | None:
    """Whether the difference is one vector, the same at every position: a bias."""
    key = "activations", name
    a, b = ours.record[key], theirs.record[key]
    for axis in (-1, 1) if a.shape == b.shape and a.ndim > 1 and a.size > a.shape[-1] else ():
        others = tuple(i for i in range(a.ndim) if i != axis % a.ndim)
        vector = (b - a).mean(others, keepdims=True)
        if a.size > vector.size and judge({key: a + vector}, {key: b})[0].equal:
            flat = vector.reshape(-1)
            for side, sign, told in (
                (theirs, 1, "ours lacks a bias that the reference adds"),
                (ours, -1, "ours adds a bias that the reference lacks"),
            ):
                for (stage, weight), x in side.record.items():
                    if (
                        stage == "weights"
                        and x.shape == flat.shape
                        and np.allclose(sign * x, flat, rtol=1e-5, atol=1e-9)
                    ):
                        return f"{told}: {weight}"
            return "ours lacks a bias or has one too many: the difference is the same vector at every position"
    return None


def proportion(a: np.ndarray, b: np.ndarray) -> float:
    """The factor c that brings c · b nearest to a, in least squares; 0 if it is 1 up to noise."""
    square = float((b * b).sum())
    factor = float((a * b).sum()) / square if square else 0.0
    return factor if abs(factor - 1) > 1e-6 else 0.0


def agreeing(rows: list) -> str:
    """How many rows are equal, in words."""
    equal = sum(row.equal for row in rows)
    return f"all {equal} results agree" if equal == len(rows) else f"{equal} of {len(rows)} results agree"


def in_weights(ours: Side, theirs: Side, name: str, judge: Judge) -> str | None:
    """Where the values of a wrong weight come from."""

    def weights(record):
        return {of: x for (stage, of), x in record.items() if stage == "weights"}

    mine, wanted = weights(ours.record), weights(theirs.record)
    got, want = mine[name], wanted[name]

    def equal(a, b):
        return a.shape == b.shape and all(row.equal for row in judge({("weights", name): a}, {("weights", name): b}))

    differing = [of for of in mine if of in wanted and not equal(mine[of], wanted[of])]
    if got.ndim == 2 and equal(got.T, want):
        return (
            "it is transposed in ours, as when a Conv1D, stored (in, out), is loaded as a Linear, (out, in): "
            "transpose it"
        )
    if twins := [
        of for of, x in wanted.items() if of != name and theirs.one_array(of, name) and equal(mine.get(of, want), want)
    ]:
        return (
            f"the reference has it tied to {twins[0]}, in ours the head is untied: "
            "make both attributes the same Parameter"
        )
    if twins := [
        of
        for of, x in mine.items()
        if of != name and ours.one_array(of, name) and of in wanted and not equal(wanted[of], want)
    ]:
        return f"ours has it tied to {twins[0]}, in the reference the head is untied: make it a Parameter of its own"
    if others := [of for of, x in wanted.items() if of != name and x.ndim > 1 and equal(got, x)]:
        return f"ours holds the values that the reference calls {others[0]}: the names are exchanged"
    if len(matrices := [of for of in wanted if of in mine and want.ndim > 1]) > 1 and set(matrices) <= set(differing):
        return "every matrix differs: the reference's weights were not loaded into ours"
    return f"{len(differing)} of {len(wanted)} weights differ, the others are equal"


def in_loss(ours: Side, theirs: Side, name: str, judge: Judge) -> str | None:
    """Which formula gives the reference's loss for the same logits: cross-entropy, its mean or sum, shifted or not."""
    labels, logits = ours.inputs.get("labels"), ours.record.get(("activations", "output logits"))
    if labels is None or logits is None or np.ndim(labels) != logits.ndim - 1:
        return None
    log_p = logits - np.logaddexp.reduce(logits, -1, keepdims=True)
    for shifted in (False, True):
        p, y = (log_p[:, :-1], labels[:, 1:]) if shifted and labels.ndim > 1 else (log_p, labels)
        each = -np.take_along_axis(p, np.maximum(y, 0)[..., None], -1)[..., 0]
        kept = y >= 0
        for value, told in (
            (each[kept].mean(), "its mean over the labels that are not -100"),
            (each[kept].sum(), "its sum"),
            (each.mean(), "its mean, with -100 taken for class 0"),
            ((each * kept).mean(), "its mean, with a loss of 0 for labels of -100"),
        ):
            found = {(name, name): np.array(value)}
            if judge(found, {(name, name): theirs.record["loss", name]})[0].equal:
                place = "shifted by one position" if shifted else "in place"
                return f"the reference's loss is the cross-entropy with the labels {place}, {told}; ours is different"
    return None


def in_gradients(ours: Side, theirs: Side, name: str, judge: Judge) -> str | None:
    """The relation of two gradients: a sum over both uses of a tied weight, a row without a gradient, or a factor."""
    key = "gradients", name
    got, want = ours.record[key], theirs.record[key]

    def equal(a, b):
        return judge({key: a}, {key: b})[0].equal

    for tied, of, side, a, b in (
        ("untied", "the reference", theirs, ours.record, want),
        ("tied", "ours", ours, theirs.record, got),
    ):
        for (stage, other), g in a.items():
            if (
                stage == "gradients"
                and other != name
                and side.one_array(other, name)
                and g.shape == want.shape
                and equal(a[key] + g, b)
            ):
                return (
                    f"the gradient of {of} is the sum of those of {name} and {other}, which share one array there: "
                    f"in ours the head is {tied}"
                )
    if not got.any() or not want.any():
        none, has = ("ours", "the reference") if not got.any() else ("the reference", "ours")
        return f"no gradient reaches it in {none}, but one does in {has}: it is frozen, or cut off by a detach"
    rows = [i for i in range(len(got)) if not np.array_equal(got[i], want[i])]
    for row in rows[: len(rows) if got.ndim > 1 else 0]:
        for side, a, b in (("ours", got, want), ("the reference", want, got)):
            if not a[row].any() and equal(np.where(np.arange(len(a))[:, None] == row, 0, b), a):
                return f"row {row} gets no gradient in {side} alone: it is the padding_idx there"
    if got.ndim == 2 and equal(got.T, want):
        return "it is transposed"
    factor = proportion(got, want)
    return f"ours is {factor:.6g} times the reference's" if factor and equal(got / factor, want) else None


def in_tokens(ours: Side, theirs: Side, name: str, judge: Judge) -> str | None:
    """Whether the cache is at fault; the scores of whole texts agree, since otherwise an earlier stage had differed."""
    wanted = theirs.record["tokens", name]
    begun = 1 if getattr(theirs.model.config, "is_encoder_decoder", False) else ours.inputs["input_ids"].shape[1]
    uncached = ours.generate(wanted.shape[1] - begun, use_cache=False)
    return (
        "the cache: with use_cache=False ours generates the same tokens as the reference"
        if np.array_equal(uncached, wanted)
        else None
    )
