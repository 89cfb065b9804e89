"""The Transformer as a whole: causality, padding, the memory it may look at, and what it refuses.

(Torch's numbers: parity.)
"""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn

rng = np.random.default_rng(0)
x = rng.standard_normal((2, 5, 8)).astype("f4")


def test_with_a_causal_mask_the_future_changes_nothing():
    model = nn.TransformerEncoder(lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, rng=1), 2).eval()
    later = np.array(x)
    later[:, 3:] += 1
    a, b = (model(each, is_causal=True).numpy() for each in (x, later))
    np.testing.assert_array_equal(model(x, mask=~np.tri(5, dtype=bool)).numpy(), a)  # the same in torch's words
    np.testing.assert_array_equal(a[:, :3], b[:, :3])
    assert not np.allclose(a[:, 3:], b[:, 3:])


def test_padding_is_not_looked_at():
    def layer():
        return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True, rng=1)

    model = nn.TransformerEncoder(layer, 2).eval()
    padding = np.zeros((2, 5), bool)
    padding[:, 4] = True
    np.testing.assert_allclose(
        model(x, src_key_padding_mask=padding).numpy()[:, :4], model(x[:, :4]).numpy(), atol=1e-6
    )


def test_layers_of_a_stack_start_differently_and_all_learn():
    model = nn.Transformer(8, 2, 2, 2, 16, batch_first=True, rng=0)
    first, second = (layer.linear1.weight.numpy() for layer in model.encoder.layers)
    assert not np.allclose(first, second)
    mg.sum(model(x, x[:, :3]) ** 2).backward()
    assert all(p.grad is not None and p.grad.dtype == np.float32 for p in model.parameters())


def test_a_stack_wants_a_function_that_makes_layers():
    with pytest.raises(TypeError, match="a function that makes a layer"):
        nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2), 2)


def test_an_error_says_where_in_the_model():
    model = nn.TransformerEncoder(lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    with pytest.raises(ValueError) as caught:
        model(x[..., :6])
    assert caught.value.__notes__[-1] == "in layers.0.self_attn (MultiheadAttention)"


def test_a_cache_keeps_numbers_not_gradients_and_has_an_end():
    attention, cache = nn.GroupedQueryAttention(8, 4, 2, rng=0), nn.KVCache(6)
    with pytest.raises(RuntimeError, match="no_grad"):
        attention(mg.Tensor(x), cache)
    with mg.no_grad():
        attention(mg.Tensor(x), cache)
        with pytest.raises(ValueError, match="make max_len larger"):
            attention(mg.Tensor(x), cache)
