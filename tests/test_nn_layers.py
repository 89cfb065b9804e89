"""The plain layers, from their definitions; tests/parity holds them against torch."""

import numpy as np
import pytest

from minigrad import functional as F
from minigrad import ops
from minigrad.nn import Dropout, Embedding, Flatten, LayerNorm, Linear, Softmax
from minigrad.nn.layers import activated, gelu_tanh
from minigrad.tensor import Tensor

X = np.random.default_rng(0).standard_normal((2, 3, 4))


def test_linear():
    layer = Linear(4, 5, rng=0).to("float64")
    np.testing.assert_allclose(layer(X).numpy(), X @ layer.weight.numpy().T + layer.bias.numpy())
    assert Linear(4, 5, bias=False).bias is None


@pytest.mark.parametrize("activation", [F.gelu, gelu_tanh, F.relu])
def test_gelu_adds_the_bias_of_a_linear_itself(activation):
    x, layer = Tensor(np.float32(X[0]), requires_grad=True), Linear(4, 5, rng=0)
    ops.sum(activated(layer, activation, x)).backward()
    fused = [p.grad.numpy() for p in (x, layer.weight, layer.bias)]
    x.grad = layer.weight.grad = layer.bias.grad = None
    ops.sum(activation(layer(x))).backward()
    for a, b in zip(fused, (x, layer.weight, layer.bias), strict=True):
        np.testing.assert_allclose(a, b.grad.numpy(), rtol=1e-6)


def test_activated_calls_what_somebody_put_in_place_of_a_linear():
    class Doubled(Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    x, layer, seen = np.float32(X[0]), Linear(4, 5, rng=0), []
    layer.forward = lambda x: seen.append(x) or F.linear(x, layer.weight, layer.bias)
    np.testing.assert_allclose(activated(layer, F.gelu, x).numpy(), F.gelu(layer(x)).numpy(), rtol=1e-6)
    assert len(seen) == 2
    doubled, without = Doubled(4, 5, rng=0), Linear(4, 5, bias=False, rng=0)
    for other in (doubled, without):
        np.testing.assert_allclose(activated(other, F.gelu, x).numpy(), F.gelu(other(x)).numpy(), rtol=1e-6)


def test_linear_starts_within_one_over_the_root_of_its_inputs():
    layer = Linear(100, 200, rng=0)
    for values in (layer.weight.numpy(), layer.bias.numpy()):
        assert 0.095 < np.abs(values).max() <= 0.1
        assert values.std() == pytest.approx(0.1 / 3**0.5, rel=0.1)
    assert (Linear(100, 200, rng=0).weight.numpy() == layer.weight.numpy()).all()
    assert (Linear(100, 200, rng=1).weight.numpy() != layer.weight.numpy()).any()


def test_embedding_reads_rows_and_adds_up_their_gradients():
    layer = Embedding(5, 2, rng=0)
    y = layer(np.array([[1, 3, 1]]))
    assert (y.numpy() == layer.weight.numpy()[[[1, 3, 1]]]).all()
    ops.sum(y).backward()
    assert layer.weight.grad.numpy()[:, 0].tolist() == [0, 2, 0, 1, 0]
    assert layer.weight.numpy().std() == pytest.approx(1, abs=0.5)


@pytest.mark.parametrize("padding_idx", [3, -2])
def test_the_padding_row_starts_at_zero_and_stays(padding_idx):
    layer = Embedding(5, 2, padding_idx, rng=0)
    assert (layer.weight.numpy()[3] == 0).all() and (layer.weight.numpy()[:3] != 0).all()
    ops.sum(layer(np.array([1, 3]))).backward()
    assert layer.weight.grad.numpy()[:, 0].tolist() == [0, 1, 0, 0, 0]


@pytest.mark.parametrize("ids", [[5], [0, -1]])
def test_embedding_refuses_ids_it_has_no_row_for(ids):
    with pytest.raises(
        IndexError, match=f"id {ids[-1]} at position {len(ids) - 1} is out of range for an embedding of 5 rows"
    ):
        Embedding(5, 2)(np.array(ids))


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)])
def test_layer_norm_over_the_last_axes(shape):
    layer = LayerNorm(shape, eps=1e-3).to("float64")
    layer.weight.copy_(np.random.default_rng(1).standard_normal(shape))
    layer.bias.copy_(np.random.default_rng(2).standard_normal(shape))
    axes = tuple(range(-len(shape), 0))
    expected = (X - X.mean(axes, keepdims=True)) / np.sqrt(X.var(axes, keepdims=True) + 1e-3)
    np.testing.assert_allclose(layer(X).numpy(), expected * layer.weight.numpy() + layer.bias.numpy())
    np.testing.assert_allclose(LayerNorm(shape, 1e-3, elementwise_affine=False)(Tensor(X)).numpy(), expected)


@pytest.mark.parametrize("alpha", [0, 0.25, 1])
def test_blend_goes_from_nothing_to_layer_norm(alpha):
    layer, x = LayerNorm(4).to("float64"), Tensor(X, requires_grad=True)
    normalised = layer(Tensor(X)).numpy()
    layer.blend = alpha
    y = layer(x)
    np.testing.assert_allclose(y.numpy(), X + alpha * (normalised - X), atol=1e-15)
    y.backward(np.ones(X.shape))  # a normalised vector's sum does not depend on x
    np.testing.assert_allclose(x.grad.numpy(), np.full(X.shape, 1 - alpha), atol=1e-12)


def test_layer_norm_refuses_another_size():
    with pytest.raises(ValueError, match=r"layer_norm over \(3,\) was given \(2, 3, 4\)"):
        LayerNorm(3)(X)


def test_dropout_zeroes_a_share_and_keeps_the_mean():
    layer, x = Dropout(0.3, rng=0), Tensor(np.ones(100_000, np.float32), requires_grad=True)
    y = layer(x)
    y.backward(np.ones(x.shape, np.float32))
    zeros = (y.numpy() == 0).mean()
    assert zeros == pytest.approx(0.3, abs=0.01)  # 7 standard deviations
    assert np.unique(y.numpy()).tolist() == pytest.approx([0, 1 / 0.7]) and y.dtype == np.float32
    assert (x.grad.numpy() == y.numpy()).all()
    assert (layer(x).numpy() != y.numpy()).any()  # drawn anew each time,
    assert (Dropout(0.3, rng=0)(x).numpy() == y.numpy()).all()  # but the same from the same seed


def test_dropout_does_nothing_in_evaluation_or_with_p_0():
    x = Tensor(X)
    assert (Dropout(0.9).eval()(x).numpy() == X).all()
    assert (Dropout(0)(x).numpy() == X).all()


@pytest.mark.parametrize("p", [-0.1, 1, 1.5])
def test_dropout_refuses_what_is_no_probability_below_one(p):
    with pytest.raises(ValueError, match=f"p={p} is not a probability below 1"):
        Dropout(p)


def test_flatten_and_softmax():
    assert Flatten()(Tensor(X)).shape == (2, 12) and Flatten(0)(Tensor(X)).shape == (24,)
    np.testing.assert_allclose(Softmax(1)(Tensor(X)).numpy(), np.exp(X) / np.exp(X).sum(1, keepdims=True))
    assert (Softmax()(Tensor(X)).numpy() == F.softmax(Tensor(X), -1).numpy()).all()
