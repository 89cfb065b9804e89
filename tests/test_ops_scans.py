"""Scans with zeros, ties, NaN and infinities in them, and of every length."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 7, 8, 9])
def test_every_length(n):
    x = np.cos(np.arange(2.0 * n)).reshape(2, n)
    for ours, theirs in [(mg.cumprod, np.cumprod), (mg.logcumsumexp, np.logaddexp.accumulate)]:
        np.testing.assert_allclose(ours(Tensor(x), 1).numpy(), theirs(x, 1), rtol=1e-12)
    for ours, theirs in [(mg.cummax, np.maximum.accumulate), (mg.cummin, np.minimum.accumulate)]:
        values, ids = ours(Tensor(x), 1)
        np.testing.assert_array_equal(values.numpy(), theirs(x, 1))
        np.testing.assert_array_equal(np.take_along_axis(x, ids.numpy(), 1), values.numpy())


@pytest.mark.parametrize("x", [[2.0, 0, 3, 4], [0.0, 0, 3, 0], [1.0, 2, 0, 0]])
def test_cumprod_of_zeros_has_the_right_gradients(x):
    mg.gradcheck(lambda x: mg.cumprod(x, 0), np.array(x), order=2)


def test_extremes_of_equal_entries_and_of_nan():
    values, ids = mg.cummax(Tensor(np.array([1.0, 1, 0, 1, np.nan, 5])), 0)
    np.testing.assert_array_equal(values.numpy(), [1, 1, 1, 1, np.nan, np.nan])
    assert ids.tolist()[:4] == [0, 1, 1, 3] and ids.tolist()[4:] == [4, 4]
    assert mg.cummin(Tensor(3.0), 0)[0].item() == 3


def test_logcumsumexp_of_large_numbers_and_infinities():
    y = mg.logcumsumexp(Tensor(np.array([-np.inf, -np.inf, 1000, 1000])), 0)
    np.testing.assert_allclose(y.numpy(), [-np.inf, -np.inf, 1000, 1000 + np.log(2)])


@pytest.mark.parametrize("n", [0, 1, 3])
def test_diff(n):
    x, ends = np.array([[1.0, 4, 9, 16]]), np.array([[0.0]])
    np.testing.assert_array_equal(mg.diff(Tensor(x), n).numpy(), np.diff(x, n))
    found = mg.diff(Tensor(x), n, prepend=Tensor(ends), append=Tensor(ends))
    np.testing.assert_array_equal(found.numpy(), np.diff(x, n, prepend=ends, append=ends) if n else x)
    assert mg.diff(Tensor([True, False, False])).tolist() == [True, False]


def test_integrals():
    x = np.linspace(0, 2, 5) ** 2
    y = np.stack([x, np.sin(x)])
    np.testing.assert_allclose(mg.trapezoid(Tensor(y), Tensor(x)).numpy(), np.trapezoid(y, x))
    np.testing.assert_allclose(mg.trapezoid(Tensor(y.T), dx=0.5, axis=0).numpy(), np.trapezoid(y, dx=0.5))
    unsigned = Tensor(np.array([5, 3, 1], "u1"))
    assert mg.trapezoid(Tensor([1.0, 1, 1]), unsigned).item() == -4  # no difference wraps around
    assert mg.cumulative_trapezoid(Tensor(y), dim=1).shape == (2, 4)
