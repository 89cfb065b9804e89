"""Why is a gradient wrong?  Each standard mistake leaves a pattern; they are tried one after the other on the numbers found."""
from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, combinations, permutations
from typing import NamedTuple

import numpy as np

from .compare import Finding
from .functions import parts


class Cause(NamedTuple):
    kind: str                                   # one of the keys of KINDS
    text: str


KINDS = {
    "random": "two evaluations at the same point differ",
    "infinite": "not a finite number",
    "dtype": "rounded to a shorter dtype on the way",
    "zero": "no gradient arrives",
    "sign": "the opposite sign",
    "factor": "a constant factor",
    "mean": "a constant factor that is a count of entries: the 1/n of a mean",
    "transposed": "the entries of the transpose",
    "neighbour": "the gradient of another input",
    "shifted": "the entries of other places: a wrong slice",
    "broadcast": "a sum over an axis forgotten",
    "duplicates": "= where += was meant: of what meets in one place, one part arrives",
    "shape": "not of the input's shape",
    "raises": "a rule raises an error",
    "kink": "the slope jumps here",
}


NO_CAUSE = Cause("none", "none of the standard mistakes leaves this pattern; compare the rule with the formula")


class Leaf:
    """One input of the function, with what was measured of it."""

    def __init__(self, found: Finding, k: int):
        f, start = found.f, sum(math.prod(shape) for shape in found.f.shapes[:k])
        self.shape, self.path = f.shapes[k], f.paths[k]
        mine = (found.entries >= start) & (found.entries < start + math.prod(self.shape))
        self.at = found.entries[mine] - start   # the entries measured, and of each:
        self.g, self.n, self.wrong = found.analytic[mine], found.slope.value[mine], found.wrong[mine]
        self.estimate, self.bend = found.slope.estimate[mine], found.slope.bend[mine]
        self.contributions = found.contributions[mine]
        self.whole = len(self.at) == math.prod(self.shape)
        self.tolerance = 1e-6 * abs(self.n).max(initial=0) + 4 * self.estimate

    def is_like(self, expected: np.ndarray) -> bool:
        """Whether the gradient is what it would be if `expected` had been computed in its place."""
        return bool((abs(self.g - expected) <= self.tolerance).all())


def diagnose(found: Finding) -> tuple[int, list[Cause]]:
    """Which input (the first that is wrong), and the causes that explain it, the likeliest first; none, if no pattern fits."""
    worst = int(found.entries[found.wrong][0])
    ends = np.cumsum([math.prod(shape) for shape in found.f.shapes])
    k = int(np.searchsorted(ends, worst, "right"))
    return k, list(dict.fromkeys(_patterns(found, Leaf(found, k), k)))


def _patterns(found: Finding, leaf: Leaf, k: int) -> Iterator[Cause]:
    f = found.f
    if found.trouble == "random":
        what = "the gradient" if np.array_equal(f.value(f.x), found.y, equal_nan=True) else "the function"
        yield Cause("random", f"{what} is not the same when computed twice at the same point: give a generator with a fixed "
                              "seed, made anew in each call, or switch dropout off with model.eval()")
        return
    if found.trouble == "infinite":
        yield Cause("infinite", "the function itself is not finite here: an overflow, or an input outside its domain"
                    if not np.isfinite(found.y).all() else "the gradient is not finite" if not np.isfinite(leaf.g).all() else
                    "the function is not finite near the input, so its slope cannot be measured: move the input away")
        return
    if found.trouble == "noise":
        names = ", ".join(sorted(f.dtypes - {"float64"})) or "float32"
        yield Cause("dtype", f"the function does not compute in float64 throughout ({names} inside): its values are too coarse "
                             "to be held to anything; let constants and casts follow the input's dtype")
        return
    wrong = leaf.wrong
    g, n, estimate = leaf.g[wrong], leaf.n[wrong], leaf.estimate[wrong]
    if not g.any():
        where = "" if wrong.all() else " in these entries"
        yield Cause("zero", f"no gradient arrives{where}: a rule is missing or returns zeros, or the tape was left (.detach(), "
                            ".data, a NumPy function)")
        if wrong.all():
            return
    if leaf.bend[wrong].all():
        yield Cause("kink", "the slope jumps here, and the gradient is none between that before and that after")
    yield from _ratio(found, leaf, g, n, estimate)
    if (abs(g - n) <= 1e-5 * abs(n).max()).all():
        yield Cause("dtype", "right to about seven digits, as if it had been rounded to float32 on the way")
        return
    if leaf.whole:
        yield from _moved(found, leaf, k)
    yield from _lost(found, leaf)


