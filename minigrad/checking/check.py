"""The gradient checker: perturb the inputs, compare the change of the output with the gradient, explain a difference.

One random direction suffices to detect a mistake, whatever the size of the inputs: for a direction v in input space and
a direction u in output space, the number u · Jv can be measured by perturbing the inputs along v, and computed as the
inner product of v with the gradient of u · f.  Entries are checked one by one only if the two differ, or on request.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from ..tensor import Tensor
from .compare import SENSE, Finding, compare, place
from .errors import GradientError, KinkWarning, Report, explained, not_given
from .functions import ByHand, Function, NoGradient, OnTape
from .tree import leaves, prepared


def gradcheck(
    f: Callable,
    inputs: Any,
    order: int = 1,
    every_entry: bool = False,
    seed: int = 0,
    name: str | None = None,
    gradient: Callable | None = None,
    vjp: Callable | None = None,
    dtype: str = "float64",
) -> Report:
    """Compare the gradient of `f` with the slopes of `f`, measured with an estimate of their error.

    A gradient passes if it is as close to the measured slope as the error of the measurement; there is no tolerance to
    choose. For a function of Tensors, both backward passes are checked, the fast one and the one that can be
    differentiated again, so a fused kernel and its definition are both tested.

    Args:
        f: a function of Tensors that returns a Tensor, or a tuple, list or dict of them.
        inputs: a list or tuple of the arguments of f, or its only argument.  Floating arrays, Tensors and numbers are
            perturbed, also inside lists, tuples and dicts, and so are the parameters of Modules (in a copy).
            Everything else (integers, masks, strings) is passed on unchanged.
        order: 2 also checks the gradient of the gradient, and so on.
        every_entry: measure every entry even if the random directions find nothing.
        gradient: for an f of NumPy arrays that returns one number: gradient(*inputs) returns an array for each floating
            input, nested like the inputs, or in a flat sequence.
        vjp: for an f of NumPy arrays: vjp(g, *inputs), with g of the shape of f's value, returns the gradient of (g *
            f).sum().
        dtype: "float32" for an f that computes in float32 whatever its inputs.  The inputs are then float32, and
            relative errors of up to 3e-3 may pass; in float64, errors of 1e-6 are found.  Prefer float64 where f
            supports it.

    Returns:
        A Report, whose truth value is True.

    Raises:
        GradientError: the gradient is wrong; the error names the input, the entry, both values, the op, and the cause
            if it shows a known pattern.  Or the slope cannot be measured: f is random, discontinuous, not finite, too
            coarse or too steep.
        TypeError: f did not return Tensors, a derivative is not nested like the inputs, or the order is not an integer.
        ValueError: no input can be perturbed, or the options contradict each other.

    Warns:
        KinkWarning: the function has a kink (relu at 0, a tie of max); there, any slope between the two sides is
            accepted.
    """
    __tracebackhide__ = True  # pytest then shows the line of the test that called
    try:
        report = _checked(
            f, inputs, order, every_entry, seed, name or getattr(f, "__name__", type(f).__name__), gradient, vjp, dtype
        )
    except GradientError as error:
        _tell(error)
        raise
    _tell(report)
    if report.kinks:
        warnings.warn(
            f"{report.name} has a kink at {'; '.join(report.kinks)}: any slope between its sides is accepted there",
            KinkWarning,
            stacklevel=2,
        )
    return report


def _checked(
    f: Callable,
    inputs: Any,
    order: int,
    every_entry: bool,
    seed: int,
    name: str,
    gradient: Callable | None,
    vjp: Callable | None,
    dtype: str,
) -> Report:
    __tracebackhide__ = True
    start = perf_counter()
    function = _function(f, inputs, order, name, gradient, vjp, dtype)
    rng, errors, kinks, calls = np.random.default_rng(seed), [], {}, 0
    for n in range(1, order + 1):
        with np.errstate(all="ignore"):  # a long step may leave the domain of f: the shorter ones decide
            try:
                result = compare(function, rng, every_entry, kinks)
            except NoGradient as error:
                raise not_given(function, error, n, rng) from error.__cause__
            if isinstance(result, Finding):
                raise explained(result, n, rng)
        errors.append(float(result.worst))
        kinks |= {i: place(function, i) for i in result.kinks}  # where the gradient jumps, and has none itself
        calls += function.calls
        if n < order:  # the gradient is a function itself: check that, too
            function = function.derivative()
    where = tuple(f"{path} at {list(index)}" for path, index in kinks.values())
    return Report(name, order, tuple(errors), where, calls, perf_counter() - start)


def _function(
    f: Callable, inputs: Any, order: int, name: str, gradient: Callable | None, vjp: Callable | None, dtype: str
) -> Function:
    """Validate the arguments and wrap f as a `Function`."""
    given: tuple[Any, ...] = (
        tuple(inputs) if isinstance(inputs, (list, tuple)) and not hasattr(inputs, "_fields") else (inputs,)
    )
    dtype = str(np.dtype(dtype))
    if dtype not in SENSE:
        raise ValueError(f"{name}: dtype={dtype!r}: it is one of {', '.join(SENSE)}")
    for option, value in (("gradient", gradient), ("vjp", vjp)):
        if value is not None and not callable(value):
            raise TypeError(
                f"{name}: {option}= is a function, but this is of type {type(value).__name__}: write "
                + ("gradient=lambda x: 2 * x, say" if option == "gradient" else "vjp=lambda g, x: 2 * g * x, say")
            )
    tree = [prepared(x, dtype) for x in given]
    found = [pair for i, x in enumerate(tree) for pair in leaves(x, f"input {i}")]
    if not found:
        raise _nothing_to_perturb(name, given)
    if not isinstance(order, (int, np.integer)):
        raise TypeError(
            f"{name}: order is a whole number, but this is of {type(order).__name__}: if it is an argument of the "
            "function, put all of them into a list, gradcheck(f, [a, b])"
        )
    if order < 1 or gradient and vjp:
        raise ValueError(
            f"{name}: "
            + (
                "give gradient= or vjp=, not both"
                if gradient and vjp
                else f"order={order}: the gradient itself is order 1, its own gradient order 2"
            )
        )
    if gradient is None and vjp is None:
        return OnTape.of(f, tree, found, name, dtype)
    if order > 1:
        raise ValueError(
            f"{name}: order={order} needs a derivative that can be differentiated, and one written by hand cannot: "
            "use order=1"
        )
    return ByHand(f, gradient, vjp, tree, found, name, dtype)


def _nothing_to_perturb(name: str, given: tuple) -> ValueError:
    kinds = ", ".join(type(x).__name__ + (f" of {x.dtype}" if hasattr(x, "dtype") else "") for x in given) or "none"
    foreign = next((type(x).__module__.partition(".")[0] for x in given if _is_foreign(x)), None)
    return ValueError(
        f"{name}: there is nothing to perturb among the inputs, {kinds}: "
        + (
            f"give NumPy arrays, np.asarray(x), and let f make arrays of {foreign} of them"
            if foreign
            else "give at least one floating array, for example np.ones(3)"
        )
    )


def _tell(result: Report | GradientError) -> None:
    """Report the result to the pytest plugin if that is loaded.

    The plugin must not import minigrad, so it cannot register a callback here.
    """
    if "pytest_minigrad" in sys.modules:
        sys.modules["pytest_minigrad"].note(result)


def _is_foreign(x: Any) -> bool:
    """Whether x is an array of another library."""
    return hasattr(x, "shape") and hasattr(x, "dtype") and not isinstance(x, (np.ndarray, np.generic, Tensor))
