"""A linear probe is the logistic regression on the model's mean vectors."""

import numpy as np
import pytest
import tiny_bert
from tiny_prompts import bert, gpt2

from minigrad.finetune import LinearProbe
from minigrad.pretrained import AutoModel

pytest.importorskip("tokenizers")
EXAMPLES = tiny_bert.examples(24)
TEXTS = [example.text for example in EXAMPLES]


def test_features_are_mean_vectors_of_length_one(tmp_path):
    _, tokenizer = bert(tmp_path)
    model = AutoModel.from_pretrained(tmp_path)
    found = LinearProbe(model, tokenizer).features(TEXTS, batch_size=5)
    for text, row in zip(TEXTS, found, strict=True):
        mean = model(tokenizer([text])["input_ids"]).last_hidden_state.numpy()[0].mean(0)
        assert row == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_it_is_logistic_regression(tmp_path):
    linear_model = pytest.importorskip("sklearn.linear_model")
    _, tokenizer = bert(tmp_path)
    probe = LinearProbe(AutoModel.from_pretrained(tmp_path), tokenizer, C=3.0).fit(EXAMPLES)
    x, labels = probe.features(TEXTS), [example.label for example in EXAMPLES]
    reference = linear_model.LogisticRegression(C=3.0, tol=1e-10, max_iter=5000).fit(x.astype(np.float64), labels)
    p = reference.predict_proba(x)
    assert probe.classes == list(reference.classes_)
    for answer, row in zip(probe(TEXTS), p, strict=True):
        assert [answer[name] for name in probe.classes] == pytest.approx(row.tolist(), abs=1e-5)


def test_it_learns_and_answers(tmp_path):
    _, tokenizer = bert(tmp_path)
    model = AutoModel.from_pretrained(tmp_path)
    before = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    probe = LinearProbe(model, tokenizer, C=100.0).fit(EXAMPLES)
    right = [next(iter(answer)) == example.label for answer, example in zip(probe(TEXTS), EXAMPLES, strict=True)]
    assert np.mean(right) > 0.9 and len(probe(TEXTS[0], top_k=2)[0]) == 2
    assert all(np.array_equal(t.numpy(), before[name]) for name, t in model.state_dict().items())


def test_features_of_a_causal_model(tmp_path):
    model, tokenizer = gpt2(tmp_path)
    found = LinearProbe(model, tokenizer).features(["hello", "hello world wide"])
    for text, row in zip(["hello", "hello world wide"], found, strict=True):
        mean = model.base_model(tokenizer([text])["input_ids"]).last_hidden_state.numpy()[0].mean(0)
        assert row == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_bad_input_is_refused_in_a_line(tmp_path):
    _, tokenizer = bert(tmp_path)
    model = AutoModel.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"this LinearProbe was not fitted: type probe.fit\(examples\) first"):
        LinearProbe(model, tokenizer)("the drum")
    with pytest.raises(ValueError, match="all 2 examples have the label 'a': expected two labels or more"):
        LinearProbe(model, tokenizer).fit([("the drum", "a"), ("a drum", "a")])
    for C in (0, "10"):
        with pytest.raises(ValueError, match=f"C is {C!r}; expected a positive number"):
            LinearProbe(model, tokenizer, C=C)
    with pytest.raises(ValueError, match="max_length is '8'; expected a whole number of tokens"):
        LinearProbe(model, tokenizer, max_length="8")
    with pytest.raises(TypeError, match="model is a str; expected a model: type AutoModel.from_pretrained"):
        LinearProbe("dir", tokenizer)
    with pytest.raises(ValueError, match="the list of examples is empty"):
        LinearProbe(model, tokenizer).fit([])
