"""Answers by the definitions of SQuAD's evaluation script, written here a second time."""

import re
import string
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import metrics

words = st.lists(st.sampled_from("the a An Eiffel tower tower, Paris (1889) 's and".split()), max_size=5).map(" ".join)


def official_normalize(s):
    s = "".join(ch for ch in s.lower() if ch not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", s).split())


def official_f1(prediction, truth):
    found, true = official_normalize(prediction).split(), official_normalize(truth).split()
    if not found or not true:
        return int(found == true)
    same = sum((Counter(found) & Counter(true)).values())
    precision, recall = same / len(found), same / len(true)
    return 2 * precision * recall / (precision + recall) if same else 0


def test_by_hand():
    assert metrics.normalize_answer("The  Eiffel-Tower, (an) icon!") == "eiffeltower icon"
    assert metrics.exact_match([["the cat"], ["a dog", "Dog!"], []], ["Cat", "dog", ""]) == 1
    assert metrics.squad_f1([["red cat"], [""]], ["the big cat", "x"]) == pytest.approx(0.5 / 2)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.lists(words, min_size=1, max_size=3), words), min_size=1, max_size=5))
def test_against_the_definition(cases):
    true, pred = zip(*cases)
    expected = sum(max(official_f1(p, t) for t in some) for some, p in cases) / len(cases)
    assert metrics.squad_f1(true, pred) == pytest.approx(expected, abs=1e-12)
    expected = sum(any(official_normalize(p) == official_normalize(t) for t in some) for some, p in cases) / len(cases)
    assert metrics.exact_match(true, pred) == pytest.approx(expected, abs=1e-12)


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="there are 1 questions and 2 predicted answers"):
        metrics.exact_match([["a"]], ["a", "b"])
    with pytest.raises(ValueError, match="the true answers to question 0 are a text, 'a'; expected a list of them"):
        metrics.squad_f1(["a"], ["a"])


@pytest.mark.parametrize("score", ["exact_match", "squad_f1", "bleu", "chrf", "rouge"])
def test_one_text_is_no_list_of_texts(score):
    true = [["a"], ["b"]] if score in ("exact_match", "squad_f1") else ["a", "b"]
    with pytest.raises(ValueError, match="the predictions are one text, 'ab'; expected a list"):
        getattr(metrics, score)(true, "ab")
    with pytest.raises(ValueError, match="prediction 1 is None, a NoneType; expected a text"):
        getattr(metrics, score)(true, ["a", None])
