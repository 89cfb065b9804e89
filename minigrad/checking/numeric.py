"""Measures slopes by central differences at shrinking steps, extrapolated to 0, with an estimate of the error.

Let d = f(x + h) - f(x - h) and s = f(x + h) + f(x - h) - 2 f(x) for a step h.  d / 2h is the slope plus a series in h²;
s / h is a series in h, h³, …, whose limit at h = 0 is the difference of the slopes ahead and behind: a kink.  Since the
steps shrink by a known ratio, the first terms of a series can be cancelled (Richardson 1911).  The change made by the
last cancellation estimates the error of the result (Ridders 1982); the rounding error of a difference of two nearly
equal numbers is added to it.  So each measurement provides its own tolerance.

The first steps are long, since rounding then matters least.  If the function varies within such a step, the estimate
is large, and shorter steps follow until it is small or dominated by rounding.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from .functions import ByHand, Function, dot, norm

EPS = float(np.finfo(np.float64).eps)
MAX_OUTPUTS = 1 << 14  # above which the contributions of the single outputs are not kept


class Slope(NamedTuple):
    """d/dt of u · f(x + t v) at 0: numbers, or arrays with an entry for each direction measured."""

    value: Any
    estimate: Any  # the estimated error of the value
    bend: Any  # the slope ahead minus the slope behind: 0 if they agree, inf at a jump
    far: Any  # the mean slope over the longest step


class Limit:
    """The limit of a series in the step h that contains the powers `first`, `first` + 2, and so on.

    Of two results the one with the smaller error is kept, unless the results of shorter steps contradict it: long
    steps may miss what the function does close to x.
    """

    def __init__(self, first: int):
        self.first, self.row, self.value, self.error = first, [], np.nan, np.inf

    def add(self, d: float, rounding: float) -> None:
        """Add a difference, at a quarter of the last step, and the part of its error that is due to rounding."""
        row, found = [d], []
        for j, above in enumerate(self.row[:5]):
            better = row[-1] + (row[-1] - above) / (4.0 ** (self.first + 2 * j) - 1)
            found.append((max(abs(better - row[-1]), abs(better - above)) + rounding, better))
            row.append(better)
        self.row = row
        error, value = min(((e, b) for e, b in found if np.isfinite(e)), default=(np.inf, np.nan))
        if error < self.error or abs(value - self.value) > error + self.error:
            self.value, self.error = value, error


def steps(eps: float) -> np.ndarray:
    """Step lengths, relative to the size of x: in float64 from 2⁻⁵ down to 2⁻²⁹, each a quarter of the last."""
    first, last = round(np.log2(eps) / 10), round(np.log2(eps) / 2) - 3
    return 2.0 ** np.arange(first, last - 1, -2)


def exactly(f: Function, v: np.ndarray) -> np.ndarray:
    """The direction v, rounded to so few digits that x + h v is exact unless it crosses a power of 2.

    The step taken is then exactly the step intended.
    """
    shortest = steps(f.eps)[-1]
    grid = 4 * f.eps * np.maximum(abs(f.x), abs(v) * shortest) / shortest
    grid = np.ldexp(1.0, np.frexp(grid)[1])  # the next power of 2
    return np.where(v == 0, 0, np.round(v / grid) * grid)


def along(
    f: Function, y: np.ndarray, u: np.ndarray, v: np.ndarray, noise: float = 0.0, enough: float = 0.0
) -> tuple[Slope, np.ndarray]:
    """The slope of u · f along the direction v, and the contribution of each output to it.

    Args:
        y: the value of f at x.
        noise: the error of u · y, if it exceeds the rounding error.
        enough: an error below which no shorter steps are taken; 0 takes all of them.
    """
    slope, bend, leaps, far, size = Limit(2), Limit(1), [], np.nan, norm(u * y)
    contributions, least = np.zeros(len(y) if len(y) <= MAX_OUTPUTS else 0), np.inf
    for h in steps(f.eps):
        step = h * v
        ahead, behind = f.value(f.x + step), f.value(f.x - step)
        to, fro = dot(ahead - y, u), dot(y - behind, u)
        rounding = max(noise, 4 * f.eps * max(size, norm(u * ahead)))
        leaps.append((to, fro, rounding))
        slope.add((to + fro) / (2 * h), rounding / h)
        bend.add((to - fro) / h, 4 * rounding / h)
        far = (to + fro) / (2 * h) if np.isnan(far) else far
        if slope.error < least and len(contributions):
            contributions, least = (ahead - behind) / (2 * h) * u, slope.error
        straight = not abs(bend.value) > 4 * bend.error
        if straight and enough and (slope.error <= enough or rounding / h > slope.error):
            break
    value, error = _refined(f, u, v, slope.value, slope.error, max(noise, 4 * f.eps * size))
    return Slope(value, error, np.inf if _jumps(leaps) else 0.0 if straight else bend.value, far), contributions


def _jumps(leaps: list) -> bool:
    """Whether, on one side or both, the value changes by the same amount over every step: a jump, not a slope."""
    last, noise = np.array([leap[:2] for leap in leaps[-3:]]), leaps[-1][2]
    size = abs(last[-1])
    steady = (np.ptp(last, 0) < 0.02 * size) & (size > 100 * noise)
    return bool(steady.all() or steady.any() and size[steady][0] > 10 * size[~steady][0])


def by_entry(
    f: Function, y: np.ndarray, u: np.ndarray, entries: np.ndarray, noise: float, enough: float = 0.0
) -> tuple[Slope, np.ndarray]:
    """The slope of u · f along each of these entries of x, and each output's contribution to it (entries, outputs).

    `enough` is an error, relative to u · y, below which no shorter steps are taken; see `along` for the rest.
    """
    found, contributions = [], np.zeros((len(entries), len(y) if len(y) <= MAX_OUTPUTS else 0))
    whole = norm(u * y)
    for j, i in enumerate(entries):
        tries = []
        # Near 0 a step of 1 is too long for log, for example.
        for size in dict.fromkeys((max(1.0, abs(f.x[i])), abs(f.x[i]) or 1.0)):
            v = np.zeros_like(f.x)
            v[i] = size
            v = exactly(f, v)
            slope, parts = along(f, y, u, v, noise, enough * whole)
            tries.append((Slope(*(np.asarray(part) / v[i] for part in slope)), parts / v[i], v))
            if slope.bend == 0 and slope.estimate <= 1e-9 * max(abs(slope.value), whole):
                break
        (first, _, v), (last, _, _) = tries[0], tries[-1]
        if abs(last.value - first.value) > first.estimate and np.isnan(over_the_shortest(f, y, u, v)):
            del tries[0]
        best = better(*(slope for slope, *_ in tries))
        found.append(best)
        if len(y) <= MAX_OUTPUTS:
            contributions[j] = next(parts for slope, parts, _ in tries if slope is best)
    return Slope(*np.array(found, float).reshape(-1, 4).T), contributions


def better(first: Slope, *others: Slope) -> Slope:
    """The best of several slopes, each measured with shorter steps than the one before."""
    for other in others:
        straightened = first.bend != 0 and other.bend == 0 and np.isfinite(other.estimate)
        contradicts = abs(other.value - first.value) > other.estimate + first.estimate
        if straightened or first.bend == 0 and (other.estimate < first.estimate or contradicts):
            first = other
    return first


def _refined(f, u, v, value, estimate, noise):
    """The complex step, exact but for rounding (Squire & Trapp 1998), if f handles complex numbers correctly.

    No Tensor is complex, so this serves functions of NumPy arrays only.  A function that mishandles complex numbers,
    with abs or a comparison, is recognised because it disagrees with the real differences.  The rounding error is that
    of the whole, `noise`, not of this slope alone: where large numbers cancel (1 - tanh² far from 0) a small slope is
    right to fewer digits, and so is the best gradient written by hand.
    """
    if isinstance(f, ByHand) and f.eps == EPS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # NumPy warns that a cast discards the imaginary part
                exact = dot(np.imag(f.value(f.x + 1e-100j * v)), u) / 1e-100
        except Exception:  # f does not take complex numbers
            return value, estimate
        if abs(exact - value) <= estimate:
            return exact, min(estimate, 64 * EPS * abs(exact) + 16 * noise)
    return value, estimate


def over_the_shortest(f: Function, y: np.ndarray, u: np.ndarray, v: np.ndarray) -> float:
    """The slope of u · f along v over the shortest step, the mean of both sides; NaN if f turns within that step.

    A wave shorter than the steps has some slope over each of them, but these slopes are unrelated.
    """
    h = steps(f.eps)[-1]
    v, size = h * exactly(f, v), norm(u * y)
    parts = np.sqrt(np.linspace(0.25, 1, 6))  # incommensurable, and enough that they do not agree by chance
    leaps = np.array([[dot(f.value(f.x + t * v) - y, u) / t for t in sign * parts] for sign in (1, -1)])
    straight = np.ptp(leaps, axis=1).max() <= 0.1 * abs(leaps).max() + 32 * f.eps * size
    return leaps[:, 0].mean() / h if straight else np.nan


def measured_noise(f: Function, y: np.ndarray, u: np.ndarray) -> float:
    """The noise of u · f, from 32 times its sixth differences, which vanish for a smooth function (Moré & Wild 2011).

    Each side of x is measured separately, and the result is at most 4 times the noise of the quieter one, since there
    may be a kink or a jump at x.  The errors of the outputs add up in squares, since the weights u are random.
    """
    size = 0.7 * np.where(f.x == 0, 1, f.x)  # not a power of 2, whose multiples would all round alike
    # Steps are short, for functions that vary fast; a function rounded to a lower precision may be constant over them,
    # and then needs the longer ones.
    for power in (-30, -20) if f.eps == EPS else (-17,):
        sides = []
        for sign in (1, -1):
            values = np.array([f.value(f.x + sign * t * size * 2.0**power) for t in range(1, 11)])
            sides.append(np.sqrt((np.diff(values, 6, axis=0) ** 2).mean(0) / 924))  # 924 = 12! / 6!²
        if np.mean(values[0] != y) > 0.5:
            break
    noise = np.minimum(4 * np.minimum(*sides), np.maximum(*sides))
    return max(4 * f.eps * norm(u * y), 32 * norm(u * noise))
