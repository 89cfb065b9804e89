"""Names on the Hub: what is asked for, what is found in a cache without a network, and what is said when nothing is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minigrad.pretrained import AutoConfig, AutoModel, AutoTokenizer, BertConfig, BertModel
from minigrad.pretrained.checkpoint import hub
from minigrad.pretrained.checkpoint.files import read_config, read_weights

TINY = BertConfig(
    vocab_size=9,
    hidden_size=4,
    num_hidden_layers=1,
    num_attention_heads=1,
    intermediate_size=4,
    max_position_embeddings=5,
)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path):
    """A cache that has one model, as the library lays it out; as HF_HOME, with what else a process needs to work
    offline.
    """
    model = tmp_path / "hub" / "models--someone--tiny-bert"
    BertModel(TINY, rng=0).save_pretrained(model / "snapshots" / COMMIT)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(COMMIT)
    (model / "refs" / "v1").write_text(COMMIT)
    return tmp_path


@pytest.fixture
def offline(cache, monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("bert-base-uncased", True),
        ("google/vit-base-patch16-224", True),
        ("a_b/c.d", True),
        ("/abs", False),
        ("./here", False),
        ("a/b/c", False),
        ("..", False),
        ("../x", False),
        ("a b", False),
        ("", False),
        ("~/model", False),
        ("a/", False),
    ],
)
def test_what_looks_like_a_name(source, expected):
    assert hub.is_name(source) is expected


def test_a_path_with_a_typing_error_is_no_name(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    assert not hub.is_name("models/brt") and hub.is_name("model/brt")


def test_a_model_comes_from_the_cache(offline, cache):
    model = AutoModel.from_pretrained("someone/tiny-bert")
    assert type(model) is BertModel and model.load_report.verdict == "all 23 weights loaded"
    assert (model.pooler.dense.weight.numpy() == BertModel(TINY, rng=0).pooler.dense.weight.numpy()).all()
    for options in ({"revision": "v1"}, {"revision": COMMIT}, {"local_files_only": True}):
        assert BertModel.from_pretrained("someone/tiny-bert", **options).config == model.config
        assert AutoConfig.from_pretrained("someone/tiny-bert", **options) == model.config


@pytest.mark.slow
def test_the_environment_is_respected(cache):
    pytest.importorskip("huggingface_hub")
    program = (
        "from minigrad.pretrained import AutoConfig; print(AutoConfig.from_pretrained('someone/tiny-bert').hidden_size)"
    )
    environment = os.environ | {"HF_HOME": str(cache), "HF_HUB_OFFLINE": "1"}
    assert (
        subprocess.check_output([sys.executable, "-c", program], text=True, env=environment, cwd=cache).strip() == "4"
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("someone/else", {}),
        ("bert-base-uncased", {}),
        ("someone/tiny-bert", {"revision": "v2"}),
        ("someone/tiny--bert", {}),
        ("someone/tiny-bert.git", {"local_files_only": True}),
    ],
)
def test_what_is_not_there_is_told_in_one_line(offline, name, options):
    for load in (BertModel, AutoModel, AutoConfig):
        with pytest.raises(
            FileNotFoundError, match=f"^there is no directory {name}, and no model of that name could be read from"
        ) as error:
            load.from_pretrained(name, **options)
        assert "\n" not in str(error.value)


def test_without_the_library_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for load in (BertModel, AutoModel, AutoTokenizer):
        with pytest.raises(
            ImportError, match=r'^there is no directory bert-base-.* pip install "minigrad-learn\[hub\]"$'
        ):
            load.from_pretrained("bert-base-uncased")


def test_only_what_is_needed_is_asked_for(tmp_path, monkeypatch):
    """The configuration first; then safetensors; pickles only where there are none of those."""
    asked = []

    def download(name, patterns, revision, local_files_only):
        asked.append((name, patterns, revision, local_files_only))
        return tmp_path

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "download", download)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    read_config("a/b", "v1", True)
    assert asked == [("a/b", ("*.json", "*.txt", "*.model", "*.jinja"), "v1", True)]
    asked.clear()
    with pytest.raises(FileNotFoundError, match="has no weights"):
        read_weights("a/b")
    assert [patterns[0] for _, patterns, *_ in asked] == ["model.safetensors", "pytorch_model.bin"]
    BertModel(TINY, rng=0).save_pretrained(tmp_path)
    asked.clear()
    assert all(isinstance(array, np.ndarray) for array in read_weights("a/b").values())
    assert [patterns[0] for _, patterns, *_ in asked] == ["model.safetensors"]
    assert {Path(pattern).suffix for pattern in asked[0][1]} == {".safetensors", ".json"}
