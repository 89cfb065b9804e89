"""Convolution layers: shapes, first weights, a frozen seed, and what they refuse."""

import math

import numpy as np
import pytest

from minigrad import nn, optim
from minigrad.tensor import Tensor

x = np.random.default_rng(0).standard_normal((2, 4, 9, 7)).astype("f4")


def test_shapes_and_layouts_are_torchs():
    layer = nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2, rng=0)
    assert {name: t.shape for name, t in layer.state_dict().items()} == {"weight": (6, 2, 3, 2), "bias": (6,)}
    assert layer(x).shape == (2, 6, 5, 4) and layer(x[0]).shape == (6, 5, 4)
    back = nn.ConvTranspose2d(6, 4, (3, 2), stride=2, padding=1, output_padding=(0, 1), groups=2, bias=False, rng=0)
    assert {name: t.shape for name, t in back.state_dict().items()} == {"weight": (6, 2, 3, 2)}
    assert back(layer(x)).shape == x.shape


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d])
def test_first_weights_are_uniform_up_to_the_inverse_root_of_the_fan_in(kind):
    layer = kind(16, 32, 3, groups=2, rng=0)
    bound = 1 / math.sqrt(layer.weight.shape[1] * 3**layer.axes)
    for p in layer.parameters():
        assert 0.9 * bound < np.abs(p.numpy()).max() <= bound
    assert layer.weight.numpy().std() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    np.testing.assert_array_equal(kind(16, 32, 3, groups=2, rng=0).weight.numpy(), layer.weight.numpy())


def test_a_small_network_learns_where_a_bright_spot_is():
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding="same", rng=rng),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, rng=rng),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 4, rng=rng),
    )
    labels = rng.integers(0, 4, 64)
    images = np.zeros((64, 1, 8, 8), "f4")
    images[np.arange(64), 0, 2 + 4 * (labels // 2), 2 + 4 * (labels % 2)] = 1
    adam, target = optim.Adam(model.parameters(), lr=0.02), np.eye(4, dtype="f4")[labels]
    for _ in range(40):
        loss = ((model(Tensor(images)) - target) ** 2).sum() / 64
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert (model(images).numpy().argmax(1) == labels).all()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: nn.Conv2d(4, 6, 3, groups=3), "Conv2d: groups=3 must divide in_channels=4 and out_channels=6"),
        (lambda: nn.Conv2d(4, 6, (3, 3, 3)), r"Conv2d: kernel_size=\(3, 3, 3\) is not understood"),
        (lambda: nn.Conv2d(3, 6, 3)(x), r"conv2d: x \(2, 4, 9, 7\) has 4 channels, on axis 1"),
    ],
)
def test_bad_input_is_refused_with_the_fix(call, told):
    with pytest.raises(ValueError, match=told):
        call()


def test_an_error_names_the_layer():
    with pytest.raises(ValueError) as caught:
        nn.Sequential(nn.ReLU(), nn.Conv2d(3, 6, 3))(x)
    assert caught.value.__notes__[-1] == "in 1 (Conv2d)"
