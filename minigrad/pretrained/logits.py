"""Processing of the scores of the next token: plain functions of float32 scores (B, vocabulary).

Each has the name of the option of `generate` that asks for it, and does what transformers' processor of that option
does.  A token that must not occur has the score -inf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

NONE = -np.inf
Process = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # ids (B, T), which are no padding (B, T), scores


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Log-probabilities."""
    scores = scores - scores.max(1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(1, keepdims=True))


def repetition_penalty(ids: np.ndarray, mask: np.ndarray, scores: np.ndarray, penalty: float) -> np.ndarray:
    """Divide the scores of tokens that occur by the penalty, or multiply if negative (Keskar et al. 2019, sec. 4.1)."""
    rows, columns = mask.nonzero()
    seen, scores = (rows, ids[rows, columns]), scores.copy()
    scores[seen] = np.where(scores[seen] < 0, scores[seen] * penalty, scores[seen] / penalty)
    return scores


def no_repeat_ngram_size(
    ids: np.ndarray, mask: np.ndarray, scores: np.ndarray, size: int, within: Any = None
) -> np.ndarray:
    """Forbid that `size` tokens occur in the same order twice, or a second time after the texts `within`."""
    scores = scores.copy()
    for b in range(len(ids)):
        row = ids[b][mask[b]].tolist()
        source = row if within is None else within[b]
        end = row[len(row) - size + 1 :]
        if len(row) + 1 >= size:
            scores[
                b, [source[i + size - 1] for i in range(len(source) - size + 1) if source[i : i + size - 1] == end]
            ] = NONE
    return scores


def sequence_bias(
    ids: np.ndarray, mask: np.ndarray, scores: np.ndarray, biases: Mapping[Sequence[int], float]
) -> np.ndarray:
    """To the last token of each sequence its number is added where the others were just written."""
    scores = scores.copy()
    for sequence, bias in biases.items():
        *before, last = sequence
        n = len(before)
        if n <= ids.shape[1]:
            scores[(ids[:, ids.shape[1] - n :] == before).all(1), last] += np.float32(bias)
    return scores


def without(scores: np.ndarray, tokens: Iterable[int]) -> np.ndarray:
    """Scores in which these tokens cannot come."""
    scores = scores.copy()
    scores[:, list(tokens)] = NONE
    return scores


def forced(scores: np.ndarray, tokens: Iterable[int]) -> np.ndarray:
    """Scores in which nothing else can come."""
    scores = np.full_like(scores, NONE)
    scores[:, list(tokens)] = 0
    return scores


def top_k(scores: np.ndarray, k: int, least: int = 1) -> np.ndarray:
    """Only the k likeliest tokens, and at least `least`."""
    k = min(max(k, least), scores.shape[1])
    return np.where(scores < np.partition(scores, -k)[:, -k, None], NONE, scores)


def top_p(scores: np.ndarray, p: float, least: int = 1) -> np.ndarray:
    """Only the fewest likeliest tokens that together have probability p (Holtzman et al. 2020)."""
    order = np.argsort(scores, 1, kind="stable")
    gone = _softmax(np.take_along_axis(scores, order, 1)).cumsum(1) <= 1 - p
    gone[:, -least:] = False
    return _without_places(scores, order, gone)


def min_p(scores: np.ndarray, p: float, least: int = 1) -> np.ndarray:
    """Only tokens at least p times as likely as the likeliest (Nguyen et al. 2024)."""
    probabilities = _softmax(scores)
    order = np.argsort(scores, 1, kind="stable")
    gone = np.take_along_axis(probabilities < np.float32(p) * probabilities.max(1, keepdims=True), order, 1)
    gone[:, -least:] = False
    return _without_places(scores, order, gone)


def typical_p(scores: np.ndarray, p: float, least: int = 1) -> np.ndarray:
    """Keep tokens whose surprise is nearest to the expected, of total probability p (Meister et al. 2022)."""
    log_p = log_softmax(scores)
    with np.errstate(invalid="ignore"):
        entropy = -np.nansum(log_p * np.exp(log_p), 1, keepdims=True)
        distance = np.abs(-log_p - entropy)
    order = np.argsort(distance, 1, kind="stable")
    distance = np.take_along_axis(distance, order, 1)
    last = (
        (_softmax(np.take_along_axis(scores, order, 1)).cumsum(1) < p)
        .sum(1, keepdims=True)
        .clip(max=scores.shape[1] - 1)
    )
    gone = distance > np.take_along_axis(distance, last, 1)
    gone[:, :least] = False
    return _without_places(scores, order, gone)


def epsilon_cutoff(scores: np.ndarray, epsilon: float, least: int = 1) -> np.ndarray:
    """Only tokens of at least that probability (Hewitt et al. 2022)."""
    gone = (_softmax(scores) < epsilon) & (scores < np.partition(scores, -least)[:, -least, None])
    return np.where(gone, NONE, scores)


def eta_cutoff(scores: np.ndarray, epsilon: float, least: int = 1) -> np.ndarray:
    """Only tokens of at least the probability min(ε, √ε · e^-entropy) (Hewitt et al. 2022)."""
    p = _softmax(scores)
    with np.errstate(invalid="ignore", divide="ignore"):
        entropy = -np.nansum(p * np.log(p), 1, keepdims=True)
    gone = (p < np.minimum(epsilon, epsilon**0.5 * np.exp(-entropy))) & (
        scores < np.partition(scores, -least)[:, -least, None]
    )
    return np.where(gone, NONE, scores)


