"""A classifier's answers are the softmax of its model, whatever the batches."""
import numpy as np
import pytest
import tiny_bert

from minigrad.pretrained import AutoTokenizer, BertConfig, BertForSequenceClassification
from minigrad.train import TextClassifier

pytest.importorskip("tokenizers")
TEXTS = [example.text for example in tiny_bert.examples(20)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tiny_bert.save_model(tmp_path_factory.mktemp("classifier"))
    config = BertConfig.from_dict({**BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                                                vocab_size=25, max_position_embeddings=8, initializer_range=1.0).to_dict(),
                                   "text_max_length": 4}, id2label={0: "no", 1: "maybe", 2: "yes"})
    BertForSequenceClassification(config, rng=1).save_pretrained(path)
    return path


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
    whole, = classifier(TEXTS[0])
    first, = classifier(TEXTS[0], top_k=2)
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