def _ratio(found: Finding, leaf: Leaf, g: np.ndarray, n: np.ndarray, estimate: np.ndarray) -> Iterator[Cause]:
    """The same factor in every wrong entry."""
    large = abs(n).argmax()
    if not n[large] or not g[large]:
        return
    c = g[large] / n[large]
    slack = 4 * (estimate + abs(c) * estimate[large] * abs(n / n[large])) + 1e-9 * abs(g)
    nice = Fraction(c).limit_denominator(64)
    is_nice = abs(c - nice) <= 1e-6 * abs(c)
    if (abs(g - c * n) > slack).any() or len(n) == 1 and not is_nice or is_nice and nice == 1:
        return
    many = "every entry" if leaf.wrong.all() else "each of these entries"
    if nice == -1 and is_nice:
        yield Cause("sign", f"the sign is wrong in {many}")
        return
    counts = {math.prod(leaf.shape): "the entries of the input",
              **{size: f"axis {i} of the input" for i, size in enumerate(leaf.shape)},
              len(found.y): "the entries of the output", math.prod(leaf.shape) // max(1, len(found.y)): "what was reduced"}
    size = max(abs(nice), 1 / abs(nice)) if nice else 0
    mean = is_nice and size > 1 and size.denominator == 1 and int(size) in counts
    if not mean or size == 2:
        spelled = f"{nice}" if is_nice else f"{c:.6g}"
        yield Cause("factor", f"{many} is {spelled} times what it should be" + (", the sign included" if c < 0 else ""))
    if mean:
        yield Cause("mean", f"{many} is {nice} times what it should be, and {int(size)} is the count of {counts[int(size)]}: "
                            + ("the 1/n of a mean was forgotten" if abs(nice) > 1 else "divided by n once too often"))


def _moved(found: Finding, leaf: Leaf, k: int) -> Iterator[Cause]:
    """The right numbers in the wrong places."""
    n, many = leaf.n.reshape(leaf.shape), len(leaf.shape)
    for perm in permutations(range(many)) if 1 < many < 5 else ():
        if perm != tuple(range(many)) and leaf.is_like(n.transpose(perm).ravel()):
            yield Cause("transposed", f"these are the entries with axes in the order {perm}: transposed, or reshaped where a "
                                      "transpose was meant")
            return
    for other, shape in enumerate(found.f.shapes):
        if other != k and math.prod(shape) == len(leaf.n) and (there := Leaf(found, other)).whole and leaf.is_like(there.n):
            yield Cause("neighbour", f"this is the gradient of {there.path}")
            return
    for axis, size in enumerate(leaf.shape):
        for shift in range(1, size):
            rolled = np.roll(n, shift, axis)
            empty = [rolled.copy(), rolled.copy()]                             # what came round the end may be missing
            np.moveaxis(empty[0], axis, 0)[:shift] = 0
            np.moveaxis(empty[1], axis, 0)[shift - size:] = 0
            if any(leaf.is_like(moved.ravel()) for moved in (rolled, *empty)):
                by = shift if 2 * shift <= size else shift - size
                yield Cause("shifted", f"these are the entries of other places, {by:+d} along axis {axis}: a wrong slice")
                return
        if leaf.is_like(np.flip(n, axis).ravel()):
            yield Cause("shifted", f"these are the entries in reverse order along axis {axis}")
            return


def _lost(found: Finding, leaf: Leaf) -> Iterator[Cause]:
    """One part of a sum, and not the whole."""
    if leaf.contributions.shape[1] != len(found.y):                            # too many to be kept
        return
    for shape, whole in zip(found.f.y_shapes, _per_output(found, leaf), strict=True):
        axes = range(1, whole.ndim)
        for some in chain.from_iterable(combinations(axes, r) for r in axes):
            rest = tuple(a for a in axes if a not in some)
            across = whole.sum(rest)            # (entries, the sizes of `some`)
            for at in (0, -1):
                if leaf.is_like(across[(slice(None), *(at,) * len(some))]) and np.count_nonzero(across) > 1:
                    names = ", ".join(str(a - 1) for a in some)
                    yield Cause("broadcast", f"only what comes from index {at} along axis {names} of the output {shape} arrives: "
                                             f"the sum over {'that axis' if len(some) == 1 else 'those axes'} was forgotten")
                    if at == 0:                 # the last of a sum is also what a loop leaves that writes and does not add
                        return
        for some in chain.from_iterable(combinations(axes, r) for r in range(len(axes), 0, -1)):
            rest = tuple(a for a in axes if a not in some)
            pieces = whole.sum(rest).reshape(len(whole), -1)[leaf.wrong]
            tolerance = leaf.tolerance[leaf.wrong, None]
            used = abs(pieces) > tolerance
            met = used.sum(1)
            if (met > 1).all() and (used & (abs(pieces - leaf.g[leaf.wrong, None]) <= tolerance)).any(1).all():
                yield Cause("duplicates", f"each of these entries is used up to {met.max()} times, and the gradient of one use "
                                          "only arrives: = where += was meant (np.add.at for repeated indices)")
                return


def _per_output(found: Finding, leaf: Leaf) -> list[np.ndarray]:
    """What each entry of each output contributes: (entries, *output shape) for each output."""
    split = [parts(row, found.f.y_shapes) for row in leaf.contributions]
    return [np.array(rows) for rows in zip(*split)] if split else []