def draw(scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A token (B,) for each row of scores, by chance."""
    return np.array([rng.choice(len(row), p=row / row.sum()) for row in _softmax(scores.astype(np.float64))])


def _softmax(scores):
    e = np.exp(scores - scores.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def _without_places(scores, order, gone):
    """Scores without the tokens that, in that order, are gone."""
    away = np.zeros_like(gone)
    np.put_along_axis(away, order, gone, 1)
    return np.where(away, NONE, scores)


def processes(o: Any, eos: Sequence[int], start: int, total: int, encoded: Any = None) -> list[Process]:
    """What the options of `generate` ask for, in transformers' order.

    Args:
        o: a `GenerationOptions`.   eos: the tokens that end a text.   start: tokens of the prompt.   total: tokens at
            the end.
        encoded: what an encoder has read, a list of ids for each text.
    """
    found: list[Process] = []

    def add(wanted: Any, change: Process) -> None:
        if wanted:
            found.append(change)

    least = 1 if o.num_beams == 1 else max(2, 1 + len(eos))
    bad: Mapping[Any, float] = {
        tuple(word): NONE for word in o.bad_words_ids or () if list(word) not in [[end] for end in eos]
    }
    shortest = max(o.min_length or 0, start + o.min_new_tokens if o.min_new_tokens else 0)
    first = start + (1 if start == 1 and o.forced_bos_token_id is not None else 0)
    several = lambda token: np.atleast_1d(token).tolist()  # noqa: E731
    add(o.sequence_bias, lambda ids, mask, s: sequence_bias(ids, mask, s, _biases(o.sequence_bias)))
    add(o.repetition_penalty != 1, lambda ids, mask, s: repetition_penalty(ids, mask, s, o.repetition_penalty))
    add(o.no_repeat_ngram_size, lambda ids, mask, s: no_repeat_ngram_size(ids, mask, s, o.no_repeat_ngram_size))
    add(
        o.encoder_no_repeat_ngram_size,
        lambda ids, mask, s: no_repeat_ngram_size(
            ids, mask, s, o.encoder_no_repeat_ngram_size, _repeated(encoded, len(ids))
        ),
    )
    add(bad, lambda ids, mask, s: sequence_bias(ids, mask, s, bad))
    add(shortest and len(eos), lambda ids, mask, s: without(s, eos) if ids.shape[1] < shortest else s)
    add(
        o.forced_bos_token_id is not None,
        lambda ids, mask, s: forced(s, [o.forced_bos_token_id]) if ids.shape[1] == 1 else s,
    )
    add(
        o.forced_eos_token_id is not None,
        lambda ids, mask, s: forced(s, several(o.forced_eos_token_id)) if ids.shape[1] == total - 1 else s,
    )
    add(o.remove_invalid_values, lambda ids, mask, s: np.nan_to_num(s, nan=0.0))
    add(
        o.exponential_decay_length_penalty,
        lambda ids, mask, s: _decayed(ids, s, o.exponential_decay_length_penalty, eos, start),
    )
    add(o.suppress_tokens, lambda ids, mask, s: without(s, o.suppress_tokens))
    add(
        o.begin_suppress_tokens,
        lambda ids, mask, s: without(s, o.begin_suppress_tokens) if ids.shape[1] == first else s,
    )
    for custom in o.logits_processor:
        add(True, lambda ids, mask, s, custom=custom: _checked(custom, custom(ids, s), s))
    if o.do_sample:
        add(o.temperature != 1, lambda ids, mask, s: s / np.float32(o.temperature))
        add(o.top_k, lambda ids, mask, s: top_k(s, o.top_k, least))
        add(o.top_p is not None and o.top_p < 1, lambda ids, mask, s: top_p(s, o.top_p, least))
        add(o.min_p is not None, lambda ids, mask, s: min_p(s, o.min_p, least))
        add(o.typical_p is not None and o.typical_p < 1, lambda ids, mask, s: typical_p(s, o.typical_p, least))
        add(o.epsilon_cutoff, lambda ids, mask, s: epsilon_cutoff(s, o.epsilon_cutoff, least))
        add(o.eta_cutoff, lambda ids, mask, s: eta_cutoff(s, o.eta_cutoff, least))
    add(o.renormalize_logits, lambda ids, mask, s: log_softmax(s))
    return found


def _biases(given):
    return given if isinstance(given, Mapping) else {tuple(sequence): bias for sequence, bias in given}


def _repeated(encoded, rows):
    """What was read, for each of `rows` texts that go on from it."""
    return [one for one in encoded for _ in range(rows // len(encoded))]


def _decayed(ids, scores, penalty, eos, start):
    """The end becomes the likelier, the longer a text is than `start` + penalty[0] tokens."""
    begin, factor = penalty
    if ids.shape[1] > start + begin:
        scores, ends = scores.copy(), list(eos)
        scores[:, ends] += np.abs(scores[:, ends]) * np.float32(factor ** (ids.shape[1] - start - begin) - 1)
    return scores


def _checked(process, found, scores):
    found = np.asarray(found, scores.dtype)
    if found.shape != scores.shape:
        raise ValueError(
            f"the logits_processor {getattr(process, '__name__', process)} returned scores of shape "
            f"{found.shape} for such of {scores.shape}: return as many as it was given"
        )
    return found
