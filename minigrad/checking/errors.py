"""The result of a check: a Report if the gradient is right, else an error that says what is wrong, where and why."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .blame import Call, first_wrong
from .compare import Finding, located, place
from .diagnose import NO_CAUSE, Cause, diagnose
from .functions import NoGradient, OnTape, ShapeMismatch, stretched
from .numeric import Slope, by_entry, measured_noise


class KinkWarning(UserWarning):
    """The function has a kink at the point where it was checked, so no gradient there can be wrong or right."""


class GradientError(AssertionError):
    """A gradient disagrees with what was measured.

    Attributes:
        name, order, way: the function, the order of the derivative that is wrong, and the backward pass it came from.
        input, index: the path of the input, and the index of the entry with the largest error.
        analytic, numeric, estimate: the gradient there, the measured slope, and the estimated error of the measurement.
        wrong, entries: how many entries of this input are wrong, and how many were measured.
        cause: the kind of mistake, one of `minigrad.checking.diagnose.KINDS`, or None if no pattern fits.
        causes: all (kind, text) that explain the error, the likeliest first.
        op, op_input, line: the first op whose own rule is wrong, the input that the rule is for, and the line that
            called the op.
    """

    name = way = input = op = op_input = line = cause = index = analytic = numeric = estimate = None
    order, wrong, entries = 1, 0, 0
    causes: tuple[Cause, ...] = ()

    def __init__(self, message: str, **known: Any):
        super().__init__(message)
        vars(self).update(known)


class Report(NamedTuple):
    """The result of a check that passed; its truth value is True."""

    name: str
    order: int
    errors: tuple[float, ...]  # the largest error of each order, divided by its estimate: at most 1
    kinks: tuple[str, ...]  # the entries at which no gradient can be right or wrong
    evaluations: int  # of the function and of its gradient
    seconds: float

    @property
    def worst(self) -> float:
        """The largest error of any order, in units of its estimate."""
        return max(self.errors)

    def __str__(self) -> str:
        kinks = "".join(
            f"\n  a kink at {kink}: any slope between its two sides was accepted there" for kink in self.kinks
        )
        return (
            f"{self.name}: right to order {self.order}; worst error {self.worst:.3f} of its estimate; "
            f"{self.evaluations} evaluations, {self.seconds:.2f} s{kinks}"
        )

    def __repr__(self) -> str:
        return str(self)


def explained(found: Finding, order: int, rng: np.random.Generator) -> GradientError:
    """The error that describes a Finding, with its causes and the op it comes from."""
    f = found.f
    k, causes = diagnose(found)
    mine = np.array([place(f, i)[0] == f.paths[k] for i in found.entries])
    error = np.where(found.wrong & mine, np.nan_to_num(abs(found.analytic - found.slope.value), nan=np.inf), -1.0)
    at, size = int(error.argmax()), math.prod(f.shapes[k])
    way = "the gradient that can be differentiated again" if found.again else "the gradient"
    analytic, slope, of = _own(found, at)
    known = {
        "name": f.name,
        "order": order,
        "way": way,
        "input": f.paths[k],
        "index": place(f, found.entries[at])[1],
        "analytic": float(analytic),
        "numeric": float(slope.value),
        "estimate": float(slope.estimate),
        "wrong": int((found.wrong & mine).sum()),
        "entries": int(mine.sum()),
    }
    told = "is {analytic:.10g}, finite differences say {numeric:.10g} ± {estimate:.1g}{of}"
    if found.trouble == "together":
        text = "{name}: {way} of {input} along a random direction in {entries} entries " + told
    elif found.trouble:
        text = "{name}: {way} of {input} at {place} cannot be checked"
    else:
        text = "{name}: {way} of {input} at {place} " + told + "; {wrong} of {entries} entries{all} are wrong"
    measured = f" measured, of {size} in all," if size > mine.sum() else ""
    text = text.format(**known, of=of, place=list(known["index"]), all=measured)
    blamed = first_wrong(f, rng) if isinstance(f, OnTape) else None
    origin = ""
    if blamed:
        local_causes, known_more, origin = _origin(*blamed)
        causes, known = local_causes or causes, known | known_more
    elif isinstance(f, OnTape) and not found.trouble:
        origin = (
            "\n  the rules of all ops on the tape are right: the mistake is between them (.detach(), .data, a hook, "
            "a wrong formula, an op without a rule)"
        )
    return _error(text, causes, origin, known)


def _own(found: Finding, at: int) -> tuple[Any, Slope, str]:
    """The gradient and slope of one output that shows the error, and the words that name this output.

    The check is made on a weighted sum of all outputs, whose gradient would tell the user nothing.
    """
    f, u, y = found.f, found.u, found.y
    slope = Slope(*(part[at] for part in found.slope))
    if found.direction:
        analytic, slope = found.direction
    else:
        analytic = found.analytic[at]
    if len(y) == 1:
        return (
            analytic / u[0],
            Slope(*(part / u[0] for part in slope))._replace(estimate=slope.estimate / abs(u[0])),
            "",
        )
    if not found.trouble and found.contributions.shape[1]:
        i = found.entries[at]
        likely = [int(j) for j in np.argsort(-abs(found.contributions[at]))[:3]]
        for j in likely + [int(i)] * (len(y) == len(f.x) and i not in likely):
            one = np.zeros_like(u)
            one[j] = 1.0
            g = f.gradient(f.x, one, found.again)[i]
            there, _ = by_entry(f, y, one, np.array([i]), measured_noise(f, y, one))
            there = Slope(*(part[0] for part in there))
            if abs(g - there.value) > there.estimate + 1e-9 * abs(there.value):
                path, index = located(j, f.y_names, f.y_shapes)
                return g, there, f" (of {path} at {list(index)})"
    return analytic, slope, f" (of a sum of the {len(y)} outputs with random weights)"


def not_given(f: Any, error: NoGradient, order: int, rng: np.random.Generator) -> GradientError:
    """The error for a derivative that cannot be compared: it raised an error, or differs in shape from its input."""
    known = {"name": f.name, "order": order, "way": "the gradient"}
    if isinstance(error, ShapeMismatch):
        return _error(
            f"{f.name}: the gradient of {error.path} does not have its shape",
            [_failure(error)],
            "",
            known | {"input": error.path},
        )
    blamed = first_wrong(f, rng)
    causes, known_more, origin = _origin(*blamed) if blamed else ([_failure(error.__cause__)], {}, "")
    return _error(f"{f.name}: the gradient cannot be computed", causes, origin, known | known_more)


def _origin(call: Call, local: Finding | Exception) -> tuple[list[Cause], dict, str]:
    """What is known about the first wrong op: the causes, attributes of the error, and a line of its message."""
    if isinstance(local, Finding):
        i, causes = diagnose(local)
        known = {"op_input": local.f.paths[i]}
    else:
        causes, known = [_failure(local)], {"op_input": getattr(local, "path", None)}
    known |= {"op": call.op.name, "line": str(call.line)}
    one = (
        f"rule of {call.op.name} for its input {known['op_input']!r}"
        if known["op_input"]
        else f"rules of {call.op.name}"
    )
    if (
        isinstance(local, Finding)
        and local.trouble in ("unclear", "jump", "infinite")
        and np.isfinite(local.analytic).all()
    ):
        one = f"values of {call.op.name}, as a function of its input {known['op_input']!r}"  # not the rule
    return causes, known, f"\n  origin: the {one}, called at {call.line}"


def _error(text: str, causes: list[Cause], origin: str, known: dict) -> GradientError:
    told = "".join(f"\n  cause: {cause.text}" for cause in causes or [NO_CAUSE])
    return GradientError(text + told + origin, causes=tuple(causes), cause=causes[0].kind if causes else None, **known)


def _failure(error: BaseException | None) -> Cause:
    """Why the result of a rule cannot be compared."""
    if not isinstance(error, ShapeMismatch):
        hint = (
            ": a rule also receives Tensors, for derivatives of higher order, so write it with mg.exp, not np.exp"
            if "would give an array without one" in str(error)
            else ""
        )
        return Cause("raises", f"the rule raises {type(error).__name__}: {error}{hint}")
    if not hasattr(error.g, "shape"):
        return Cause("shape", f"its gradient is a {type(error.g).__name__}, not an array of shape {error.shape}")
    theirs, ours = tuple(error.g.shape), error.shape
    text = f"its gradient has shape {theirs}, and the input {ours}"
    if stretched(ours, theirs):
        return Cause("broadcast", f"{text}: the input was broadcast, and the sum over the broadcast axes was forgotten")
    return Cause("transposed", f"{text}: it is transposed") if theirs == ours[::-1] else Cause("shape", text)
