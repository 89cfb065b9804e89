"""Questions about numbers that are none, and what takes their place."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor

X = np.array([1.0, -0.0, np.nan, np.inf, -np.inf])


@pytest.mark.parametrize("name", ["isnan", "isinf", "isfinite", "isposinf", "isneginf", "signbit"])
def test_numpys_answers(name):
    y = getattr(mg, name)(Tensor(X, True))
    assert not y.requires_grad
    np.testing.assert_array_equal(y.numpy(), getattr(np, name)(X))
    assert getattr(mg, name)(Tensor(np.array([1, -2]))).tolist() == getattr(np, name)(np.array([1.0, -2])).tolist()


def test_nan_to_num_takes_what_replaces_each_and_lets_no_gradient_through_it():
    x = Tensor(X, True)
    y = mg.nan_to_num(x, nan=7.0, posinf=8.0)
    np.testing.assert_array_equal(y.numpy(), [1, 0, 7, 8, np.finfo(np.float64).min])
    np.testing.assert_array_equal(mg.grad(y.sum(), x).numpy(), [1, 1, 0, 0, 0])
    assert mg.nan_to_num(Tensor(X, dtype="float32")).numpy()[3] == np.finfo(np.float32).max
    assert mg.nan_to_num(Tensor([1, 2])).dtype == np.int64


def test_fmax_and_fmin_prefer_numbers():
    a, b = Tensor(np.array([np.nan, 1, np.nan, 2]), True), Tensor(np.array([3.0, np.nan, np.nan, 1]), True)
    np.testing.assert_array_equal(mg.fmax(a, b).numpy(), [3, 1, np.nan, 2])
    np.testing.assert_array_equal(mg.fmin(a, b).numpy(), [3, 1, np.nan, 1])
    ga, gb = mg.grad(mg.fmax(a, b), [a, b], np.ones(4))
    np.testing.assert_array_equal(ga.numpy()[[0, 1, 3]], [0, 1, 1])
    np.testing.assert_array_equal(gb.numpy()[[0, 1, 3]], [1, 0, 0])


def test_isclose_and_allclose():
    a, b = np.array([1, np.inf, np.nan, 0, np.inf]), np.array([1 + 1e-6, np.inf, np.nan, 1e-9, -np.inf])
    for equal_nan in (False, True):
        found = mg.isclose(Tensor(a), Tensor(b), equal_nan=equal_nan)
        np.testing.assert_array_equal(found.numpy(), np.isclose(a, b, equal_nan=equal_nan))
    assert mg.allclose(Tensor([1.0], True), [1.0]) is True and mg.allclose([1, 2], [1, 3]) is False
    assert mg.array_equal(Tensor([1.0]), [1.0]) is True and mg.array_equal([1.0], [1.0, 1.0]) is False
    with pytest.raises(ValueError, match="rtol=-1"):
        mg.isclose([1.0], [1.0], rtol=-1)


def test_logical_operators_take_any_numbers():
    a, b = Tensor([0.0, 2.0, 0.0, -1.0]), Tensor([0, 0, 3, 4])
    for name in ("logical_and", "logical_or", "logical_xor"):
        np.testing.assert_array_equal(
            getattr(mg, name)(a, b).numpy(), getattr(np, name)(a.numpy(), b.numpy()), err_msg=name
        )
    assert mg.logical_not(a).tolist() == [True, False, True, False]


def test_places_that_are_not_zero():
    x = np.array([[0, 3, 0], [4, 0, 5]])
    for found, right in zip(mg.nonzero(Tensor(x)), np.nonzero(x)):
        assert isinstance(found, Tensor)
        np.testing.assert_array_equal(found.numpy(), right)
    np.testing.assert_array_equal(mg.nonzero(Tensor(x), as_tuple=False).numpy(), np.argwhere(x))
    np.testing.assert_array_equal(Tensor(x)[mg.nonzero(Tensor(x))].numpy(), x[np.nonzero(x)])
    assert mg.count_nonzero(Tensor(x), dim=1).tolist() == [1, 2]
    with pytest.raises(ValueError, match="nonzero: a single number"):
        mg.nonzero(Tensor(3.0))


def test_isin():
    assert mg.isin(Tensor([1, 2, 3]), [2, 5]).tolist() == [False, True, False]
    assert mg.isin(Tensor([1, 2, 3]), Tensor([2]), invert=True).tolist() == [True, False, True]


@pytest.mark.parametrize(
    "call",
    [
        lambda: mg.isclose(1, 1, equal_nan="False"),
        lambda: mg.isin([1], [1], invert="False"),
        lambda: mg.nonzero([1], as_tuple="False"),
    ],
)
def test_text_is_neither_true_nor_false(call):
    with pytest.raises(TypeError, match="is True or False, not 'False'"):
        call()
