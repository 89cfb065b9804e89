"""Measures what the checker misses, on hundreds of right and wrong gradients of known error.

The first command counts the wrong gradients that pass, by the size of the input and of the error; the second counts
the right gradients of the whole catalogue that are refused:

    python -m minigrad.checking.curve
    python -m minigrad.checking.curve --false-alarms

A wrong gradient is a right one with a planted relative error in every entry or in some; it is missed if it passes.
"""

from __future__ import annotations

import sys
import warnings
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import ops, primitive
from .check import gradcheck
from .compare import Finding, compare
from .errors import GradientError
from .functions import ByHand, Function, OnTape
from .tree import leaves

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
ERRORS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4)
COMMON = 10_000  # entries of the input, in the comparison of functions and of kinds of errors
COARSE = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # the errors planted in functions in float32
PLANTED: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {  # (gradient, relative error) -> wrong gradient
    "every entry": lambda g, error: g * (1 + error),
    "an offset": lambda g, error: g + error * np.sqrt(np.mean(g * g)),
    "a tenth": lambda g, error: np.where(np.arange(g.size).reshape(g.shape) < g.size / 10, g * (1 + error), g),
    "at random": lambda g, error: g * (1 + error * np.random.default_rng(g.size).standard_normal(g.shape)),
}


class Case(NamedTuple):
    """A function of n numbers and its derivative by hand: the gradient if it returns one number, else the vjp."""

    inputs: Callable[[np.random.Generator, int], list]
    f: Callable
    gradient: Callable | None = None
    vjp: Callable | None = None
    dtype: str = "float64"


def _vector(rng: np.random.Generator, n: int) -> list:
    return [rng.standard_normal(n)]


def _matrix(rng: np.random.Generator, n: int) -> list:
    side = max(2, round((n / 2) ** 0.5))
    return [rng.standard_normal((side, side)), rng.standard_normal((side, side))]


