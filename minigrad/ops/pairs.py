"""Pairs of vectors: their distance, the cosine of their angle, and vectors made one long."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..builtin import builtin
from ..spelling import torch_spelling
from ..tensor import shaped
from .arithmetic import broadcast_to, sum
from .elementwise import clip
from .reduce import norm
from .shape import axis_of, check_flags


@builtin(in_float32="halves and integers", autocast="float32")
@torch_spelling
def normalize(x: Any, p: float = 2.0, axis: int = 1, eps: float = 1e-12) -> Any:
    """x divided by its p-norm along `axis`, or by eps, if that is larger: then its norm is one, or x is tiny."""
    x = shaped(x, "normalize")
    axis_of("normalize", x, axis, int(not x.shape))
    return x / clip(norm(x, p, axis, True), eps, None)


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
@torch_spelling
def cosine_similarity(x1: Any, x2: Any, axis: int = 1, eps: float = 1e-8) -> Any:
    """The cosine of the angle between x1 and x2, which are broadcast, along `axis`; of a vector of zeros it is 0.

    Norms below eps count as eps.
    """
    x1, x2 = _together("cosine_similarity", x1, x2)
    axis = axis_of("cosine_similarity", x1, axis, int(not x1.shape))
    one, two = (x / clip(norm(x, 2, axis, True), eps, None) for x in (x1, x2))
    return sum(one * two, axis)


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """The p-norm of x1 - x2 + eps over the last axis: (N, D) and (N, D), which are broadcast, to (N,).

    eps, which torch adds, keeps the gradient of equal vectors away from the kink at 0.
    """
    check_flags("pairwise_distance", keepdim=keepdim)
    x1, x2 = _together("pairwise_distance", x1, x2)
    return norm(x1 - x2 + eps, p, -1, keepdim)


def _together(name, x1, x2):
    """Both, broadcast to one shape."""
    x1, x2 = shaped(x1, name), shaped(x2, name)
    try:
        shape = np.broadcast_shapes(x1.shape, x2.shape)
    except ValueError:
        raise ValueError(f"{name}: {tuple(x1.shape)} and {tuple(x2.shape)} do not broadcast to one shape") from None
    return broadcast_to(x1, shape), broadcast_to(x2, shape)
