"""All parameters as one vector, and what other names of torch.nn.utils answer."""

import numpy as np
import pytest

from minigrad import nn, ops
from minigrad.tensor import Tensor, grad


def test_parameters_to_vector_and_back():
    model = nn.Sequential(nn.Linear(3, 2, rng=0), nn.Linear(2, 1, rng=1))
    vector = nn.utils.parameters_to_vector(model.parameters())
    assert vector.shape == (11,) and np.array_equal(vector.numpy()[:6].reshape(2, 3), model[0].weight.numpy())
    (g,) = grad(ops.sum(vector * vector), [model[0].weight])
    np.testing.assert_allclose(g.numpy(), 2 * model[0].weight.numpy())
    before = model[1].bias
    nn.utils.vector_to_parameters(vector.detach() + 1, model.parameters())
    assert model[1].bias is before and model[1].bias.item() == pytest.approx(vector.numpy()[-1] + 1)
    with pytest.raises(ValueError, match="11 entries together, but the vector has shape"):
        nn.utils.vector_to_parameters(Tensor(np.zeros(12)), model.parameters())


def test_a_name_that_is_elsewhere_says_where():
    with pytest.raises(AttributeError, match="type mg.optim.clip_grad_norm_"):
        nn.utils.clip_grad_norm_  # noqa: B018
    with pytest.raises(AttributeError, match="type nn.utils.parametrizations.weight_norm"):
        nn.utils.weight_norm  # noqa: B018
