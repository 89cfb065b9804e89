"""Activations by their published names."""

import math

import numpy as np
import pytest

from minigrad.pretrained.layers import ACTIVATIONS, activation
from minigrad.tensor import Tensor

X = np.linspace(-3, 3, 25)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gelu", X * [(1 + math.erf(x / math.sqrt(2))) / 2 for x in X]),
        ("relu", np.maximum(X, 0)),
        ("silu", X / (1 + np.exp(-X))),
        ("tanh", np.tanh(X)),
        ("quick_gelu", X / (1 + np.exp(-1.702 * X))),
        ("gelu_python", X * [(1 + math.erf(x / math.sqrt(2))) / 2 for x in X]),
        ("mish", X * np.tanh(np.log1p(np.exp(X)))),
        ("relu6", np.clip(X, 0, 6)),
        ("linear", X),
        ("hardswish", X * np.clip(X + 3, 0, 6) / 6),
        ("relu2", np.maximum(X, 0) ** 2),
        ("gelu_fast", X / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3)))),
        ("gelu_new", X / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3)))),
    ],
)
def test_names_mean_what_they_mean_elsewhere(name, expected):
    np.testing.assert_allclose(activation(name)(Tensor(X)).numpy(), expected, atol=1e-12)


def test_second_names():
    assert ACTIVATIONS["gelu_new"] is ACTIVATIONS["gelu_pytorch_tanh"] and ACTIVATIONS["silu"] is ACTIVATIONS["swish"]


def test_a_name_that_is_nearly_right():
    with pytest.raises(ValueError, match=r"hidden_act 'quickgelu' is not known.*did you mean 'quick_gelu'\?"):
        activation("quickgelu")


@pytest.mark.parametrize("name", ["gelu2", ["gelu"], None])
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match="feed_forward_proj .* is not known: it is one of gelu, gelu_new"):
        activation(name, "feed_forward_proj")
