"""Attention: what its masks mean and what it refuses; tests/parity holds the numbers against torch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import nn
from minigrad.nn import KVCache, MultiheadAttention
from minigrad.nn.attention import merge_heads, split_heads
from minigrad.ops import sum_to
from minigrad.tensor import Tensor, grad

B, T, S, D, H = 2, 3, 5, 8, 4
rng = np.random.default_rng(0)
Q, K, V = (rng.standard_normal((B, n, D)) for n in (T, S, S))
layer = MultiheadAttention(D, H, batch_first=True, rng=0).to("float64").eval()


def by_hand(allowed):
    """Attention one head and one query at a time; `allowed` is (T, S) for each text."""
    w, b = layer.in_proj_weight.numpy().reshape(3, H, D // H, D), layer.in_proj_bias.numpy().reshape(3, H, D // H)
    out, weights = np.zeros((B, T, H, D // H)), np.zeros((B, H, T, S))
    for text, h, t in np.ndindex(B, H, T):
        q, k, v = (x[text] @ w[i, h].T + b[i, h] for i, x in enumerate((Q, K, V)))
        scores = np.where(allowed[text, t], np.exp(k @ q[t] / (D // H) ** 0.5), 0)
        weights[text, h, t] = scores / max(scores.sum(), 1e-300)
        out[text, t, h] = weights[text, h, t] @ v
    return out.reshape(B, T, D) @ layer.out_proj.weight.numpy().T + layer.out_proj.bias.numpy(), weights


@given(st.data())
@settings(max_examples=20)
def test_every_mixture_of_masks_by_hand(data):
    draw, options, allowed = np.random.default_rng(data.draw(st.integers(0, 99))), {}, np.ones((B, T, S), bool)
    if data.draw(st.booleans()):
        padding = draw.random((B, S)) < 0.4
        options["key_padding_mask"], allowed = padding, allowed & ~padding[:, None]
    if data.draw(st.booleans()):
        forbidden = draw.random((T, S)) < 0.3
        options["attn_mask"], allowed = Tensor(forbidden), allowed & ~forbidden
    if data.draw(st.booleans()):
        options["is_causal"], allowed = True, allowed & np.tri(T, S, dtype=bool)
    y, weights = layer(Q, K, V, average_attn_weights=False, **options)
    expected, their_weights = by_hand(allowed)
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(weights.numpy(), their_weights, atol=1e-12)
    np.testing.assert_allclose(layer(Q, K, V, **options)[1].numpy(), their_weights.mean(1), atol=1e-12)
    assert layer(Q, K, V, need_weights=False, **options)[1] is None


def test_heads_are_split_and_merged_without_loss():
    parts = split_heads(Tensor(Q), H)
    assert parts.shape == (B, H, T, D // H) and (merge_heads(parts).numpy() == Q).all()
    assert (parts.numpy()[1, 2, 0] == Q[1, 0, 4:6]).all()


def test_dropout_acts_in_training_only_and_is_reproducible():
    def run(seed):
        return MultiheadAttention(D, H, dropout=0.5, batch_first=True, rng=seed).to("float64")(Q, K, V)[0].numpy()

    assert (run(0) == run(0)).all()
    assert (run(0) != run(1)).any()
    model = MultiheadAttention(D, H, dropout=0.5, batch_first=True, rng=0).to("float64")
    assert (model(Q, K, V)[0].numpy() != model(Q, K, V)[0].numpy()).any()
    model.eval()
    assert (model(Q, K, V)[0].numpy() == model(Q, K, V)[0].numpy()).all()


@pytest.mark.parametrize(
    "options",
    [
        {"key_padding_mask": np.zeros((S, B), bool)},
        {"key_padding_mask": np.zeros((B, S), int)},
        {"attn_mask": np.zeros((S, T), bool)},
        {"attn_mask": np.zeros((B, T, S), bool)},
        {"attn_mask": np.ones((T, S), int)},
    ],
)
def test_a_mask_of_another_shape_or_of_integers_is_refused(options):
    ((name, mask),) = options.items()
    with pytest.raises(ValueError) as error:
        layer(Q, K, V, **options)
    assert f"{name} is {mask.dtype} of shape {mask.shape}: give booleans (True forbids)" in str(error.value)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="embed_dim 8 is not a multiple of num_heads 3"):
        MultiheadAttention(8, 3)
    with pytest.raises(ValueError, match=r"query \(3, 8\), key .* must have three axes each, or two"):
        layer(Q[0], K, V)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("sizes", [{}, {"kdim": 5, "vdim": 3}, {"vdim": 3}])
def test_keys_and_values_of_other_sizes_and_single_examples_are_torchs(sizes, batch_first):
    torch = pytest.importorskip("torch")
    ours = MultiheadAttention(8, 2, batch_first=batch_first, **sizes).to("float64")
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=batch_first, **sizes).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    rng = np.random.default_rng(0)
    features = 8, sizes.get("kdim", 8), sizes.get("vdim", 8)
    for batch in ((2,), ()):
        lengths = [(*batch, n) if batch_first else (n, *batch) for n in (3, 4, 4)]
        given = [rng.standard_normal((*length, size)) for length, size in zip(lengths, features)]
        padding = rng.random((*batch, 4)) < 0.3
        padding[..., 0] = False
        for average in (True, False):
            options = {"average_attn_weights": average}
            found = ours(*map(Tensor, given), key_padding_mask=padding, **options)
            expected = theirs(*map(torch.tensor, given), key_padding_mask=torch.tensor(padding), **options)
            for mine, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(mine.numpy(), other.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_a_cache_selects_rows_and_goes_on():
    """As a search over several beams needs it: rows dropped, doubled, and read on."""
    cache, k = KVCache(4), np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    cache.extend(Tensor(k[:, :, :3]), Tensor(-k[:, :, :3]))
    cache.select(np.array([1, 1, 0]))
    keys, values = cache.extend(Tensor(k[[0, 1, 1], :, 3:]), Tensor(k[[0, 1, 1], :, 3:]))
    expected = np.concatenate([k[[1, 1, 0], :, :3], k[[0, 1, 1], :, 3:]], 2)
    np.testing.assert_array_equal(keys.numpy(), expected)
    np.testing.assert_array_equal(cache.read()[1].numpy()[:, :, :3], -expected[:, :, :3])
    with pytest.raises(ValueError, match="holds 4 positions"):
        cache.extend(Tensor(k[[0, 1, 1], :, 3:]), Tensor(k[[0, 1, 1], :, 3:]))


@pytest.mark.parametrize("shape", [(T, S), (B * H, T, S), (1, H, T, S), (1, 1, T, S), (B, 1, 1, S), (B, H, T, S)])
def test_a_learned_bias_gets_its_gradient(shape):
    """As a mask of the layer, alone and beside padding, by the kernel and by the definition; torch agrees where it
    takes it.
    """
    torch = pytest.importorskip("torch")
    twin = torch.nn.MultiheadAttention(D, H, batch_first=True, dtype=torch.float64).eval()
    twin.load_state_dict({name: torch.tensor(value.numpy()) for name, value in layer.state_dict().items()})
    values, padding = rng.standard_normal(shape), np.zeros((B, S), bool)
    padding[1, 3:] = True
    full = values.reshape(B, H, T, S) if len(shape) == 3 else np.broadcast_to(values, (B, H, T, S))
    theirs = torch.tensor(full.reshape(B * H, T, S), requires_grad=True)
    for hidden in (None, padding):
        added = (
            None
            if hidden is None
            else torch.zeros(B, S, dtype=torch.float64).masked_fill(torch.tensor(hidden), -torch.inf)
        )
        expected = twin(*map(torch.tensor, (Q, K, V)), attn_mask=theirs, need_weights=False, key_padding_mask=added)[0]
        (g,) = torch.autograd.grad((expected**2).sum(), theirs)
        g = g.numpy() if len(shape) == 3 else sum_to(g.numpy().reshape(B, H, T, S), shape)
        for again in (False, True):
            bias = Tensor(values, requires_grad=True)
            y = layer(Q, K, V, attn_mask=bias, key_padding_mask=hidden, need_weights=False)[0]
            np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-11)
            np.testing.assert_allclose(grad((y * y).sum(), bias, create_graph=again).numpy(), g, rtol=1e-9, atol=1e-11)
        weights = layer(Q, K, V, attn_mask=bias, key_padding_mask=hidden)[1]
        assert np.abs(grad((weights * weights).sum(), bias).numpy()).sum() > 0.01


def test_a_learned_bias_in_a_whole_encoder():
    bias = nn.RelativePositionBias(2, 8, 16, rng=0)
    encoder = nn.TransformerEncoder(lambda: nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, rng=0), 2)
    encoder(
        Tensor(np.ones((2, 5, 8), "f4") * rng.standard_normal((2, 5, 8)).astype("f4")), mask=bias(5, 5)
    ).sum().backward()
    assert np.abs(bias.weight.grad.numpy()).sum() > 0
