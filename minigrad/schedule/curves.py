"""The curves that schedules follow, as plain functions of the progress from 0 to 1."""

from __future__ import annotations

import math


def done(step: float, start: float, end: float) -> float:
    """The fraction, 0 to 1, of the way from start to end that is done at `step`."""
    return 1.0 if step >= end else (step - start) / (end - start)


def line(start: float, end: float, progress: float) -> float:
    """From start to end in a straight line."""
    return start + (end - start) * progress


def cosine(start: float, end: float, progress: float) -> float:
    """From start to end along half a cosine wave, flat at both ends."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def cubic(start: float, end: float, progress: float) -> float:
    """From start to end, fast at first and flat at the end."""
    return end + (start - end) * (1 - progress) ** 3
