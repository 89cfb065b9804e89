"""What the losses share: the checks of their inputs, and the reduction to one number."""

from __future__ import annotations

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


def weighted_reduce(loss: Any, weights: Any, reduction: str) -> Any:
    if reduction != "mean":
        return reduce(loss, reduction)
    xp, total = backend.of(weights).xp, weights.sum()
    return ops.where(total == 0, xp.nan, ops.sum(loss) / xp.where(total == 0, 1, total))  # NaN, with gradient 0


def reduce(loss: Any, reduction: str) -> Any:
    return loss if reduction == "none" else ops.mean(loss) if reduction == "mean" else ops.sum(loss)


def check_reduction(name: str, reduction: str, known: tuple[str, ...] = REDUCTIONS) -> None:
    if not isinstance(reduction, str) or reduction not in known:
        raise ValueError(f"{name}: reduction={reduction!r} is not known: type one of {', '.join(map(repr, known))}")
