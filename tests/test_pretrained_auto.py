"""The class for a directory."""

import json
from importlib import import_module

import pytest

from minigrad import pretrained
from minigrad.pretrained import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
)

AUTOS = {name: kind for name, kind in vars(pretrained).items() if name.startswith("AutoModel") or name == "AutoConfig"}
ROWS = [
    pytest.param(auto, kind, place, id=f"{auto}-{kind}")
    for auto, table in AUTOS.items()
    for kind, place in table.families.items()
]


@pytest.fixture
def directory(tmp_path):
    config = BertConfig(
        vocab_size=9,
        hidden_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=4,
        max_position_embeddings=5,
    )
    BertForSequenceClassification(config, rng=0).save_pretrained(tmp_path)
    return tmp_path


def test_the_class_follows_the_model_type(directory):
    assert type(AutoModel.from_pretrained(directory)) is BertModel
    assert type(AutoModelForSequenceClassification.from_pretrained(str(directory))) is BertForSequenceClassification


def test_options_are_handed_on(directory):
    model = AutoModelForSequenceClassification.from_pretrained(
        directory, num_labels=4, ignore_mismatched_sizes=True, rng=0
    )
    assert model.config.num_labels == 4 and model.classifier.weight.shape == (4, 4)


@pytest.mark.parametrize("auto", [AutoModel, AutoModelForSequenceClassification])
def test_an_unknown_model_type_is_refused(directory, auto):
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"model_type": "mamba"}))
    with pytest.raises(
        ValueError, match=f"model of type 'mamba', which {auto.__name__} does not know: .* one of 'bert'"
    ):
        auto.from_pretrained(directory)


def test_configurations(directory):
    config = AutoConfig.from_pretrained(directory, num_labels=3)
    assert type(config) is BertConfig and (config.vocab_size, config.num_labels) == (9, 3)
    with pytest.raises(ValueError, match="vocab_size is 'many' in the configuration"):
        AutoConfig.from_pretrained(directory, vocab_size="many")


def test_a_configuration_may_be_given(directory):
    config = AutoConfig.from_pretrained(directory)
    assert type(AutoModel.from_pretrained(directory, config=config)) is BertModel


def test_names_may_be_given_by_name(directory):
    assert AutoConfig.from_pretrained(directory, label2id={"no": 0, "yes": 1}).id2label == {0: "no", 1: "yes"}


@pytest.mark.parametrize("auto", [AutoModel, BertModel])
def test_what_is_no_configuration_is_refused(directory, auto):
    with pytest.raises(TypeError, match="config is 'config.json': give a configuration, such as"):
        auto.from_pretrained(directory, config="config.json")


def test_a_new_model_of_a_configuration(directory):
    config = AutoConfig.from_pretrained(directory, num_labels=3)
    model, again = (AutoModelForSequenceClassification.from_config(config, rng=1) for _ in range(2))
    assert model.config is config and (model.classifier.weight.numpy() == again.classifier.weight.numpy()).all()
    with pytest.raises(
        ValueError, match="BertConfig: a model of type 'bert', which AutoModelForCausalLM does not know: ch"
    ):
        pretrained.AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize(("auto", "kind", "place"), ROWS)
def test_every_line_of_the_tables_names_a_class_of_that_family(auto, kind, place):
    file, _, name = place.partition(".")
    found = getattr(import_module(f"minigrad.pretrained.{file}"), name)
    assert getattr(found, "config_class", found).model_type == kind
    assert getattr(pretrained, name) is found and name in dir(pretrained)  # and the front door has it
    assert name.endswith(auto.removeprefix("AutoModel").removeprefix("Auto")) or name.endswith(
        ("LMHeadModel", "Generation")
    )


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="has no attribute 'BertForWeather'"):
        pretrained.BertForWeather  # noqa: B018
