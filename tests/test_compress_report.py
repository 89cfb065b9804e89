"""The report: sizes, ratios, and which layer hurts."""

import numpy as np
import pytest

from minigrad import losses, nn
from minigrad.compress import QuantizationConfig, Report, quantize, sensitivity
from minigrad.compress.report import Measured, size_of
from minigrad.pretrained import GPT2Config, GPT2LMHeadModel
from minigrad.tensor import Tensor

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((50, 64)).astype("f4"), rng.standard_normal((50, 8)).astype("f4")


def model():
    return nn.Sequential(nn.Linear(64, 64, rng=0), nn.Tanh(), nn.Linear(64, 8, rng=1))


def loss(model):
    return losses.mse_loss(model(Tensor(X)), Y).item()


def test_sizes_are_those_of_the_arrays_each_once():
    plain = model()
    assert size_of(plain) == 4 * (64 * 64 + 64 + 8 * 64 + 8)
    plain.again = plain[0]
    assert size_of(plain) == 4 * (64 * 64 + 64 + 8 * 64 + 8)
    assert size_of(quantize(model(), "int4")) == (64 * 32 + 4 * 64) + (8 * 32 + 4 * 8) + 4 * 72


def test_what_hurts_is_found_and_the_model_is_unchanged():
    plain = model()
    plain[0].weight.copy_(plain[0].weight.numpy() * 100)  # saturated: the second layer matters more
    state = {name: t.numpy().copy() for name, t in plain.state_dict().items()}
    weights = [m.weight for m in (plain[0], plain[2])]
    found = sensitivity(plain, "int4", loss)
    assert [layer.path for layer in found] == ["0", "2"]
    for layer, m in zip(found, (0, 2)):
        alone = model()
        alone.load_state_dict(state)
        alone[2 - m].label_layer = None
        alone.label_layer = str(2 - m)
        assert layer.loss == pytest.approx(loss(quantize(alone, "int4")) - loss(plain), rel=1e-3, abs=1e-6)
        assert layer.saved == 4 * plain[m].weight.size - (plain[m].weight.size // 2 + 4 * len(plain[m].weight.numpy()))
    assert [m.weight for m in (plain[0], plain[2])] == weights and type(plain[0]) is nn.Linear
    assert all(np.array_equal(t.numpy(), state[name]) for name, t in plain.state_dict().items())
    assert [layer.path for layer in sensitivity(plain, "int8", loss, paths=["2"])] == ["2"]


def test_what_static_activations_cost_is_found_after_calibration():
    plain, config = (
        nn.Sequential(nn.Linear(64, 64, rng=0), nn.Tanh(), nn.Linear(64, 8, rng=1)),
        QuantizationConfig("int8", "static"),
    )
    (found,) = sensitivity(plain, config, loss, ["0"], batches=[X])
    before = loss(plain)
    quantize(plain, QuantizationConfig("int8", "static", ["2"]), [X])
    assert found.loss == pytest.approx(loss(plain) - before, rel=1e-3, abs=1e-6) and found.loss != 0
    with pytest.raises(ValueError, match="there is no batch to calibrate on"):
        sensitivity(model(), config, loss)


def test_a_report_compares_with_its_first_row():
    report = Report(
        "loss", [Measured("float32", 4_000_000, 10.0, 100.0, 1.5), Measured("int8", 10**6, 5.0, 200.0, 1.6)]
    )
    lines = str(report).splitlines()
    assert lines[0].split() == ["model", "MB", "×", "size", "ms", "tokens/s", "×", "speed", "loss"]
    assert lines[2].split() == ["int8", "1.0", "0.25", "5.0", "200", "2.00", "1.6000"]
    with pytest.raises(ValueError, match="no rows: type report.measure"):
        Report().picture()


def test_models_are_measured_and_drawn():
    plain, report = model().train(), Report("loss")
    row = report.measure("float32", plain, X, loss, rounds=1)
    assert row.bytes == size_of(plain) and row.score == loss(plain) and row.milliseconds > 0 and plain.training
    sizes = {"vocab_size": 30, "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 40}
    writer = GPT2LMHeadModel(GPT2Config(**sizes), rng=0)
    row = report.measure("writer", writer, {"input_ids": np.ones((1, 4), int)}, rounds=1)
    assert row.tokens_per_second == pytest.approx(1e3 / row.milliseconds)
    report.layers = sensitivity(plain, "int8", loss)
    assert "changed alone" in str(report)
    pytest.importorskip("matplotlib")
    assert [axes.get_title() for axes in report.picture().axes] == ["area: time", "what hurts"]
