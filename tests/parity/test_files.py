"""Files between the libraries: each reads what the other writes, in every format."""

import json
from collections import OrderedDict

import numpy as np
import pytest
from compare import outputs_of, scramble, torch_batch

from minigrad.pretrained import AutoModelForMaskedLM, BertForMaskedLM, BertModel
from minigrad.pretrained.checkpoint.files import read_weights
from minigrad.pretrained.checkpoint.pickles import read

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
}
BATCH = {
    "input_ids": np.random.default_rng(0).integers(1, 50, (2, 7)),
    "attention_mask": np.array([[1] * 7, [1] * 4 + [0] * 3]),
}


@pytest.fixture
def theirs():
    return scramble(transformers.BertForMaskedLM(transformers.BertConfig(**SIZES)).eval())


def equal(ours, theirs):
    """Every weight, bit by bit."""
    found, expected = ours.state_dict(), theirs.state_dict()
    assert set(found) == set(expected) - {"bert.embeddings.position_ids"}
    return all(np.array_equal(found[name].numpy(), expected[name].numpy()) for name in found)


@pytest.mark.parametrize("size", ["5GB", "3KB"])
def test_transformers_reads_what_we_save(theirs, tmp_path, size):
    theirs.save_pretrained(tmp_path / "theirs")
    ours = AutoModelForMaskedLM.from_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours", max_shard_size=size)
    again, info = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "mismatched_keys", "unexpected_keys")), info
    assert len(list((tmp_path / "ours").glob("*.safetensors"))) == (1 if size == "5GB" else 9)
    assert equal(ours, again) and again.cls.predictions.decoder.weight is again.bert.embeddings.word_embeddings.weight
    with torch.no_grad():
        before, after = (outputs_of(model(**torch_batch(model, BATCH))) for model in (theirs, again.eval()))
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("size", ["5GB", "3KB"])
def test_we_read_what_transformers_saves(theirs, tmp_path, size):
    theirs.save_pretrained(tmp_path, max_shard_size=size)
    assert (tmp_path / "model.safetensors.index.json").exists() == (size == "3KB")
    ours = BertForMaskedLM.from_pretrained(tmp_path)
    assert equal(ours, theirs) and ours.load_report.verdict.startswith("all ") and len(ours.load_report.tied) == 2


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pth"])
def test_we_read_what_torch_saves(theirs, tmp_path, legacy, name):
    """Both names of the tied weight are in the file, on one storage."""
    theirs.config.save_pretrained(tmp_path)
    torch.save(theirs.state_dict(), tmp_path / name, _use_new_zipfile_serialization=not legacy)
    source = tmp_path if name == "pytorch_model.bin" else tmp_path / name
    ours = BertForMaskedLM.from_pretrained(source)
    assert equal(ours, theirs) and len(ours.load_report.tied) == 2
    base = BertModel.from_pretrained(source)
    assert base.load_report.newly_initialised == ["pooler.dense.weight", "pooler.dense.bias"]
    assert set(base.load_report.not_needed.values()) == {"of another head"}


def test_we_read_pickles_in_shards(theirs, tmp_path):
    theirs.config.save_pretrained(tmp_path)
    names, state = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"], theirs.state_dict()
    where = {key: names[i % 2] for i, key in enumerate(state)}
    for name in names:
        torch.save({key: state[key] for key in state if where[key] == name}, tmp_path / name)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))
    assert equal(BertForMaskedLM.from_pretrained(tmp_path), theirs)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(theirs, tmp_path, dtype):
    theirs.to(getattr(torch, dtype)).save_pretrained(tmp_path)
    ours = BertForMaskedLM.from_pretrained(tmp_path)
    for name, weight in ours.state_dict().items():
        assert weight.dtype == np.float32 and np.array_equal(weight.numpy(), theirs.state_dict()[name].float().numpy())
    kept = BertForMaskedLM.from_pretrained(tmp_path, dtype=dtype)
    kept.save_pretrained(tmp_path / "kept")
    again = transformers.BertForMaskedLM.from_pretrained(tmp_path / "kept", dtype="auto")
    assert again.dtype == theirs.dtype
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in theirs.state_dict().items())


def odds_and_ends():
    w = torch.arange(12.0).reshape(3, 4)
    return OrderedDict(
        w=w,
        turned=w.T,
        view=w[1:, ::2],
        row=w[2],
        repeated=torch.ones(1).expand(5, 2),
        learnt=torch.nn.Parameter(w[0].clone()),
        half=torch.randn(3).half(),
        brain=torch.randn(3).bfloat16(),
        whole=torch.arange(4),
        flags=torch.tensor([True, False]),
        scalar=torch.tensor(3.0),
        empty=torch.zeros(0, 3),
        double=torch.randn(2).double(),
        byte=torch.arange(3).to(torch.uint8),
        small=torch.tensor([-1, 3]).to(torch.int8),
        short=torch.tensor([-300]).to(torch.int16),
        int=torch.tensor([[7]]).to(torch.int32),
    )


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("legacy", [False, True])
def test_every_kind_of_tensor_from_every_kind_of_file(tmp_path, legacy, protocol):
    layers = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(layers.parameters())
    layers(torch.randn(4, 2)).sum().backward()
    optimizer.step()
    modern = {} if legacy else {"unsigned": torch.tensor([1, 65535]).to(torch.uint16)}
    for kept in (
        odds_and_ends() | modern,
        dict(odds_and_ends()),
        layers.state_dict(),
        {"state_dict": layers.state_dict(), "epoch": 3, "adam": optimizer.state_dict(), "size": layers[0].weight.shape},
    ):
        torch.save(kept, tmp_path / "x.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
        found, expected = read(tmp_path / "x.pt"), kept.get("state_dict", kept)
        assert list(found) == list(expected)
        for name, tensor in expected.items():
            tensor = tensor.detach()
            assert found[name].dtype.name == str(tensor.dtype).removeprefix("torch.") and found[name].shape == tuple(
                tensor.shape
            )
            np.testing.assert_array_equal(found[name].astype(np.float64), tensor.double().numpy())


def test_whole_modules_are_refused(tmp_path):
    for legacy in (False, True):
        torch.save(torch.nn.Linear(2, 3), tmp_path / "x.pt", _use_new_zipfile_serialization=not legacy)
        with pytest.raises(ValueError, match="nothing in it was executed: .*'torch.nn.modules.linear Linear'"):
            read(tmp_path / "x.pt")


def test_what_we_read_is_what_safetensors_reads_with_torch(theirs, tmp_path):
    from safetensors.torch import load_file

    theirs.save_pretrained(tmp_path)
    expected = load_file(tmp_path / "model.safetensors")
    found = read_weights(tmp_path)
    assert set(found) == set(expected) and all(np.array_equal(found[name], expected[name].numpy()) for name in found)
