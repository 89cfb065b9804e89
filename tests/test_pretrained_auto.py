"""The class for a directory."""
import json

import pytest

from minigrad.pretrained import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
)


@pytest.fixture
def directory(tmp_path):
    config = BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4,
                        max_position_embeddings=5)
    BertForSequenceClassification(config, rng=0).save_pretrained(tmp_path)
    return tmp_path


def test_the_class_follows_the_model_type(directory):
    assert type(AutoModel.from_pretrained(directory)) is BertModel
    assert type(AutoModelForSequenceClassification.from_pretrained(str(directory))) is BertForSequenceClassification


def test_options_are_handed_on(directory):
    model = AutoModelForSequenceClassification.from_pretrained(directory, num_labels=4, ignore_mismatched_sizes=True, rng=0)
    assert model.config.num_labels == 4 and model.classifier.weight.shape == (4, 4)


@pytest.mark.parametrize("auto", [AutoModel, AutoModelForSequenceClassification])
def test_an_unknown_model_type_is_refused(directory, auto):
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"model_type": "mamba"}))
    with pytest.raises(ValueError, match=f"model of type 'mamba', which {auto.__name__} does not know: .* one of 'bert'"):
        auto.from_pretrained(directory)
