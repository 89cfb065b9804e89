"""What a check has to tell: that all is right, or what is wrong, where, in which op and why."""
from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .blame import first_wrong
from .compare import Finding, place
from .diagnose import NO_CAUSE, Cause, diagnose
from .functions import OnTape, ShapeMismatch


class KinkWarning(UserWarning):
    """The function has a kink at the point where it was checked, so no gradient there can be wrong or right."""


class GradientError(AssertionError):
    """A gradient disagrees with what was measured.

    Attributes:
        name, order, way: the function, the order of the derivative that is wrong, and by which way back it was had.
        input, index: the path of the input, and the entry in it where the error is largest.
        analytic, numeric, estimate: the gradient there, the slope that was measured, and the estimated error of that.
        wrong, entries: how many entries of this input are wrong, of how many that were measured.
        cause: the kind of mistake, one of `minigrad.checking.diagnose.KINDS`, or None when no pattern fits.
        causes: all (kind, text) that explain what was found, the likeliest first.
        op, op_input, line: the first op whose own rule is wrong, the input of it that the rule is for, and where it was called.
    """
    name = way = input = op = op_input = line = cause = index = analytic = numeric = estimate = None
    order, wrong, entries = 1, 0, 0
    causes: tuple[Cause, ...] = ()

    def __init__(self, message: str, **known: Any):
        super().__init__(message)
        vars(self).update(known)


class Report(NamedTuple):
    """What a check that passed has found; true in an assert."""
    name: str
    order: int
    errors: tuple[float, ...]                   # the largest of each order, in units of its own estimate: at most 1
    kinks: tuple[str, ...]                      # where no gradient can be right or wrong
    evaluations: int                            # of the function and of its gradient
    seconds: float

    @property
    def worst(self) -> float:
        """The largest error of any order, in units of its estimate."""
        return max(self.errors)

    def __str__(self) -> str:
        kinks = "".join(f"\n  a kink at {kink}: any slope between its two sides was accepted there" for kink in self.kinks)
        return (f"{self.name}: right to order {self.order}; worst error {self.worst:.3f} of its estimate; "
                f"{self.evaluations} evaluations, {self.seconds:.2f} s{kinks}")


def explained(found: Finding, order: int, rng: np.random.Generator) -> GradientError:
    """The error that tells all that can be found out about a Finding."""
    f = found.f
    k, causes = diagnose(found)
    mine = np.array([place(f, i)[0] == f.paths[k] for i in found.entries])
    error = np.where(found.wrong & mine, np.nan_to_num(abs(found.analytic - found.slope.value), nan=np.inf), -1.0)
    at, size = int(error.argmax()), math.prod(f.shapes[k])
    way = "the gradient that can be differentiated again" if found.again else "the gradient"
    known = {"name": f.name, "order": order, "way": way,
             "input": f.paths[k], "index": place(f, found.entries[at])[1], "analytic": float(found.analytic[at]),
             "numeric": float(found.slope.value[at]), "estimate": float(found.slope.estimate[at]),
             "wrong": int((found.wrong & mine).sum()), "entries": int(mine.sum())}
    text = "{name}: {way} of {input} "
    text += "cannot be checked" if found.trouble else (
        "at {place} is {analytic:.10g}, finite differences say {numeric:.10g} ± {estimate:.1g}; {wrong} of {entries} "
        "entries{all} are wrong")
    text = text.format(**known, place=list(known["index"]), all=f" measured, of {size} in all," if size > mine.sum() else "")
    origin = ""
    if isinstance(f, OnTape):
        blamed = first_wrong(f, rng)
        if blamed:
            call, local = blamed
            i, local_causes = diagnose(local)
            causes = local_causes or causes
            known |= {"op": call.op.name, "op_input": local.f.paths[i], "line": str(call.line)}
            origin = "\n  origin: the rule of {op} for its input {op_input!r}, called at {line}".format(**known)
        elif not found.trouble:
            origin = "\n  each op's own rule is right: the mistake lies between them (.detach(), .data, a hook, a wrong formula)"
    told = "".join(f"\n  cause: {cause.text}" for cause in causes or [NO_CAUSE])
    return GradientError(text + told + origin, causes=tuple(causes), cause=causes[0].kind if causes else None, **known)


def of_another_shape(name: str, mismatch: ShapeMismatch) -> GradientError:
    """The error for a derivative by hand that has not the shape of its input, which is a cause in itself."""
    theirs, ours = mismatch.g.shape, mismatch.shape
    text = f"its gradient has shape {theirs}, and the input {ours}"
    if len(theirs) >= len(ours) and all(n in (1, m) for n, m in zip(ours[::-1], theirs[::-1])):
        cause = Cause("broadcast", f"{text}: the input was broadcast, and the sum over the axes it was stretched along forgotten")
    elif theirs == ours[::-1]:
        cause = Cause("transposed", f"{text}: it is transposed")
    else:
        cause = Cause("shape", text)
    return GradientError(f"{name}: the gradient of {mismatch.path} is not of its shape\n  cause: {cause.text}", name=name,
                         way="the gradient", input=mismatch.path, cause=cause.kind, causes=(cause,))
