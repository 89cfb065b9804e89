"""Losses with a margin: what is right is to be better than what is wrong by so much, and no more is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import backend, ops
from ..builtin import builtin
from ..ops.pairs import pairwise_distance
from ..ops.shape import check_flags, check_numbers
from ..tensor import as_array, shaped
from .checks import check_reduction, class_weight, paired, reduce, softplus, weighted


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, *, reduction: str = "mean") -> Any:
    """max(0, margin - target · (input1 - input2)): input1 is to be the larger where the target is 1, the smaller at -1.

    Raises:
        ValueError: the three do not have one shape, an unknown reduction.
    """
    check_reduction("margin_ranking_loss", reduction)
    check_numbers("margin_ranking_loss", margin=margin)
    input2 = paired("margin_ranking_loss", input1, input2)
    target = paired("margin_ranking_loss", input1, target)
    return reduce(_at_least_zero(margin - target * (input1 - input2)), reduction)


@builtin(in_float32="halves and integers", autocast="float32")
def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, *, reduction: str = "mean") -> Any:
    """The input, a distance, where the target is 1, and max(0, margin - input) where it is -1.

    Raises:
        ValueError: the shapes differ, a target that is neither 1 nor -1, an unknown reduction.
    """
    check_reduction("hinge_embedding_loss", reduction)
    check_numbers("hinge_embedding_loss", margin=margin)
    target = as_array(paired("hinge_embedding_loss", input, target))

    def refuse():
        raise ValueError("hinge_embedding_loss: a target is 1 or -1; for labels of 1 and 0 give 2 * labels - 1")

    backend.of(target).check(target * target, 1, 1, refuse)
    return reduce(ops.where(target == 1, input, _at_least_zero(margin - input)), reduction)


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def soft_margin_loss(input: Any, target: Any, *, reduction: str = "mean") -> Any:
    """log(1 + exp(-target · input)), for targets of 1 and -1.  Shapes and errors as for `mse_loss`."""
    check_reduction("soft_margin_loss", reduction)
    return reduce(softplus(-paired("soft_margin_loss", input, target) * input), reduction)


@builtin(in_float32="halves and integers", autocast="float32")
def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, *, reduction: str = "mean"
) -> Any:
    """Σ max(0, margin - input[target] + input[c])ᵖ / C over the classes c but the target (Crammer & Singer 2001).

    Args:
        input: (N, C) scores, or (C,).   target: (N,) labels, or ().
        p: 1 or 2.
        weight: (C,) a weight for each class, that of the target counts.

    Raises:
        IndexError: a label is out of range.
        ValueError: shapes that do not belong together, another p, an unknown reduction.
    """
    name = "multi_margin_loss"
    check_reduction(name, reduction)
    check_numbers(name, margin=margin)
    if p not in (1, 2):
        raise ValueError(f"{name}: p={p!r} is not known: give 1 or 2")
    rows, labels = _rows(name, input, target, False)
    classes = rows.shape[1]
    ops.check_indices(name, labels, classes, f"{classes} classes", low=0)
    labels = labels[:, None]
    xp = backend.of(as_array(rows)).xp
    short = _at_least_zero(margin - ops.gather(rows, 1, labels) + rows)
    loss = short if p == 1 else short * short
    if weight is not None:
        loss = loss * class_weight(name, weight, rows)[labels]
    loss = ops.sum(ops.where(xp.arange(classes) == labels, 0, loss), 1) / classes
    return reduce(loss if len(input.shape) > 1 else loss[0], reduction)


@builtin(in_float32="halves and integers", autocast="float32")
def multilabel_margin_loss(input: Any, target: Any, *, reduction: str = "mean") -> Any:
    """Σ max(0, 1 - (input[t] - input[c])) / C over the labels t of an example and the classes c that are none of them.

    Args:
        input: (N, C) scores, or (C,).
        target: of its shape: the labels of each example, then -1, after which nothing counts.

    Raises:
        IndexError: a label is out of range.
        ValueError: the shapes differ, an unknown reduction.
    """
    name = "multilabel_margin_loss"
    check_reduction(name, reduction)
    rows, labels = _rows(name, input, target, True)
    ops.check_indices(name, labels, rows.shape[1], f"{rows.shape[1]} classes", low=-1)
    xp = backend.of(as_array(rows)).xp
    counts = xp.cumsum(labels < 0, 1) == 0  # (N, T): before the first -1
    given = labels * counts
    ours = ((given[:, :, None] == xp.arange(rows.shape[1])) & counts[:, :, None]).any(1)  # (N, C): is it a label?
    short = _at_least_zero(1 - (ops.gather(rows, 1, given)[:, :, None] - rows[:, None]))  # (N, T, C)
    loss = ops.sum(ops.where(counts[:, :, None] & ~ours[:, None], short, 0), (1, 2)) / rows.shape[1]
    return reduce(loss if len(input.shape) > 1 else loss[0], reduction)


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def multilabel_soft_margin_loss(input: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Any:
    """The mean over the classes, the last axis, of binary cross-entropy with logits: yes or no for every class.

    Args:
        input, target: (…, C), of one shape; targets are from 0 to 1.
        weight: of a shape that broadcasts to theirs.

    Raises:
        ValueError: the shapes differ, an unknown reduction.
    """
    name = "multilabel_soft_margin_loss"
    check_reduction(name, reduction)
    target = paired(name, input, target)
    loss = target * softplus(-input) + (1 - target) * softplus(input)
    return reduce(ops.mean(weighted(name, loss, weight, "weight", input), -1), reduction)


@builtin(in_float32="halves and integers", leading=3, autocast="float32")
def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
) -> Any:
    """max(0, margin + d(anchor, positive) - d(anchor, negative)), with d the p-norm (Balntas et al. 2016).

    Args:
        anchor, positive, negative: (N, D), or (D,), of one shape.
        eps: added to each difference, as in `F.pairwise_distance`.
        swap: use d(positive, negative), where that is less than d(anchor, negative).

    Raises:
        ValueError: the shapes differ, the margin is not above 0, an unknown reduction.
    """

    def distance(a: Any, b: Any) -> Any:
        return pairwise_distance(a, b, p, eps)

    return _triplet("triplet_margin_loss", anchor, positive, negative, distance, margin, swap, reduction)


@builtin(in_float32="halves and integers", leading=3, autocast="float32")
def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """`triplet_margin_loss` by any distance(a, b) of (N, D) and (N, D) to (N,), F.pairwise_distance by default."""
    name, distance = "triplet_margin_with_distance_loss", distance_function or pairwise_distance
    return _triplet(name, anchor, positive, negative, distance, margin, swap, reduction)


def _triplet(name, anchor, positive, negative, distance, margin, swap, reduction):
    check_reduction(name, reduction)
    check_flags(name, swap=swap)
    check_numbers(name, margin=margin)
    if margin <= 0:
        raise ValueError(f"{name}: margin={margin} must be above 0: by so much the negative is to be further away")
    positive, negative = paired(name, anchor, positive), paired(name, anchor, negative)
    near, far = distance(anchor, positive), distance(anchor, negative)
    far = ops.minimum(far, distance(positive, negative)) if swap else far
    return reduce(_at_least_zero(margin + near - far), reduction)


def _rows(name, input, target, labels_each):
    """The scores as (N, C), and the labels beside them: (N,), or (N, C) if there are several to an example."""
    xp = backend.of(as_array(input)).xp
    labels, given = xp.asarray(as_array(shaped(target, name))), tuple(input.shape)
    if len(given) == 1 and not labels_each and labels.shape == (1,):
        labels = labels[0]
    if len(given) not in (1, 2) or labels.shape != (given if labels_each else given[:-1]):
        raise ValueError(
            f"{name}: scores (N, C), or (C,), and labels {'of that shape' if labels_each else '(N,), or (),'} are "
            f"needed, these have {given} and {labels.shape}"
        )
    return (input, labels) if len(given) == 2 else (ops.expand_dims(input, 0), labels[None])


def _at_least_zero(x):
    """max(x, 0), whose gradient at 0 is that of x, as torch's of a margin that is just met."""
    return ops.clip(x, 0, None)
