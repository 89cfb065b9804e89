"""Every activation that transformers has under a name and without weights, and its gradient."""

import numpy as np
import pytest

torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
from transformers.activations import ACT2FN  # noqa: E402

from minigrad.pretrained.layers import ACTIVATIONS, activation  # noqa: E402
from minigrad.tensor import Tensor  # noqa: E402

X = np.linspace(-12, 12, 481) + 0.013  # not on a kink


@pytest.mark.parametrize("name", ACT2FN)
def test_the_same_function_under_the_same_name(name):
    if name not in ACTIVATIONS:
        assert name in ("prelu", "xielu")  # they have weights
        return
    x, y = Tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    ours, theirs = activation(name)(x), ACT2FN[name](y)
    np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-9, atol=1e-10)
    (ours * X).sum().backward()
    (theirs * torch.tensor(X)).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-8, atol=1e-9)
