"""Parameters that are computed from others: names, gradients, setting, removing."""

import copy

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn.utils import parametrize


class Symmetric(nn.Module):
    def forward(self, x):
        return mg.triu(x) + mg.triu(x, 1).mT

    def right_inverse(self, value):
        return mg.triu(value)


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x


def test_a_weight_is_computed_and_its_original_is_trained_and_saved():
    layer = nn.Linear(3, 3, rng=0)
    value = layer.weight.numpy().copy()
    assert parametrize.register_parametrization(layer, "weight", Symmetric()) is layer
    assert list(layer.state_dict()) == ["bias", "parametrizations.weight.original"]
    upper = np.triu(value)
    np.testing.assert_array_equal(layer.weight.numpy(), upper + np.triu(value, 1).T)
    layer(mg.ones((2, 3))).sum().backward()
    assert (np.tril(layer.parametrizations.weight.original.grad.numpy(), -1) == 0).all()
    parametrize.register_parametrization(layer, "weight", Doubled())
    np.testing.assert_array_equal(layer.weight.numpy(), 2 * (upper + np.triu(value, 1).T))
    assert isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    other = copy.deepcopy(layer)
    other.load_state_dict({name: t.numpy() * 0 for name, t in layer.state_dict().items()})
    assert (other.weight.numpy() == 0).all() and layer.weight.numpy().any()
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear and list(layer.state_dict()) == ["bias", "weight"]
    np.testing.assert_array_equal(layer.weight.numpy(), 2 * (upper + np.triu(value, 1).T))


def test_a_computed_weight_can_be_set_where_it_is_known_how():
    layer = nn.Linear(2, 2, rng=0)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    layer.weight = mg.tensor([[1.0, 2.0], [2.0, 3.0]])
    assert layer.weight.tolist() == [[1, 2], [2, 3]]
    parametrize.register_parametrization(layer, "weight", Doubled())
    with pytest.raises(TypeError, match="computed by Doubled cannot be set"):
        layer.weight = mg.ones((2, 2))
    with pytest.raises(ValueError, match="Linear has no parameter 'missing': it has weight, bias"):
        parametrize.register_parametrization(nn.Linear(2, 2), "missing", Doubled())
    with pytest.raises(ValueError, match="'bias' has no parametrization"):
        parametrize.remove_parametrizations(layer, "bias")
