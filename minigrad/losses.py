"""Loss functions: the error of a prediction as one number to minimise.

Names, defaults and reductions are torch's.  Inputs are never broadcast silently, and labels out of range are refused.
"""

from __future__ import annotations

import functools
import math
from numbers import Real
from typing import Any

import numpy as np

from . import backend, ops
from .backend import is_float
from .backend.shared.losses import NEVER
from .ops.shape import check_flags
from .precision import floating, in_float32
from .primitive import definition, primitive
from .tensor import Tensor, as_array, recording, shaped

REDUCTIONS = ("mean", "sum", "none")
EPS = 1e-12  # added under a root, to keep its gradient at 0 finite; torch's value

of_two = functools.partial(in_float32, leading=2)  # `floating`, for losses of two floating inputs


# Classification.


@floating
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
    _check_reduction("cross_entropy", reduction)
    if not isinstance(label_smoothing, Real) or not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing={label_smoothing} is not a share of the target: give 0 to 1")
    given = as_array(shaped(target, "cross_entropy"))
    if is_float(given.dtype) and len(given.shape) > 1 and given.shape == input.shape:
        if ignore_index != -100:
            raise ValueError(
                f"cross_entropy: ignore_index={ignore_index} is for labels, but the target is the "
                "probability of every class: leave it out"
            )
        weight = None if weight is None else _class_weight("cross_entropy", weight, input)
        log_p, target = ops.log_softmax(input, 1), _beside(input, target)
        if weight is not None:
            log_p = log_p * weight.reshape(-1, *[1] * (len(input.shape) - 2))
        if label_smoothing:
            target = target * (1 - label_smoothing) + label_smoothing / input.shape[1]
        return _reduce(-ops.sum(log_p * target, 1), reduction)
    rows, labels, weight = _labelled("cross_entropy", input, target, weight, ignore_index)
    loss = _cross_entropy(rows, labels, weight, ignore_index, label_smoothing, reduction)
    return ops.reshape(loss, given.shape) if reduction == "none" else loss


@floating
@definition
def _cross_entropy(logits, /, target, weight, ignore_index, label_smoothing, reduction):
    """Cross-entropy of (N, C) logits with (N,) checked labels."""
    log_p = ops.log_softmax(logits, -1)
    loss, weights = _surprise(log_p, target, weight, ignore_index)
    if label_smoothing:
        everywhere = ops.where(target != ignore_index, -ops.sum(log_p if weight is None else log_p * weight, -1), 0)
        loss = (1 - label_smoothing) * loss + (label_smoothing / logits.shape[1]) * everywhere
    return _weighted_reduce(loss, weights, reduction)


