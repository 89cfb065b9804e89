"""The gradient checker: nudge the inputs, see whether the output moves as the gradient says, and if not, say why.

One random direction settles whether anything is wrong, whatever the size: if v is a direction in input space and u one
in output space, the number u · Jv can be had by nudging the inputs along v, and by sending u backwards and taking the
inner product with v.  Only when the two differ, or when asked to, are the entries gone through one by one.
"""
from __future__ import annotations

import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from .compare import Finding, compare
from .errors import KinkWarning, Report, explained, not_given
from .functions import ByHand, NoGradient, OnTape
from .tree import leaves, prepared


def gradcheck(f: Callable, inputs: Any, order: int = 1, every_entry: bool = False, seed: int = 0, name: str | None = None,
              gradient: Callable | None = None, vjp: Callable | None = None) -> Report:
    """Compare the gradient of `f` with the slopes of `f`, measured in float64 with an estimate of their error.

    A gradient passes when it is as close to the measured slope as the measurement is good; there is no tolerance to choose.  Of
    a function of Tensors both ways back are checked, the fast one and the one that can be differentiated again, so that a
    fused kernel and the meaning behind it are each held to the numbers.

    Args:
        f: a function of Tensors that returns a Tensor, or a tuple, list or dict of them.
        inputs: a list or tuple of the arguments of f, or its only argument.  An argument is a floating array, Tensor or
            number, to be nudged; a list, tuple, dict or Module of such, whose parameters are nudged (in a copy); or anything
            else (integers, masks, strings), passed on as it is.
        order: 2 checks the gradient's own gradient as well, and so on.
        every_entry: measure each entry even if the random directions find nothing.
        gradient: for an f of NumPy arrays that returns one number: gradient(*inputs) gives an array for each floating input,
            in trees like those of the inputs, or one after the other.
        vjp: for an f of NumPy arrays: vjp(g, *inputs), with g of the shape of f's value, gives the gradient of (g * f).sum().

    Returns:
        A Report, which counts as true.

    Raises:
        GradientError: names the input, the entry, both values, the cause where the pattern shows it and the op it comes from.
        TypeError: f returned no Tensor, or a derivative not of the inputs' form; the order is no whole number.
        ValueError: there is nothing to nudge, or the options contradict each other.

    Warns:
        KinkWarning: the function has a kink at some entry (relu at 0, a tie of max): any slope between the two is accepted there.
    """
    __tracebackhide__ = True                    # pytest then shows the line of the test that called
    start, name = perf_counter(), name or getattr(f, "__name__", type(f).__name__)
    given = tuple(inputs) if isinstance(inputs, (list, tuple)) and not hasattr(inputs, "_fields") else (inputs,)
    tree = [prepared(x) for x in given]
    found = [pair for i, x in enumerate(tree) for pair in leaves(x, f"input {i}")]
    if not found:
        kinds = ", ".join(type(x).__name__ + (f" of {x.dtype}" if hasattr(x, "dtype") else "") for x in given) or "none"
        raise ValueError(f"{name}: there is nothing to nudge among the inputs, {kinds}: give at least one floating array, "
                         "for example np.ones(3)")
    if not isinstance(order, (int, np.integer)):
        raise TypeError(f"{name}: order is a whole number, but this is of {type(order).__name__}: if it is an argument of the "
                        "function, put all of them into a list, gradcheck(f, [a, b])")
    if order < 1 or gradient and vjp:
        raise ValueError(f"{name}: " + ("give gradient= or vjp=, not both" if gradient and vjp else
                                        f"order={order}: the gradient itself is order 1, its own gradient order 2"))
    if gradient is None and vjp is None:
        function = OnTape.of(f, tree, found, name)
    elif order > 1:
        raise ValueError(f"{name}: order={order} needs a derivative that can be differentiated, one by hand cannot: use order=1")
    else:
        function = ByHand(f, gradient, vjp, tree, found, name)
    rng, errors, kinks, calls = np.random.default_rng(seed), [], [], 0
    for n in range(1, order + 1):
        with np.errstate(all="ignore"):         # a long step may leave the domain of f: the shorter ones decide
            try:
                result = compare(function, rng, every_entry)
            except NoGradient as error:
                raise not_given(function, error, n, rng) from error.__cause__
            if isinstance(result, Finding):
                raise explained(result, n, rng)
        errors.append(float(result.worst))
        kinks, calls = kinks + result.kinks, calls + function.calls
        if n < order:                           # the gradient is a function itself: check that, too
            function = function.derivative()
    if kinks:
        warnings.warn(f"{name} has a kink at {'; '.join(dict.fromkeys(kinks))}: any slope between its sides is accepted there",
                      KinkWarning, stacklevel=2)
    return Report(name, order, tuple(errors), tuple(dict.fromkeys(kinks)), calls, perf_counter() - start)
