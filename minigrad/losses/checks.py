"""What the losses share: the checks of their inputs, and the reduction to one number."""

from __future__ import annotations

import math
from typing import Any

from .. import backend, ops
from ..backend import is_float
from ..tensor import Tensor, as_array, recording, shaped

REDUCTIONS = ("mean", "sum", "none")
EPS = 1e-12  # added under a root, to keep its gradient at 0 finite; torch's value


def constant(name: str, what: str, weight: Any) -> Any:
    """The bare array of a weight; losses are not differentiated by their weights.

    Raises:
        ValueError: it requires a gradient.
    """
    if recording() and getattr(weight, "requires_grad", False):
        raise ValueError(
            f"{name}: {what} is a constant, but this one requires a gradient, which would be lost: give "
            f'{what}.detach(), or multiply the losses that reduction="none" returns'
        )
    return as_array(shaped(weight, name))


def paired(name: str, input: Any, target: Any) -> Any:
    """The target on the input's device and dtype; refuses another shape than the input's."""
    target = beside(input, target)
    if tuple(input.shape) != tuple(target.shape):
        raise ValueError(
            f"{name}: input has shape {tuple(input.shape)} and target {tuple(target.shape)}; "
            "broadcasting them would compare every prediction with every target: use .reshape(...) on "
            "one of them"
        )
    return target


def beside(input: Any, other: Any) -> Any:
    """Convert a non-Tensor to an array on the input's device and dtype, lest NumPy's float64 widen the loss."""
    array = as_array(input)
    dtype = array.dtype if is_float(array.dtype) else None
    return other if isinstance(other, Tensor) else backend.of(array).xp.asarray(as_array(other), dtype=dtype)


def class_weight(name: str, weight: Any, input: Any) -> Any:
    """The bare array of a weight for each class, which are on axis 1 of the input."""
    weight = beside(input, constant(name, "weight", weight))
    if weight.shape != input.shape[1:2]:
        raise ValueError(
            f"{name}: the class weights have shape {tuple(weight.shape)}, but there are {input.shape[1]} classes"
        )
    return weight


def weighted(name: str, x: Any, weight: Any, what: str, input: Any) -> Any:
    """x · weight, where the weight, a constant, has a shape that broadcasts to the input's."""
    if weight is None:
        return x
    weight = beside(input, constant(name, what, weight))
    mismatch = any(m not in (1, n) for m, n in zip(weight.shape[::-1], input.shape[::-1]))
    if mismatch or len(weight.shape) > len(input.shape):
        raise ValueError(
            f"{name}: {what} of shape {tuple(weight.shape)} does not broadcast to the input's {tuple(input.shape)}"
        )
    return x * weight


def softplus(x: Any) -> Any:
    """log(1 + eˣ) by this formula everywhere, where `ops.softplus` goes over to x itself for large x."""
    return ops.softplus(x, threshold=math.inf)


def weighted_reduce(loss: Any, weights: Any, reduction: str) -> Any:
    if reduction != "mean":
        return reduce(loss, reduction)
    xp, total = backend.of(weights).xp, weights.sum()
    return ops.where(total == 0, xp.nan, ops.sum(loss) / xp.where(total == 0, 1, total))  # NaN, with gradient 0


def reduce(loss: Any, reduction: str) -> Any:
    return loss if reduction == "none" else ops.mean(loss) if reduction == "mean" else ops.sum(loss)


def check_reduction(name: str, reduction: str) -> None:
    """Refuse what is no reduction of the loss `name`; kl_div alone has a "batchmean"."""
    known = (*REDUCTIONS, "batchmean") if name == "kl_div" else REDUCTIONS
    if not isinstance(reduction, str) or reduction not in known:
        raise ValueError(f"{name}: reduction={reduction!r} is not known: type one of {', '.join(map(repr, known))}")
