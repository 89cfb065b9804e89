"""Beam search, beside a search through everything.  (Beside transformers': tests/parity/test_generation.py.)"""

import itertools

import numpy as np
import pytest

from minigrad.pretrained.text.beams import search

V, EOS, MOST = 5, 0, 3


class Chain:
    """What `search` takes for a text: the scores of a token depend on the one before it."""

    start = 1

    def __init__(self, first, seed):
        self.ids, self.length = np.array(first)[:, None], 1
        self.scores = np.random.default_rng(seed).standard_normal((V, V)).astype(np.float32) * 2

    so_far = property(lambda self: self.ids)

    def next_scores(self):
        return self.scores[self.ids[:, -1]]

    def append(self, tokens):
        self.ids, self.length = np.concatenate([self.ids, tokens[:, None]], 1), self.length + 1

    def select(self, rows):
        self.ids = self.ids[rows]

    def log_p(self, ids):
        log_p = self.scores - np.log(np.exp(self.scores).sum(1, keepdims=True))
        return sum(log_p[a, b] for a, b in zip(ids, ids[1:]))


def ended(ids, scores):
    return ids[:, -1] == EOS


def run(chain, beams, most, ends, candidates, length_penalty=1.0, early_stopping=False, pad=9, **options):
    return search(
        chain,
        chain.next_scores,
        lambda scores: scores,
        beams,
        most,
        ends,
        candidates,
        length_penalty,
        early_stopping,
        pad,
        **options,
    )[0]


def found(seed, beams, first=(1, 2, 3), length_penalty=1.0, early_stopping=False):
    return run(Chain(first, seed), beams, MOST, ended, 2 * beams, length_penalty, early_stopping)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_search_wide_enough_finds_the_best(seed, length_penalty):
    rows = found(seed, 30, length_penalty=length_penalty, early_stopping="never")
    for first, row in zip((1, 2, 3), rows):
        texts = [
            (first, *rest)
            for n in range(1, MOST + 1)
            for rest in itertools.product(range(V), repeat=n)
            if EOS not in rest[:-1] and (n == MOST or rest[-1] == EOS)
        ]
        best = max(texts, key=lambda ids: Chain([1], seed).log_p(ids) / (len(ids) - 1) ** length_penalty)
        assert tuple(row[row != 9]) == best


@pytest.mark.parametrize("early_stopping", [True, False, "never"])
@pytest.mark.parametrize("beams", [2, 3])
def test_texts_do_not_disturb_each_other(beams, early_stopping):
    for seed in range(5):
        together = found(seed, beams, early_stopping=early_stopping)
        for first, row in zip((1, 2, 3), together):
            np.testing.assert_array_equal(row[row != 9], found(seed, beams, [first], early_stopping=early_stopping)[0])


def test_a_promise_that_greed_would_miss():
    chain = Chain([1], 0)
    chain.scores = np.log(
        np.array(
            [[1, 1, 1, 1, 1], [1, 1, 50, 48, 1], [20, 20, 20, 20, 20], [1, 1, 1, 96, 1], [1, 1, 1, 1, 96]], np.float32
        )
    )
    assert run(chain, 2, 2, lambda ids, scores: np.zeros(len(ids), bool), 4).tolist() == [[1, 3, 3]]
