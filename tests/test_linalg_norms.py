"""Norms of vectors and matrices: NumPy's answers for each order."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, linalg

X = np.random.default_rng(0).standard_normal((2, 3, 4))


@pytest.mark.parametrize("order", ["fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf])
@pytest.mark.parametrize("axis", [(-2, -1), (0, 2), (2, 0)])
def test_matrix_norms(order, axis):
    for keepdims in (False, True):
        expected = np.linalg.norm(X, order, axis, keepdims)
        np.testing.assert_allclose(linalg.matrix_norm(Tensor(X), order, axis, keepdims).numpy(), expected)
        np.testing.assert_allclose(linalg.norm(Tensor(X), order, dim=axis, keepdim=keepdims).numpy(), expected)


@pytest.mark.parametrize("order", [0, 0.5, 1, 2, 3, np.inf, -np.inf, -2])
def test_vector_norms(order):
    expected = np.linalg.norm(X, order, 1)
    np.testing.assert_allclose(linalg.vector_norm(Tensor(X), order, 1).numpy(), expected)
    np.testing.assert_allclose(linalg.norm(Tensor(X), order, 1).numpy(), expected)


def test_norm_without_an_order_or_an_axis():
    np.testing.assert_allclose(linalg.norm(Tensor(X)).item(), np.linalg.norm(X))
    np.testing.assert_allclose(linalg.norm(Tensor(X[0]), 2).item(), np.linalg.norm(X[0], 2))
    with pytest.raises(ValueError, match="expected a vector or a matrix with ord=2"):
        linalg.norm(Tensor(X), 2)
    with pytest.raises(ValueError, match="expected two axes for ord='nuc'"):
        linalg.norm(Tensor(X), "nuc", 1)
    with pytest.raises(ValueError, match="matrix_norm: ord=3 is not known"):
        linalg.matrix_norm(Tensor(X), 3)


@pytest.mark.parametrize("p", [None, 2, -2, 1, np.inf, "fro", "nuc"])
def test_condition_numbers(p):
    x = X[:, :, :3]
    np.testing.assert_allclose(linalg.cond(Tensor(x), p).numpy(), np.linalg.cond(x, p), rtol=1e-9)
    mg.gradcheck(lambda x: linalg.cond(x, p), x[0])
