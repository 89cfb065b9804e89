"""The initialisers draw what their papers and torch say, in the Tensor's dtype, and the same for the same seed."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import nn
from minigrad.nn import init
from minigrad.tensor import Tensor

RANDOM = [
    init.uniform_,
    init.normal_,
    init.trunc_normal_,
    init.xavier_uniform_,
    init.xavier_normal_,
    init.kaiming_uniform_,
    init.kaiming_normal_,
    init.orthogonal_,
]
SHAPE = (60, 40, 5, 5)  # fan_in 1000, fan_out 1500, 60,000 entries


def blank(shape=SHAPE, dtype=np.float64):
    return Tensor(np.full(shape, np.nan, dtype))


def test_constants():
    for filled, value in ((init.zeros_(blank()), 0), (init.ones_(blank()), 1), (init.constant_(blank(), -2.5), -2.5)):
        assert (filled.numpy() == value).all()
    assert (init.ones_(Tensor(np.zeros(3, np.int64))).numpy() == 1).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("fill", RANDOM)
def test_written_in_place_in_the_tensors_dtype(fill, dtype):
    tensor = blank((6, 4), dtype)
    data, version = tensor.data, tensor.version
    assert fill(tensor, rng=0) is tensor
    assert tensor.data is data and tensor.dtype == dtype and tensor.version == version + 1
    assert np.isfinite(data.astype(np.float64)).all()


@pytest.mark.parametrize("fill", RANDOM)
def test_seeds(fill):
    once, again, other = (fill(blank((8, 3)), rng=seed).numpy() for seed in (1, 1, 2))
    assert (once == again).all() and (once != other).any()
    rng = np.random.default_rng(1)
    first, second = fill(blank((8, 3)), rng=rng).numpy(), fill(blank((8, 3)), rng=rng).numpy()
    assert (first == once).all() and (second != once).any()
    assert (fill(blank((8, 3))).numpy() != fill(blank((8, 3))).numpy()).any()


@pytest.mark.parametrize("fill", RANDOM)
def test_later_leaves_the_numbers_alone(fill):
    tensor = blank((4, 3))
    assert fill(tensor, rng=init.generator(init.LATER)) is tensor
    assert np.isnan(tensor.numpy()).all() and tensor.version == 0


def test_empty_and_generator():
    assert init.empty(2, 3).shape == (2, 3) and init.empty(4).dtype == np.float32
    rng = np.random.default_rng(0)
    assert init.generator(rng) is rng
    assert init.generator(7).random() == np.random.default_rng(7).random()


@pytest.mark.parametrize(
    ("fill", "mean", "std", "low", "high"),
    [
        (lambda t: init.uniform_(t, -1, 3, rng=0), 1, 4 / 12**0.5, -1, 3),
        (lambda t: init.normal_(t, 2, 0.5, rng=0), 2, 0.5, -np.inf, np.inf),
        (lambda t: init.trunc_normal_(t, 0, 0.02, rng=0), 0, 0.02, -2, 2),
        (lambda t: init.trunc_normal_(t, 0, 1, -1, 1, rng=0), 0, 0.5396, -1, 1),
        (lambda t: init.trunc_normal_(t, 0, 1, 1, 3, rng=0), 1.5101, 0.4159, 1, 3),
        (
            lambda t: init.xavier_uniform_(t, 3, rng=0),
            0,
            3 * (2 / 2500) ** 0.5,
            -3 * (6 / 2500) ** 0.5,
            3 * (6 / 2500) ** 0.5,
        ),
        (lambda t: init.xavier_normal_(t, 3, rng=0), 0, 3 * (2 / 2500) ** 0.5, -np.inf, np.inf),
        (lambda t: init.kaiming_uniform_(t, rng=0), 0, (2 / 1000) ** 0.5, -((6 / 1000) ** 0.5), (6 / 1000) ** 0.5),
        (lambda t: init.kaiming_uniform_(t, 5**0.5, rng=0), 0, (1 / 3000) ** 0.5, -(1000**-0.5), 1000**-0.5),
        (
            lambda t: init.kaiming_normal_(t, mode="fan_out", nonlinearity="tanh", rng=0),
            0,
            5 / 3 / 1500**0.5,
            -np.inf,
            np.inf,
        ),
    ],
)
def test_mean_deviation_and_bounds(fill, mean, std, low, high):
    for dtype in (np.float64, np.float32):
        values = fill(blank(dtype=dtype)).numpy().astype(np.float64)
        assert abs(values.mean() - mean) < 4 * std / values.size**0.5
        assert values.std() == pytest.approx(std, rel=0.02)
        assert low - 1e-6 <= values.min() and values.max() <= high + 1e-6


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (4, 2, 3, 3)])
def test_orthogonal(shape):
    matrix = init.orthogonal_(blank(shape), gain=2, rng=0).numpy().reshape(shape[0], -1)
    short = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    np.testing.assert_allclose(short @ short.T, 4 * np.eye(len(short)), atol=1e-12)


def test_orthogonal_favours_no_sign():
    corners = [init.orthogonal_(blank((3, 3)), rng=seed).numpy()[0, 0] for seed in range(200)]
    assert 60 < np.sum(np.array(corners) > 0) < 140


@given(shape=st.lists(st.integers(1, 7), min_size=2, max_size=5).map(tuple))
def test_fans_are_those_of_torch(shape):
    torch = pytest.importorskip("torch")
    assert init.fans(blank(shape)) == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))


def test_gains_are_those_of_torch():
    torch = pytest.importorskip("torch")
    for name in ("linear", "conv1d", "conv2d", "sigmoid", "tanh", "relu", "selu", "leaky_relu"):
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name), rel=1e-15)
    assert init.calculate_gain("leaky_relu", 0) == init.calculate_gain("relu")
    assert init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


def test_errors():
    for fill in (init.xavier_normal_, init.kaiming_uniform_, init.orthogonal_):
        with pytest.raises(ValueError, match=r"shape \(3,\) has no fan-in"):
            fill(blank((3,)))
    with pytest.raises(ValueError, match="no gain is known for 'gelu': choose one of linear"):
        init.kaiming_normal_(blank(), nonlinearity="gelu")
    with pytest.raises(ValueError, match='"fan_in" or "fan_out", not \'fan_avg\''):
        init.kaiming_normal_(blank(), mode="fan_avg")
    with pytest.raises(ValueError, match=r"only 0.0% of the normal distribution .* lies in \[5, 6\]"):
        init.trunc_normal_(blank(), a=5, b=6)
    for fill in RANDOM:
        with pytest.raises(TypeError, match="int64"):
            fill(Tensor(np.zeros((2, 2), np.int64)))
    with pytest.raises(ValueError, match="leaf"):
        init.zeros_(Tensor(np.ones(2), requires_grad=True) * 2)


@pytest.mark.parametrize(
    "draw", [init.xavier_uniform_, init.xavier_normal_, init.kaiming_uniform_, init.kaiming_normal_]
)
def test_a_weight_with_no_entries_is_left_alone(draw):
    assert draw(init.empty(0, 0)).shape == (0, 0)


def test_a_layer_of_no_channels_has_a_bias_of_zeros():
    """No inputs give no range to draw from, as in torch, where the bias is then whatever lay in memory."""
    for layer in (nn.Linear(0, 3), nn.Conv1d(0, 3, 2), nn.Conv2d(0, 3, 2), nn.ConvTranspose2d(4, 0, 2)):
        assert layer.weight.data.size == 0 and not layer.bias.data.any()
