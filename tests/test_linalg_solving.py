"""Systems, inverses and determinants: stacks, vectors, and singular matrices, which are refused by name."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, linalg

A = np.random.default_rng(0).standard_normal((2, 3, 3))
B = np.random.default_rng(1).standard_normal((2, 3, 4))
SINGULAR = np.array([[1.0, 2], [2, 4]])


def test_solve_of_matrices_vectors_and_from_the_right():
    x = linalg.solve(Tensor(A), Tensor(B))
    np.testing.assert_allclose(A @ x.numpy(), B, atol=1e-12)
    np.testing.assert_allclose(A[0] @ linalg.solve(Tensor(A[0]), Tensor(B[0, :, 0])).numpy(), B[0, :, 0], atol=1e-12)
    rows = linalg.solve(Tensor(A), Tensor(B[..., 0]))  # a stack of vectors, as in torch
    np.testing.assert_allclose(np.einsum("bij,bj->bi", A, rows.numpy()), B[..., 0], atol=1e-12)
    y = linalg.solve(Tensor(A), Tensor(B.swapaxes(1, 2)), left=False)
    np.testing.assert_allclose(y.numpy() @ A, B.swapaxes(1, 2), atol=1e-12)
    np.testing.assert_allclose(A @ linalg.solve(Tensor(A), Tensor(B[0])).numpy(), np.stack([B[0]] * 2), atol=1e-12)
    mg.gradcheck(linalg.solve, [A, B[0]], order=2)


def test_singular_matrices_are_refused_by_name():
    x = Tensor(SINGULAR, True)
    for call in (lambda: linalg.inv(x), lambda: linalg.solve(x, mg.ones(2, dtype="float64"))):
        with pytest.raises(ValueError, match=r"(inv|solve)\(.*a matrix is singular.*mg.linalg.pinv"):
            call()
    sign, size = linalg.slogdet(x)
    assert sign.item() == 0 and size.item() == -np.inf and mg.logdet(x).item() == -np.inf
    with pytest.raises(ValueError, match="singular"):
        mg.grad(size, x)


def test_the_determinant_of_a_singular_matrix_has_a_gradient_but_no_second_one():
    x = Tensor(SINGULAR, True)
    (g,) = [mg.grad(linalg.det(x), x, create_graph=True)]
    np.testing.assert_allclose(g.numpy(), [[4, -2], [-2, 1]], atol=1e-12)
    with pytest.raises(ValueError, match="det: the second derivative at a singular matrix is not supported"):
        mg.grad(g.sum(), x)
    zero = Tensor(np.zeros((3, 3)), True)
    assert not mg.grad(linalg.det(zero), zero).numpy().any()


def test_logdet_is_nan_below_0():
    assert np.isnan(mg.logdet(Tensor([[-2.0]])).item())
    np.testing.assert_allclose(mg.logdet(Tensor([[2.0]])).item(), np.log(2), rtol=1e-6)


@pytest.mark.parametrize("f", [linalg.inv, linalg.det, linalg.slogdet, linalg.cholesky, linalg.eigh, linalg.matrix_exp])
def test_what_is_not_square_is_refused_by_name(f):
    with pytest.raises(ValueError, match=f"{f.__name__}: x has shape .*; expected square matrices"):
        f(mg.ones((2, 3)))
