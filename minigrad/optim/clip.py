"""Limits on gradients, to be set between `backward()` and `optimizer.step()`."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..backend import of
from ..mode import writing
from ..tensor import Tensor
from .optimizer import check_option, listed


def clip_grad_norm_(
    parameters: Iterable[Tensor], max_norm: float, *, error_if_nonfinite: bool = False
) -> float | Tensor:
    """Scale all gradients in place so that their joint 2-norm is at most `max_norm`; return the norm before.

    On a GPU it is returned as a 0-d Tensor without waiting for the device (float(norm) waits), unless
    `error_if_nonfinite`.

    Raises:
        ValueError: the norm is infinite or not a number, and `error_if_nonfinite` is True.
    """
    check_option("clip_grad_norm_", "max_norm", max_norm)
    grads = {i: p.grad for i, p in enumerate(listed(parameters)) if p.grad is not None}
    backend = of(*(g.data for g in grads.values()))
    squares = backend.call("square_sums", [g.data for g in grads.values()])
    if grads and not backend.synchronous and not error_if_nonfinite:
        norm = backend.xp.sqrt(sum(squares))
        scale = backend.xp.minimum(max_norm / (norm + 1e-6), 1)  # of nan and 1 this is nan
        for g in grads.values():
            writing(g.data)
            g.data *= scale.astype(g.dtype)
        return Tensor(norm)
    norm = math.sqrt(sum(squares))  # one wait for the device, not one per gradient
    if error_if_nonfinite and not math.isfinite(norm):
        bad = [i for i, square in zip(grads, squares) if not math.isfinite(square)]
        raise ValueError(
            f"the gradients cannot be clipped: their norm is {norm}, by those of parameters "
            f"{bad or 'all'}; lower the learning rate, or look for log(0) or 0/0 in the loss"
        )
    scale = max_norm / (norm + 1e-6)  # torch's guard against dividing by zero
    if not scale >= 1:  # true of NaN too, which then spreads to the gradients and is noticed
        for g in grads.values():
            writing(g.data)
        with np.errstate(invalid="ignore"):
            backend.call("scale", [g.data for g in grads.values()], scale)
    return norm


def clip_grad_value_(parameters: Iterable[Tensor], clip_value: float) -> None:
    """Limit every entry of every gradient to [−clip_value, clip_value], in place."""
    check_option("clip_grad_value_", "clip_value", clip_value)
    for p in listed(parameters):
        if p.grad is not None:
            writing(p.grad.data)
            of(p.grad.data).xp.clip(p.grad.data, -clip_value, clip_value, out=p.grad.data)
