"""Losses of distributions and of pairs of vectors: divergence, and what draws alike together and others apart."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from .. import backend, ops
from ..builtin import builtin
from ..ops.shape import check_flags, check_numbers
from ..tensor import as_array, shaped
from .checks import EPS, beside, check_reduction, paired, reduce
from .classification import cross_entropy


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def kl_div(input: Any, target: Any, *, reduction: str = "mean", log_target: bool = False) -> Any:
    """target · (log target - input): the Kullback-Leibler divergence of the model from the target (1951), term by term.

    Args:
        input: log-probabilities of the model.  target: probabilities, of the same shape; with `log_target` their
            logarithms.
        reduction: "batchmean" (the sum over all, divided by the size of the first axis) is the divergence; "mean"
            divides by the number of entries and so is smaller than it, but is torch's default; "sum"; "none".

    Raises:
        ValueError: the shapes differ, an unknown reduction.
    """
    check_reduction("kl_div", reduction)
    check_flags("kl_div", log_target=log_target)
    target = paired("kl_div", input, target)
    if log_target:
        loss = ops.exp(target) * (target - input)
    else:  # 0 · log 0 is 0
        loss = target * (ops.log(ops.where(target == 0, 1, target)) - input)
    if reduction == "batchmean":
        return ops.sum(loss) / (input.shape[0] if input.shape else 1)
    return reduce(loss, reduction)


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, *, reduction: str = "mean"
) -> Any:
    """1 - cos where the target is 1 (the two belong together), max(0, cos - margin) where it is -1 (they do not).

    Args:
        input1, input2: (N, D), or (D,); `cos` is the cosine of the angle between their rows.
        target: (N,), or (), of 1 and -1.

    Raises:
        ValueError: shapes that do not belong together, a target that is neither 1 nor -1, an unknown reduction.
    """
    check_numbers("cosine_embedding_loss", margin=margin)
    target = _check_pairs("cosine_embedding_loss", input1, input2, target, reduction)
    squares = (ops.sum(input1 * input1, -1) + EPS) * (ops.sum(input2 * input2, -1) + EPS)
    cos = ops.sum(input1 * input2, -1) / ops.sqrt(squares)
    return reduce(ops.where(target == 1, 1 - cos, ops.relu(cos - margin)), reduction)


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def contrastive_loss(input1: Any, input2: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    """d²/2 where the target is 1 (a matching pair), max(0, margin - d)²/2 where it is -1, with d the distance.

    Hadsell, Chopra & LeCun 2006, eq. 4, who write 0 for 1 and 1 for -1.  Shapes and errors as for
    `cosine_embedding_loss`.
    """
    check_numbers("contrastive_loss", margin=margin)
    target = _check_pairs("contrastive_loss", input1, input2, target, reduction)
    difference = input1 - input2
    square = ops.sum(difference * difference, -1)
    short = ops.relu(margin - ops.sqrt(square + EPS))
    return reduce(ops.where(target == 1, square, short * short) / 2, reduction)


def _check_pairs(name, input1, input2, target, reduction):
    check_reduction(name, reduction)
    target = as_array(beside(input1, shaped(target, name)))
    if input1.shape != input2.shape or target.shape != input1.shape[:-1]:
        raise ValueError(
            f"{name}: two inputs of one shape (N, D) and a target (N,) are needed, these have "
            f"{tuple(input1.shape)}, {tuple(input2.shape)} and {tuple(target.shape)}"
        )

    def refuse():
        raise ValueError(
            f"{name}: a target is 1 where the two inputs belong together and -1 where they do not; for "
            "labels of 1 and 0 give 2 * labels - 1"
        )

    backend.of(target).check(target * target, 1, 1, refuse)
    return target


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def info_nce(query: Any, key: Any, temperature: float = 0.07, reduction: str = "mean") -> Any:
    """Cross-entropy of finding each query's key among all keys by cosine (van den Oord et al. 2018, eq. 4).

    Args:
        query: (N, D).   key: (M, D), M >= N; row i < N belongs to query i, all others are its negatives.
        temperature: divides the cosines: the lower, the more only the hardest negatives count.

    The symmetric loss of CLIP is the mean of this one and that of (key, query).

    Raises:
        ValueError: shapes that do not belong together, a temperature of 0 or less, an unknown reduction.
    """
    check_reduction("info_nce", reduction)
    if isinstance(temperature, Real) and not temperature > 0:  # (one that is learned is a Tensor)
        raise ValueError(f"info_nce: temperature={temperature} divides the cosines: give a number above 0")
    if len(query.shape) != 2 or len(key.shape) != 2 or query.shape[1] != key.shape[1] or key.shape[0] < query.shape[0]:
        raise ValueError(
            "info_nce: query (N, D) and key (M, D) with M >= N are needed, these have "
            f"{tuple(query.shape)} and {tuple(key.shape)}"
        )
    query, key = (x / ops.sqrt(ops.sum(x * x, -1, True) + EPS) for x in (query, key))
    return cross_entropy(
        ops.matmul(query, ops.transpose(key)) / temperature, np.arange(len(query)), reduction=reduction
    )
