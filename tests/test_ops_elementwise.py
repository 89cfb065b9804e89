"""Elementwise functions at their edges: no overflow, no gradient where there is none."""
import warnings

import numpy as np
import pytest

import minigrad as mg
from minigrad.tensor import Tensor, grad

EXTREME = np.array([-1e4, -100, -30, -1e-8, 0, 1e-8, 30, 100, 1e4])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "erf", "relu"])
def test_no_input_is_too_large(name, dtype):
    """Values and gradients are torch's, and nothing warns."""
    torch = pytest.importorskip("torch")
    x, t = Tensor(EXTREME.astype(dtype), requires_grad=True), torch.tensor(EXTREME.astype(dtype), requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = getattr(mg, name)(x)
        g = grad(mg.sum(y), x)
    expected = getattr(torch, name)(t)
    expected.sum().backward()
    eps = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=eps, atol=eps)
    np.testing.assert_allclose(g.numpy(), t.grad.numpy(), rtol=eps, atol=eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_erf_over_its_whole_range(dtype):
    from math import erf
    x = np.linspace(-7, 7, 2001).astype(dtype)
    expected = np.array([erf(v) for v in x.astype(float)])
    np.testing.assert_allclose(mg.erf(x), expected, rtol=8 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)


def test_erf_of_what_is_not_a_number():
    np.testing.assert_array_equal(mg.erf(np.array([np.nan, np.inf, -np.inf])), [np.nan, 1, -1])
    assert mg.erf(np.float32(0.5) * np.ones(())).shape == ()


def test_relu_and_clip_pass_gradient_only_where_they_pass_values():
    x = Tensor(np.array([-2.0, 0, 0.5, 3]), requires_grad=True)
    assert grad(mg.sum(mg.relu(x)), x).tolist() == [0, 0, 1, 1]
    assert grad(mg.sum(mg.clip(x, -1, 1)), x).tolist() == [0, 1, 1, 0]
    assert grad(mg.sum(mg.clip(x, None, 1)), x).tolist() == [1, 1, 1, 0]
    assert grad(mg.sum(mg.clip(x, 0.25, None)), x).tolist() == [0, 0, 1, 1]


def test_relu_lets_nan_through():
    assert np.isnan(mg.relu(Tensor([float("nan")])).item())
