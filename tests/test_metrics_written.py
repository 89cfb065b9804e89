"""BLEU, chrF and ROUGE are those of their libraries, with references in whatever shape they come."""

import sys

import pytest

from minigrad import metrics

TEXTS = ["the cat sat on the mat today", "a dog barked at the old tree"]
TRUE = ["the cat sat on a mat today", "the dog barked at an old tree"]


def test_against_sacrebleu():
    sacrebleu = pytest.importorskip("sacrebleu")
    assert metrics.bleu(TRUE, TEXTS) == sacrebleu.corpus_bleu(TEXTS, [TRUE]).score > 10
    assert metrics.chrf(TRUE, TEXTS) == sacrebleu.corpus_chrf(TEXTS, [TRUE]).score > 10
    both = [[a, b] for a, b in zip(TRUE, TEXTS)]
    assert metrics.bleu(both, TEXTS) == sacrebleu.corpus_bleu(TEXTS, [TRUE, TEXTS]).score == pytest.approx(100)


def test_against_rouge_score():
    pytest.importorskip("rouge_score")
    found = metrics.rouge(["the cat"], ["the dog"])
    assert found["rouge1"] == 0.5 and found["rouge2"] == 0
    assert metrics.rouge([["a pig", "the dog"]], ["the dog"])["rouge2"] == 1  # the best of several references
    assert metrics.rouge(TRUE, TRUE) == dict.fromkeys(("rouge1", "rouge2", "rougeL", "rougeLsum"), 1.0)


def test_errors(monkeypatch):
    with pytest.raises(ValueError, match="there are 1 predicted texts and 2 true texts, with .1. references each"):
        metrics.bleu(TRUE, TEXTS[:1])
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ImportError, match="these scores need sacrebleu: type pip install 'minigrad-learn.scores.'"):
        metrics.chrf(TRUE, TEXTS)


@pytest.mark.parametrize("score", ["bleu", "chrf", "rouge"])
def test_one_true_text_is_no_list_of_texts(score):
    with pytest.raises(ValueError, match="the true texts are one text, 'ab'; expected a list"):
        getattr(metrics, score)("ab", ["a", "b"])
