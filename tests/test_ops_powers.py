"""Powers and logarithms at the ends of their domains."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor

INF = np.inf


def test_logaddexp_of_infinities():
    a = Tensor(np.array([INF, -INF, INF, 1000.0, -INF]), True)
    b = Tensor(np.array([INF, -INF, 0.0, 1000.0, 2.0]), True)
    y = mg.logaddexp(a, b)
    np.testing.assert_allclose(y.numpy(), [INF, -INF, INF, 1000 + np.log(2), 2])
    ga, gb = mg.grad(y, [a, b], np.ones(5))
    np.testing.assert_allclose(ga.numpy(), [0.5, 0.5, 1, 0.5, 0])
    np.testing.assert_allclose(gb.numpy(), [0.5, 0.5, 0, 0.5, 1])


def test_xlogy_is_0_where_x_is():
    x, y = Tensor(np.array([0.0, 0, 0, 0, 2]), True), Tensor(np.array([0.0, -1, INF, np.nan, 3]), True)
    z = mg.xlogy(x, y)
    np.testing.assert_allclose(z.numpy(), [0, 0, 0, np.nan, 2 * np.log(3)])
    gx, gy = mg.grad(z[4], [x, y])
    np.testing.assert_allclose(gx.numpy()[[0, 1, 2, 4]], [0, 0, 0, np.log(3)])
    np.testing.assert_allclose(gy.numpy()[[0, 1, 4]], [0, 0, 2 / 3])


def test_heaviside_takes_its_value_at_0_from_values():
    x, values = Tensor(np.array([-1.0, 0, 2, np.nan])), Tensor(np.full(4, 0.5), True)
    y = mg.heaviside(x, values)
    np.testing.assert_array_equal(y.numpy(), [0, 0.5, 1, np.nan])
    np.testing.assert_array_equal(mg.grad(y[:3].sum(), values).numpy(), [0, 1, 0, 0])


def test_copysign_of_zeros():
    y = mg.copysign(Tensor(np.array([0.0, 3, -3])), Tensor(np.array([-0.0, -0.0, 1])))
    assert np.signbit(y.numpy()).tolist() == [True, True, False]
    x = Tensor(np.array([0.0, -2, 2]), True)
    np.testing.assert_array_equal(mg.grad(mg.copysign(x, -1.0).sum(), x).numpy(), [0, 1, -1])


def test_square_of_booleans_and_float_power_of_whole_numbers():
    assert mg.square(Tensor(np.array([True, False]))).dtype == np.int64
    y = mg.float_power(Tensor(np.array([2, 3])), -1)
    assert y.dtype == np.float64 and np.allclose(y.numpy(), [0.5, 1 / 3])


def test_logit_refuses_an_eps_that_is_none():
    with pytest.raises(ValueError, match="logit: eps=0.7"):
        mg.logit(Tensor([0.5]), 0.7)
