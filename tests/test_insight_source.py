"""to_numpy_source: the program, run by itself, gives every gradient bit for bit."""

import subprocess
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn

RNG = np.random.default_rng(0)
LABELS = np.array([0, 1, 3])


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


class Block(nn.Module):
    """A transformer block between an embedding and a head, with padding, a causal mask and a mean over time."""

    def __init__(self, norm_first=False):
        self.embed = nn.Embedding(11, 8, padding_idx=0, rng=0)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, 0.3, "gelu", batch_first=True, norm_first=norm_first, rng=1)
        self.head = nn.Linear(8, 4, rng=2)

    def forward(self, ids):
        return self.head(self.block(self.embed(ids), src_key_padding_mask=ids == 0, is_causal=True).mean(1))


IDS = RNG.integers(1, 11, (3, 5))
IDS[1, 3:] = 0
X = normal(3, 3, 8, 8)
MODELS = {
    "mlp": (
        nn.Sequential(nn.Linear(8, 16, rng=0), nn.ReLU(), nn.Dropout(0.5, rng=0), nn.Linear(16, 4, rng=1)),
        normal(3, 8),
    ),
    "cnn": (
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, rng=0),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, stride=2, rng=1),
            nn.Flatten(),
            nn.Linear(6, 4, rng=2),
        ),
        X,
    ),
    "other convolutions": (
        nn.Sequential(
            nn.Conv2d(3, 3, 3, groups=3, padding=1, stride=2, rng=0),
            nn.ReLU6(),
            nn.ConvTranspose2d(3, 4, 2, stride=2, rng=1),
            nn.GroupNorm(2, 4),
            nn.AvgPool2d(2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ),
        X,
    ),
    "channels last": (
        nn.Sequential(nn.Conv2d(3, 4, 3, rng=0), nn.Flatten(), nn.Linear(144, 4, rng=1)),
        normal(3, 8, 8, 3).transpose(0, 3, 1, 2),
    ),
    "transformer, with dropout": (Block(), IDS),
    "transformer, pre-norm, without": (Block(norm_first=True).eval(), IDS),
    "in float64": (
        nn.Sequential(nn.Linear(8, 4, rng=0), nn.GELU(), nn.LayerNorm(4)).to("float64"),
        RNG.normal(size=(3, 8)),
    ),
}


def recorded(name):
    model, x = MODELS[name]
    model.zero_grad()
    with mg.insight.recording(kernels=False):
        loss = F.cross_entropy(model(x), LABELS, label_smoothing=0.1)
    return model, loss


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_bit_for_bit_those_of_backward(name):
    model, loss = recorded(name)
    space = {"__name__": "program"}
    exec(mg.to_numpy_source(loss), space)
    loss.backward()
    assert list(space["gradients"]) and set(space["gradients"]) == {name for name, _ in model.named_parameters()}
    assert all(same(space["gradients"][name], p.grad.data) for name, p in model.named_parameters())
    assert same(space["loss"], loss.data)


def test_the_program_runs_by_itself_from_a_file(tmp_path):
    model, loss = recorded("transformer, with dropout")
    text = mg.to_numpy_source(loss, path=tmp_path / "steps.py")
    assert (tmp_path / "steps.py").read_text("utf-8") == text and {"import numpy as np", "import math"} == {
        line for line in text.splitlines() if "import " in line
    }
    check = (
        "import sys, numpy; sys.modules['minigrad'] = None; import steps; numpy.savez('found.npz', **steps.gradients)"
    )
    subprocess.run([sys.executable, "-c", check], cwd=tmp_path, check=True)
    loss.backward()
    with np.load(tmp_path / "found.npz") as found:
        assert all(same(found[name], p.grad.data) for name, p in model.named_parameters())
    told = subprocess.run(
        [sys.executable, "steps.py"], cwd=tmp_path, check=True, capture_output=True, encoding="utf-8"
    ).stdout
    assert "block.self_attn.in_proj_weight" in told and len(told.splitlines()) == len(model.parameters())


def test_products_that_are_shared_out_otherwise_are_told_as_well(tmp_path):
    """A stack of 400 rows and a matrix: as a kernel computes it other digits are the last."""
    x, W = mg.Tensor(normal(4, 100, 77)), mg.Tensor(normal(77, 130), requires_grad=True)
    with mg.insight.recording(kernels=False):
        loss = ((x @ W) ** 2).mean()
    space = {"__name__": "program", "__file__": str(tmp_path / "steps.py")}
    exec(mg.to_numpy_source(loss, path=tmp_path / "steps.py"), space)
    loss.backward()
    assert same(space["gradients"]["W"], W.grad.data) and same(space["loss"], loss.data)


