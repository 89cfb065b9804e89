"""`minigrad gradcheck`: checks the whole catalogue of ops, or one function of the user's.

The inputs of a user's function are drawn from a seed, with shapes from the command line.  A function that needs more
specific inputs (ids, a mask, numbers in a range) provides them in an attribute, `f.example_inputs = [x, ids]`, which
may also be a function that returns such a list.  Inputs are never guessed: a wrong guess would look like a wrong
gradient.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from .check import gradcheck
from .errors import GradientError, KinkWarning

HEAD = f"{'op':34}{'rows':>5}{'order 1':>10}{'order 2':>10}  verdict"


def check_catalogue() -> int:
    """Print each op's worst error in units of its estimate; the exit status is 1 if any gradient is wrong."""
    from .catalogue import ROWS

    print(f"{HEAD}     (errors in units of their own estimate: at most 1 is right)")
    wrong = 0
    for op in dict.fromkeys(row.op for row in ROWS):
        rows = [row for row in ROWS if row.op == op]
        verdict, errors = _check_rows(rows)
        wrong += verdict.startswith("WRONG")
        print(
            f"{op:34}{len(rows):5}"
            + "".join(f"{e:10.1e}" for e in errors)
            + " " * (20 - 10 * len(errors))
            + f"  {verdict}"
        )
    print(f"{len(ROWS)} rows, {wrong or 'no'} op{'s' * (wrong != 1)} wrong")
    return int(wrong > 0)


def _check_rows(rows: list) -> tuple[str, list[float]]:
    reports = []
    for row in rows:
        f, xs = row.floats()
        if np.asarray(f(*xs)).dtype.kind != "f":
            return "no gradient: its values are not floating", []
        try:
            reports.append(gradcheck(f, xs, order=2, name=row.op))
        except GradientError as error:
            return f"WRONG at order {error.order}: {error.cause or 'no pattern'}", []
    return "right", [max(report.errors[k] for report in reports) for k in range(2)]


def check_function(target: str, shapes: str | None = None, order: int = 2, seed: int = 0) -> int:
    """Check a user's "package.module:function"; print what was found; the exit status is 1 if its gradient is wrong.

    Raises:
        ValueError: the target, the shapes or the inputs are invalid, or the function fails; the message says what to
            type.
    """
    f = _found(target)
    inputs = _drawn(shapes, seed) if shapes is not None else getattr(f, "example_inputs", None)
    inputs = inputs() if callable(inputs) else inputs
    if inputs is None:
        raise ValueError(
            'on which inputs?  Type shapes, --inputs "3,4 4" for a 3 × 4 and a vector of 4 ("-" is a number), '
            f"or give the function its own: {target.partition(':')[2]}.example_inputs = [np.ones((3, 4))]"
        )
    given = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    try:
        signature(f).bind(*given)
    except TypeError as error:
        raise ValueError(f"{target} cannot be called with {len(given)} inputs: {error}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", KinkWarning)  # the report names the kinks
            report = gradcheck(f, inputs, order=order, seed=seed)
    except GradientError as error:
        print(f"WRONG at order {error.order}\n{error}")
        return 1
    except Exception as error:  # raised by the function itself, so nothing is known about its gradient
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        raise ValueError(f"{target} could not be checked: {type(error).__name__}: {error} ({where})") from error
    print(report)
    return 0


def _found(target: str) -> Callable:
    module, colon, name = target.partition(":")
    if not (module and colon and name):
        raise ValueError(f"{target!r} does not name a function: type package.module:function")
    if "" not in sys.path:
        sys.path.insert(0, "")  # find modules in the current directory, as `python -m` does
    try:
        f: Any = import_module(module)
        for step in name.split("."):
            f = getattr(f, step)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{target}: {error}; type the module as in an import, seen from this directory, without .py"
        ) from error
    except AttributeError as error:
        raise ValueError(f"{target}: {error}") from error
    if not callable(f):
        raise ValueError(f"{target} is {f!r:.60}, not a function")
    return f


def _drawn(shapes: str, seed: int) -> list[np.ndarray]:
    """Arrays of standard normal numbers: "3,4 4" gives one of shape (3, 4) and one of shape (4,)."""
    rng = np.random.default_rng(seed)
    try:
        return [
            rng.standard_normal(() if shape == "-" else tuple(int(n) for n in shape.split(",")))
            for shape in shapes.split()
        ]
    except ValueError:
        raise ValueError(
            f'--inputs {shapes!r}: type shapes with spaces between them, "3,4 4" for a 3 × 4 and a vector of 4'
        ) from None
