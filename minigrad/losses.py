"""How wrong a prediction is, as one number to make smaller.

Torch's names, defaults and reductions; nothing is broadcast in silence, and labels out of range are refused.
"""
from __future__ import annotations

from typing import Any

from . import backend, ops
from .primitive import definition
from .tensor import Tensor, as_array

REDUCTIONS = ("mean", "sum", "none")


def cross_entropy(logits: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean",
                  label_smoothing: float = 0.0) -> Any:
    """-log softmax(logits)[target]: the surprise at the right class, averaged.

    Args:
        logits: (N, C) scores of C classes, or (N, C, d1, …) with one prediction for each place d.
        target: (N,) or (N, d1, …) integer class labels.
        weight: (C,) a weight for each class; the mean is then weighted too.
        ignore_index: examples with this label count for nothing.
        label_smoothing: this much of the target is spread evenly over all classes (Szegedy et al. 2016, sec. 7).
        reduction: "mean", "sum" or "none" (one loss for each label).

    Raises:
        IndexError: a label is outside 0 … C-1; the message says which and where.
        ValueError: shapes that do not belong together, an unknown reduction.
        TypeError: labels that are not integers.
    """
    _check_reduction("cross_entropy", reduction)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing={label_smoothing} is not a share of the target: give 0 to 1")
    array = logits.data if isinstance(logits, Tensor) else logits
    xp = backend.of(array).xp
    target = xp.asarray(as_array(target))
    if len(array.shape) < 2 or target.shape != (array.shape[0], *array.shape[2:]):
        raise ValueError(f"cross_entropy: logits {tuple(array.shape)} (N, C, …) ask for labels of shape "
                         f"{(*array.shape[:1], *array.shape[2:])}, these have {tuple(target.shape)}")
    classes = array.shape[1]
    ops.check_indices("cross_entropy", xp.where(target == ignore_index, 0, target) if target.dtype.kind in "iu" else target, classes,
                      f"{classes} classes", low=0)
    if weight is not None:
        weight = xp.asarray(as_array(weight), dtype=array.dtype)
        if weight.shape != (classes,):
            raise ValueError(f"cross_entropy: the class weights have shape {tuple(weight.shape)}, but there are {classes} classes")
    if len(array.shape) > 2:                    # (N, C, d…) -> (N·d…, C)
        logits = ops.reshape(ops.transpose(logits, (0, *range(2, len(array.shape)), 1)), (-1, classes))
    loss = _cross_entropy(logits, target.reshape(-1), weight, ignore_index, label_smoothing, reduction)
    return ops.reshape(loss, target.shape) if reduction == "none" else loss


@definition
def _cross_entropy(logits, /, target, weight, ignore_index, label_smoothing, reduction):
    """Cross-entropy of (N, C) logits with (N,) labels known to be good."""
    counted = target != ignore_index
    label = target * counted                    # an ignored label reads class 0, and is then weighted with 0
    weights = counted.astype(logits.dtype) if weight is None else weight[label] * counted
    log_p = ops.log_softmax(logits, -1)
    loss = -ops.gather(log_p, 1, label[:, None])[:, 0] * weights
    if label_smoothing:
        everywhere = -ops.sum(log_p if weight is None else log_p * weight, -1) * counted
        loss = (1 - label_smoothing) * loss + (label_smoothing / logits.shape[1]) * everywhere
    if reduction == "none":
        return loss
    return ops.sum(loss) / weights.sum() if reduction == "mean" else ops.sum(loss)


def mse_loss(prediction: Any, target: Any, reduction: str = "mean") -> Any:
    """(prediction - target)², averaged over all entries; both have one shape.

    Raises:
        ValueError: the shapes differ (they would broadcast to something that was not meant), an unknown reduction.
    """
    _check_reduction("mse_loss", reduction)
    target = target if hasattr(target, "shape") else Tensor(target)
    if tuple(prediction.shape) != tuple(target.shape):
        raise ValueError(f"mse_loss: prediction has shape {tuple(prediction.shape)} and target {tuple(target.shape)}; broadcasting them "
                         "would compare every prediction with every target: use .reshape(...) on one of them")
    error = prediction - target
    return _reduce(error * error, reduction)


def _reduce(loss: Any, reduction: str) -> Any:
    return loss if reduction == "none" else ops.mean(loss) if reduction == "mean" else ops.sum(loss)


def _check_reduction(name: str, reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f"{name}: reduction={reduction!r} is not known: type one of {', '.join(map(repr, REDUCTIONS))}")
