"""Beam search: several texts are extended in parallel, so that an unlikely first token does not lose a likely text."""

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
    """The likeliest continuations of each text by at most `most` tokens, (B · returned, T + new), and what they score.

    In detail as transformers searches.  Each step looks at the best few continuations of all beams of a text,
    `candidates`, so many that `beams` of them go on whatever ends.  Those of the first `beams` that end may be the
    result; the best that do not are the new beams.  With `rng` the candidates are drawn, none twice, from the
    distribution of the continuations instead.

    Args:
        text: a `generation._Text`.   next_scores: the model's scores of what comes next, (rows, vocabulary).
        process: log-probabilities to those that count.   ended: which of some texts (n, T) have come to an end.
        pad: fills up shorter ones.
    """
    B = len(text.ids)
    totals = np.full((B, beams), NEVER)  # of log-probabilities; at first all beams are the same, and one is enough
    totals[:, 0] = 0
    results: list[list[tuple[float, np.ndarray]]] = [[] for _ in range(B)]  # the best that have ended, best first
    hopeful = np.ones(B, bool)  # texts whose beams might still lead to something better
    for n in range(1, most + 1):
        scores = next_scores()
        if n == 1:
            scores = np.repeat(scores, beams, 0)
            text.select(np.repeat(np.arange(B), beams))
        scores = process(log_softmax(scores))
        V = scores.shape[1]
        total = (totals[:, :, None] + scores.reshape(B, beams, V)).reshape(B, -1)
        keys = total if rng is None else total + rng.gumbel(size=total.shape)  # the largest of these are such a sample
        best = np.argpartition(-keys, min(candidates, total.shape[1]) - 1)[:, :candidates]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(total, best, 1), kind="stable"), 1)
        total, rows, tokens = np.take_along_axis(total, best, 1), best // V + beams * np.arange(B)[:, None], best % V
        longer = np.concatenate([text.so_far[rows], tokens[..., None]], -1)  # (B, candidates, T)
        ends = (n == most) | ended(longer.reshape(-1, text.length + 1), scores).reshape(tokens.shape)

        for b in np.flatnonzero(hopeful):
            if not (early_stopping is True and len(results[b]) == beams):
                new = [(total[b, j] / n**length_penalty, longer[b, j]) for j in np.flatnonzero(ends[b, :beams])]
                results[b] = sorted(results[b] + new, key=lambda result: -result[0])[:beams]
        total = total + NEVER * ends
        alive = np.argsort(-total, kind="stable")[:, :beams]
        totals = np.take_along_axis(total, alive, 1)
        text.select(np.take_along_axis(rows, alive, 1).reshape(-1))
        text.append(np.take_along_axis(tokens, alive, 1).reshape(-1))
        length = most if early_stopping == "never" and length_penalty > 0 else n
        hopeful &= [
            len(found) < beams or top / length**length_penalty > found[-1][0]
            for found, top in zip(results, totals[:, 0], strict=True)
        ]
        full = all(len(found) == beams for found in results)
        if ends.all() or not hopeful.any() or (early_stopping is True and full):
            break
    chosen = [result for found in results for result in found[:returned]]
    width = max(len(ids) for _, ids in chosen)
    return (
        np.array([np.pad(ids, (0, width - len(ids)), constant_values=pad) for _, ids in chosen]),
        np.array([score for score, _ in chosen], np.float32),
    )
