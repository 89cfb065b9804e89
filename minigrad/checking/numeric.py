"""How fast a function moves, measured: central differences at several steps, extrapolated to 0, with an estimate of the error.

The error of a central difference is a series in step²; differences at steps that shrink by a known ratio let its first terms be
cancelled (Richardson 1911).  How much the last cancellation changed the answer tells how good it is (Ridders 1982); to that is
added what rounding does to a difference of two nearly equal numbers.  So the tolerance comes with the measurement.
"""
from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from .functions import ByHand, Function

EPS = float(np.finfo(np.float64).eps)
QUICK = np.array([8e-3, 2e-3, 5e-4])            # steps for a first look, times the size of the numbers stepped from
CLOSER = np.array([6e-6, 3e-6])                 # and for a second, should there have been a kink within reach
MANY = 1 << 14                                  # outputs, above which it is not kept what each of them contributes
THOROUGH = 2e-2 / 4.0 ** np.arange(7)           # down to 5e-6


class Slope(NamedTuple):
    """d/dt of u · f(x + t v) at 0."""
    value: np.ndarray                           # one number for each direction measured
    estimate: np.ndarray                        # of the error of it
    bend: np.ndarray                            # how much the slope ahead differs from that behind, at the smallest step


def extrapolate(d: np.ndarray, steps: np.ndarray, noise: Any) -> tuple[np.ndarray, np.ndarray]:
    """The limit, and an estimate of its error, of central differences d (steps, …); `noise` (…) is the error of the values."""
    ratio = (steps[0] / steps[1]) ** 2
    column, found, errors = d, [], []
    for k in range(1, len(d)):
        power = ratio**k
        better = (power * column[1:] - column[:-1]) / (power - 1)
        errors.append(np.maximum(abs(better - column[1:]), abs(better - column[:-1])) + np.multiply.outer(1 / steps[k:], noise))
        found.append(better)
        column = better
    found, errors = np.concatenate(found), np.concatenate(errors)
    errors[~np.isfinite(errors)] = np.inf
    best = errors.argmin(0)[None]
    return np.take_along_axis(found, best, 0)[0], np.take_along_axis(errors, best, 0)[0]


def directional(f: Function, y: np.ndarray, u: np.ndarray, v: np.ndarray, steps: np.ndarray, noise: float) -> Slope:
    """The slope of u · f along one direction v; y is f's value where it starts, `noise` the error of u · f."""
    ahead, behind = (np.array([f.value(f.x + sign * h * v) for h in steps]) - y for sign in (1, -1))
    value, estimate = extrapolate((ahead - behind) @ u / (2 * steps), steps, noise)
    value, estimate = _refined(f, u, v, value, estimate, noise)
    return Slope(value, estimate, (ahead + behind) @ u / steps)


def by_entry(f: Function, y: np.ndarray, u: np.ndarray, entries: np.ndarray) -> tuple[Slope, np.ndarray]:
    """The slope of u · f along each of these entries of x, one by one; and what each output contributes: (entries, outputs)."""
    noise = measured_noise(f, y, u)
    found = _by_entry(f, y, u, entries, np.maximum(1, abs(f.x[entries])), noise)
    scale = max(abs(found[0].value[np.isfinite(found[0].value)]).max(initial=0), abs(u * y).sum())
    poor = np.flatnonzero(~(found[0].estimate <= 1e-6 * scale) | (found[0].bend != 0))
    if len(poor):                               # perhaps the steps were too long for where they started: log near 0
        size = abs(f.x[entries[poor]])
        finer = _by_entry(f, y, u, entries[poor], np.where((size < 1) & (size > 0), size, 1) / 10, noise)
        smooth = (finer[0].bend == 0) & (finer[0].estimate <= 1e-6 * np.maximum(scale, abs(finer[0].value)))
        better = np.where(found[0].bend[poor] != 0, smooth, (finer[0].bend != 0) | (finer[0].estimate < found[0].estimate[poor]))
        for old, new in zip((*found[0], found[1]), (*finer[0], finer[1]), strict=True):
            old[poor[better]] = new[better]
    return found


