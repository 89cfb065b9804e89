"""A classifier's answers are the softmax of its model, whatever the batches."""

import json
import shutil

import numpy as np
import pytest
import tiny_bert
import tiny_tokenizers

from minigrad import nn
from minigrad.pretrained import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
)
from minigrad.train import TextClassifier

pytest.importorskip("tokenizers")
TEXTS = [example.text for example in tiny_bert.examples(20)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tiny_bert.save_model(tmp_path_factory.mktemp("classifier"))
    config = BertConfig.from_dict(
        {
            **BertConfig(
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=16,
                vocab_size=25,
                max_position_embeddings=8,
                initializer_range=1.0,
            ).to_dict(),
            "text_max_length": 4,
        },
        id2label={0: "no", 1: "maybe", 2: "yes"},
    )
    BertForSequenceClassification(config, rng=1).save_pretrained(path)
    return path


@pytest.mark.parametrize("length", ["x", 0, -3, 2.5, [4]])
def test_a_length_that_is_none_names_the_entry_and_the_directory(directory, tmp_path, length):
    shutil.copytree(directory, tmp_path / "copy")
    path = tmp_path / "copy" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"text_max_length": length}))
    with pytest.raises(ValueError) as caught:
        TextClassifier.from_pretrained(tmp_path / "copy")
    assert str(caught.value).startswith(
        f"{tmp_path / 'copy'}: text_max_length is {length!r} in the configuration; expected a"
    )


def test_it_agrees_with_the_model(directory):
    classifier = TextClassifier.from_pretrained(directory)
    logits = classifier.model(**AutoTokenizer.from_pretrained(directory)(TEXTS, max_length=4)).logits.numpy()
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for batch_size in (1, 3, 64):
        for scores, row in zip(classifier(TEXTS, batch_size=batch_size), p, strict=True):
            assert list(scores.values()) == pytest.approx(sorted(row, reverse=True), abs=1e-5)
            assert [scores[name] for name in ("no", "maybe", "yes")] == pytest.approx(row.tolist(), abs=1e-5)
    assert len({max(scores, key=scores.get) for scores in classifier(TEXTS)}) > 1


def test_one_text_and_the_best_few_labels(directory):
    classifier = TextClassifier.from_pretrained(directory)
    (whole,) = classifier(TEXTS[0])
    (first,) = classifier(TEXTS[0], top_k=2)
    assert list(whole.items())[:2] == list(first.items())
    with pytest.raises(ValueError, match="top_k is 0; expected 1 or more"):
        classifier(TEXTS[0], top_k=0)


def test_texts_are_cut_where_training_cut_them_and_never_beyond_the_model(directory):
    classifier = TextClassifier.from_pretrained(directory)
    assert classifier("the oven the salt the soup") == classifier("the oven and the flour")
    del classifier.model.config.rest["text_max_length"]
    assert classifier("the oven the salt the soup") != classifier("the oven and the flour")
    assert classifier("the " * 50) == classifier("the " * 6)


def test_a_model_without_a_trained_head_is_refused(tmp_path):
    tiny_bert.save_model(tmp_path)
    with pytest.raises(ValueError, match="was not fine-tuned, it has no classifier.weight.*type: minigrad finetune"):
        TextClassifier.from_pretrained(tmp_path)


def changed(directory, target, **changes):
    model = BertForSequenceClassification.from_pretrained(directory, ignore_mismatched_sizes=True, rng=0, **changes)
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(directory).save_pretrained(target)
    return TextClassifier.from_pretrained(target)


def test_of_several_labels_each_has_a_probability_of_its_own(directory, tmp_path):
    classifier = changed(directory, tmp_path / "multi", problem_type="multi_label_classification")
    logits = classifier.model(**classifier.tokenizer(TEXTS, max_length=4)).logits.numpy()
    for scores, row in zip(classifier(TEXTS), 1 / (1 + np.exp(-logits)), strict=True):
        assert [scores[name] for name in ("no", "maybe", "yes")] == pytest.approx(row.tolist(), abs=1e-5)
    assert any(abs(sum(scores.values()) - 1) > 0.1 for scores in classifier(TEXTS))


@pytest.mark.parametrize(
    "changes",
    [{"num_labels": 1}, {"problem_type": "regression"}, {"num_labels": 1, "problem_type": "regression"}],
    ids=str,
)
def test_of_a_regression_it_tells_the_values(directory, tmp_path, changes):
    classifier = changed(directory, tmp_path / "values", **changes)
    logits = classifier.model(**classifier.tokenizer(TEXTS, max_length=4)).logits.numpy()
    for scores, row in zip(classifier(TEXTS), logits, strict=True):
        assert [scores[name] for name in classifier.model.config.id2label.values()] == pytest.approx(
            row.tolist(), abs=1e-5
        )
    assert len({round(next(iter(scores.values())), 4) for scores in classifier(TEXTS)}) > 5


def test_a_head_replaced_by_hand(directory):
    model = BertForSequenceClassification.from_pretrained(directory)
    model.classifier = nn.Linear(16, 5, rng=0)
    (scores,) = TextClassifier(model, AutoTokenizer.from_pretrained(directory))("the oven")
    assert sorted(scores) == [f"LABEL_{i}" for i in range(5)] and sum(scores.values()) == pytest.approx(1)


@pytest.mark.parametrize("pad", [None, 0])
def test_a_gpt2_whose_tokenizer_has_no_padding_token(tmp_path, pad):
    directory = tiny_tokenizers.byte_pairs(tmp_path, "gpt2")
    size = AutoTokenizer.from_pretrained(directory).vocab_size
    config = GPT2Config(
        vocab_size=size,
        n_embd=8,
        n_layer=1,
        n_head=2,
        n_positions=20,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=pad,
        num_labels=3,
        initializer_range=0.5,
    )
    model = GPT2ForSequenceClassification(config, rng=0).eval()
    model.save_pretrained(directory)
    classifier = TextClassifier.from_pretrained(directory)
    for text, scores in zip(["hello", "hello world wide"], classifier(["hello", "hello world wide"]), strict=True):
        (logits,) = model(classifier.tokenizer(text)["input_ids"]).logits.numpy()
        p = np.exp(logits) / np.exp(logits).sum()
        assert [scores[f"LABEL_{i}"] for i in range(3)] == pytest.approx(p.tolist(), abs=1e-5)