@floating
def nll_loss(input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """-input[target]: `cross_entropy` of log-probabilities instead of logits, with the same arguments and errors."""
    _check_reduction("nll_loss", reduction)
    rows, labels, weight = _labelled("nll_loss", input, target, weight, ignore_index)
    loss = _weighted_reduce(*_surprise(rows, labels, weight, ignore_index), reduction)
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
    return input, target.reshape(-1), None if weight is None else _class_weight(name, weight, array)


def _class_weight(name, weight, input):
    weight = _beside(input, constant(name, "weight", weight))
    if weight.shape != input.shape[1:2]:
        raise ValueError(
            f"{name}: the class weights have shape {tuple(weight.shape)}, but there are {input.shape[1]} classes"
        )
    return weight


# Binary classification.


@of_two
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
    _check_reduction("binary_cross_entropy", reduction)
    target, array = _paired("binary_cross_entropy", input, target), as_array(input)

    def refuse():
        raise ValueError(
            f"binary_cross_entropy: input must be probabilities, but goes from {array.min()} to "
            f"{array.max()}: give logits to binary_cross_entropy_with_logits"
        )

    backend.of(array).check(array, 0, 1, refuse)
    return _reduce(
        _weighted("binary_cross_entropy", _binary_cross_entropy(input, target), weight, "weight", array), reduction
    )


@floating
@primitive
def _binary_cross_entropy(xp, p, target, /):
    """-target · log(p) - (1 - target) · log(1 - p), elementwise; the gradient is kept finite as in torch."""
    with np.errstate(divide="ignore"):
        return -target * xp.maximum(xp.log(p), -100) - (1 - target) * xp.maximum(xp.log1p(-p), -100)


_binary_cross_entropy.defvjp(
    p=lambda g, p, target: g * (p - target) / ops.clip(p * (1 - p), EPS, None),
    target=lambda g, p: g * (_log(1 - p) - _log(p)),
)


def _log(p):
    return ops.log(ops.clip(p, math.exp(-100), None))


@of_two
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
    _check_reduction(name, reduction)
    target = _paired(name, input, target)
    yes, no = (ops.softplus(x, threshold=math.inf) for x in (-input, input))
    loss = _weighted(name, target, pos_weight, "pos_weight", input) * yes + (1 - target) * no
    return _reduce(_weighted(name, loss, weight, "weight", input), reduction)


def _weighted(name, x, weight, what, input):
    """x · weight, where the weight, a constant, has a shape that broadcasts to the input's."""
    if weight is None:
        return x
    weight = _beside(input, constant(name, what, weight))
    mismatch = any(m not in (1, n) for m, n in zip(weight.shape[::-1], input.shape[::-1]))
    if mismatch or len(weight.shape) > len(input.shape):
        raise ValueError(
            f"{name}: {what} of shape {tuple(weight.shape)} does not broadcast to the input's {tuple(input.shape)}"
        )
    return x * weight


# Regression.


@of_two
def mse_loss(input: Any, target: Any, *, reduction: str = "mean") -> Any:
    """(input - target)², averaged over all entries; both have one shape.

    Raises:
        ValueError: the shapes differ (broadcasting them would compare every prediction with every target), an unknown
            reduction.
    """
    _check_reduction("mse_loss", reduction)
    error = input - _paired("mse_loss", input, target)
    return _reduce(error * error, reduction)


@of_two
def l1_loss(input: Any, target: Any, *, reduction: str = "mean") -> Any:
    """|input - target|, averaged; shapes and errors as for `mse_loss`."""
    _check_reduction("l1_loss", reduction)
    return _reduce(ops.abs(input - _paired("l1_loss", input, target)), reduction)


@of_two
def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """Half the squared error up to delta, and from there on a straight line of slope delta (Huber 1964).

    Small errors are squared; large ones, the outliers, contribute linearly.  Shapes and errors as for `mse_loss`.
    """
    _check_reduction("huber_loss", reduction)
    if not (isinstance(delta, Real) and delta > 0):
        raise ValueError(f"huber_loss: delta={delta} must be above 0: it is where the square ends and the line begins")
    return _reduce(_huber(input - _paired("huber_loss", input, target), delta), reduction)


@of_two
def smooth_l1_loss(input: Any, target: Any, *, reduction: str = "mean", beta: float = 1.0) -> Any:
    """`huber_loss` of delta = beta, divided by beta, so that the line has slope 1 (Girshick 2015, eq. 3).

    beta 0 is `l1_loss`.  Shapes and errors as for `mse_loss`.
    """
    _check_reduction("smooth_l1_loss", reduction)
    if not (isinstance(beta, Real) and beta >= 0):
        raise ValueError(
            f"smooth_l1_loss: beta={beta} must be 0 or more: it is where the square ends and the line begins"
        )
    error = input - _paired("smooth_l1_loss", input, target)
    return _reduce(_huber(error, beta) / beta if beta else ops.abs(error), reduction)


def _huber(error, delta):
    """error²/2 where |error| <= delta, else delta · (|error| - delta/2), as one formula of the clipped error."""
    held = ops.clip(error, -delta, delta)
    return held * (error - held / 2)


# Distributions and pairs of vectors.


@of_two
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
    _check_reduction("kl_div", reduction, (*REDUCTIONS, "batchmean"))
    check_flags("kl_div", log_target=log_target)
    target = _paired("kl_div", input, target)
    if log_target:
        loss = ops.exp(target) * (target - input)
    else:  # 0 · log 0 is 0
        loss = target * (ops.log(ops.where(target == 0, 1, target)) - input)
    if reduction == "batchmean":
        return ops.sum(loss) / (input.shape[0] if input.shape else 1)
    return _reduce(loss, reduction)


@of_two
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
    target = _check_pairs("cosine_embedding_loss", input1, input2, target, reduction)
    squares = (ops.sum(input1 * input1, -1) + EPS) * (ops.sum(input2 * input2, -1) + EPS)
    cos = ops.sum(input1 * input2, -1) / ops.sqrt(squares)
    return _reduce(ops.where(target == 1, 1 - cos, ops.relu(cos - margin)), reduction)


@of_two
def contrastive_loss(input1: Any, input2: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    """d²/2 where the target is 1 (a matching pair), max(0, margin - d)²/2 where it is -1, with d the distance.

    Hadsell, Chopra & LeCun 2006, eq. 4, who write 0 for 1 and 1 for -1.  Shapes and errors as for
    `cosine_embedding_loss`.
    """
    target = _check_pairs("contrastive_loss", input1, input2, target, reduction)
    difference = input1 - input2
    square = ops.sum(difference * difference, -1)
    short = ops.relu(margin - ops.sqrt(square + EPS))
    return _reduce(ops.where(target == 1, square, short * short) / 2, reduction)


def _check_pairs(name, input1, input2, target, reduction):
    _check_reduction(name, reduction)
    target = as_array(_beside(input1, shaped(target, name)))
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


@of_two
def info_nce(query: Any, key: Any, temperature: float = 0.07, reduction: str = "mean") -> Any:
    """Cross-entropy of finding each query's key among all keys by cosine (van den Oord et al. 2018, eq. 4).

    Args:
        query: (N, D).   key: (M, D), M >= N; row i < N belongs to query i, all others are its negatives.
        temperature: divides the cosines: the lower, the more only the hardest negatives count.

    The symmetric loss of CLIP is the mean of this one and that of (key, query).

    Raises:
        ValueError: shapes that do not belong together, an unknown reduction.
    """
    if len(query.shape) != 2 or len(key.shape) != 2 or query.shape[1] != key.shape[1] or key.shape[0] < query.shape[0]:
        raise ValueError(
            "info_nce: query (N, D) and key (M, D) with M >= N are needed, these have "
            f"{tuple(query.shape)} and {tuple(key.shape)}"
        )
    query, key = (x / ops.sqrt(ops.sum(x * x, -1, True) + EPS) for x in (query, key))
    return cross_entropy(
        ops.matmul(query, ops.transpose(key)) / temperature, np.arange(len(query)), reduction=reduction
    )


# Sequences without alignment.


@floating
def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:
    """-log of the probability that a path through `log_probs` spells the target (Graves et al. 2006).

    A path has one class for each time step; it spells what is left when runs of a class are made one and blanks are
    dropped.

    Args:
        log_probs: (T, N, C) log-probabilities, the output of log_softmax; or (T, C) for one sequence.
        targets: (N, S) labels, padded with anything; or all labels one sequence after the other, (Σ target_lengths,).
        input_lengths, target_lengths: (N,) how many of the T steps, and of the labels, are each sequence's own.
        blank: the class that stands for no label.
        reduction: "mean" divides each loss by its target's length, then averages over the batch; "sum"; "none" gives
            (N,).
        zero_infinity: a target that no path can spell (too long for its steps) has loss 0 instead of infinity.

    A target that no path can spell has gradient zero.  The gradient of the others, by log_probs, is minus the
    probability of each class at each step given the target; torch's is that plus exp(log_probs), which log_softmax,
    going back, takes away.

    Raises:
        ValueError: shapes or lengths that do not belong together, a label that is the blank, an unknown reduction.
        IndexError: a label is out of range.
    """
    _check_reduction("ctc_loss", reduction)
    check_flags("ctc_loss", zero_infinity=zero_infinity)
    if len(log_probs.shape) not in (2, 3):
        raise ValueError(
            f"ctc_loss: log_probs are (T, N, C), or (T, C) for one sequence, but have shape {tuple(log_probs.shape)}"
        )
    input_lengths, target_lengths = (shaped(n, "ctc_loss") for n in (input_lengths, target_lengths))
    if len(log_probs.shape) == 2:
        lengths = (as_array(n).reshape(-1) for n in (input_lengths, target_lengths))
        loss = ctc_loss(log_probs[:, None], as_array(targets).reshape(-1), *lengths, blank, reduction, zero_infinity)
        return loss[0] if reduction == "none" else loss
    labels, input_lengths, target_lengths = _ctc_labels(log_probs.shape, targets, input_lengths, target_lengths, blank)
    xp = backend.of(as_array(log_probs)).xp
    # The states of a path are: start, blank, label 1, blank, label 2, …, blank.  It stays, goes on to the next state,
    # or skips the blank between two different labels; and it may end in the last label or the blank after it.
    states = np.full((len(labels), 2 * labels.shape[1] + 2), blank)
    states[:, 2::2] = labels
    may_skip = np.zeros(states.shape, bool)
    may_skip[:, 2::2] = np.diff(labels, prepend=-1) != 0
    ends = np.arange(states.shape[1]) // 2 == target_lengths[:, None]
    loss = _ctc(log_probs, *(xp.asarray(a) for a in (states, may_skip, ends, input_lengths)))
    if zero_infinity:
        loss = ops.where(loss == math.inf, 0, loss)
    return _reduce(ops.divide(loss, xp.asarray(target_lengths.clip(1))) if reduction == "mean" else loss, reduction)


@floating
@definition
def _ctc(log_probs, /, states, may_skip, ends, input_lengths):
    """The losses (N,) of log_probs (T, N, C); alpha (N, L) is the log-probability of all paths to each state."""
    xp, dtype, (N, L) = backend.of(as_array(log_probs)).xp, log_probs.dtype, states.shape
    emit = ops.astype(log_probs, xp.result_type(dtype, xp.float32))[:, xp.arange(N)[:, None], states]  # (T, N, L)
    emit = ops.where(xp.arange(L) == 0, NEVER, ops.clip(emit, NEVER, None))  # nothing returns to the start
    never = xp.full((N, L + 2), NEVER, emit.dtype)
    alpha = xp.where(xp.arange(L) == 0, 0, never[:, 2:])
    for t in range(log_probs.shape[0]):
        before = ops.concatenate([never[:, :2], alpha], 1)
        ways = ops.stack([alpha, before[:, 1:-1], ops.where(may_skip, before[:, :-2], NEVER)])
        alpha = ops.where(t < input_lengths[:, None], ops.logsumexp(ways, 0) + emit[t], alpha)
    total = ops.logsumexp(ops.where(ends, alpha, NEVER), 1)
    return ops.astype(ops.where(total < NEVER / 2, math.inf, -total), dtype)


def _ctc_labels(shape, targets, input_lengths, target_lengths, blank):
    """Labels (N, S), each row filled up with blanks, and both lengths, as NumPy arrays known to belong together."""
    targets, input_lengths, target_lengths = (
        backend.of(a).to_numpy(a) for a in map(as_array, (targets, input_lengths, target_lengths))
    )
    T, N, C = shape
    if not 0 <= blank < C:
        raise ValueError(f"ctc_loss: blank={blank} is not one of the {C} classes, 0 to {C - 1}")
    longest = {"input_lengths": T, "target_lengths": targets.shape[-1]}
    for (name, most), lengths in zip(longest.items(), (input_lengths, target_lengths)):
        in_range = not N or 0 <= lengths.min() <= lengths.max() <= most
        if lengths.shape != (N,) or lengths.dtype.kind not in "iu" or not in_range:
            raise ValueError(
                f"ctc_loss: {name} must be {N} whole numbers, one for each sequence, from 0 to {most}, "
                f"but is {lengths.tolist()}"
            )
    total, S = int(target_lengths.sum()), int(target_lengths.max(initial=0))
    if targets.shape != (total,) and targets.shape[:-1] != (N,):
        raise ValueError(
            f"ctc_loss: targets must be labels (N, S) = ({N}, S) or (Σ target_lengths,) = ({total},), "
            f"but have shape {targets.shape}"
        )
    own = np.arange(S) < target_lengths[:, None]  # (N, S)
    given = targets if targets.ndim == 1 else targets[:, :S][own]
    ops.check_indices("ctc_loss", given, C, f"{C} classes", low=0)
    if (given == blank).any():
        raise ValueError(
            f"ctc_loss: label {int((given == blank).argmax())} is the blank ({blank}), which no target may contain"
        )
    labels = np.full((N, S), blank)
    labels[own] = given
    return labels, input_lengths, target_lengths


# Helpers.


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


def _paired(name: str, input: Any, target: Any) -> Any:
    """The target on the input's device and dtype; refuses another shape than the input's."""
    target = _beside(input, target)
    if tuple(input.shape) != tuple(target.shape):
        raise ValueError(
            f"{name}: input has shape {tuple(input.shape)} and target {tuple(target.shape)}; "
            "broadcasting them would compare every prediction with every target: use .reshape(...) on "
            "one of them"
        )
    return target


def _beside(input: Any, other: Any) -> Any:
    """Convert a non-Tensor to an array on the input's device and dtype, lest NumPy's float64 widen the loss."""
    array = as_array(input)
    dtype = array.dtype if is_float(array.dtype) else None
    return other if isinstance(other, Tensor) else backend.of(array).xp.asarray(as_array(other), dtype=dtype)


def _weighted_reduce(loss: Any, weights: Any, reduction: str) -> Any:
    if reduction != "mean":
        return _reduce(loss, reduction)
    xp, total = backend.of(weights).xp, weights.sum()
    return ops.where(total == 0, xp.nan, ops.sum(loss) / xp.where(total == 0, 1, total))  # NaN, with gradient 0


def _reduce(loss: Any, reduction: str) -> Any:
    return loss if reduction == "none" else ops.mean(loss) if reduction == "mean" else ops.sum(loss)


def _check_reduction(name: str, reduction: str, known: tuple[str, ...] = REDUCTIONS) -> None:
    if not isinstance(reduction, str) or reduction not in known:
        raise ValueError(f"{name}: reduction={reduction!r} is not known: type one of {', '.join(map(repr, known))}")
