"""Compare gradient and measured slope, first in a few random directions, then by entry only where they disagree.

A disagreement shown by a direction stands.  The single entries are then measured to locate the mistake: an error too
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

LIMIT = 256  # up to so many entries in all, each of them is measured if any is suspect,
FEW = 16  # else so many at a time,
MOST = 4096  # and so many in all
DIRECTIONS = 4  # where each is measured poorly: an error can be at right angles to one of them
TINY = float(np.finfo(np.float64).tiny)  # so that 0 / 0 is 0


class Sense(NamedTuple):
    """How exact a measurement is in the dtype the function computes in, relative to the whole."""

    floor: float  # what is not worth another step: less is never called wrong along a direction
    clear: float  # a direction measured less exactly shows nothing
    poor: float  # nor an entry
    sharp: float  # measured more exactly, one direction is enough


SENSE = {"float64": Sense(1e-10, 1e-6, 1e-5, 3e-8), "float32": Sense(1e-4, 1e-2, 3e-2, 1e-4)}


TROUBLES = {
    "random": "two evaluations differ",
    "dtype": "values rounded to a shorter dtype",
    "infinite": "something is not finite",
    "jump": "the value jumps",
    "unclear": "the slope cannot be measured",
    "many": "kinks at too many entries to go through them one by one",
    "together": "no entry alone is wrong beyond the error of its measurement, but all of them along one direction are",
}


@dataclass
class Finding:
    """What was found wrong, in full: what `diagnose` reads."""

    f: Function
    again: bool  # by which way back
    u: np.ndarray
    y: np.ndarray
    entries: np.ndarray  # the entries of f.x that were measured
    analytic: np.ndarray  # their gradient
    slope: Slope
    contributions: np.ndarray  # (entries, outputs)
    wrong: np.ndarray  # which of the entries
    trouble: str | None = None  # one of TROUBLES: why nothing could be compared, entry by entry
    direction: tuple[float, Slope] | None = (
        None  # with "together": gradient and slope along a direction in all the entries
    )


@dataclass
class Passed:
    """The result of a comparison in which everything agreed."""

    worst: float = 0.0  # the largest error, in units of its estimate
    kinks: list[int] = field(default_factory=list)  # entries of f.x


class Look(NamedTuple):
    """What one direction has shown."""

    verdict: Literal["right", "wrong", "unclear"]
    again: bool  # by the way back that is off most
    analytic: float
    slope: Slope


def compare(
    f: Function, rng: np.random.Generator, every_entry: bool = False, skipped: Iterable[int] = (), locate: bool = True
) -> Finding | Passed:
    """Hold each way back to the measured slopes of a random combination u of the outputs.

    Args:
        every_entry: measure each entry, even if the directions find nothing.
        skipped: entries that are not perturbed, for the function that f is the derivative of has a kink there.
        locate: find out which entries are wrong; without, that some are is enough.
    """
    return _Comparison(f, rng, locate).run(every_entry, list(skipped))


class _Comparison:
    """The function at the point where it is checked, and what has to be known of it once."""

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
            return self.troubled("dtype", chosen[:LIMIT])
        groups = [chosen[group] for group in alike(self.gradients[self.f.ways[0]][chosen])]
        if not every_entry and (len(chosen) > LIMIT or not self.locate):
            return next(filter(None, map(self.search, groups)), None) or self.passed
        looks = [] if every_entry else [(part, self.look(part)) for part in groups]
        if not every_entry and all(look.verdict == "right" for _, look in looks):
            return self.passed
        chunks = np.array_split(chosen, len(chosen) // LIMIT + 1)
        found = next(filter(None, map(self.one_by_one, chunks)), None)
        wrong = (self.together(part, look) for part, look in looks if look.verdict == "wrong")
        return found or next(wrong, None) or self.passed

    def search(self, part: np.ndarray, wrong: bool = False) -> Finding | None:
        """Cut a part of the entries in halves, again and again, where the directions disagree.

        Of a part of what is known to be wrong a quick look is enough: it decides only where to look further.
        """
        look = self.glance(part)[0] if wrong else self.look(part)
        if look.verdict == "right":
            return None
        wrong = look.verdict == "wrong"
        if wrong and not self.locate:
            return self.together(part, look)
        if len(part) <= FEW or not self.steady:
            found = self.one_by_one(part)
        else:
            halves = (self.search(half, wrong) for half in np.array_split(part, 2))
            found = next(filter(None, halves), None)
        return found or (self.together(part, look) if wrong else None)

    def look(self, part: np.ndarray) -> Look:
        """Compare the gradient with slopes in random directions of these entries, with care if the first disagrees."""
        for _ in range(DIRECTIONS):
            look, sharp = self.glance(part)
            if look.verdict != "right":
                if not self.steady:
                    return look._replace(verdict="unclear")
                v = self.direction(part)
                look, sharp = self.along(v * np.maximum(1, abs(self.f.x)))
            if look.verdict == "unclear":  # steps of 1 may be too long for what is close to 0, the input of a log, say
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
        """Hold the gradient to the slope along v; and whether that was measured sharply enough to leave it at that."""
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
        # The rounding of the large gradients limits the small ones.
        minor = size <= 1e-3 * max(map(norm, self.gradients.values()))
        return Look("right", again, analytic, slope), minor or tolerance <= sense.sharp * size

    def is_too_fast(self, v: np.ndarray, promised: float, measured: float) -> bool:
        """Whether the slope measured along v means nothing: over the shortest step the function turns, or has another.

        This is looked at only if by the gradient's promise the function moves fast for its size.
        """
        if abs(promised) <= 500 * self.whole:
            return False
        return not abs(over_the_shortest(self.f, self.y, self.u, v) - measured) <= 0.1 * abs(promised)

    def one_by_one(self, entries: np.ndarray) -> Finding | None:
        """Measure entries one by one; what is wrong becomes a Finding, kinks are noted in `passed`."""
        if not self.steady:
            return self.troubled("random", entries)
        self.measured += len(entries)
        if self.measured > MOST and len(entries) <= FEW:
            return self.troubled("many", entries)
        f, sense = self.f, self.sense
        slope, contributions = by_entry(f, self.y, self.u, entries, self.noise, 0 if len(f.x) <= LIMIT else sense.floor)
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
            between = error <= 0.55 * abs(slope.bend) + estimate  # a slope between the two, with a little to spare
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
        """A direction in entry i alone, of its size."""
        v = np.zeros_like(self.f.x)
        v[i] = abs(self.f.x[i]) or 1
        return v

    def together(self, part: np.ndarray, look: Look) -> Finding:
        """What is wrong of the part as a whole, though of no entry alone."""
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
    """1 / size for each output array, so that none hides another; one of mere rounding errors stays small."""
    outputs = parts(y, f.y_shapes)
    sizes = np.array([np.sqrt(np.mean(a * a)) if a.size else 0 for a in outputs])
    sizes = np.maximum(sizes, 1e-6 * max(sizes))
    return joined([np.full(a.shape, 1 / size if 0 < size < np.inf else 1) for a, size in zip(outputs, sizes)])


def alike(g: np.ndarray) -> list[np.ndarray]:
    """Groups of entries whose gradients agree in size within a factor of 10⁴, so that a large one hides no small one.

    Those whose gradient is 0, or not finite, are a group of their own.
    """
    size = abs(g)
    usual = (size > 0) & (size < np.inf)
    largest = size.max(initial=0, where=usual)
    label = np.where(usual, np.log10(largest / size) // 4, -1).astype(int)
    return [np.flatnonzero(label == k) for k in np.flatnonzero(np.bincount(label + 1)) - 1]


def place(f: Function, i: int) -> tuple[str, tuple[int, ...]]:
    """The path of the input that entry i of f.x is in, and its index there."""
    return located(i, f.paths, f.shapes)


def located(i: int, paths: Sequence[str], shapes: Sequence[tuple]) -> tuple[str, tuple[int, ...]]:
    """The same for any arrays laid end to end."""
    for path, shape in zip(paths, shapes, strict=True):
        size = math.prod(shape)
        if i < size:
            return path, tuple(int(k) for k in np.unravel_index(i, shape))
        i -= size
    raise IndexError(i)
