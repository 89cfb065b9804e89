"""From a directory and back: what is read, begun anew, refused, and never lost."""
import json

import numpy as np
import pytest
import safetensors.numpy
from safetensors.numpy import load_file, save_file

from minigrad.optim import SGD
from minigrad.pretrained import BertConfig, BertForSequenceClassification, BertModel

IDS = np.random.default_rng(0).integers(1, 30, (2, 5))
NAMES = {0: "no", 1: "yes", 2: "maybe"}


def same(one, two):
    one, two = one.state_dict(), two.state_dict()
    return list(one) == list(two) and all((t.numpy() == two[name].numpy()).all() for name, t in one.items())


@pytest.fixture
def saved(tmp_path):
    """A model, and the directory it was saved in."""
    config = BertConfig(vocab_size=30, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
                        max_position_embeddings=10, id2label=NAMES, num_labels=3, initializer_range=0.5, rest={"_note": [1, 2]})
    model = BertForSequenceClassification(config, rng=0).eval()
    model.save_pretrained(tmp_path / "model")
    return model, tmp_path / "model"


def rewrite(directory, change, **config):
    """Pass the weights in a directory through `change`, and its configuration through an update."""
    save_file(change(load_file(directory / "model.safetensors")), directory / "model.safetensors", {"format": "pt"})
    entries = json.loads((directory / "config.json").read_text()) | config
    (directory / "config.json").write_text(json.dumps(entries))


def test_what_is_saved_comes_back(saved):
    model, directory = saved
    again = BertForSequenceClassification.from_pretrained(directory)
    assert same(model, again) and again.config.to_dict() == json.loads((directory / "config.json").read_text())
    assert (model(IDS).logits.numpy() == again(IDS).logits.numpy()).all()
    assert again.load_report.verdict == "all 41 weights loaded"
    assert not any(m.training for m in again.modules())
    assert {p.name for p in directory.iterdir()} == {"config.json", "model.safetensors"}


def test_a_loaded_model_can_be_trained_and_saved_over_itself(saved):
    _, directory = saved
    model = BertForSequenceClassification.from_pretrained(directory).train()
    before = model.classifier.weight.numpy().copy()
    model(IDS, labels=[0, 2]).loss.backward()
    SGD(model.parameters(), lr=0.1).step()
    model.save_pretrained(directory)
    assert same(model, BertForSequenceClassification.from_pretrained(directory))
    assert (model.classifier.weight.numpy() != before).any()


def test_the_configuration_is_kept_whole(saved):
    entries = json.loads((saved[1] / "config.json").read_text())
    assert entries["_note"] == [1, 2] and entries["architectures"] == ["BertForSequenceClassification"]
    assert entries["model_type"] == "bert" and entries["dtype"] == "float32" and "num_labels" not in entries
    assert entries["id2label"] == {"0": "no", "1": "yes", "2": "maybe"} and entries["label2id"] == {"no": 0, "yes": 1, "maybe": 2}


@pytest.mark.parametrize(("entries", "changes", "labels"), [
    ({}, {}, {0: "LABEL_0", 1: "LABEL_1"}),
    ({"id2label": None}, {}, {0: "LABEL_0", 1: "LABEL_1"}),
    ({"num_labels": 1}, {}, {0: "LABEL_0"}),
    ({"id2label": {"0": "a", "1": "b", "2": "c"}}, {}, {0: "a", 1: "b", 2: "c"}),
    ({"id2label": {"0": "a", "1": "b", "2": "c"}}, {"num_labels": 3}, {0: "a", 1: "b", 2: "c"}),
    ({"id2label": {"0": "a", "1": "b", "2": "c"}}, {"num_labels": 1}, {0: "LABEL_0"}),
    ({"id2label": {"0": "a"}, "num_labels": 1}, {"id2label": {0: "x", 1: "y"}, "label2id": {"x": 0, "y": 1}}, {0: "x", 1: "y"}),
    ({"id2label": {"0": "a"}}, {"id2label": ["x", "y"]}, {0: "x", 1: "y"}),
])
def test_label_names_and_their_number_go_together(entries, changes, labels):
    config = BertConfig.from_dict({"model_type": "bert", **entries}, **changes)
    assert config.id2label == labels and config.num_labels == len(labels)


def test_label_names_without_numbers_are_refused():
    with pytest.raises(ValueError, match=r"id2label is \['no'\] in the configuration; expected names by number, such as"):
        BertConfig.from_dict({"id2label": ["no"]})