def test_it_reads_as_a_lesson():
    _, loss = recorded("transformer, with dropout")
    lines = mg.to_numpy_source(loss).splitlines()
    assert "# block.norm1 (LayerNorm)" in "\n".join(lines)
    for line in (
        "weights /= weights.sum(axis=-1, keepdims=True)",
        "x_4 = weights_3 @ v  # (3, 2, 5, 4)",
        "g_head_bias = np.reshape(g_rows.sum((0,)), (4,))  # (4,)",
    ):
        assert line in lines
    assert not [line for line in lines if "_2," in line and line.startswith("    '")]  # no gradient is a copy
    assert not [line for line in lines if "fromhex" not in line and len(line) > 160]


def test_an_expression_of_ones_own_keeps_its_names():
    x, W, b = mg.Tensor(normal(5, 3)), mg.Tensor(normal(3, 3), requires_grad=True), mg.zeros(3, requires_grad=True)
    with mg.insight.recording(kernels=False):
        h = mg.tanh(x @ W + b)
        loss = ((h @ W - 1) ** 2).mean()
    lines = mg.to_numpy_source(loss).splitlines()
    assert "h = np.tanh(x @ W + b)  # (5, 3)" in lines and "g_W += np.swapaxes(x, -1, -2) @ g_add" in lines
    loss.backward()  # and what was told was not disturbed
    assert W.grad is not None


def test_a_list_among_the_operands_is_a_constant():
    w = mg.Tensor(normal(3, 4), requires_grad=True)
    with mg.insight.recording(kernels=False):
        loss = ([[1.0, 2.0, 3.0]] @ w).sum() + mg.where([[True, False, True, True]], w, [0.5]).sum()
    program = {"__name__": "program"}
    exec(mg.to_numpy_source(loss), program)
    loss.backward()
    np.testing.assert_array_equal(program["gradients"]["w"], w.grad.data)


def test_leaves_without_a_name_or_with_the_same_are_told_apart():
    parts = [mg.Tensor(normal(3), requires_grad=True) for _ in range(3)]
    with mg.insight.recording(kernels=False):
        loss = (parts[0] * parts[1] * parts[2]).sum()
    space = {"__name__": "program"}
    exec(mg.to_numpy_source(loss), space)
    loss.backward()
    assert sorted(g.tobytes() for g in space["gradients"].values()) == sorted(p.grad.data.tobytes() for p in parts)


def test_what_cannot_be_told_is_refused():
    model, x = MODELS["mlp"]
    with pytest.raises(ValueError, match=r"was not recorded.*recording\(kernels=False\)"):
        mg.to_numpy_source(model(x).sum())
    with mg.insight.recording():
        fused = model(x).sum()
    with pytest.raises(ValueError, match="linear ran as a fused kernel"):
        mg.to_numpy_source(fused)
    with pytest.raises(TypeError, match="expected a Tensor and its tape"):
        mg.to_numpy_source(model)
    with pytest.raises(ValueError, match="is a leaf"):
        mg.to_numpy_source(model[0].weight)
    with mg.insight.recording(kernels=False):
        forgetful = mg.checkpoint(model, x).sum()
    with pytest.raises(ValueError, match="without mg.checkpoint"):
        mg.to_numpy_source(forgetful)
    for hooked in (0, 1):
        model, x = MODELS["mlp"]
        with mg.insight.recording(kernels=False):
            h = model(x)
            loss = h.sum()
        remove = (h, model[0].weight)[hooked].register_hook(lambda g: 2 * g)
        with pytest.raises(ValueError, match="has a hook, which may change the gradient.*register_hook returned"):
            mg.to_numpy_source(loss)
        remove()
        mg.to_numpy_source(loss)
    model, loss = recorded("mlp")
    with pytest.raises(ValueError, match="end in .py"):
        mg.to_numpy_source(loss, path="steps.txt")
    model[0].weight.copy_(model[0].weight.data + 1)
    with pytest.raises(ValueError, match="was modified in place after it was recorded"):
        mg.to_numpy_source(loss)


def test_many_numbers_need_a_file(monkeypatch):
    monkeypatch.setattr("minigrad.insight.source.MAX_EMBEDDED", 10)
    with pytest.raises(ValueError, match='give path="steps.py"'):
        mg.to_numpy_source(recorded("mlp")[1])


def test_functions_of_several_results_are_computed_by_the_program():
    """And their results are no constants in it."""
    x = mg.Tensor(np.array([[0.7, 0.2], [0.1, 0.6]]), requires_grad=True)
    for f in (mg.linalg.svdvals, mg.linalg.eigvalsh, lambda x: mg.linalg.qr(x).R, lambda x: mg.linalg.slogdet(x)[1]):
        with mg.insight.recording(kernels=False):
            y = f(x).sum()
        source = mg.to_numpy_source(y)
        assert "np.linalg." in source
        names: dict = {}
        exec(source, names)
        np.testing.assert_allclose(names["loss"], y.item(), rtol=1e-12)
