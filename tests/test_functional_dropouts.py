"""Dropout of entries and of channels: which are dropped together, how many, and what stays the same on average."""

import numpy as np
import pytest

from minigrad import functional as F
from minigrad.tensor import Tensor


@pytest.mark.parametrize(
    ("name", "shape"), [("dropout1d", (400, 50, 3)), ("dropout2d", (400, 50, 2, 3)), ("dropout3d", (400, 50, 2, 1, 3))]
)
def test_channels_are_dropped_whole(name, shape):
    y = getattr(F, name)(Tensor(np.ones(shape, np.float32)), 0.3, rng=0).numpy()
    channels = y.reshape(*shape[:2], -1)
    assert (channels == channels[..., :1]).all() and set(np.unique(y)) == {0, np.float32(1 / 0.7)}
    assert (channels[..., 0] == 0).mean() == pytest.approx(0.3, abs=0.02)
    x = Tensor(np.ones(shape))
    assert getattr(F, name)(x, 0.3, training=False) is x and getattr(F, name)(x, 0.0) is x
    with pytest.raises(ValueError, match=f"{name}: x has shape"):
        getattr(F, name)(Tensor(np.ones(3)))
    with pytest.raises(ValueError, match="p=1.5 is not a probability"):
        getattr(F, name)(x, 1.5)


def test_a_single_example_has_its_channels_first():
    y = F.dropout1d(Tensor(np.ones((60, 4))), 0.5, rng=0).numpy()
    assert (y == y[:, :1]).all() and 0 < (y[:, 0] == 0).sum() < 60


@pytest.mark.parametrize("name", ["alpha_dropout", "feature_alpha_dropout"])
def test_alpha_dropout_keeps_mean_and_variance(name):
    x = np.random.default_rng(0).standard_normal((300, 200, 2))
    y = getattr(F, name)(Tensor(x), 0.2, training=True, rng=1).numpy()
    assert y.mean() == pytest.approx(0, abs=0.02) and y.var() == pytest.approx(1, abs=0.03)
    together = (y[:, :, 0] == y[:, :, 1]).mean()
    assert (together == pytest.approx(0.2, abs=0.02)) if name.startswith("feature") else together < 0.06
    assert getattr(F, name)(Tensor(x), 0.2).numpy() is not None  # outside training nothing happens
    np.testing.assert_array_equal(getattr(F, name)(Tensor(x), 0.2).numpy(), x)


def test_rrelu_draws_slopes_in_training_and_takes_their_mean_outside():
    x = np.linspace(-1, 1, 2000)
    y = F.rrelu(Tensor(x), 0.1, 0.3, training=True, rng=0).numpy()
    slopes = (y / x)[x < 0]
    assert (y[x > 0] == x[x > 0]).all() and slopes.min() >= 0.1 - 1e-12 and slopes.max() <= 0.3 + 1e-12
    assert slopes.mean() == pytest.approx(0.2, abs=0.01)
    np.testing.assert_allclose(F.rrelu(Tensor(x), 0.1, 0.3).numpy()[x < 0], 0.2 * x[x < 0])
    with pytest.raises(ValueError, match="lower=2 is above upper=1"):
        F.rrelu(Tensor(x), 2, 1)
    with pytest.raises(ValueError, match="finite numbers, not 0 and inf"):
        F.rrelu(Tensor(x), 0, float("inf"), training=True)
    with pytest.raises(TypeError, match="rrelu: lower is a number, not None"):
        F.rrelu(Tensor(x), None)