def test_a_misspelt_change_is_refused(saved):
    with pytest.raises(TypeError, match="BertConfig has no entry num_label: it has .*num_labels"):
        BertForSequenceClassification.from_pretrained(saved[1], num_label=3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_read_as_float32(saved, dtype):
    pytest.importorskip("ml_dtypes")
    model, directory = saved
    rewrite(directory, lambda weights: {name: a.astype(dtype) for name, a in weights.items()}, torch_dtype=dtype)
    again = BertForSequenceClassification.from_pretrained(directory)
    for name, p in again.named_parameters():
        assert p.dtype == np.float32
        assert (p.numpy() == model.state_dict()[name].numpy().astype(dtype).astype(np.float32)).all()
    again.save_pretrained(directory)
    assert same(again, BertForSequenceClassification.from_pretrained(directory))
    entries = json.loads((directory / "config.json").read_text())
    assert entries["dtype"] == "float32" and "torch_dtype" not in entries


def test_old_names_and_stored_buffers(saved):
    model, directory = saved
    def old(name):
        return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    buffers = {"bert.embeddings.position_ids": np.arange(10)[None]}
    rewrite(directory, lambda weights: {old(name): a for name, a in weights.items()} | buffers)
    again = BertForSequenceClassification.from_pretrained(directory)
    assert same(model, again) and len(again.load_report.renamed) == 10 and not again.load_report.unused


def test_a_base_model_from_a_classifiers_file(saved):
    model, directory = saved
    base = BertModel.from_pretrained(directory)
    assert same(base, model.bert) and base.load_report.unused == ["classifier.bias", "classifier.weight"]


def test_a_classifier_from_a_base_models_file(saved):
    model, directory = saved
    model.bert.save_pretrained(directory.parent / "base")
    one, same_seed, other = (BertForSequenceClassification.from_pretrained(directory.parent / "base", rng=s) for s in (0, 0, 1))
    assert same(one.bert, model.bert) and one.load_report.newly_initialised == ["classifier.weight", "classifier.bias"]
    assert "classifier.weight, classifier.bias are new: fine-tune before use" in str(one.load_report)
    weight = one.classifier.weight.numpy()
    assert 0.2 < weight.std() < 1 and (one.classifier.bias.numpy() == 0).all()     # initializer_range is 0.5
    assert same(one, same_seed) and (weight != other.classifier.weight.numpy()).any()


def test_a_file_without_a_pooler_gets_a_new_one_but_nothing_else_may_lack(saved):
    _, directory = saved
    rewrite(directory, lambda weights: {name: a for name, a in weights.items() if "pooler" not in name})
    for kind, prefix in ((BertModel, ""), (BertForSequenceClassification, "bert.")):
        new = kind.from_pretrained(directory).load_report.newly_initialised
        assert new == [f"{prefix}pooler.dense.weight", f"{prefix}pooler.dense.bias"]
    rewrite(directory, lambda weights: {name: a for name, a in weights.items() if "layer.1.output.dense" not in name})
    with pytest.raises(ValueError, match=r"it lacks encoder.layer.1.output.dense.weight, encoder.layer.1.output.dense.bias"):
        BertModel.from_pretrained(directory)


def test_another_number_of_labels_is_refused_until_told_otherwise(saved):
    model, directory = saved
    with pytest.raises(ValueError) as error:
        BertForSequenceClassification.from_pretrained(directory, num_labels=5)
    assert "classifier.weight is (3, 8) in the file, (5, 8) in the model, classifier.bias is (3,)" in str(error.value)
    assert str(error.value).endswith("pass ignore_mismatched_sizes=True") and "\n" not in str(error.value)
    again = BertForSequenceClassification.from_pretrained(directory, num_labels=5, ignore_mismatched_sizes=True, rng=0)
    assert same(again.bert, model.bert) and again(IDS).logits.shape == (2, 5)
    assert set(again.load_report.wrong_shape) == {"classifier.weight", "classifier.bias"}
    assert again.classifier.weight.numpy().std() > 0.2 and (again.classifier.bias.numpy() == 0).all()
    assert again.config.id2label[4] == "LABEL_4"


def test_a_wrong_shape_inside_is_named(saved):
    rewrite(saved[1], lambda weights: weights | {"bert.pooler.dense.weight": np.zeros((8, 7), np.float32)})
    with pytest.raises(ValueError, match=r"bert.pooler.dense.weight is \(8, 7\) in the file, \(8, 8\) in the model"):
        BertForSequenceClassification.from_pretrained(saved[1])


def test_another_family_is_refused(saved):
    rewrite(saved[1], dict, model_type="gpt2")
    with pytest.raises(ValueError, match="holds a model of type 'gpt2', but BertModel needs 'bert'"):
        BertModel.from_pretrained(saved[1])


@pytest.mark.parametrize("step", ["half a file", "between the files"])
def test_a_crash_while_saving_keeps_the_earlier_checkpoint(saved, monkeypatch, step):
    model, directory = saved

    def crash(arrays, path, metadata=None):
        if step == "half a file":
            path.write_bytes(b"half")
        else:
            save_file(arrays, path, metadata)
        raise KeyboardInterrupt
    monkeypatch.setattr(safetensors.numpy, "save_file", crash)
    changed = BertForSequenceClassification(model.config, rng=9)
    with pytest.raises(KeyboardInterrupt):
        changed.save_pretrained(directory)
    assert same(model, BertForSequenceClassification.from_pretrained(directory)) and not same(model, changed)
    assert {p.name for p in directory.iterdir()} == {"config.json", "model.safetensors"}


def test_nothing_that_is_not_a_model_is_written_over(saved, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("dear diary")
    with pytest.raises(ValueError, match="holds something other than a model"):
        saved[0].save_pretrained(tmp_path / "notes")
    assert [p.name for p in (tmp_path / "notes").iterdir()] == ["diary.txt"]
