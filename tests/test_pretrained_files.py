"""Reading and writing model directories: every dtype, every way to be broken, and nothing lost when saving fails."""
import json
import os
import pickle
import struct
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open

from minigrad.pretrained.files import output_directory, read_config, read_weights, save

CONFIG = {"model_type": "bert", "hidden_size": 4}
ARRAYS = {
    "f32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "strided": np.arange(12, dtype=np.float64)[::3],
    "f16": np.linspace(-1, 1, 5, dtype=np.float16),
    "bf16": np.arange(6).astype(ml_dtypes.bfloat16).reshape(3, 2),
    "i64": np.arange(3),
    "bool": np.array([True, False]),
    "scalar": np.array(7),
    "empty": np.zeros((0, 3), np.float32),
}


@pytest.fixture
def model(tmp_path):
    save(tmp_path / "model", CONFIG, ARRAYS)
    return tmp_path / "model"


def rewritten(model, change):
    path = model / "model.safetensors"
    path.write_bytes(change(path.read_bytes()))
    return path


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def refusal(error, function, *args):
    """The message, which must be one line."""
    with pytest.raises(error) as caught:
        function(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_saved_is_read_back(model):
    weights = read_weights(model)
    assert read_config(model) == CONFIG
    assert set(weights) == set(ARRAYS) and len(weights) == len(ARRAYS)
    for name, array in ARRAYS.items():
        assert weights[name].dtype == array.dtype and weights.shapes[name] == weights[name].shape == array.shape
        np.testing.assert_array_equal(weights[name], array)


def test_the_file_says_it_is_for_torch_and_others_may_read_it(model):
    with safe_open(model / "model.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt"}
    modes = {os.stat(model / name).st_mode for name in ("config.json", "model.safetensors")}
    assert len(modes) == 1
    assert sorted(path.name for path in model.iterdir()) == ["config.json", "model.safetensors"]


def test_bfloat16_is_known_to_a_program_that_imports_nothing_else(model):
    program = "import sys; from minigrad.pretrained.files import read_weights; print(read_weights(sys.argv[1])['bf16'].dtype)"
    assert subprocess.check_output([sys.executable, "-c", program, str(model)], text=True).strip() == "bfloat16"


def test_an_array_that_was_read_is_its_readers_own(model):
    weights = read_weights(model)
    weights["f32"][:] = -1
    np.testing.assert_array_equal(weights["f32"], ARRAYS["f32"])


def test_shards_are_read_as_one(tmp_path):
    for shard in "ab":
        save(tmp_path / shard, CONFIG, {f"{shard}.weight": np.full(2, ord(shard), np.float32)})
        (tmp_path / shard / "model.safetensors").rename(tmp_path / f"{shard}.safetensors")
    index = {"weight_map": {"a.weight": "a.safetensors", "b.weight": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    weights = read_weights(tmp_path)
    assert {name: weights[name].tolist() for name in weights} == {"a.weight": [97, 97], "b.weight": [98, 98]}
    (tmp_path / "b.safetensors").unlink()
    assert "b.safetensors" in refusal(FileNotFoundError, read_weights, tmp_path)


def test_a_missing_directory(tmp_path):
    assert "hf download" not in refusal(FileNotFoundError, read_config, tmp_path / "absent" / "too")
    assert "expected the directory" in refusal(NotADirectoryError, read_config, __file__)


@pytest.mark.parametrize("name", ["bert-base-uncased", "sentence-transformers/all-MiniLM-L6-v2"])
def test_a_hub_name_is_told_how_to_become_a_directory(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"hf download {name} --local-dir {name.split('/')[-1]}" in refusal(FileNotFoundError, read_weights, name)


def test_a_missing_or_broken_config(model):
    path = model / "config.json"
    for text, complaint in [("{", "not JSON"), ("[]", "holds a list"), ("{}", "model_type"), ('{"model_type": 3}', "model_type"),
                            ("[" * 10**5, "not JSON")]:
        path.write_text(text)
        assert complaint in refusal(ValueError, read_config, model)
    path.write_bytes(b'{"model_type": "b\xe9rt"}')
    assert "not JSON" in refusal(ValueError, read_config, model)
    path.unlink()
    assert "found model.safetensors" in refusal(FileNotFoundError, read_config, model)


def test_missing_weights(model):
    (model / "model.safetensors").unlink()
    assert "expected model.safetensors, found config.json" in refusal(FileNotFoundError, read_weights, model)


def test_a_truncated_file_tells_both_sizes(model):
    size = (model / "model.safetensors").stat().st_size
    rewritten(model, lambda whole: whole[:-5])
    assert f"found {size - 5} bytes, expected {size}" in refusal(ValueError, read_weights, model)


@pytest.mark.parametrize("change", [
    lambda whole: b"", lambda whole: b"abcd", lambda whole: whole[:40], lambda whole: whole + b"xx",
    lambda whole: bytes(range(256)), lambda whole: whole[:8] + b"x" * (len(whole) - 8),
    lambda whole: struct.pack("<Q", 2**63) + whole[8:], lambda whole: struct.pack("<Q", 4) + b"\xff\xfe{}",
    lambda whole: struct.pack("<Q", 2) + b"[]", lambda whole: struct.pack("<Q", 10**5) + b"[" * 10**5])
def test_a_corrupt_file(model, change):
    rewritten(model, change)
    assert "truncated or corrupt" in refusal(ValueError, read_weights, model)


def test_a_git_lfs_pointer(model):
    rewritten(model, lambda whole: b"version https://git-lfs.github.com/spec/v1\noid sha256:53aa\nsize 90868376\n")
    assert "git lfs pull" in refusal(ValueError, read_weights, model)


class Fires:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pth", "model.pt", "model.pkl"])
def test_a_pickle_is_refused_unopened(model, tmp_path, name):
    (model / "model.safetensors").unlink()
    payload = pickle.dumps(Fires(tmp_path / "marker"))
    (model / name).write_bytes(payload)
    (model / "config.json").write_text('{"model_type": "bert", "architectures": ["BertForMaskedLM"]}')
    message = refusal(ValueError, read_weights, model)
    assert name in message and "from transformers import BertForMaskedLM as M" in message
    assert not (tmp_path / "marker").exists()
    pickle.loads(payload)
    assert (tmp_path / "marker").exists()           # so it would have fired


def test_a_config_cannot_write_into_the_command_we_suggest(model):
    (model / "model.safetensors").rename(model / "model.pt")
    (model / "config.json").write_text('{"model_type": "bert", "architectures": ["os; os.system(1)"]}')
    assert "import AutoModel as M" in refusal(ValueError, read_weights, model)


@pytest.mark.parametrize("arrays, config", [({"bad": np.array(["text"])}, {"model_type": "new"}), (ARRAYS, {"bad": object()})])
def test_a_failed_save_leaves_what_was_there(model, arrays, config):
    before = contents(model)
    with pytest.raises((TypeError, OSError)):
        save(model, config, arrays)
    assert contents(model) == before


def test_a_full_disk_leaves_what_was_there(model):
    resource = pytest.importorskip("resource")
    before, limit = contents(model), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
    try:
        message = refusal(OSError, save, model, CONFIG, {"large": np.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "could not be written and is as it was" in message
    assert contents(model) == before


def test_saving_again_replaces_both(model):
    weights = read_weights(model)
    save(model, CONFIG | {"hidden_size": 8}, {"f32": weights["f32"] + 1})
    assert read_config(model)["hidden_size"] == 8 and list(read_weights(model)) == ["f32"]


@pytest.mark.parametrize("name, text", [("thesis.txt", "x"), ("config.json", '{"name": "a web site"}'), ("config.json", "{")])
def test_a_directory_that_holds_something_else_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    refusal(ValueError, save, tmp_path, CONFIG, ARRAYS)
    assert contents(tmp_path) == {name: text.encode()}
    assert "is a file" in refusal(NotADirectoryError, save, tmp_path / name, CONFIG, ARRAYS)


def test_directories_that_may_be_saved_into(tmp_path, model):
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / ".gitignore").touch()
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "vocab.txt").touch()
    for name in ("hidden", "tokenizer", "model", "new/deeper"):
        assert output_directory(tmp_path / name).is_dir()