def _dict(rng: np.random.Generator, n: int) -> list:
    return [{"a": rng.standard_normal(n // 2), "b": 1e3 * rng.standard_normal(n - n // 2)}]


def _no_complex(f: Callable) -> Callable:
    """f, refusing complex numbers, so that the checker must use differences of real numbers."""

    def real(*xs: Any) -> Any:
        if any(np.iscomplexobj(x) for x in xs):
            raise TypeError("real numbers only")
        return f(*xs)

    return real


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def _logsumexp(x: np.ndarray) -> float:
    return float(np.log(np.exp(x - x.max()).sum()) + x.max())


CASES = {
    "sin by hand": Case(_vector, np.sin, vjp=lambda g, x: g * np.cos(x)),
    "sin, real": Case(_vector, _no_complex(np.sin), vjp=lambda g, x: g * np.cos(x)),
    "tanh, real": Case(_vector, _no_complex(np.tanh), vjp=lambda g, x: g / np.cosh(x) ** 2),
    "sum of squares": Case(_vector, _no_complex(lambda x: (x * x).sum()), lambda x: 2 * x),
    "logsumexp": Case(_vector, _no_complex(_logsumexp), _softmax),
    "softmax": Case(_vector, _no_complex(_softmax), vjp=lambda g, x: (y := _softmax(x)) * (g - (g * y).sum())),
    "norm": Case(_vector, _no_complex(lambda x: float(np.sqrt((x * x).sum()))), lambda x: x / np.sqrt((x * x).sum())),
    "relu": Case(_vector, _no_complex(lambda x: np.maximum(x, 0)), vjp=lambda g, x: g * (x > 0)),
    "matrix product": Case(_matrix, _no_complex(np.matmul), vjp=lambda g, a, b: (g @ b.T, a.T @ g)),
    "dict": Case(
        _dict,
        lambda p: (np.exp(p["a"]), np.sin(p["b"] / 1e3)),
        vjp=lambda gs, p: {"a": gs[0] * np.exp(p["a"]), "b": gs[1] * np.cos(p["b"] / 1e3) / 1e3},
    ),
    "sin in float32": Case(_vector, lambda x: np.sin(x.astype("f4")), vjp=lambda g, x: g * np.cos(x), dtype="float32"),
    "sum of squares in float32": Case(_vector, lambda x: (x.astype("f4") ** 2).sum(), lambda x: 2 * x, dtype="float32"),
}


def by_hand(case: Case, planted: str, error: float, size: int, seed: int) -> Function:
    """The case as the checker sees it, with an error planted in each part of its gradient."""
    wrong = PLANTED[planted]

    def changed(derivative: Callable) -> Callable:
        def other(*given: Any) -> Any:
            g = derivative(*given)
            parts = list(g.values()) if isinstance(g, dict) else g if isinstance(g, tuple) else [g]
            return [wrong(part, error) for part in parts]

        return other

    tree = case.inputs(np.random.default_rng(seed), size)
    found = [pair for i, x in enumerate(tree) for pair in leaves(x, f"input {i}")]
    return ByHand(
        case.f, case.gradient and changed(case.gradient), case.vjp and changed(case.vjp), tree, found, "f", case.dtype
    )


def on_tape(planted: str, error: float, size: int, seed: int, order: int = 1) -> Function:
    """sin, a function of Tensors, with the error in its rule or, at order 2, in the rule of its derivative."""
    wrong = PLANTED[planted]

    @primitive
    def changed(xp: Any, g: Any, /) -> Any:
        return wrong(g, error)

    changed.defvjp(g=lambda g: changed(g))

    @primitive
    def sine(xp: Any, x: Any, /) -> Any:
        return xp.sin(x)

    @primitive
    def cosine(xp: Any, x: Any, /) -> Any:
        return xp.cos(x)

    sine.defvjp(x=lambda g, x: changed(g * ops.cos(x)) if order == 1 else g * cosine(x))
    cosine.defvjp(x=lambda g, x: changed(-g * ops.sin(x)))
    x = np.random.default_rng(seed).standard_normal(size)
    f = OnTape.of(sine, [x], [("input 0", x)], "sin", "float64")
    if order == 1:
        return f
    f.value(f.x)
    return f.derivative()


def misses(make: Callable[[int], Function], seeds: int) -> int:
    """How many wrong gradients pass, of one for each seed."""
    with np.errstate(all="ignore"):
        found = [compare(make(seed), np.random.default_rng(seed), locate=False) for seed in range(seeds)]
    return sum(not isinstance(result, Finding) for result in found)


def false_alarms(seeds: int, every: int = 1) -> tuple[int, list[str]]:
    """Check every `every`-th row of the catalogue to second order; each seed shuffles the entries of the inputs.

    A shuffle that leaves the op's domain, such as a matrix that is no longer positive definite, is skipped.

    Returns:
        The number of checks, and a message for each right gradient that was refused.
    """
    from .catalogue import ROWS

    checks, alarms = 0, []
    for row in ROWS[::every]:
        f, xs = row.floats()
        if np.asarray(f(*xs)).dtype.kind == "f":
            for seed in range(seeds):
                shuffled = [np.random.default_rng(seed).permuted(x) for x in xs]
                try:
                    if not np.isfinite(np.asarray(f(*shuffled))).all():
                        continue
                except ValueError:
                    continue
                checks += 1
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        gradcheck(f, shuffled, order=2, seed=seed, name=row.op)
                except GradientError as error:
                    alarms.append(f"{row.op}, seed {seed}: {error}")
    return checks, alarms


def _print_row(title: str, make: Callable[[float, int], Function], seeds: int, errors: tuple = ERRORS) -> None:
    found = [misses(lambda seed, error=error: make(error, seed), seeds) for error in errors]
    print(f"{title:34}" + "".join(f"{n:8}" for n in found), flush=True)


def main(words: list[str]) -> int:
    """Print a table; the exit status is 1 if a right gradient is refused."""
    parser = ArgumentParser(prog="python -m minigrad.checking.curve", description="What the gradient checker misses.")
    parser.add_argument("--seeds", type=int, default=20, metavar="N", help="gradients of each kind (default: 20)")
    parser.add_argument(
        "--largest", type=int, default=SIZES[-1], metavar="N", help="the largest input (default: 1000000)"
    )
    parser.add_argument("--false-alarms", action="store_true", help="right gradients instead of wrong ones")
    args = parser.parse_args(words)
    if args.false_alarms:
        checks, alarms = false_alarms(args.seeds)
        print(*alarms, f"{checks} right gradients checked to second order, {len(alarms) or 'none'} refused", sep="\n")
        return int(bool(alarms))
    _print_head(f"missed of {args.seeds}, at an error of", ERRORS)
    for size in SIZES:
        if size <= args.largest:
            _print_row(
                f"sin of {size:,}", lambda error, seed, n=size: on_tape("every entry", error, n, seed), args.seeds
            )
    for planted in [*PLANTED][1:]:
        _print_row(
            f"sin of {COMMON:,}, {planted}", lambda error, seed, p=planted: on_tape(p, error, COMMON, seed), args.seeds
        )
    _print_row(
        f"sin of {COMMON:,}, order 2", lambda error, seed: on_tape("every entry", error, COMMON, seed, 2), args.seeds
    )
    for dtype, errors in (("float64", ERRORS), ("float32", COARSE)):
        if dtype == "float32":
            _print_head('the same with dtype="float32"', COARSE)
        for name, case in CASES.items():
            if case.dtype == dtype:
                _print_row(
                    f"{name} of {COMMON:,}",
                    lambda error, seed, c=case: by_hand(c, "every entry", error, COMMON, seed),
                    args.seeds,
                    errors,
                )
    return 0


def _print_head(title: str, errors: tuple) -> None:
    print(f"{title:34}" + "".join(f"{error:8.0e}" for error in errors), flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
