"""Compares gradient and measured slope, first in a few random directions, then entry by entry where they disagree.

A disagreement along a direction is final.  The single entries are then measured to locate the mistake; an error too
small to show in any one of them is still reported, for the direction in which it adds up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from .functions import Function, dot, joined, norm, parts
from .numeric import Slope, along, by_entry, exactly, measured_noise, over_the_shortest

MAX_ENTRIES = 256  # inputs of up to this many entries are measured entry by entry if any is suspect;
MIN_PART = 16  # larger ones are bisected down to this many entries,
MAX_MEASURED = 4096  # and at most this many are measured in all
DIRECTIONS = 4  # tried while each is measured poorly, since an error can be orthogonal to one of them
TINY = float(np.finfo(np.float64).tiny)  # keeps 0 / 0 from being NaN


class Sense(NamedTuple):
    """Bounds on the relative error of a measurement, for the dtype that the function computes in."""

    floor: float  # no further steps are taken below this, and a smaller disagreement along a direction is never wrong
    clear: float  # a direction measured less exactly than this decides nothing
    poor: float  # the same for an entry
    sharp: float  # a single direction measured more exactly than this is enough


SENSE = {"float64": Sense(1e-10, 1e-6, 1e-5, 3e-8), "float32": Sense(1e-4, 1e-2, 3e-2, 1e-4)}


TROUBLES = {
    "random": "two evaluations differ",
    "dtype": "values rounded to a lower precision",
    "infinite": "something is not finite",
    "jump": "the value jumps",
    "unclear": "the slope cannot be measured",
    "many": "kinks at too many entries to go through them one by one",
    "together": "no single entry is wrong beyond the error of its measurement, but a direction through all of them is",
}


@dataclass
class Finding:
    """A disagreement, with everything that `diagnose` reads."""

    f: Function
    again: bool  # which backward pass
    u: np.ndarray  # the weights of the outputs
    y: np.ndarray  # the outputs
    entries: np.ndarray  # the entries of f.x that were measured
    analytic: np.ndarray  # their gradient
    slope: Slope
    contributions: np.ndarray  # (entries, outputs)
    wrong: np.ndarray  # a mask over the entries
    trouble: str | None = None  # one of TROUBLES: why the entries could not be compared
    direction: tuple[float, Slope] | None = None  # for "together": gradient and slope along a direction


@dataclass
class Passed:
    """The result of a comparison in which everything agreed."""

    worst: float = 0.0  # the largest error, divided by its estimate
    kinks: list[int] = field(default_factory=list)  # entries of f.x


class Look(NamedTuple):
    """The verdict of one direction."""

    verdict: Literal["right", "wrong", "unclear"]
    again: bool  # the backward pass with the largest error
    analytic: float
    slope: Slope


def compare(
    f: Function, rng: np.random.Generator, every_entry: bool = False, skipped: Iterable[int] = (), locate: bool = True
) -> Finding | Passed:
    """Compare each backward pass with the measured slopes of a random combination u of the outputs.

    Args:
        every_entry: measure each entry, even if the directions find nothing.
        skipped: entries that are not perturbed, since the function that f is the derivative of has a kink there.
        locate: find out which entries are wrong; if False, finding that some are is enough.
    """
    return _Comparison(f, rng, locate).run(every_entry, list(skipped))


class _Comparison:
    """The function at the point where it is checked, with the quantities that are computed once."""

    def __init__(self, f: Function, rng: np.random.Generator, locate: bool):
        self.f, self.rng, self.locate, self.sense = f, rng, locate, SENSE[f.dtype]
        self.y = f.value(f.x)
        self.u = _weights(f, self.y) * (rng.standard_normal(self.y.size) if self.y.size > 1 else 1)
        self.gradients = {again: f.gradient(f.x, self.u, again) for again in f.ways}
        self.whole = max(norm(self.u * self.y), 1e-4 * norm(self.u))
        self.passed, self.measured = Passed(), 0

    @cached_property
    def noise(self) -> float:
        return measured_noise(self.f, self.y, self.u)

    @cached_property
    def moved(self) -> dict[bool, np.ndarray]:
        """How far rounding moves the gradient, by backward pass: its change, (6, entries), under tiny perturbations."""
        tiny = [[1 + 4 * self.f.eps * self.rng.choice([-1, 1], len(a)) for a in (self.f.x, self.u)] for _ in range(6)]
        return {
            again: np.array([self.f.gradient(self.f.x * x, self.u * u, again) - g for x, u in tiny])
            for again, g in self.gradients.items()
        }

    @cached_property
    def steady(self) -> bool:
        """Whether the function and its gradient are the same when computed twice."""
        f = self.f
        return np.array_equal(f.value(f.x), self.y, equal_nan=True) and all(
            np.array_equal(f.gradient(f.x, self.u, again), g, equal_nan=True) for again, g in self.gradients.items()
        )

    def run(self, every_entry: bool, skipped: list[int]) -> Finding | Passed:
        chosen = np.delete(np.arange(len(self.f.x)), skipped)
        if not len(chosen):
            return self.passed
        if self.f.dtypes - {self.f.dtype, "float64"}:
            return self.troubled("dtype", chosen[:MAX_ENTRIES])
        groups = [chosen[group] for group in alike(self.gradients[self.f.ways[0]][chosen])]
        if not every_entry and (len(chosen) > MAX_ENTRIES or not self.locate):
            return next(filter(None, map(self.search, groups)), None) or self.passed
        looks = [] if every_entry else [(part, self.look(part)) for part in groups]
        if not every_entry and all(look.verdict == "right" for _, look in looks):
            return self.passed
        chunks = np.array_split(chosen, len(chosen) // MAX_ENTRIES + 1)
        found = next(filter(None, map(self.one_by_one, chunks)), None)
        wrong = (self.together(part, look) for part, look in looks if look.verdict == "wrong")
        return found or next(wrong, None) or self.passed

    def search(self, part: np.ndarray, wrong: bool = False) -> Finding | None:
        """Bisect the entries for as long as the directions disagree.

        Within a part known to be wrong a quick look is enough, since it only decides where to search further.
        """
        look = self.glance(part)[0] if wrong else self.look(part)
        if look.verdict == "right":
            return None
        wrong = look.verdict == "wrong"
        if wrong and not self.locate:
            return self.together(part, look)
        if len(part) <= MIN_PART or not self.steady:
            found = self.one_by_one(part)
        else:
            halves = (self.search(half, wrong) for half in np.array_split(part, 2))
            found = next(filter(None, halves), None)
        return found or (self.together(part, look) if wrong else None)

    def look(self, part: np.ndarray) -> Look:
        """Compare the gradient with slopes in random directions of these entries; a disagreement is measured again."""
        for _ in range(DIRECTIONS):
            look, sharp = self.glance(part)
            if look.verdict != "right":
                if not self.steady:
                    return look._replace(verdict="unclear")
                v = self.direction(part)
                look, sharp = self.along(v * np.maximum(1, abs(self.f.x)))
            if look.verdict == "unclear":  # steps of 1 may be too long near 0, for the input of a log, say
                look, sharp = self.along(v * np.where(self.f.x == 0, 1, abs(self.f.x)))
            if sharp or look.verdict != "right":
                break
        return look

    def glance(self, part: np.ndarray) -> tuple[Look, bool]:
        return self.along(self.direction(part) * np.maximum(1, abs(self.f.x)), quick=True)

    def direction(self, part: np.ndarray) -> np.ndarray:
        v = np.zeros_like(self.f.x)
        v[part] = self.rng.standard_normal(len(part))
        return v

    def along(self, v: np.ndarray, quick: bool = False) -> tuple[Look, bool]:
        """Compare the gradient with the slope along v; also return whether that was measured sharply enough to stop."""
        v, sense = exactly(self.f, v), self.sense
        size = max(norm(g * v) for g in self.gradients.values())
        slope, _ = along(self.f, self.y, self.u, v, 0 if quick else self.noise, sense.floor * size if quick else 0)
        looks = []
        for again, g in self.gradients.items():
            tolerance = slope.estimate + sense.floor * size + TINY
            tolerance += 0 if quick else 4 * abs(self.moved[again] @ v).max()
            analytic = dot(g, v)
            looks.append((abs(analytic - slope.value) / tolerance, again, analytic, tolerance))
        error, again, analytic, tolerance = max(looks)
        clear = slope.bend == 0 and (slope.estimate if quick else tolerance) <= sense.clear * (size + self.whole)
        if not clear or not np.isfinite([error, tolerance]).all():
            return Look("unclear", again, analytic, slope), False
        if error > 1 and not quick and self.is_too_fast(v, analytic, slope.value):
            return Look("unclear", again, analytic, slope), False
        if error > 1:
            return Look("wrong", again, analytic, slope._replace(estimate=tolerance)), False
        self.passed.worst = max(self.passed.worst, error)
        # Small gradients can only be measured to the rounding error of the large ones.
        minor = size <= 1e-3 * max(map(norm, self.gradients.values()))
        return Look("right", again, analytic, slope), minor or tolerance <= sense.sharp * size

    def is_too_fast(self, v: np.ndarray, promised: float, measured: float) -> bool:
        """Whether the slope measured along v is meaningless: over the shortest step the function turns, or differs.

        This is checked only if, according to the gradient, the function changes fast for its size.
        """
        if abs(promised) <= 500 * self.whole:
            return False
        return not abs(over_the_shortest(self.f, self.y, self.u, v) - measured) <= 0.1 * abs(promised)

    def one_by_one(self, entries: np.ndarray) -> Finding | None:
        """Measure entries one by one: return a Finding if any is wrong, and record kinks in `passed`."""
        if not self.steady:
            return self.troubled("random", entries)
        self.measured += len(entries)
        if self.measured > MAX_MEASURED and len(entries) <= MIN_PART:
            return self.troubled("many", entries)
        f, sense = self.f, self.sense
        slope, contributions = by_entry(
            f, self.y, self.u, entries, self.noise, 0 if len(f.x) <= MAX_ENTRIES else sense.floor
        )
        kink, jump = (slope.bend != 0) & np.isfinite(slope.bend), np.isinf(slope.bend)
        scale = max(abs(slope.value[np.isfinite(slope.value)]).max(initial=0), self.whole)
        for again, gradient in self.gradients.items():
            g = gradient[entries]
            estimate = slope.estimate + sense.floor * abs(g) + 4 * abs(self.moved[again][:, entries]).max(0)
            found = Finding(
                f, again, self.u, self.y, entries, g, slope._replace(estimate=estimate), contributions, jump
            )
            if not np.isfinite(g).all():
                return replace(found, wrong=~np.isfinite(g), trouble="infinite")
            if jump.any():
                return replace(found, trouble="jump")
            if not np.isfinite(estimate).all():
                return replace(found, wrong=~np.isfinite(estimate), trouble="infinite")
            error = abs(g - slope.value)
            between = error <= 0.55 * abs(slope.bend) + estimate  # between the two slopes, with a small margin
            poor = (estimate > sense.poor * np.maximum(scale, abs(g))) & ~kink
            vague = (slope.estimate > 0.1 * abs(slope.value)) & (slope.estimate > sense.poor * abs(g))
            poor |= vague & (error > estimate) & ~kink
            for k in np.flatnonzero(kink | (error > estimate)):
                v = self.alone(entries[k])
                poor[k] |= self.is_too_fast(v, g[k] * v.sum(), slope.value[k] * v.sum())
            wrong = (error > estimate) & ~poor & ~(kink & between)
            stairs = wrong & (slope.value == 0) & (abs(slope.far - g) <= 0.1 * abs(g))
            if stairs.any() or wrong.any() or poor.any():
                trouble = "dtype" if stairs.any() else None if wrong.any() else "unclear"
                return replace(found, wrong=next(some for some in (stairs, wrong, poor) if some.any()), trouble=trouble)
            self.passed.worst = max(self.passed.worst, *(error / np.where(kink, np.inf, estimate + TINY)))
        self.passed.kinks += entries[kink].tolist()
        return None

    def alone(self, i: int) -> np.ndarray:
        """A direction along entry i alone, as long as its absolute value."""
        v = np.zeros_like(self.f.x)
        v[i] = abs(self.f.x[i]) or 1
        return v

    def together(self, part: np.ndarray, look: Look) -> Finding:
        """A Finding for the part as a whole, of which no single entry is measurably wrong."""
        found = self.troubled("together", part)
        return replace(
            found, again=look.again, analytic=self.gradients[look.again][part], direction=(look.analytic, look.slope)
        )

    def troubled(self, trouble: str, entries: np.ndarray) -> Finding:
        """A Finding without a measurement of the entries."""
        again, many = self.f.ways[0], len(entries)
        return Finding(
            self.f,
            again,
            self.u,
            self.y,
            entries,
            self.gradients[again][entries],
            Slope(*np.full((4, many), np.nan)),
            np.zeros((many, 0)),
            np.ones(many, bool),
            trouble,
        )


def _weights(f: Function, y: np.ndarray) -> np.ndarray:
    """1 / size for each output array, so that none hides another; an output of mere rounding errors stays small."""
    outputs = parts(y, f.y_shapes)
    sizes = np.array([np.sqrt(np.mean(a * a)) if a.size else 0 for a in outputs])
    sizes = np.maximum(sizes, 1e-6 * max(sizes))
    return joined([np.full(a.shape, 1 / size if 0 < size < np.inf else 1) for a, size in zip(outputs, sizes)])


def alike(g: np.ndarray) -> list[np.ndarray]:
    """Groups of entries whose gradients agree in size within a factor of 10⁴, so that large ones hide no small ones.

    Entries whose gradient is 0 or not finite form a group of their own.
    """
    size = abs(g)
    usual = (size > 0) & (size < np.inf)
    largest = size.max(initial=0, where=usual)
    label = np.where(usual, np.log10(largest / size) // 4, -1).astype(int)
    return [np.flatnonzero(label == k) for k in np.flatnonzero(np.bincount(label + 1)) - 1]


def place(f: Function, i: int) -> tuple[str, tuple[int, ...]]:
    """The path of the input that contains entry i of f.x, and the index of the entry in it."""
    return located(i, f.paths, f.shapes)


def located(i: int, paths: Sequence[str], shapes: Sequence[tuple]) -> tuple[str, tuple[int, ...]]:
    """The path of the array that contains entry i of the concatenated arrays, and the index of the entry in it."""
    for path, shape in zip(paths, shapes, strict=True):
        size = math.prod(shape)
        if i < size:
            return path, tuple(int(k) for k in np.unravel_index(i, shape))
        i -= size
    raise IndexError(i)
