"""Beam search: extends several texts in parallel, so that a likely text is not lost for an unlikely first token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..logits import log_softmax

NEVER = np.float32(-1e9)  # the score of a beam that must not be chosen


def search(
    text: Any,
    next_scores: Callable[[], np.ndarray],
    process: Callable[[np.ndarray], np.ndarray],
    beams: int,
    most: int,
    ended: Callable[[np.ndarray, np.ndarray], np.ndarray],
    candidates: int,
    length_penalty: float,
    early_stopping: bool | str,
    pad: int,
    returned: int = 1,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest continuations of each text by at most `most` tokens, (B · returned, T + new), and their scores.

    The details are those of transformers.  Each step considers the best `candidates` continuations of all beams of a
    text, enough that `beams` of them have not ended.  Those among the first `beams` that have ended are possible
    results; the best that have not are the new beams.  With `rng` the candidates are instead drawn without replacement
    from the distribution of the continuations.

    Args:
        text: a `generation._Text`.
        next_scores: returns the model's scores of the next token, (rows, vocabulary).
        process: a function of the log-probabilities that returns the scores to use.
        ended: tells which of some texts (n, T) have ended.
        pad: the token that fills shorter texts.

    Returns:
        The ids, and the score of each text: the sum of log-probabilities divided by length ** `length_penalty`.
    """
    B = len(text.ids)
    totals = np.full((B, beams), NEVER)  # sums of log-probabilities; at first all beams are equal, and one suffices
    totals[:, 0] = 0
    results: list[list[tuple[float, np.ndarray]]] = [[] for _ in range(B)]  # texts that have ended, the best first
    open_ = np.ones(B, bool)  # whether the beams of a text may still lead to a better result
    for n in range(1, most + 1):
        scores = next_scores()
        if n == 1:
            scores = np.repeat(scores, beams, 0)
            text.select(np.repeat(np.arange(B), beams))
        scores = process(log_softmax(scores))
        V = scores.shape[1]
        total = (totals[:, :, None] + scores.reshape(B, beams, V)).reshape(B, -1)
        # The largest of log-probabilities plus Gumbel noise are a sample without replacement.
        keys = total if rng is None else total + rng.gumbel(size=total.shape)
        best = np.argpartition(-keys, min(candidates, total.shape[1]) - 1)[:, :candidates]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(total, best, 1), kind="stable"), 1)
        total, rows, tokens = np.take_along_axis(total, best, 1), best // V + beams * np.arange(B)[:, None], best % V
        longer = np.concatenate([text.so_far[rows], tokens[..., None]], -1)  # (B, candidates, T)
        ends = (n == most) | ended(longer.reshape(-1, text.length + 1), scores).reshape(tokens.shape)

        for b in np.flatnonzero(open_):
            if not (early_stopping is True and len(results[b]) == beams):
                new = [(total[b, j] / n**length_penalty, longer[b, j]) for j in np.flatnonzero(ends[b, :beams])]
                results[b] = sorted(results[b] + new, key=lambda result: -result[0])[:beams]
        total = total + NEVER * ends
        alive = np.argsort(-total, kind="stable")[:, :beams]
        totals = np.take_along_axis(total, alive, 1)
        text.select(np.take_along_axis(rows, alive, 1).reshape(-1))
        text.append(np.take_along_axis(tokens, alive, 1).reshape(-1))
        length = most if early_stopping == "never" and length_penalty > 0 else n
        open_ &= [
            len(found) < beams or top / length**length_penalty > found[-1][0]
            for found, top in zip(results, totals[:, 0], strict=True)
        ]
        full = all(len(found) == beams for found in results)
        if ends.all() or not open_.any() or (early_stopping is True and full):
            break
    chosen = [result for found in results for result in found[:returned]]
    width = max(len(ids) for _, ids in chosen)
    return (
        np.array([np.pad(ids, (0, width - len(ids)), constant_values=pad) for _, ids in chosen]),
        np.array([score for score, _ in chosen], np.float32),
    )
