"""Explains wrong gradients: each standard mistake leaves a pattern in the numbers, and each pattern is tried."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, combinations, permutations, product
from typing import NamedTuple

import numpy as np

from .compare import MAX_ENTRIES, MAX_MEASURED, SENSE, Finding
from .functions import Function, joined, norm, parts
from .numeric import by_entry


class Cause(NamedTuple):
    """A cause of a wrong gradient: its kind, and a sentence for the error message."""

    kind: str  # one of the keys of KINDS
    text: str


KINDS = {
    "random": "two evaluations at the same point differ",
    "infinite": "not a finite number",
    "dtype": "rounded to a lower precision on the way",
    "zero": "no gradient arrives",
    "sign": "the opposite sign",
    "factor": "a constant factor",
    "mean": "a constant factor that is a count of entries: the 1/n of a mean",
    "transposed": "the entries of the transpose",
    "symmetric": "right for a symmetric input only",
    "neighbour": "the gradient of another input",
    "shifted": "the entries of other positions: a wrong slice",
    "broadcast": "the sum over a broadcast axis was forgotten",
    "duplicates": "= where += was meant: of several contributions to one entry, only one arrives",
    "shape": "a shape other than the input's",
    "raises": "a rule raises an error",
    "kink": "the slope jumps here",
    "jump": "the value jumps here",
    "unclear": "the slope cannot be measured",
    "together": "wrong along a direction, though no single entry is measurably wrong",
    "upstream": "not multiplied by the incoming gradient, or not proportional to it",
    "axis": "taken along another axis",
}


NO_CAUSE = Cause("none", "none of the standard mistakes leaves this pattern; compare the rule with the formula")


class Leaf:
    """One input of the function, with the measurements of its entries."""

    def __init__(self, found: Finding, k: int):
        f, self.start = found.f, sum(math.prod(shape) for shape in found.f.shapes[:k])
        self.shape, self.path = f.shapes[k], f.paths[k]
        mine = (found.entries >= self.start) & (found.entries < self.start + math.prod(self.shape))
        self.at = found.entries[mine] - self.start  # the entries measured, and of each:
        self.g, self.n, self.wrong = found.analytic[mine], found.slope.value[mine], found.wrong[mine]
        self.estimate, self.bend = found.slope.estimate[mine], found.slope.bend[mine]
        self.contributions = found.contributions[mine]
        self.whole = len(self.at) == math.prod(self.shape)
        self.tolerance = 1e-6 * abs(self.n).max(initial=0) + 4 * self.estimate

    def is_like(self, expected: np.ndarray) -> bool:
        """Whether the gradient equals `expected` within the tolerance of the measurement."""
        return bool((abs(self.g - expected) <= self.tolerance).all())


def diagnose(found: Finding) -> tuple[int, list[Cause]]:
    """The first wrong input, and the causes that explain it, the likeliest first; none if no pattern fits."""
    worst = int(found.entries[found.wrong][0])
    ends = np.cumsum([math.prod(shape) for shape in found.f.shapes])
    k = int(np.searchsorted(ends, worst, "right"))
    return k, list(dict.fromkeys(_patterns(found, Leaf(found, k), k)))


def _patterns(found: Finding, leaf: Leaf, k: int) -> Iterator[Cause]:
    if found.trouble:
        yield _trouble(found, leaf)
        return
    wrong = leaf.wrong
    g, n, estimate = leaf.g[wrong], leaf.n[wrong], leaf.estimate[wrong]
    if not g.any():
        where = "" if wrong.all() else " in these entries"
        yield Cause(
            "zero",
            f"no gradient arrives{where}: a rule is missing or returns zeros, or the function left the tape "
            "(.detach(), .data, a NumPy function)",
        )
        if wrong.all():
            return
    if leaf.bend[wrong].all():
        yield Cause("kink", "the slope jumps here, and the gradient does not lie between the slopes on its two sides")
    yield from _upstream(found, k)
    factors = list(_ratio(found, leaf, g, n, estimate))
    yield from factors
    if not factors and (abs(g - n) <= 1e-6 * abs(n).max()).all():
        yield Cause("dtype", "right to about seven digits, as if it had been rounded to float32 on the way")
        return
    if leaf.whole:
        yield from _moved(found, leaf, k)
        yield from _axis(found, leaf, k)
    yield from _lost(found, leaf)


def _trouble(found: Finding, leaf: Leaf) -> Cause:
    """Why the entries could not be compared."""
    f = found.f
    if found.trouble == "random":
        what = "the gradient" if np.array_equal(f.value(f.x), found.y, equal_nan=True) else "the function"
        return Cause(
            "random",
            f"{what} is not the same when computed twice at the same point: use a generator with a fixed "
            "seed, created anew in each call, or switch dropout off with model.eval()",
        )
    if found.trouble == "infinite":
        return Cause(
            "infinite",
            "the function itself is not finite here: an overflow, or an input outside its domain"
            if not np.isfinite(found.y).all()
            else "the gradient is not finite"
            if not np.isfinite(leaf.g).all()
            else "the input lies at the edge of the function's domain, so it has a slope on one side only; slopes are "
            "measured from both, so the gradient may be right or wrong: move the input inside"
            if _at_the_edge(found)
            else "the function is not finite near the input, so its slope cannot be measured: move the input away",
        )
    if found.trouble == "jump":
        return Cause(
            "jump",
            "the value of the function jumps here, so it has no slope, and no gradient is right or "
            "wrong: move the input away",
        )
    if found.trouble == "many":
        return Cause(
            "unclear",
            f"more than {MAX_MEASURED} entries had to be measured one by one, because of kinks near them: "
            "check fewer entries, or move the inputs away from the kinks",
        )
    if found.trouble == "together":
        return Cause(
            "together",
            "no entry is wrong by more than the error of its own measurement, but together the errors add up: "
            "a small factor or offset, or an approximation",
        )
    shorter = ", ".join(sorted(f.dtypes - {"float64"}))
    if found.trouble == "dtype" or f.dtype == "float64" and (shorter or _stepped(f, found.y)):
        return Cause(
            "dtype",
            f"the function does not compute in float64 throughout ({shorter or 'float32, say,'} inside): "
            "its values are too coarse to be checked as float64; let constants and casts follow the "
            'dtype of the input, or check it with dtype="float32"',
        )
    moved = norm(found.u * (f.value(f.x * (1 + 2 * f.eps)) - found.y)) / (norm(found.u * found.y) or 1)
    why = "the function moves faster than the shortest steps, or its values are too noisy"
    if moved > SENSE[f.dtype].clear:
        why = (
            f"changing the last digit of the inputs changes the values by {moved:.0e} of their size; the inputs are "
            f"too large for the resolution of {f.dtype}, or the values are too noisy"
        )
    return Cause("unclear", f"the slope cannot be measured, so the gradient may be right or wrong: {why}")


def _at_the_edge(found: Finding) -> bool:
    """Whether the function is finite on exactly one side of the first wrong entry."""
    f, v = found.f, np.zeros_like(found.f.x)
    i = found.entries[found.wrong][0]
    v[i] = 1e-6 * (abs(f.x[i]) or 1)
    ahead, behind = (np.isfinite(f.value(f.x + sign * v)).all() for sign in (1, -1))
    return bool(ahead != behind)


def _stepped(f: Function, y: np.ndarray) -> bool:
    """Whether steps that float64 resolves leave the values unchanged, as when the function rounds."""
    return bool(np.mean(f.value(f.x * (1 + 1e-12)) == y) > 0.5)


def _upstream(found: Finding, k: int) -> Iterator[Cause]:
    """A rule must be linear in the incoming gradient, so doubling that must double the result."""
    f = found.f
    once, twice = (parts(f.gradient(f.x, c * found.u, found.again), f.shapes)[k] for c in (1, 2))
    size = abs(once).max(initial=0)
    if size and abs(twice - once).max() <= 1e-9 * size:
        yield Cause("upstream", "it does not depend on the incoming gradient: the rule forgot to multiply by g")
    elif size and abs(twice - 2 * once).max() > 1e-6 * size:
        yield Cause(
            "upstream",
            "it is not proportional to the incoming gradient: the rule multiplies by g more than "
            "once, or adds a term without g",
        )


def _ratio(found: Finding, leaf: Leaf, g: np.ndarray, n: np.ndarray, estimate: np.ndarray) -> Iterator[Cause]:
    """The same factor in every wrong entry."""
    large = abs(n).argmax()
    if not n[large] or not g[large]:
        return
    c = g[large] / n[large]
    slack = 4 * (estimate + abs(c) * estimate[large] * abs(n / n[large])) + 1e-9 * abs(g)
    nice = Fraction(c).limit_denominator(64)
    is_nice = abs(c - nice) <= min(1e-6 * abs(c), 4 * abs(c) * estimate[large] / abs(n[large]) + 1e-9 * abs(c))
    if (abs(g - c * n) > slack).any() or len(n) == 1 and not is_nice or is_nice and nice == 1:
        return
    many = "every entry" if leaf.wrong.all() else "each of these entries"
    if nice == -1 and is_nice:
        yield Cause("sign", f"the sign is wrong in {many}")
        return
    counts = {
        math.prod(leaf.shape): "the entries of the input",
        **{size: f"axis {i} of the input" for i, size in enumerate(leaf.shape)},
        len(found.y): "the entries of the output",
        math.prod(leaf.shape) // max(1, len(found.y)): "what was reduced",
    }
    size = max(abs(nice), 1 / abs(nice)) if nice else 0
    mean = is_nice and size > 1 and size.denominator == 1 and int(size) in counts
    if not mean or size == 2:
        spelled = f"{nice}" if is_nice else f"{c:.9g}"
        yield Cause("factor", f"{many} is {spelled} times what it should be" + (", the sign included" if c < 0 else ""))
    if mean:
        yield Cause(
            "mean",
            f"{many} is {nice} times what it should be, and {int(size)} is the count of {counts[int(size)]}: "
            + ("the 1/n of a mean was forgotten" if abs(nice) > 1 else "divided by n once too often"),
        )


def _moved(found: Finding, leaf: Leaf, k: int) -> Iterator[Cause]:
    """The right numbers in the wrong positions."""
    n, many = leaf.n.reshape(leaf.shape), len(leaf.shape)
    if many > 1 and leaf.shape[-1] == leaf.shape[-2] and leaf.is_like(((n + n.swapaxes(-1, -2)) / 2).ravel()):
        yield Cause(
            "symmetric",
            "this is the symmetric part of the gradient, which is right for a function of symmetric matrices, as eigh "
            "and cholesky are, that reads one triangle: symmetrise the input, "
            "lambda x: f((x + x.swapaxes(-1, -2)) / 2)",
        )
        return
    for perm in permutations(range(many)) if 1 < many < 5 else ():
        if perm != tuple(range(many)) and leaf.is_like(n.transpose(perm).ravel()):
            yield Cause(
                "transposed",
                f"these are the entries with axes in the order {perm}: transposed, or reshaped where a "
                "transpose was meant",
            )
            return
    for other, shape in enumerate(found.f.shapes):
        if (
            other != k
            and math.prod(shape) == len(leaf.n)
            and (there := Leaf(found, other)).whole
            and leaf.is_like(there.n)
        ):
            yield Cause("neighbour", f"this is the gradient of {there.path}")
            return
    for axis, size in enumerate(leaf.shape):
        for shift in range(1, size):
            rolled = np.roll(n, shift, axis)
            empty = [rolled.copy(), rolled.copy()]  # zeros may stand where the roll wraps around
            np.moveaxis(empty[0], axis, 0)[:shift] = 0
            np.moveaxis(empty[1], axis, 0)[shift - size :] = 0
            if any(leaf.is_like(moved.ravel()) for moved in (rolled, *empty)):
                by = shift if 2 * shift <= size else shift - size
                yield Cause(
                    "shifted", f"these are the entries of other positions, {by:+d} along axis {axis}: a wrong slice"
                )
                return
        if leaf.is_like(np.flip(n, axis).ravel()):
            yield Cause("shifted", f"these are the entries in reverse order along axis {axis}")
            return


class _Swapped(Function):
    """A function with two axes of input k exchanged before it, and two axes of its only output after it."""

    def __init__(self, f: Function, k: int, before: tuple[int, int], after: tuple[int, int]):
        self.f, self.k, self.before, self.after = f, k, before, after
        super().__init__(f.name, list(zip(f.paths, parts(f.x, f.shapes), strict=True)), f.dtype)

    def outputs(self, arrays: list) -> list:
        arrays[self.k] = arrays[self.k].swapaxes(*self.before) if self.before else arrays[self.k]
        y = self.f.value(joined(arrays)).reshape(self.f.y_shapes[0])
        return [(self.f.y_names[0], y.swapaxes(*self.after) if self.after else y)]


def _axis(found: Finding, leaf: Leaf, k: int) -> Iterator[Cause]:
    """The gradient of the same function along another axis of the same length."""
    f = found.f
    if len(f.y_shapes) > 1 or len(leaf.at) > MAX_ENTRIES:
        return
    for before, after in product(_alike(leaf.shape), _alike(f.y_shapes[0])):
        if before or after:
            swapped = _Swapped(f, k, before, after)
            y = swapped.value(f.x)
            slope, _ = by_entry(swapped, y, found.u, leaf.at + leaf.start, 0)
            if leaf.is_like(slope.value):
                what = " and ".join(
                    f"axes {axes[0]} and {axes[1]} of the {whose}"
                    for axes, whose in ((before, "input"), (after, "output"))
                    if axes
                )
                yield Cause(
                    "axis",
                    f"this is the gradient of the function with {what} exchanged: a sum, or another operation "
                    "along an axis, was taken along the wrong one",
                )
                return


def _alike(shape: tuple) -> list[tuple]:
    """The empty tuple, then every pair of axes of the same length."""
    return [(), *((a, b) for a, b in combinations(range(len(shape)), 2) if shape[a] == shape[b] > 1)]


def _lost(found: Finding, leaf: Leaf) -> Iterator[Cause]:
    """One term of a sum instead of the whole."""
    if leaf.contributions.shape[1] != len(found.y):  # there were too many to keep
        return
    for shape, whole in zip(found.f.y_shapes, _per_output(found, leaf), strict=True):
        axes = range(1, whole.ndim)
        for some in chain.from_iterable(combinations(axes, r) for r in axes):
            rest = tuple(a for a in axes if a not in some)
            across = whole.sum(rest)  # (entries, the sizes of `some`)
            for at in (0, -1):
                if leaf.is_like(across[(slice(None), *(at,) * len(some))]) and np.count_nonzero(across) > 1:
                    names = ", ".join(str(a - 1) for a in some)
                    yield Cause(
                        "broadcast",
                        f"only the contribution of index {at} along axis {names} of the output {shape} arrives: "
                        f"the sum over {'that axis' if len(some) == 1 else 'those axes'} was forgotten",
                    )
                    if at == 0:  # the last term is also what remains of a loop that assigns instead of adding
                        return
        for some in chain.from_iterable(combinations(axes, r) for r in range(len(axes), 0, -1)):
            rest = tuple(a for a in axes if a not in some)
            pieces = whole.sum(rest).reshape(len(whole), -1)[leaf.wrong]
            tolerance = leaf.tolerance[leaf.wrong, None]
            used = abs(pieces) > tolerance
            met = used.sum(1)
            if (met > 1).all() and (used & (abs(pieces - leaf.g[leaf.wrong, None]) <= tolerance)).any(1).all():
                yield Cause(
                    "duplicates",
                    f"each of these entries is used up to {met.max()} times, and only the gradient of one use "
                    "arrives: = where += was meant (np.add.at for repeated indices)",
                )
                return


def _per_output(found: Finding, leaf: Leaf) -> list[np.ndarray]:
    """The contribution of each entry of each output: one array of shape (entries, *output shape) per output."""
    split = [parts(row, found.f.y_shapes) for row in leaf.contributions]
    return [np.array(rows) for rows in zip(*split)] if split else []
