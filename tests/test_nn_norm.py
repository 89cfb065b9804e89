"""Normalisation: what it does to the numbers, what a frozen layer does, and what it refuses."""

import numpy as np
import pytest

from minigrad import nn
from minigrad.tensor import Tensor

x = np.random.default_rng(0).standard_normal((8, 3, 4, 4)) * 2 + 5


def test_batch_norm_gives_zero_mean_and_unit_variance_then_remembers():
    norm = nn.BatchNorm2d(3).to("float64")
    y = norm(x).numpy()
    np.testing.assert_allclose(y.mean((0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(y.var((0, 2, 3)), 1, rtol=1e-4)
    for _ in range(200):
        norm(x)
    np.testing.assert_allclose(norm.eval()(x).numpy(), y, rtol=0.01, atol=0.01)
    assert norm.num_batches_tracked.item() == 201


def test_a_frozen_batch_norm_uses_and_keeps_its_running_statistics():
    norm = nn.BatchNorm2d(3).to("float64").train()
    norm.freeze()
    before = {name: t.numpy().copy() for name, t in norm.state_dict().items()}
    np.testing.assert_array_equal(norm(x).numpy(), norm.eval()(x).numpy())
    for name, t in norm.state_dict().items():
        np.testing.assert_array_equal(t.numpy(), before[name])


def test_float32_stays_float32():
    assert nn.BatchNorm2d(3)(x.astype("f4")).dtype == nn.GroupNorm(3, 3)(x.astype("f4")).dtype == np.float32
    assert nn.RMSNorm(4)(x.astype("f4")).dtype == np.float32


def test_a_batch_of_none():
    for norm in (nn.GroupNorm(3, 3), nn.BatchNorm2d(3).eval()):
        assert norm(x[:0]).shape == (0, 3, 4, 4)


def test_rms_norm_over_several_axes():
    norm = nn.RMSNorm((3, 4), eps=0.5)
    assert norm.weight.shape == (3, 4)
    a = x[:, :, 0].astype("f4")
    np.testing.assert_allclose(norm(a).numpy(), a / np.sqrt((a * a).mean((1, 2), keepdims=True) + 0.5), rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: nn.BatchNorm2d(3)(x[0]), r"BatchNorm2d of 3 channels was given \(3, 4, 4\): it takes \(N, C, H, W\)"),
        (lambda: nn.BatchNorm1d(3)(Tensor(x[:1, :, 0, 0])), "more than one value"),
        (lambda: nn.GroupNorm(0, 3), "3 channels cannot be shared out over 0 groups"),
        (lambda: nn.GroupNorm(2, 3), "3 channels cannot be shared out over 2 groups"),
        (lambda: nn.GroupNorm(2, 4)(np.ones((3, 6))), r"x \(3, 6\) has 6 channels, on axis 1, but .* has shape \(4,\)"),
        (lambda: nn.RMSNorm((3,))(x), r"rms_norm over \(3,\) was given \(8, 3, 4, 4\)"),
    ],
)
def test_what_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
