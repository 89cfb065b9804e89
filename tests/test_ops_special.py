"""Special functions against Python's math, far out and near their poles; and their derivatives."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor


def test_erfc_keeps_its_digits_where_it_is_tiny():
    x = np.array([-5.0, -0.3, 0, 0.7, 4, 10, 25])
    np.testing.assert_allclose(mg.erfc(Tensor(x)).numpy(), [math.erfc(v) for v in x], rtol=2e-13)


def test_erfinv_is_the_inverse_of_erf():
    x = np.array([1e-12, -1e-5, 0.02, -0.4, 0.5, 0.77, -0.999, 1 - 1e-12])
    y = mg.erfinv(Tensor(x)).numpy()
    np.testing.assert_allclose([math.erf(v) for v in y[:6]], x[:6], rtol=1e-14)
    np.testing.assert_allclose(math.erfc(y[7]), 1 - x[7], rtol=1e-10)
    np.testing.assert_array_equal(
        mg.erfinv(Tensor(np.array([1.0, -1, 2, np.nan]))).numpy(), [np.inf, -np.inf, np.nan, np.nan]
    )


@pytest.mark.parametrize(
    "x", [1e-300, 1e-9, 0.1, 0.5, 1, 1.5, 2, 3.7, 20, 171.5, 1e5, 1e16, 1e200, -0.5, -1e-9, -3.2, -20.7]
)
def test_lgamma_is_maths(x):
    np.testing.assert_allclose(mg.lgamma(Tensor(np.array([float(x)]))).item(), math.lgamma(x), rtol=1e-14, atol=1e-14)


def test_lgamma_and_digamma_at_their_poles():
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(
            mg.lgamma(Tensor(np.array([0.0, -1, -7, np.inf, np.nan]))).numpy(), [np.inf] * 4 + [np.nan]
        )
        np.testing.assert_array_equal(mg.digamma(Tensor(np.array([0.0, -1, -7]))).numpy(), [-np.inf, np.nan, np.nan])


EULER = 0.5772156649015329


@pytest.mark.parametrize(
    ("n", "x", "value"),
    [
        (0, 1, -EULER),
        (0, 0.5, -EULER - 2 * math.log(2)),
        (0, -0.5, -EULER - 2 * math.log(2) + 2),
        (1, 1, math.pi**2 / 6),
        (1, 0.5, math.pi**2 / 2),
        (1, -0.5, math.pi**2 / 2 + 4),
        (2, 1, -2 * 1.2020569031595942),
        (2, -0.5, -14 * 1.2020569031595942 + 16),
        (3, 1, math.pi**4 / 15),
        (3, -1.5, math.pi**4 + 6 * (16 + 16 / 81)),
    ],
)
def test_polygamma_in_closed_form(n, x, value):
    np.testing.assert_allclose(mg.polygamma(n, Tensor(np.array([float(x)]))).item(), value, rtol=1e-12)


@pytest.mark.parametrize("n", range(3))
def test_polygamma_is_the_derivative_of_the_one_before(n):
    mg.gradcheck(lambda x: mg.polygamma(n, x), np.array([0.3, 2.0, 17.0, -0.4, -2.6]), order=2)


def test_polygamma_refuses_a_negative_order():
    with pytest.raises(ValueError, match="polygamma: n=-1"):
        mg.polygamma(-1, Tensor([1.0]))
