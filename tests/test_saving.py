"""A model of one's own comes back from its file bit for bit; a killed run leaves the old file; pickles are refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.pretrained.checkpoint import pickles


def model(seed=0):
    return nn.Sequential(nn.Conv2d(1, 2, 3, rng=seed), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3, rng=seed))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_a_model_comes_back_bit_for_bit(tmp_path, dtype):
    one, other = model().to(dtype), model(1).to(dtype)
    mg.save(one.state_dict(), tmp_path / "model.safetensors")
    loaded = mg.load(str(tmp_path / "model.safetensors"))
    assert {name: t.dtype for name, t in loaded.items()} == {name: t.dtype for name, t in one.state_dict().items()}
    other.load_state_dict(loaded)
    x = mg.ones((2, 1, 4, 4), dtype)
    assert one.eval()(x).tolist() == other.eval()(x).tolist()
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_any_arrays_by_name(tmp_path):
    given = {
        "step": mg.tensor(3),
        "mask": np.array([True, False]),
        "turned": np.arange(6.0).reshape(2, 3).T,
        "none": mg.zeros((0, 2)),
        "": mg.tensor([1.5], requires_grad=True) * 2,
    }
    mg.save(given, tmp_path / "arrays")
    loaded = mg.load(tmp_path / "arrays")
    assert set(loaded) == set(given)
    for name, value in given.items():
        got = loaded[name]
        assert isinstance(got, mg.Tensor) and not got.requires_grad
        assert (got.dtype, got.shape, got.tolist()) == (value.dtype, value.shape, value.tolist())
    loaded["step"].copy_(9)  # what was loaded is one's own: the file stays as it is
    assert mg.load(tmp_path / "arrays")["step"].item() == 3


def test_a_run_that_dies_while_saving_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    mg.save({"w": mg.ones(3)}, path)

    def killed(part, arrays, **more):
        Path(part).write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr("minigrad.pretrained.checkpoint.safetensors.write", killed)
    with pytest.raises(KeyboardInterrupt):
        mg.save({"w": mg.zeros(3)}, path)
    assert mg.load(path)["w"].tolist() == [1, 1, 1]
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_is_refused_and_nothing_in_it_runs(tmp_path, protocol):
    class Run:
        def __reduce__(self):
            return Path.touch, (tmp_path / "it ran",)

    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"w": Run()}, protocol))
    with pytest.raises(ValueError, match=r"model.pkl is a pickle, which runs code when it is loaded.*pickles.read"):
        mg.load(tmp_path / "model.pkl")
    assert not (tmp_path / "it ran").exists()
    with pytest.raises(ValueError, match=r"would be a pickle.*type mg.save\(..., 'model.safetensors'\)"):
        mg.save({"w": mg.ones(1)}, tmp_path / "model.pt")


def test_the_weights_of_torch_are_converted_as_the_refusal_says(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.pth"
    torch.save(torch.nn.Linear(3, 2).state_dict(), path)
    with pytest.raises(ValueError, match=r"mg.save\(pickles.read\(pathlib.Path\(path\)\), 'model.safetensors'\)"):
        mg.load(path)
    mg.save(pickles.read(path), tmp_path / "model.safetensors")
    layer = nn.Linear(3, 2)
    layer.load_state_dict(mg.load(tmp_path / "model.safetensors"))
    theirs = pytest.importorskip("safetensors.numpy").load_file(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(layer.weight.numpy(), theirs["weight"])


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (nn.Linear(2, 2), TypeError, r"not a Linear: type model.state_dict\(\)"),
        ([mg.ones(1)], TypeError, "expected a dict of Tensors by name"),
        ({"model": {"w": {1, 2}}}, TypeError, "'model.w' is of type set; expected a Tensor, an array, a number"),
        ({"model": nn.Linear(2, 2)}, TypeError, r"'model' is of type Linear; .* what its state_dict\(\) returns"),
        ({None: mg.ones(1)}, TypeError, "None is no name"),
        ({"z": np.ones(1, complex)}, TypeError, "z has dtype complex128"),
    ],
)
def test_what_cannot_be_saved(tmp_path, given, error, text):
    with pytest.raises(error, match=text):
        mg.save(given, tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        mg.load(tmp_path / "nowhere.safetensors")
    with pytest.raises(FileNotFoundError, match="there is no directory"):
        mg.save({"w": mg.ones(1)}, tmp_path / "nowhere" / "x.safetensors")
    for content in (b"", b"abc", b"\x08\0\0\0\0\0\0\0{}      more"):
        (tmp_path / "x.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match="x.safetensors is truncated or corrupt"):
            mg.load(tmp_path / "x.safetensors")


def test_what_is_nested_comes_back_as_it_was(tmp_path):
    given = {
        "a": {"b": mg.tensor([1.0])},
        "a.b": np.arange(3),
        0: [None, True, 1, 0.1, "é", (1, (np.ones(2), {}))],
        "inf": [float("inf"), 2**100],
        "tensor": {"array": "name", "dict": []},
    }
    mg.save(given, tmp_path / "x.safetensors")
    got = mg.load(tmp_path / "x.safetensors")
    assert list(got) == list(given)
    assert isinstance(got["a"]["b"], mg.Tensor) and got["a"]["b"].tolist() == [1]
    assert isinstance(got["a.b"], np.ndarray) and got["a.b"].tolist() == [0, 1, 2]
    (*plain, (one, (two, empty))), expected = got[0], [None, True, 1, 0.1, "é"]
    assert plain == expected and list(map(type, plain)) == list(map(type, expected))
    assert one == 1 and two.tolist() == [1, 1] and empty == {}
    assert got["inf"] == given["inf"] and got["tensor"] == given["tensor"]


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "NAdam", "RMSprop", "Adafactor", "LBFGS"])
def test_a_loop_of_ones_own_goes_on_bit_for_bit(tmp_path, kind):
    x, y = np.random.default_rng(0).normal(size=(2, 8, 3)).astype(np.float32)

    def new():
        layer = nn.Linear(3, 3, rng=0)
        optimizer = getattr(mg.optim, kind)(layer.parameters(), lr=0.01)
        return layer, optimizer, mg.schedule.StepLR(optimizer, 3)

    def steps(layer, optimizer, rate, n):
        def closure():
            optimizer.zero_grad()
            loss = ((layer(mg.Tensor(x)) - y) ** 2).mean()
            loss.backward()
            return loss

        for _ in range(n):
            optimizer.step(closure)
            rate.step()

    whole, first, second = new(), new(), new()
    steps(*whole, 8)
    steps(*first, 4)
    names = "model", "optimizer", "schedule"
    mg.save({name: part.state_dict() for name, part in zip(names, first)}, tmp_path / "run.safetensors")
    saved = mg.load(tmp_path / "run.safetensors")
    for name, part in zip(names, second):
        part.load_state_dict(saved[name])
    steps(*second, 4)
    assert second[0].weight.tolist() == whole[0].weight.tolist()
    assert second[1].param_groups[0]["lr"] == whole[1].param_groups[0]["lr"]
