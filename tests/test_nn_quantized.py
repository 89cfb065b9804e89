"""Layers with quantised weights: what they compute, what is trained, and what stays of the layer that they were."""

import copy

import numpy as np
import pytest

from minigrad import functional as F
from minigrad import nn, optim
from minigrad.nn.quantized import QuantizationConfig, QuantizedEmbedding, QuantizedLinear, dequantize, quantize
from minigrad.tensor import Tensor

rng = np.random.default_rng(0)
KINDS = pytest.mark.parametrize("kind", ["int8", "int4"])


class Tied(nn.Module):
    def __init__(self):
        self.words = nn.Embedding(11, 70, rng=0)
        self.inner = nn.Sequential(nn.Linear(70, 70, rng=1), nn.GELU())
        self.scores = nn.Linear(70, 11, bias=False, rng=2)
        self.scores.weight = self.words.weight

    def forward(self, ids):
        return self.scores(self.inner(self.words(ids)))


@KINDS
def test_a_layer_computes_with_the_weights_that_its_numbers_stand_for(kind):
    layer = nn.Linear(70, 5, rng=0)
    floats, x = layer.weight.numpy().copy(), rng.standard_normal((2, 3, 70)).astype("f4")
    quantised = QuantizedLinear.of(layer, kind)
    assert quantised is layer and isinstance(layer, nn.Linear) and type(layer) is QuantizedLinear
    weight = F.dequantize(*F.quantize(floats, kind), 70)
    np.testing.assert_array_equal(layer.weight.numpy(), weight)
    np.testing.assert_allclose(layer(x), x @ weight.T + layer.bias.numpy(), rtol=1e-4, atol=1e-5)
    assert list(layer.state_dict()) == ["bias", "qweight", "weight_scale"]
    assert [name for name, _ in layer.named_parameters()] == ["bias"]
    assert f"weights={kind}" in repr(layer)


@KINDS
def test_an_embedding_looks_rounded_rows_up(kind):
    table = nn.Embedding(9, 70, padding_idx=2, rng=0)
    floats, ids = table.weight.numpy().copy(), np.array([[0, 8], [2, 2]])
    QuantizedEmbedding.of(table, kind)
    y = table(ids)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y.numpy(), F.dequantize(*F.quantize(floats, kind), 70)[ids])
    assert (y.numpy()[1] == 0).all()
    with pytest.raises(IndexError, match="embedding"):
        table(np.array([9]))


@KINDS
def test_tied_weights_stay_one(kind):
    model = quantize(Tied(), kind)
    assert model.words.qweight is model.scores.qweight and model.words.weight_scale is model.scores.weight_scale
    assert len(list(model.named_buffers())) == 4
    dequantize(model)
    assert type(model.scores) is nn.Linear and type(model.words) is nn.Embedding
    assert model.words.weight is model.scores.weight and isinstance(model.words.weight, nn.Parameter)
    assert model.state_dict().keys() == Tied().state_dict().keys()


def test_gradients_pass_to_what_is_left_of_floats():
    model, ids = quantize(Tied(), "int8"), np.array([[1, 2, 3]])
    numbers = model.inner[0].qweight.numpy().copy()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    before = model.inner[0].bias.numpy().copy()
    (model(ids) ** 2).sum().backward()
    optimizer.step()
    assert abs(model.inner[0].bias.numpy() - before).max() > 0
    np.testing.assert_array_equal(model.inner[0].qweight.numpy(), numbers)


def test_hooks_copies_and_dtypes():
    layer, seen = nn.Linear(6, 5, rng=0), []
    layer.register_forward_hook(lambda module, args, y: seen.append(y.shape))
    QuantizedLinear.of(layer)
    x = rng.standard_normal((2, 6)).astype("f4")
    y = layer(Tensor(x))
    assert seen == [(2, 5)]
    np.testing.assert_array_equal(copy.deepcopy(layer)(Tensor(x)).numpy(), y.numpy())
    half = copy.deepcopy(layer).half()
    assert half.qweight.dtype == np.int8 and half.weight_scale.dtype == np.float16
    np.testing.assert_allclose(half(Tensor(x.astype("f2"))).numpy(), y.numpy(), rtol=1e-2, atol=1e-2)
    other = QuantizedLinear.of(nn.Linear(6, 5, rng=3))
    other.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(other(Tensor(x)).numpy(), y.numpy())


def test_a_gelu_after_a_quantised_layer_is_not_that_of_its_numbers():
    layer = nn.Linear(6, 5, rng=0)
    x = Tensor(rng.standard_normal((2, 6)).astype("f4"))
    expected = F.gelu(layer(x)).numpy()
    QuantizedLinear.of(layer)
    np.testing.assert_allclose(nn.layers.activated(layer, F.gelu, x).numpy(), expected, atol=0.02)


def test_patterns_and_labels_keep_floats():
    model = Tied()
    quantize(model, QuantizationConfig("int8", modules_to_not_convert=["words"]))
    assert type(model.scores) is nn.Linear and type(model.inner[0]) is QuantizedLinear  # one weight, both ways or none
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model.label_layer = "1"
    assert [type(m) for m in quantize(model)] == [QuantizedLinear, nn.Linear]


def test_bad_input_is_refused_in_a_line_that_says_what_to_type():
    layer = QuantizedLinear.of(nn.Linear(6, 5))
    with pytest.raises(TypeError, match=r"type layer.dequantize\(\)"):
        layer.weight = nn.Parameter(np.ones((5, 6), "f4"))
    with pytest.raises(ValueError, match="read-only"):
        layer.weight.copy_(1.0)  # it would be lost
    static = quantize(nn.Sequential(nn.Linear(6, 5)), QuantizationConfig(activations="static"))
    with pytest.raises(ValueError, match=r"type calibrate\(model, batches\)"):
        static(Tensor(np.ones((1, 6), "f4")))
    for config, match in (
        ("int2", "'int8' or 'int4'"),
        (8, "QuantizationConfig"),
        ({"weights": "int4", "group_size": 32}, "groups of 64"),
        ({"weights": "int8", "bits": 3}, "no entry 'bits'"),
    ):
        with pytest.raises(ValueError, match=match):
            quantize(Tied(), config)
    with pytest.raises(ValueError, match="activations"):
        QuantizationConfig(activations="int8")
    with pytest.raises(ValueError, match="list of patterns"):
        QuantizationConfig(modules_to_not_convert="words")
    with pytest.raises(ValueError, match="nearest names are"):
        quantize(Tied(), QuantizationConfig(modules_to_not_convert=["wrds"]))
    with pytest.raises(ValueError, match="no Linear"):
        quantize(nn.Sequential(nn.ReLU()))
    with pytest.raises(ValueError, match=r"type dequantize\(model\)"):
        quantize(quantize(Tied()))
