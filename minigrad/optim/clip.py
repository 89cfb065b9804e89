"""Limits on gradients, to be set between `backward()` and `optimizer.step()`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce
from typing import Any

import numpy as np

from ..backend import Backend, of
from ..errors import is_number
from ..execution import writing
from ..tensor import Tensor
from .optimizer import check_option, listed

ABOVE_0 = lambda value: is_number(value) and value > 0, "norm_type to be a number above 0, or math.inf"


class NonFiniteError(ValueError):
    """Gradients are infinite or not numbers: a run has diverged."""


def clip_grad_norm_(
    parameters: Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> float | Tensor:
    """Scale all gradients in place so that their joint norm is at most `max_norm`; return the norm before.

    The norm is (Σ |g|^norm_type)^(1/norm_type) over all entries of all gradients; with `math.inf` the largest |g|.  On
    a GPU it is returned as a 0-d Tensor without waiting for the device (float(norm) waits), unless
    `error_if_nonfinite`.

    Raises:
        NonFiniteError: the norm is infinite or not a number, and `error_if_nonfinite` is True.
        ValueError: a `max_norm` below 0, or a `norm_type` that is not above 0.
    """
    check_option("clip_grad_norm_", "max_norm", max_norm)
    check_option("clip_grad_norm_", "norm_type", norm_type, {"norm_type": ABOVE_0})
    grads = {i: p.grad for i, p in enumerate(listed(parameters)) if p.grad is not None}
    if not grads:
        return 0.0
    backend = of(*(g.data for g in grads.values()))
    parts = _parts(backend, [g.data for g in grads.values()], norm_type)
    whole = reduce(backend.xp.maximum, parts) if norm_type == math.inf else sum(parts)
    if not backend.synchronous and not error_if_nonfinite:
        norm = whole if norm_type == math.inf else backend.xp.power(whole, 1 / norm_type)
        scale = backend.xp.minimum(max_norm / (norm + 1e-6), 1)  # of nan and 1 this is nan
        for g in grads.values():
            writing(g.data)
            g.data *= scale.astype(g.dtype)
        return Tensor(norm)
    total = float(whole)  # one wait for the device, not one per gradient
    norm = total if norm_type == math.inf else total ** (1 / norm_type)
    if error_if_nonfinite and not math.isfinite(norm):
        bad = [i for i, part in zip(grads, parts) if not math.isfinite(part)]
        raise NonFiniteError(
            f"the gradients cannot be clipped: their norm is {norm}, by those of parameters "
            f"{bad or 'all'}; lower the learning rate, or look for log(0) or 0/0 in the loss"
        )
    _scale_down(backend, [g.data for g in grads.values()], max_norm, norm)
    return norm


def clip_grads_with_norm_(parameters: Iterable[Tensor], max_norm: float, total_norm: float) -> None:
    """Scale all gradients in place as `clip_grad_norm_` does, if `total_norm` is their norm, which is known already."""
    check_option("clip_grads_with_norm_", "max_norm", max_norm)
    if grads := [p.grad.data for p in listed(parameters) if p.grad is not None]:
        _scale_down(of(*grads), grads, max_norm, total_norm)


def _scale_down(backend: Backend, grads: list[Any], max_norm: float, norm: float) -> None:
    """Scale gradients of that norm in place so that it is at most `max_norm`."""
    scale = max_norm / (norm + 1e-6)  # torch's guard against dividing by zero
    if not scale >= 1:  # true of NaN too, which then spreads to the gradients and is noticed
        for g in grads:
            writing(g)
        with np.errstate(invalid="ignore"):
            backend.call("scale", grads, scale)


def _parts(backend: Backend, grads: list[Any], norm_type: float) -> list[Any]:
    """Of each gradient what is added up to a norm, in at least float32: Σ |g|^norm_type, or the largest |g|."""
    if norm_type == 2:
        return backend.call("square_sums", grads)
    xp = backend.xp
    sizes = [xp.abs(g.astype(xp.result_type(g.dtype, xp.float32), copy=False)) for g in grads]
    if norm_type == math.inf:
        return [size.max(initial=0) for size in sizes]
    return [(size**norm_type).sum() for size in sizes]


def clip_grad_value_(parameters: Iterable[Tensor], clip_value: float) -> None:
    """Limit every entry of every gradient to [−clip_value, clip_value], in place."""
    check_option("clip_grad_value_", "clip_value", clip_value)
    for p in listed(parameters):
        if p.grad is not None:
            writing(p.grad.data)
            of(p.grad.data).xp.clip(p.grad.data, -clip_value, clip_value, out=p.grad.data)
