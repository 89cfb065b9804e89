"""Do the gradient and the measured slopes agree?  First along a few directions at once; entry by entry only where they do not."""
from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from .functions import Function, joined, parts
from .numeric import CLOSER, EPS, QUICK, Slope, by_entry, directional, measured_noise, rounding

LIMIT = 256                                     # up to so many entries in all, each of them is measured if any is suspect;
ENOUGH = 64                                     # else so many suspects at a time
POOR = 1e-5                                     # a measurement less exact than this, relative to the whole, decides nothing
TINY = float(np.finfo(np.float64).tiny)        # so that 0 / 0 is 0


@dataclass
class Finding:
    """What was found wrong, in full: what `diagnose` reads."""
    f: Function
    again: bool                                 # by which way back
    u: np.ndarray
    y: np.ndarray
    entries: np.ndarray                         # the entries of f.x that were measured
    analytic: np.ndarray                        # their gradient
    slope: Slope
    contributions: np.ndarray                   # (entries, outputs)
    wrong: np.ndarray                           # which of the entries
    trouble: str | None = None                  # "random", "noise" or "infinite": why nothing could be compared


@dataclass
class Passed:
    worst: float = 0.0                          # the largest error, in units of its estimate
    kinks: list[str] = field(default_factory=list)


def compare(f: Function, rng: np.random.Generator, every_entry: bool = False) -> Finding | Passed:
    """Hold each way back to the measured slopes of a random combination u of the outputs."""
    y = f.value(f.x)
    u = rng.standard_normal(y.size) * _weights(f, y)
    gradients = {again: f.gradient(f.x, u, again) for again in f.ways}
    passed, waiting, few = Passed(), [], len(f.x) <= LIMIT
    if every_entry or f.dtypes != {"float64"}:
        suspects = iter(np.array_split(np.arange(len(f.x)), len(f.x) // LIMIT + 1))
    else:
        suspects = (part for group in alike(gradients[f.ways[0]]) for part in _narrowed(f, y, u, gradients, group, rng, passed))
    for part in chain(suspects, [None]):
        waiting += [] if part is None else [part]
        if waiting and (part is None or not few and sum(map(len, waiting)) >= ENOUGH):
            entries = np.arange(len(f.x)) if few else np.sort(np.concatenate(waiting))
            found = _thorough(f, y, u, gradients, entries, rng, passed)
            if found:
                return found
            waiting = []
    return passed


def _weights(f: Function, y: np.ndarray) -> np.ndarray:
    """For each output array 1 / its size, so that a large one drowns no small one; but one of rounding errors stays small."""
    outputs = parts(y, f.y_shapes)
    sizes = np.array([np.sqrt(np.mean(a * a)) if a.size else 0 for a in outputs])
    sizes = np.maximum(sizes, 1e-6 * max(sizes))
    return joined([np.full(a.shape, 1 / size if 0 < size < np.inf else 1) for a, size in zip(outputs, sizes)])


def alike(g: np.ndarray) -> list[np.ndarray]:
    """The entries in groups whose gradients are of like size, within a factor of 10⁴: so that a large one drowns no small one.

    Those whose gradient is 0 are a group of their own.
    """
    size = abs(g)
    label = np.where(np.isfinite(g) & (size > 0), np.log10(size.max(initial=0) / size) // 4, -1)
    return [np.flatnonzero(label == k) for k in np.unique(label)]


def _narrowed(f, y, u, gradients, group, rng, passed):
    """The parts of a group, cut in halves again and again, in which the directions still disagree."""
    if not _agree(f, y, u, gradients, group, rng, passed):
        if len(group) <= 16 or len(f.x) <= LIMIT:
            yield group
        else:
            for half in np.array_split(group, 2):
                yield from _narrowed(f, y, u, gradients, half, rng, passed)


def _agree(f, y, u, gradients, part, rng, passed):
    """Whether both ways agree with the slope along a random direction in these entries."""
    v = np.zeros_like(f.x)
    v[part] = rng.standard_normal(len(part))
    v *= np.maximum(1, abs(f.x)) * 2 / np.linalg.norm(v)
    for steps, noise in ((QUICK, rounding), (CLOSER, rounding), (QUICK, measured_noise)):
        slope = directional(f, y, u, v, steps, noise(f, y, u))
        size = max(float(abs(g * v).sum()) for g in gradients.values())
        errors = [abs(g @ v - slope.value) / (slope.estimate + 16 * EPS * size + TINY) for g in gradients.values()]
        bent = abs(slope.bend[-1]) > 0.7 * abs(slope.bend[-2]) and abs(slope.bend[-1]) > 1e-3 * size + 100 * slope.estimate
        good = slope.estimate <= 1e-6 * (size + abs(u * y).sum() + 1e-4 * abs(u).sum())
        if good and not bent and max(errors) <= 1:
            passed.worst = max(passed.worst, *errors)
            return True
    return False


def _thorough(f, y, u, gradients, entries, rng, passed):
    """Measure entries one by one; what is wrong becomes a Finding, kinks are noted in `passed`."""
    none = Slope(*np.full((3, len(entries)), np.nan))
    steady = np.array_equal(f.value(f.x), y, equal_nan=True)
    for again, gradient in gradients.items():
        if not steady or not np.array_equal(f.gradient(f.x, u, again), gradient, equal_nan=True):
            return Finding(f, again, u, y, entries, gradient[entries], none, np.zeros((len(entries), len(y))),
                           np.ones(len(entries), bool), "random")
    slope, contributions = by_entry(f, y, u, entries)
    kink = slope.bend != 0
    for again, gradient in gradients.items():
        g = gradient[entries]
        finding = Finding(f, again, u, y, entries, g, slope, contributions, np.ones(len(g), bool))
        if f.dtypes != {"float64"}:
            finding.trouble = "noise"
            return finding
        if not np.isfinite(g).all() or not np.isfinite(slope.estimate).all():
            finding.wrong = ~np.isfinite(g) | ~np.isfinite(slope.estimate)
            finding.trouble = "infinite"
            return finding
        error, estimate = abs(g - slope.value), slope.estimate + 16 * EPS * abs(g)
        if (error > estimate).any():            # rounding moves the gradient, too: how far, if the inputs hardly change?
            nudges = 1 + 4 * EPS * rng.choice([-1, 1], (6, len(f.x)))
            estimate += 4 * np.max([abs(f.gradient(f.x * nudge, u, again) - gradient)[entries] for nudge in nudges], 0)
        between = error <= 0.55 * abs(slope.bend) + estimate                   # a slope between the two, with a little to spare
        wrong = (error > estimate) & ~(kink & between)
        scale = max(abs(slope.value).max(initial=0), abs(u * y).sum(), 1e-4 * abs(u).sum())
        vague = (estimate > POOR * scale) & ~kink
        if wrong.any() or vague.any():
            finding.wrong = wrong if wrong.any() else vague
            finding.slope = slope._replace(estimate=estimate)
            finding.trouble = None if wrong.any() else "noise"
            return finding
        passed.worst = max(passed.worst, *(error / np.where(kink, np.inf, estimate + TINY)))
    passed.kinks += [f"{path} at {list(index)}" for path, index in (place(f, i) for i in entries[kink])]
    return None


def place(f: Function, i: int) -> tuple[str, tuple[int, ...]]:
    """The path of the input that entry i of f.x is in, and its index there."""
    for path, shape in zip(f.paths, f.shapes, strict=True):
        size = int(np.prod(shape))
        if i < size:
            return path, tuple(int(k) for k in np.unravel_index(i, shape))
        i -= size
    raise IndexError(i)
