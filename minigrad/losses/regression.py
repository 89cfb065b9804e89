"""Losses of numbers: how far a prediction is from its target."""

from __future__ import annotations

from numbers import Real
from typing import Any

from .. import ops
from ..builtin import builtin
from .checks import check_reduction, paired, reduce


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
