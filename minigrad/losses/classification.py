"""Losses of classes: cross-entropy of labels and of probabilities, and of yes and no."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from .. import backend, ops
from ..backend import is_float
from ..builtin import builtin
from ..ops.shape import check_numbers
from ..primitive import definition, primitive
from ..tensor import as_array, shaped
from .checks import EPS, beside, check_reduction, class_weight, paired, reduce, softplus, weighted, weighted_reduce


@builtin(in_float32="halves and integers", autocast="float32")
def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """-log softmax(input)[target], averaged over the targets.

    Args:
        input: (N, C) scores of C classes (logits), or (N, C, d1, …) with one prediction for each position d.
        target: (N,) or (N, d1, …) integer class labels; or floats of input's shape, the probability of every class,
            and then the loss is -Σ target · log softmax(input) over the classes (ignore_index is refused there).
        weight: (C,) a weight for each class; with labels, the mean is then weighted too.
        ignore_index: examples with this label are left out.
        label_smoothing: this much of the target is spread evenly over all classes (Szegedy et al. 2016, sec. 7).
        reduction: "mean", "sum" or "none" (one loss for each label).

    Raises:
        IndexError: a label is outside 0 … C-1; the message says which and where.
        ValueError: shapes that do not belong together, an unknown reduction.
        TypeError: labels that are not integers.
    """
    check_reduction("cross_entropy", reduction)
    if not isinstance(label_smoothing, Real) or not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing={label_smoothing} is not a share of the target: give 0 to 1")
    given = as_array(shaped(target, "cross_entropy"))
    if is_float(given.dtype) and len(given.shape) > 1 and given.shape == input.shape:
        if ignore_index != -100:
            raise ValueError(
                f"cross_entropy: ignore_index={ignore_index} is for labels, but the target is the "
                "probability of every class: leave it out"
            )
        weight = None if weight is None else class_weight("cross_entropy", weight, input)
        log_p, target = ops.log_softmax(input, 1), beside(input, target)
        if weight is not None:
            log_p = log_p * weight.reshape(-1, *[1] * (len(input.shape) - 2))
        if label_smoothing:
            target = target * (1 - label_smoothing) + label_smoothing / input.shape[1]
        return reduce(-ops.sum(log_p * target, 1), reduction)
    rows, labels, weight = _labelled("cross_entropy", input, target, weight, ignore_index)
    loss = _cross_entropy(rows, labels, weight, ignore_index, label_smoothing, reduction)
    return ops.reshape(loss, given.shape) if reduction == "none" else loss


@builtin(name="cross_entropy", in_float32="halves and integers", autocast="float32")
@definition
def _cross_entropy(logits, /, target, weight, ignore_index, label_smoothing, reduction):
    """Cross-entropy of (N, C) logits with (N,) checked labels."""
    log_p = ops.log_softmax(logits, -1)
    loss, weights = _surprise(log_p, target, weight, ignore_index)
    if label_smoothing:
        everywhere = ops.where(target != ignore_index, -ops.sum(log_p if weight is None else log_p * weight, -1), 0)
        loss = (1 - label_smoothing) * loss + (label_smoothing / logits.shape[1]) * everywhere
    return weighted_reduce(loss, weights, reduction)


_cross_entropy.in_symbols(logits="g · (softmax(logits) - target) · share of the mean")


@builtin(in_float32="halves and integers", autocast="float32")
def nll_loss(input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """-input[target]: `cross_entropy` of log-probabilities instead of logits, with the same arguments and errors."""
    check_reduction("nll_loss", reduction)
    rows, labels, weight = _labelled("nll_loss", input, target, weight, ignore_index)
    loss = weighted_reduce(*_surprise(rows, labels, weight, ignore_index), reduction)
    return ops.reshape(loss, as_array(target).shape) if reduction == "none" else loss


def _surprise(log_p, target, weight, ignore_index):
    """The weighted -log_p (N, C) at each label (N,), and the weights: 0 for a label that is ignored."""
    counted = target != ignore_index
    label = target * counted  # an ignored label reads class 0, with weight 0
    weights = counted.astype(log_p.dtype) if weight is None else weight[label] * counted
    return -ops.where(counted, ops.gather(log_p, 1, label[:, None])[:, 0], 0) * weights, weights


def _labelled(name, input, target, weight, ignore_index):
    """Input as (M, C), its labels as (M,) and the class weights, checked to match."""
    array, target = as_array(input), as_array(shaped(target, name))
    if len(array.shape) < 2:
        raise ValueError(
            f"{name}: input is (N, C, …), but has shape {tuple(array.shape)}: input[None] makes a batch "
            "of one, for one label in a list"
        )
    if target.shape != (array.shape[0], *array.shape[2:]):
        raise ValueError(
            f"{name}: input {tuple(array.shape)} (N, C, …) asks for labels of shape "
            f"{(array.shape[0], *array.shape[2:])}, these have {tuple(target.shape)}"
        )
    classes = array.shape[1]
    ops.check_indices(
        name,
        target * (target != ignore_index) if target.dtype.kind in "iu" else target,
        classes,
        f"{classes} classes",
        low=0,
    )
    target = backend.of(array).xp.asarray(target)
    if len(array.shape) > 2:  # (N, C, d…) -> (N·d…, C)
        input = ops.reshape(ops.transpose(input, (0, *range(2, len(array.shape)), 1)), (-1, classes))
    return input, target.reshape(-1), None if weight is None else class_weight(name, weight, array)


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def binary_cross_entropy(input: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Any:
    """-target · log(input) - (1 - target) · log(1 - input), for an input that is probabilities.

    As in torch no logarithm goes below -100, so that the loss stays finite.  From logits,
    `binary_cross_entropy_with_logits` loses nothing to rounding.

    Args:
        input, target: of one shape, both between 0 and 1.
        weight: multiplies the loss; of a shape that broadcasts to theirs.

    Raises:
        ValueError: the shapes differ, a weight does not fit, an entry of input is outside 0 … 1, an unknown reduction.
    """
    check_reduction("binary_cross_entropy", reduction)
    target, array = paired("binary_cross_entropy", input, target), as_array(input)

    def refuse():
        raise ValueError(
            f"binary_cross_entropy: input must be probabilities, but goes from {array.min()} to "
            f"{array.max()}: give logits to binary_cross_entropy_with_logits"
        )

    backend.of(array).check(array, 0, 1, refuse)
    return reduce(
        weighted("binary_cross_entropy", _binary_cross_entropy(input, target), weight, "weight", array), reduction
    )


@builtin(name="binary_cross_entropy", in_float32="halves and integers", autocast="float32")
@primitive
def _binary_cross_entropy(xp, p, target, /):
    """-target · log(p) - (1 - target) · log(1 - p), elementwise; the gradient is kept finite as in torch."""
    with np.errstate(divide="ignore"):
        return -target * xp.maximum(xp.log(p), -100) - (1 - target) * xp.maximum(xp.log1p(-p), -100)


_binary_cross_entropy.defvjp(
    p=lambda g, p, target: g * (p - target) / ops.clip(p * (1 - p), EPS, None),
    target=lambda g, p: g * (_log(1 - p) - _log(p)),
)
_binary_cross_entropy.in_symbols(p="g · (p - target) / (p (1 - p))", target="g · (log(1 - p) - log p)")


def _log(p):
    return ops.log(ops.clip(p, math.exp(-100), None))


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """pos_weight · target · softplus(-input) + (1 - target) · softplus(input): nothing overflows or is rounded away.

    Since softplus(-x) = -log sigmoid(x), this is `binary_cross_entropy` of sigmoid(input); pos_weight makes positives
    count more.

    Args:
        input, target: of one shape; targets are from 0 to 1.
        weight, pos_weight: of a shape that broadcasts to theirs, (C,) for (N, C) say.

    Raises:
        ValueError: the shapes differ, a weight does not fit, an unknown reduction.
    """
    name = "binary_cross_entropy_with_logits"
    check_reduction(name, reduction)
    target = paired(name, input, target)
    positive = weighted(name, target, pos_weight, "pos_weight", input)
    loss = positive * softplus(-input) + (1 - target) * softplus(input)
    return reduce(weighted(name, loss, weight, "weight", input), reduction)


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def sigmoid_focal_loss(
    inputs: Any, targets: Any, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "none"
) -> Any:
    """Binary cross-entropy with logits, times (1 - p)^gamma, with p the probability given to the truth.

    So what is easy counts little (Lin et al. 2017, eq. 5).  Name, defaults and arguments are torchvision's.

    Args:
        inputs, targets: of one shape; targets are 0 or 1.
        alpha: the weight of the targets 1, and 1 - alpha of the others; below 0: none.

    Raises:
        ValueError: the shapes differ, a target is outside 0 … 1, an unknown reduction.
    """
    check_reduction("sigmoid_focal_loss", reduction)
    check_numbers("sigmoid_focal_loss", alpha=alpha, gamma=gamma)
    targets = paired("sigmoid_focal_loss", inputs, targets)

    truth = as_array(targets)

    def refuse():
        raise ValueError(
            f"sigmoid_focal_loss: targets are from 0 to 1, but go from {truth.min()} to {truth.max()}; for labels of 1 "
            "and -1 give (labels + 1) / 2"
        )

    backend.of(truth).check(truth, 0, 1, refuse)
    yes, no = ops.sigmoid(inputs), ops.sigmoid(-inputs)
    missed = yes * (1 - targets) + no * targets
    cross = targets * softplus(-inputs) + (1 - targets) * softplus(inputs)
    loss = cross * missed**gamma
    return reduce(loss * (alpha * targets + (1 - alpha) * (1 - targets)) if alpha >= 0 else loss, reduction)
