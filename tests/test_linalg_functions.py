"""Functions of matrices: powers, the exponential, pseudo-inverses, least squares, products of many."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, linalg

R = np.random.default_rng(0).standard_normal


@pytest.mark.parametrize("n", [-3, -1, 0, 1, 2, 7])
def test_powers(n):
    x = R((2, 3, 3))
    np.testing.assert_allclose(
        linalg.matrix_power(Tensor(x), n).numpy(), np.linalg.matrix_power(x, n), rtol=1e-9, atol=1e-9
    )


def test_the_exponential():
    turn = np.array([[0.0, -1], [1, 0]])
    for angle in (1e-8, 0.3, 3.0, 40.0):
        c, s = math.cos(angle), math.sin(angle)
        np.testing.assert_allclose(mg.matrix_exp(Tensor(angle * turn)).numpy(), [[c, -s], [s, c]], atol=1e-12)
    nilpotent = np.array([[0.0, 5, 1], [0, 0, 2], [0, 0, 0]])
    np.testing.assert_allclose(
        mg.matrix_exp(Tensor(nilpotent)).numpy(), np.eye(3) + nilpotent + nilpotent @ nilpotent / 2, atol=1e-12
    )
    assert mg.matrix_exp(Tensor(turn, dtype="float32")).dtype == np.float32


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 3, 2)])
def test_pinv_of_full_and_of_lower_rank(shape):
    x = R(shape)
    np.testing.assert_allclose(linalg.pinv(Tensor(x)).numpy(), np.linalg.pinv(x), atol=1e-12)
    low = R((*shape[:-1], 1)) @ R((*shape[:-2], 1, shape[-1]))
    np.testing.assert_allclose(linalg.pinv(Tensor(low)).numpy(), np.linalg.pinv(low, rcond=1e-13), atol=1e-9)
    assert (linalg.matrix_rank(Tensor(low)).numpy() == 1).all()
    assert linalg.matrix_rank(Tensor(np.diag([1.0, 1e-3])), atol=0.1).item() == 1
    with pytest.raises(TypeError, match="rtol is .* and atol .*; expected numbers"):
        linalg.pinv(Tensor(x), "a")


def test_the_gradient_of_pinv_is_that_among_matrices_of_the_same_rank():
    a, b = R((3, 1)), R((1, 3))
    mg.gradcheck(lambda a, b: linalg.pinv(a @ b, rtol=1e-10), [a, b])


def test_lstsq():
    a, b = R((5, 3)), R((5, 2))
    ours, theirs = linalg.lstsq(Tensor(a), Tensor(b)), np.linalg.lstsq(a, b)
    for found, right in zip(ours, theirs):
        np.testing.assert_allclose(found.numpy(), right, rtol=1e-10)
    shortest = linalg.lstsq(Tensor(a.T), Tensor(b[:3]))
    np.testing.assert_allclose(shortest.solution.numpy(), np.linalg.lstsq(a.T, b[:3])[0], rtol=1e-9)
    assert shortest.residuals.shape == (0,)
    assert linalg.lstsq(Tensor(a), Tensor(b[:, 0])).solution.shape == (3,)
    with pytest.raises(ValueError, match="lstsq: a has shape .* and b .*; expected as many rows"):
        linalg.lstsq(Tensor(a), Tensor(b[:3]))


def test_triangles():
    a, b = R((3, 3)) + 3 * np.eye(3), R((3, 2))
    for upper in (False, True):
        part = np.triu(a) if upper else np.tril(a)
        x = linalg.solve_triangular(Tensor(a), Tensor(b), upper=upper)
        np.testing.assert_allclose(part @ x.numpy(), b, atol=1e-12)
        x = linalg.solve_triangular(Tensor(a), Tensor(b), upper=upper, unitriangular=True)
        np.testing.assert_allclose((part - np.diag(np.diag(a)) + np.eye(3)) @ x.numpy(), b, atol=1e-12)
        x = linalg.cholesky_solve(Tensor(b), Tensor(a), upper=upper)
        np.testing.assert_allclose((part.T @ part if upper else part @ part.T) @ x.numpy(), b, atol=1e-12)


def test_multi_dot_takes_the_cheapest_order():
    xs = [R(s) for s in ((7, 2), (2, 9), (9, 3), (3,))]
    np.testing.assert_allclose(linalg.multi_dot(list(map(Tensor, xs))).numpy(), np.linalg.multi_dot(xs), rtol=1e-12)
    with pytest.raises(ValueError, match="multi_dot: the shapes are .*; expected two or more matrices"):
        linalg.multi_dot([Tensor(xs[0])])


def test_tensors_as_maps():
    a, b = R((6, 4, 2, 3, 4)), R((6, 4))
    np.testing.assert_allclose(linalg.tensorsolve(Tensor(a), Tensor(b)).numpy(), np.linalg.tensorsolve(a, b), rtol=1e-9)
    inverse = linalg.tensorinv(Tensor(a), 2)
    np.testing.assert_allclose(inverse.numpy(), np.linalg.tensorinv(a, 2), rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="tensorinv: the axes are .*; expected equal numbers of entries"):
        linalg.tensorinv(Tensor(a), 1)


def test_vander_begins_with_ones():
    np.testing.assert_allclose(linalg.vander(Tensor([2.0, 3.0]), 3).numpy(), [[1, 2, 4], [1, 3, 9]])
    assert linalg.vander(Tensor([[1, 2, 3]])).shape == (1, 3, 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mg.linalg.solve(np.eye(2), np.eye(2), left="False"),
        lambda: mg.linalg.cholesky(np.eye(2), upper="False"),
        lambda: mg.linalg.svd(np.eye(2), "False"),
        lambda: mg.linalg.pinv(np.eye(2), hermitian="False"),
        lambda: mg.linalg.matrix_rank(np.eye(2), hermitian="False"),
        lambda: mg.linalg.solve_triangular(np.eye(2), np.eye(2), upper="False"),
        lambda: mg.linalg.cholesky_solve(np.eye(2), np.eye(2), upper="False"),
    ],
)
def test_text_is_neither_true_nor_false(call):
    with pytest.raises(TypeError, match="is True or False, not 'False'"):
        call()
