"""Products that NumPy or torch has: their shapes, and what does not fit."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor

R = np.random.default_rng(0).standard_normal


@pytest.mark.parametrize("axes", [0, 1, 2, ([0], [1]), ([1, 0], [0, 1]), (0, 1)])
def test_tensordot_is_numpys(axes):
    a, b = R((3, 3)), R((3, 3))
    np.testing.assert_allclose(mg.tensordot(Tensor(a), Tensor(b), axes).numpy(), np.tensordot(a, b, axes), atol=1e-12)


def test_tensordot_takes_torchs_dims_and_refuses_what_does_not_fit():
    assert mg.tensordot(Tensor(R((2, 3))), Tensor(R((3, 4))), dims=1).shape == (2, 4)
    with pytest.raises(ValueError, match="not of the same lengths"):
        mg.tensordot(Tensor(R((2, 3))), Tensor(R((2, 4))), 1)


@pytest.mark.parametrize(("a", "b"), [((3,), (3,)), ((2, 3), (4, 3)), ((2, 3), (3,)), ((), (2, 3))])
def test_inner_is_numpys(a, b):
    a, b = R(a), R(b)
    np.testing.assert_allclose(mg.inner(Tensor(a), Tensor(b)).numpy(), np.inner(a, b), atol=1e-12)


@pytest.mark.parametrize(("a", "b"), [((2,), (3,)), ((2, 2), (3,)), ((2, 1), (1, 3, 2))])
def test_kron_is_numpys(a, b):
    a, b = R(a), R(b)
    np.testing.assert_allclose(mg.kron(Tensor(a), Tensor(b)).numpy(), np.kron(a, b), atol=1e-12)


def test_cross_along_another_axis():
    a, b = R((2, 3, 4)), R((3, 4))
    np.testing.assert_allclose(mg.cross(Tensor(a), Tensor(b), axis=1).numpy(), np.cross(a, b[None], axis=1))
    with pytest.raises(ValueError, match="cross: vectors of 3 entries"):
        mg.cross(Tensor(R(2)), Tensor(R(2)))


def test_cross_takes_the_first_axis_of_three_and_linalgs_the_last():
    """The numbers are those of torch 2.13's torch.cross and torch.linalg.cross."""
    a = np.arange(9.0).reshape(3, 3)
    x, y = Tensor(a), Tensor(a**2 + 1)
    assert mg.cross(x, y).tolist() == x.cross(y).tolist() == [[51, 81, 117], [6, -36, -90], [-3, 9, 27]]
    assert mg.linalg.cross(x, y).tolist() == [[1, 2, -1], [19, -28, 11], [55, -94, 41]]
    assert mg.cross(x, y, dim=1).tolist() == mg.linalg.cross(x, y).tolist()
    assert mg.linalg.cross(x, y, dim=0).tolist() == mg.cross(x, y).tolist()
    assert mg.cross(mg.ones((3, 1), "float64"), x).tolist() == [[3, 3, 3], [-6, -6, -6], [3, 3, 3]]
    for shape in ((2, 3), (3, 2), (3, 4, 3), (2, 3, 3)):
        p, q = R(shape), R(shape)
        np.testing.assert_allclose(mg.cross(p, q), np.cross(p, q, axis=shape.index(3)))
    mg.gradcheck(mg.cross, (R((3, 3)), R((3, 3))))


@pytest.mark.parametrize(
    "call",
    [
        lambda t: mg.dot(t, t),
        lambda t: mg.outer(t, t),
        lambda t: mg.addmm(t, t[0], t),
        lambda t: mg.addmm(mg.ones((5, 5)), t, t.T),
        lambda t: mg.cdist(t[0], t),
        lambda t: mg.cdist(t, t, -1),
    ],
)
def test_what_does_not_fit_is_refused_by_name(call):
    with pytest.raises(ValueError, match="dot|outer|addmm|cdist"):
        call(Tensor(np.ones((2, 3), "f4")))


def test_with_beta_0_what_is_added_to_does_not_matter():
    y = mg.addmm(Tensor(np.full((2, 2), np.nan)), Tensor(R((2, 3))), Tensor(R((3, 2))), beta=0)
    assert np.isfinite(y.numpy()).all()
    with pytest.raises(TypeError, match="beta=0.5 of int64"):
        mg.addmv(Tensor([1]), Tensor([[1]]), Tensor([1]), beta=0.5)


def test_cdist_of_equal_rows_has_a_gradient_of_0():
    x = Tensor(np.ones((2, 3)), True)
    np.testing.assert_array_equal(mg.grad(mg.cdist(x, x).sum(), x).numpy(), 0)
