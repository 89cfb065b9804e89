"""Positions: the numbers of the papers, and what they promise."""

import numpy as np
import pytest

from minigrad import functional, nn, optim
from minigrad.tensor import Tensor

rng = np.random.default_rng(0)


def test_sines_and_cosines():
    found = nn.SinusoidalPositions(6, 50)(Tensor(np.zeros((1, 50, 6), "f4"))).numpy()[0]
    t, i = 7, 2
    np.testing.assert_allclose(
        found[t, 2 * i : 2 * i + 2], [np.sin(t / 10000 ** (4 / 6)), np.cos(t / 10000 ** (4 / 6))], rtol=1e-6
    )


def test_learned_positions_are_added_and_trained():
    layer = nn.LearnedPositions(5, 3, rng=0)
    y = layer(Tensor(np.zeros((2, 4, 3), "f4")))
    np.testing.assert_array_equal(y.numpy()[1], layer.embedding.weight.numpy()[:4])
    y.sum().backward()
    np.testing.assert_array_equal(layer.embedding.weight.grad.numpy()[:, 0], [2, 2, 2, 2, 0])


def test_turned_queries_and_keys_know_only_their_distance():
    rotary = nn.RotaryPositions(8)
    q, k = rng.standard_normal((2, 1, 1, 1, 8)).astype("f4")
    scores = [
        float((rotary(Tensor(q), [m]) * rotary(Tensor(k), [n])).sum()) for m, n in ((0, 3), (4, 7), (100, 103), (0, 4))
    ]
    np.testing.assert_allclose(scores[1:3], scores[0], rtol=1e-4)
    assert abs(scores[3] - scores[0]) > 1e-3


def test_positions_of_each_example():
    rotary, x = nn.RotaryPositions(4), Tensor(rng.standard_normal((2, 3, 5, 4)))
    found = rotary(x, np.stack([np.arange(5), np.arange(5) + 2])).numpy()
    np.testing.assert_allclose(found[0], rotary(x).numpy()[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], rotary(x, np.arange(5) + 2).numpy()[1], rtol=1e-6)


def test_relative_bias_depends_on_distance_and_continues_after_an_offset():
    bias = nn.RelativePositionBias(3, 8, 16, rng=0)
    whole = bias(6, 6).numpy()
    assert whole.shape == (1, 3, 6, 6)
    np.testing.assert_array_equal(whole[0, :, 1:, 1:], whole[0, :, :-1, :-1])
    np.testing.assert_array_equal(bias(1, 6, offset=5).numpy()[0, :, 0], whole[0, :, 5])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: nn.SinusoidalPositions(5), "dim 5 is odd"),
        (lambda: nn.RotaryPositions(3), "dim 3 is odd"),
        (lambda: nn.LearnedPositions(4, 2)(np.zeros((1, 5, 2))), "longer than max_len=4"),
    ],
)
def test_what_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()


def test_scaled_rotations():
    plain, linear, llama3 = (
        nn.RotaryPositions(16, 5e5, scaling).frequencies
        for scaling in (
            None,
            {"type": "linear", "factor": 4.0},
            {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        )
    )
    np.testing.assert_allclose(linear, plain / 4)
    turns = 64 * plain / (2 * np.pi)
    assert (turns > 4).any() and (turns < 1).any() and ((turns < 4) & (turns > 1)).any()
    np.testing.assert_array_equal(llama3[turns > 4], plain[turns > 4])
    np.testing.assert_allclose(llama3[turns < 1], plain[turns < 1] / 8)
    between = (turns < 4) & (turns > 1)
    assert ((plain / 8 < llama3) & (llama3 < plain))[between].all()


@pytest.mark.parametrize("is_causal", [False, True])
def test_relative_positions_are_trained_as_a_mask(is_causal):
    bias = nn.RelativePositionBias(3, 8, 16, rng=0)
    q, k, v = (Tensor(rng.standard_normal((2, 3, 6, 4)).astype("f4")) for _ in range(3))
    target, optimizer, losses = rng.standard_normal((2, 3, 6, 4)).astype("f4"), optim.SGD([bias.weight], lr=5.0), []
    for _ in range(20):
        loss = functional.mse_loss(
            functional.scaled_dot_product_attention(q, k, v, bias(6, 6), is_causal=is_causal), target
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.98 * losses[0] and (bias.weight.grad.numpy() != 0).any()


@pytest.mark.parametrize("wrong", [[1.0], "x", True])
def test_a_scaling_by_what_is_no_number_is_refused_by_name(wrong):
    usual = {"factor": 8.0, "original_max_position_embeddings": 16, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    for kind, name in (("llama3", "high_freq_factor"), ("yarn", "beta_fast"), ("linear", "factor")):
        with pytest.raises(ValueError, match=f"{name} of the rotary positions is .*: expected a number"):
            nn.RotaryPositions(8, scaling={"rope_type": kind, **usual, name: wrong})