def _by_entry(f, y, u, entries, scale, noise):
    moved, bends = np.empty((len(THOROUGH), len(entries))), np.empty((len(THOROUGH), len(entries)))
    contributions = np.zeros((len(entries), len(y) if len(y) <= MANY else 0))
    for j, (i, size) in enumerate(zip(entries, scale)):
        for k, h in enumerate(THOROUGH * size):
            there, back = f.x.copy(), f.x.copy()
            there[i] += h
            back[i] -= h
            ahead, behind = f.value(there), f.value(back)
            d = (ahead - behind) / (there[i] - back[i])            # by the step that was taken, not the one that was meant
            moved[k, j], bends[k, j] = d @ u, (ahead + behind - 2 * y) @ u / h
            if k == len(THOROUGH) - 3 and len(y) <= MANY:
                contributions[j] = d * u
    value, estimate = extrapolate(moved, THOROUGH, noise / scale)
    for j, i in enumerate(entries):
        v = np.zeros_like(f.x)
        v[i] = 1
        value[j], estimate[j] = _refined(f, u, v, value[j], estimate[j], noise)
    return Slope(value, estimate, _bend(moved, bends, 100 * noise / scale / THOROUGH[-1])), contributions


def _bend(moved, bends, noise):
    """How much the slopes ahead and behind differ, where that does not shrink with the step; infinite where the value jumps."""
    shrinks = [abs(bends[k]) / np.where(bends[k - 1] == 0, 1, abs(bends[k - 1])) for k in (-1, -2)]
    kink = (0.35 < shrinks[0]) & (shrinks[0] < 1.5) & (0.6 < shrinks[1]) & (shrinks[1] < 1.5) & (abs(bends[-1]) > noise)
    bend = np.where(kink, bends[-3], 0)
    leaps = moved[-4:] * THOROUGH[-4:, None]    # of the value, the same however short the step
    bend[(np.ptp(leaps, 0) < 0.02 * abs(leaps[-1])) & (abs(moved[-1]) > noise)] = np.inf
    return bend


def _refined(f, u, v, value, estimate, noise):
    """The complex step, exact but for rounding (Squire & Trapp 1998), if f takes complex numbers and was not misled by them.

    No Tensor is complex, so that is for functions of NumPy arrays only; abs, comparisons and the like are found out because
    they disagree with the real differences.  Rounding is that of the whole, `noise`, and not of this slope alone: where large
    numbers cancel (1 - tanh² far from 0) a small slope is right to fewer digits, and so is the best gradient by hand.
    """
    if isinstance(f, ByHand):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")                                # that the imaginary part is cast away
                exact = f.value(f.x + 1e-100j * v).imag @ u / 1e-100
        except Exception:                       # whatever it is that f says of complex numbers
            return value, estimate
        if abs(exact - value) <= estimate:
            return exact, min(estimate, 64 * EPS * abs(exact) + 16 * noise)
    return value, estimate


def rounding(f: Function, y: np.ndarray, u: np.ndarray) -> float:
    """The error that u · y has at least."""
    return 4 * EPS * float(abs(u * y).sum())


def measured_noise(f: Function, y: np.ndarray, u: np.ndarray) -> float:
    """How far u · f is from smooth on a small scale, where its fourth differences should vanish (Moré & Wild 2011).

    On each side of x by itself, and the quieter one counts: there may be a kink or a jump at x.
    """
    step = 1e-5 * np.where(f.x == 0, 1, f.x)
    sides = [np.array([f.value(f.x + sign * t * step) for t in range(1, 7)]) for sign in (1, -1)]
    noise = np.minimum(*(abs(np.diff(side, 4, axis=0)).max(0) for side in sides)) / 4
    return max(rounding(f, y, u), float(abs(u) @ noise))
