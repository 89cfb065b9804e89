"""Pipelines return what transformers' do, for the same model and the same texts."""

import numpy as np
import pytest
import tiny_tokenizers

from minigrad.pretrained import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)
from minigrad.train import pipeline

transformers = pytest.importorskip("transformers")
pytest.importorskip("torch")
TEXTS = ["Hello wide worlds, hellos.", "it's a cafe! bb", "Hello"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def saved(tmp_path, kind, **entries):
    tiny_tokenizers.word_pieces(tmp_path, as_json=True)
    config = BertConfig(
        vocab_size=len(tiny_tokenizers.WORDS), max_position_embeddings=64, initializer_range=0.7, **SIZES, **entries
    )
    kind(config, rng=0).save_pretrained(tmp_path)
    return tmp_path


def assert_same(ours, theirs):
    if isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs):
            assert_same(one, other)
        return
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        if isinstance(value, (float, np.floating)):
            assert ours[name] == pytest.approx(float(value), abs=1e-5)
        else:
            assert ours[name] == value, name


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification", "regression"])
def test_text_classification(tmp_path, problem):
    names = dict(enumerate(["no", "maybe", "yes"])) if problem != "regression" else {0: "value"}
    directory = saved(tmp_path, BertForSequenceClassification, id2label=names, problem_type=problem)
    ours = pipeline("text-classification", directory)
    theirs = transformers.pipeline("text-classification", str(directory), device="cpu")
    for inputs in (TEXTS[0], TEXTS, [TEXTS[0]]):
        assert_same(ours(inputs), theirs(inputs))
        for top_k in (1, 2, None):
            assert_same(ours(inputs, top_k=top_k), theirs(inputs, top_k=top_k))


@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
def test_token_classification(tmp_path, strategy):
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    directory = saved(tmp_path, BertForTokenClassification, id2label=dict(enumerate(names)))
    ours, theirs = pipeline("ner", directory), transformers.pipeline("ner", str(directory), device="cpu")
    for inputs in (TEXTS[0], TEXTS):
        for ignored in (["O"], []):
            options = {"aggregation_strategy": strategy, "ignore_labels": ignored}
            assert_same(ours(inputs, **options), theirs(inputs, **options))


def test_words(tmp_path):
    directory = saved(tmp_path, BertForTokenClassification, id2label=dict(enumerate(["O", "B-PER", "I-PER"])))
    words = ["Hello", "hellos", "wide"]
    ours, theirs = pipeline("ner", directory), transformers.pipeline("ner", str(directory), device="cpu")
    assert_same(ours(words, is_split_into_words=True), theirs(words, is_split_into_words=True))


@pytest.mark.parametrize("kind", [BertModel, BertForSequenceClassification])
def test_feature_extraction(tmp_path, kind):
    """Of a model with a head, too, which is left out."""
    directory = saved(tmp_path, kind)
    ours, theirs = (
        pipeline("feature-extraction", directory),
        transformers.pipeline("feature-extraction", str(directory)),
    )
    np.testing.assert_allclose(ours(TEXTS[0]), theirs(TEXTS[0]), atol=1e-5)
    for one, other in zip(ours(TEXTS), theirs(TEXTS), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_tokenizer_is_the_models(tmp_path):
    """A model without a directory takes its tokenizer beside it."""
    directory = saved(tmp_path, BertForSequenceClassification)
    model, tokenizer = (
        BertForSequenceClassification.from_pretrained(directory),
        AutoTokenizer.from_pretrained(directory),
    )
    assert pipeline(model=model, tokenizer=tokenizer)(TEXTS) == pipeline(model=directory)(TEXTS)
