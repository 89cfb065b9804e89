"""The loss of sequences without alignment: connectionist temporal classification."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend, ops
from ..backend.shared.losses import NEVER
from ..builtin import builtin
from ..ops.shape import check_flags, whole_number
from ..primitive import definition
from ..tensor import as_array, shaped
from .checks import check_reduction, reduce


@builtin(in_float32="halves and integers", autocast="float32")
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
    check_reduction("ctc_loss", reduction)
    check_flags("ctc_loss", zero_infinity=zero_infinity)
    if len(log_probs.shape) not in (2, 3):
        raise ValueError(
            f"ctc_loss: log_probs are (T, N, C), or (T, C) for one sequence, but have shape {tuple(log_probs.shape)}"
        )
    input_lengths, target_lengths = (shaped(n, "ctc_loss") for n in (input_lengths, target_lengths))
    if len(log_probs.shape) == 2:
        steps, labels = (as_array(n).reshape(-1) for n in (input_lengths, target_lengths))
        one = as_array(targets).reshape(-1)
        loss = ctc_loss(log_probs[:, None], one, steps, labels, blank, reduction, zero_infinity)
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
    return reduce(ops.divide(loss, xp.asarray(target_lengths.clip(1))) if reduction == "mean" else loss, reduction)


@builtin(name="ctc", in_float32="halves and integers", autocast="float32")
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


_ctc.in_symbols(log_probs="-g · probability of being in each letter at each time")


def _ctc_labels(shape, targets, input_lengths, target_lengths, blank):
    """Labels (N, S), each row filled up with blanks, and both lengths, as NumPy arrays known to belong together."""
    targets, input_lengths, target_lengths = (
        backend.of(a).to_numpy(a) for a in map(as_array, (targets, input_lengths, target_lengths))
    )
    T, N, C = shape
    blank = whole_number("ctc_loss", "blank", blank)
    if not 0 <= blank < C:
        raise ValueError(f"ctc_loss: blank={blank} is not one of the {C} classes, 0 to {C - 1}")
    longest = {"input_lengths": T, "target_lengths": targets.shape[-1]}
    for (name, most), lengths in zip(longest.items(), (input_lengths, target_lengths)):
        in_range = not lengths.size or 0 <= lengths.min() <= lengths.max() <= most
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
