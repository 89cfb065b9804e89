"""The losses of heads, as in transformers: None without labels, and the label -100 is ignored."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import losses, ops
from ..tensor import Tensor, as_array
from .config import PROBLEMS, Config
from .inputs import as_given
from .outputs import QuestionAnsweringOutput


def classification_loss(logits: Tensor, labels: Any, config: Config) -> Tensor | None:
    """Of scores (B, labels), by the problem_type of the configuration.

    single_label_classification: cross-entropy with class numbers (B,).  multi_label_classification: binary
    cross-entropy with zeros and ones (B, labels).  regression: the squared error, with numbers (B, labels) or, of a
    single score, (B,).  Without a problem_type a single score means the last, whole numbers the first, and floats the
    second.

    Raises:
        ValueError: the labels have another shape.
    """
    if labels is None:
        return None
    whole = as_array(labels).dtype.kind in "iu"
    problem = config.problem_type or PROBLEMS[2 if logits.shape[-1] == 1 else 0 if whole else 1]
    if problem == "single_label_classification":
        return losses.cross_entropy(logits, labels)
    targets = labels if isinstance(labels, Tensor) else Tensor(np.asarray(labels, logits.dtype), device=logits.device)
    if problem == "multi_label_classification":
        if targets.shape != logits.shape:
            raise ValueError(
                f"labels have shape {targets.shape}, but multi_label_classification, which floats mean, "
                f"takes zeros and ones of shape {logits.shape}: for one class each give whole numbers, "
                "for a value num_labels=1"
            )
        return losses.binary_cross_entropy_with_logits(logits, targets)
    if targets.shape not in (logits.shape, logits.shape[: -1 if logits.shape[-1] == 1 else None]):
        raise ValueError(
            f"labels have shape {targets.shape}, but regression takes a number for each score, "
            f"{logits.shape}: to predict one number for each text, load the model with num_labels=1"
        )
    return losses.mse_loss(ops.reshape(logits, targets.shape), targets)


def token_loss(logits: Tensor, labels: Any) -> Tensor | None:
    """Cross-entropy of scores (B, T, classes) with labels (B, T), for token classification, masked LM and seq2seq."""
    if labels is None:
        return None
    labels = as_given(labels)
    if labels.shape != logits.shape[:2]:
        raise ValueError(
            f"labels have shape {labels.shape}, but there are scores for {logits.shape[:2]} tokens: give "
            "each token a label, -100 where none is to count"
        )
    return losses.cross_entropy(ops.reshape(logits, (-1, logits.shape[-1])), labels.reshape(-1))


def causal_loss(logits: Tensor, labels: Any) -> Tensor | None:
    """Cross-entropy of scores (B, T, vocabulary) with the next token; `labels` (B, T) are the input ids themselves."""
    return None if labels is None else token_loss(logits[:, :-1], as_given(labels)[:, 1:])


def answer_span(logits: Tensor, start_positions: Any, end_positions: Any) -> QuestionAnsweringOutput:
    """From two scores for each token, (B, T, 2): that the answer starts there, and that it ends there.

    The loss is the mean of two cross-entropies over the tokens; positions are (B,).  One beyond the last token, as
    after truncation, counts for nothing; a negative one means the first token.
    """
    start, end, T = logits[:, :, 0], logits[:, :, 1], logits.shape[1]
    loss = None
    if start_positions is not None and end_positions is not None:
        first, last = (
            losses.cross_entropy(scores, as_given(at).reshape(-1).clip(0, T), ignore_index=T)
            for scores, at in ((start, start_positions), (end, end_positions))
        )
        loss = (first + last) / 2
    return QuestionAnsweringOutput(loss, start, end)
