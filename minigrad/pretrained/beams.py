"""Beam search: several texts followed at a time, so that a good one is not lost because its first word was unlikely."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

NEVER = np.float32(-1e9)                        # the score of a beam that must not be chosen


def search(text: Any, beams: int, most: int, ended: Callable[[np.ndarray], np.ndarray], candidates: int, penalty: float,
           length_penalty: float, early_stopping: bool | str, pad: int) -> np.ndarray:
    """The likeliest continuation of each text by at most `most` tokens, (B, T + new); in detail as transformers searches.

    Each step looks at the best few continuations of all beams of a text, `candidates`, so many that `beams` of them go on
    whatever ends.  Those of the first `beams` that end may be the result; the best that do not are the new beams.

    Args:
        text: a `generation._Text`.   ended: which of some texts (n, T) have come to an end.   pad: fills up shorter ones.
    """
    B = len(text.ids)
    totals = np.full((B, beams), NEVER)         # of log-probabilities; at first all beams are the same, and one is enough
    totals[:, 0] = 0
    results: list[list[tuple[float, np.ndarray]]] = [[] for _ in range(B)]     # the best that have ended, best first
    hopeful = np.ones(B, bool)                  # texts whose beams might still lead to something better
    for n in range(1, most + 1):
        scores = text.next_scores()
        if n == 1:
            scores = np.repeat(scores, beams, 0)
            text.select(np.repeat(np.arange(B), beams))
        scores = scores - scores.max(1, keepdims=True)
        scores = text.penalised(scores - np.log(np.exp(scores).sum(1, keepdims=True)), penalty)
        V = scores.shape[1]
        total = (totals[:, :, None] + scores.reshape(B, beams, V)).reshape(B, -1)
        best = np.argpartition(-total, min(candidates, total.shape[1]) - 1)[:, :candidates]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(total, best, 1), kind="stable"), 1)
        total, rows, tokens = np.take_along_axis(total, best, 1), best // V + beams * np.arange(B)[:, None], best % V
        longer = np.concatenate([text.so_far[rows], tokens[..., None]], -1)    # (B, candidates, T)
        ends = (n == most) | ended(longer.reshape(-1, text.length + 1)).reshape(tokens.shape)

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
        hopeful &= [len(found) < beams or top / length**length_penalty > found[-1][0]
                    for found, top in zip(results, totals[:, 0], strict=True)]
        full = all(len(found) == beams for found in results)
        if ends.all() or not hopeful.any() or early_stopping is True and full:
            break
    chosen = [found[0][1] for found in results]
    width = max(map(len, chosen))
    return np.array([np.pad(ids, (0, width - len(ids)), constant_values=pad) for ids in chosen])
