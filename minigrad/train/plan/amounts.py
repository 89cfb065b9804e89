"""Points and durations of a run in a plan: steps, fractions of the whole run, or epochs."""

from __future__ import annotations

import math
import re
from numbers import Integral, Real
from typing import Any

When = int | float | str  # a step; a fraction of the whole run; "3 epochs"


def amount_of(when: When, title: str) -> tuple[float, str]:
    """A point or a duration as a number and its unit: "steps", "epochs" or "parts" of the run.

    Raises:
        TypeError, ValueError: `when` is neither a point nor a duration.
    """
    wanted = "expected steps such as 500, a fraction of the run from 0.0 to 1.0, or text such as '3 epochs'"
    if isinstance(when, str) and (text := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(epochs?|steps?|%)\s*", when)):
        amount, unit = float(text[1]), {"e": "epochs", "s": "steps", "%": "parts"}[text[2][0]]
        amount = amount / 100 if unit == "parts" else amount
    elif isinstance(when, (str, bool)) or not isinstance(when, Real):
        raise (ValueError if isinstance(when, str) else TypeError)(f"{title} is {when!r}; {wanted}")
    else:
        amount, unit = float(when), "steps" if isinstance(when, Integral) else "parts"
    if not (0 <= amount < math.inf) or unit == "parts" and amount > 1 or unit == "steps" and amount % 1:
        raise ValueError(f"{title} is {when!r}; {wanted}")
    return amount, unit


def rounded_up(exact: float) -> int:
    """The first whole step not before `exact`; a millionth of a step is considered a rounding error."""
    return math.ceil(round(exact, 6))


def checked_number(title: str, value: Any, least: float = -math.inf) -> float:
    """A finite number, `least` or more.  Raises TypeError or ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{title} is {value!r}; expected a number")
    number = float(value)
    if not (math.isfinite(number) and number >= least):
        raise ValueError(f"{title} is {value!r}; expected a finite number" + f", {least} or more" * (least > -math.inf))
    return number


def told_period(period: When) -> str:
    """How often something happens, in words."""
    amount, unit = amount_of(period, "")
    return f"{amount:.3%} of the run" if unit == "parts" else f"{amount:g} {unit[: -1 if amount == 1 else None]}"
