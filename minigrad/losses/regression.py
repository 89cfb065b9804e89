"""Losses of numbers: how far a prediction is from its target."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from .. import backend, ops
from ..builtin import builtin
from ..ops.shape import check_flags, check_numbers
from ..tensor import as_array
from .checks import beside, check_reduction, paired, reduce


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def mse_loss(input: Any, target: Any, *, reduction: str = "mean") -> Any:
    """(input - target)², averaged over all entries; both have one shape.

    Raises:
        ValueError: the shapes differ (broadcasting them would compare every prediction with every target), an unknown
            reduction.
    """
    check_reduction("mse_loss", reduction)
    error = input - paired("mse_loss", input, target)
    return reduce(error * error, reduction)


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def l1_loss(input: Any, target: Any, *, reduction: str = "mean") -> Any:
    """|input - target|, averaged; shapes and errors as for `mse_loss`."""
    check_reduction("l1_loss", reduction)
    return reduce(ops.abs(input - paired("l1_loss", input, target)), reduction)


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """Half the squared error up to delta, and from there on a straight line of slope delta (Huber 1964).

    Small errors are squared; large ones, the outliers, contribute linearly.  Shapes and errors as for `mse_loss`.
    """
    check_reduction("huber_loss", reduction)
    if not (isinstance(delta, Real) and delta > 0):
        raise ValueError(f"huber_loss: delta={delta} must be above 0: it is where the square ends and the line begins")
    return reduce(_huber(input - paired("huber_loss", input, target), delta), reduction)


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def smooth_l1_loss(input: Any, target: Any, *, reduction: str = "mean", beta: float = 1.0) -> Any:
    """`huber_loss` of delta = beta, divided by beta, so that the line has slope 1 (Girshick 2015, eq. 3).

    beta 0 is `l1_loss`.  Shapes and errors as for `mse_loss`.
    """
    check_reduction("smooth_l1_loss", reduction)
    if not (isinstance(beta, Real) and beta >= 0):
        raise ValueError(
            f"smooth_l1_loss: beta={beta} must be 0 or more: it is where the square ends and the line begins"
        )
    error = input - paired("smooth_l1_loss", input, target)
    return reduce(_huber(error, beta) / beta if beta else ops.abs(error), reduction)


def _huber(error, delta):
    """error²/2 where |error| <= delta, else delta · (|error| - delta/2), as one formula of the clipped error."""
    held = ops.clip(error, -delta, delta)
    return held * (error - held / 2)


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def poisson_nll_loss(
    input: Any, target: Any, log_input: bool = True, full: bool = False, *, eps: float = 1e-8, reduction: str = "mean"
) -> Any:
    """input - target · log(input), for a target that is a count and an input that is its expectation, or its logarithm.

    With the logarithm (`log_input`) it is exp(input) - target · input.  Shapes and errors as for `mse_loss`.

    Args:
        full: add log(target!), by Stirling's formula, where the target is above 1.
        eps: added to the input before its logarithm is taken.
    """
    check_reduction("poisson_nll_loss", reduction)
    check_flags("poisson_nll_loss", log_input=log_input, full=full)
    check_numbers("poisson_nll_loss", eps=eps)
    target = paired("poisson_nll_loss", input, target)
    loss = ops.exp(input) - target * input if log_input else input - target * ops.log(input + eps)
    if full:
        many = target > 1
        count = ops.where(many, target, 1)
        stirling = count * ops.log(count) - count + 0.5 * ops.log(2 * math.pi * count)
        loss = loss + ops.where(many, stirling, 0)
    return reduce(loss, reduction)


@builtin(in_float32="halves and integers", leading=3, autocast="float32")
def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, *, reduction: str = "mean"
) -> Any:
    """(log var + (input - target)² / var) / 2, for a target drawn around the input (Nix & Weigend 1994).

    Args:
        input, target: of one shape.
        var: the variance: of that shape, with 1 in place of an axis, or without the last axis; or a number.  Below eps
            it counts as eps, and the gradient passes as if it did not.
        full: add log(2π) / 2.

    Raises:
        ValueError: shapes that do not belong together, a variance below 0, an unknown reduction.
    """
    name = "gaussian_nll_loss"
    check_reduction(name, reduction)
    check_flags(name, full=full)
    if not (isinstance(eps, Real) and eps > 0):
        raise ValueError(f"{name}: eps={eps} must be above 0")
    target, var = paired(name, input, target), beside(input, var)
    if var.shape and tuple(var.shape) == tuple(input.shape[:-1]) and var.shape != input.shape:
        var = ops.expand_dims(var, -1)
    shape, own = tuple(input.shape), tuple(var.shape)
    if own and (len(own) != len(shape) or any(m not in (1, n) for m, n in zip(own, shape))):
        raise ValueError(f"{name}: a variance of shape {own} does not broadcast to the input's {shape}")
    array = as_array(var)

    def refuse():
        raise ValueError(f"{name}: a variance is not negative, but this one goes down to {array.min()}")

    backend.of(array).check(array, 0, math.inf, refuse)
    var = var + as_array(ops.clip(array, eps, None) - array)
    error = input - target
    loss = 0.5 * (ops.log(var) + error * error / var)
    return reduce(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)
