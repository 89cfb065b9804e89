"""How scores are changed before a token is chosen, against values computed by hand; transformers: tests/parity."""

import numpy as np
import pytest

from minigrad.pretrained import logits as L
from minigrad.pretrained.generation_options import GenerationOptions

P = np.array([[0.5, 0.25, 0.15, 0.1]], np.float32)
SCORES = np.log(P)
IDS, MASK = np.array([[9, 1, 2, 1]]), np.array([[False, True, True, True]])


def kept(scores):
    return np.isfinite(scores[0]).nonzero()[0].tolist()


@pytest.mark.parametrize(
    ("found", "tokens"),
    [
        (L.top_k(SCORES, 2), [0, 1]),
        (L.top_k(SCORES, 1, least=3), [0, 1, 2]),
        (L.top_k(SCORES, 9), [0, 1, 2, 3]),
        (L.top_p(SCORES, 0.7), [0, 1]),
        (L.top_p(SCORES, 0.01), [0]),
        (L.top_p(SCORES, 0.01, least=2), [0, 1]),
        (L.min_p(SCORES, 0.4), [0, 1]),
        (L.min_p(SCORES, 0.15), [0, 1, 2, 3]),
        (L.epsilon_cutoff(SCORES, 0.2), [0, 1]),
        # the entropy is 1.21, which 1.39, the surprise of the second, comes nearest to
        (L.typical_p(SCORES, 0.2), [1]),
        (L.without(SCORES, [0, 3]), [1, 2]),
        (L.forced(SCORES, [3]), [3]),
        (L.no_repeat_ngram_size(IDS, MASK, SCORES, 2), [0, 1, 3]),  # 1 2 stands there already, and 1 comes before
        (L.no_repeat_ngram_size(IDS, MASK, SCORES, 1), [0, 3]),
        (L.no_repeat_ngram_size(IDS, MASK, SCORES, 5), [0, 1, 2, 3]),
        (L.no_repeat_ngram_size(IDS, MASK, SCORES, 2, [[1, 3]]), [0, 1, 2]),
        (L.sequence_bias(IDS, MASK, SCORES, {(0,): -np.inf, (2, 1, 3): -np.inf, (1, 1, 2): -np.inf}), [1, 2]),
    ],
)
def test_which_tokens_may_come(found, tokens):
    assert kept(found) == tokens


def test_scores_that_change():
    np.testing.assert_allclose(
        L.repetition_penalty(IDS, MASK, np.array([[2.0, 2.0, -2.0, -2.0]]), 4.0), [[2, 0.5, -8, -2]]
    )
    np.testing.assert_allclose(L.sequence_bias(IDS, MASK, SCORES, {(1, 2): 3.0, (2, 0): 3.0}) - SCORES, [[0, 0, 3, 0]])
    np.testing.assert_allclose(np.exp(L.log_softmax(SCORES + 7)), P, rtol=1e-5)


def test_the_order_is_that_of_the_options():
    o = GenerationOptions.of(
        {
            "max_new_tokens": 2,
            "do_sample": True,
            "temperature": 0.5,
            "top_p": 0.7,
            "min_new_tokens": 1,
            "logits_processor": lambda ids, scores: scores + np.array([0, 0, 9, 0], np.float32),
        },
        {},
        False,
    )
    scores = SCORES
    for change in L.processes(o, [2], 4, 6):
        scores = change(IDS, MASK, scores)
    assert kept(scores) == [0]  # the end cannot come, whatever is added; squared, the first has 0.75 of the rest
    np.testing.assert_allclose(scores[0, 0], 2 * SCORES[0, 0], rtol=1e-6)


def test_files_give_the_defaults_and_calls_win():
    files = {"do_sample": True, "temperature": 0.7, "max_length": 9, "top_k": None, "some_model_entry": 3}
    o = GenerationOptions.of({}, files, False)
    assert (o.do_sample, o.temperature, o.max_length, o.top_k, o.max_new_tokens) == (True, 0.7, 9, 50, None)
    o = GenerationOptions.of({"do_sample": False, "max_new_tokens": 4, "temperature": None}, files, False)
    assert (o.do_sample, o.temperature, o.max_length, o.max_new_tokens) == (False, 0.7, None, 4)
