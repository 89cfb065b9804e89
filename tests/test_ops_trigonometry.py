"""Angles and hyperbolas where formulas lose digits: sinc near 0, hypot of large and of no numbers."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor


def test_sinc_has_the_derivatives_of_its_series_at_0():
    f, found = mg.sinc, []
    x = Tensor(np.zeros(1), True)
    y = f(x)
    for _ in range(5):
        found.append(y.item())
        y = mg.grad(y.sum(), x, create_graph=True)
    np.testing.assert_allclose(found, [1, 0, -(np.pi**2) / 3, 0, np.pi**4 / 5], atol=1e-12)


@pytest.mark.parametrize("x", [1e-9, 0.3, 0.63, 0.64, 0.95, 1.0, 1.6, 30.25])
def test_sinc_to_third_order(x):
    mg.gradcheck(mg.sinc, np.array([x, -x]), order=3)


def test_hypot_of_large_numbers_and_of_zero():
    a, b = Tensor(np.array([3e200, 0.0]), True), Tensor(np.array([4e200, 0.0]), True)
    y = mg.hypot(a, b)
    np.testing.assert_allclose(y.numpy(), [5e200, 0])
    ga, gb = mg.grad(y.sum(), [a, b])
    np.testing.assert_allclose(ga.numpy(), [0.6, 0])
    np.testing.assert_allclose(gb.numpy(), [0.8, 0])


def test_arctan2_knows_all_quadrants():
    angles = np.linspace(-3, 3, 7)
    np.testing.assert_allclose(mg.arctan2(Tensor(np.sin(angles)), Tensor(np.cos(angles))).numpy(), angles)
    big = Tensor(np.array([1e200]), True)
    assert np.isclose(mg.grad(mg.arctan2(big, 1e200).sum(), big).item() * 1e200, 0.5)


def test_torchs_names_are_the_same_functions():
    for theirs, ours in {"asin": "arcsin", "acosh": "arccosh", "atan2": "arctan2"}.items():
        assert getattr(mg, theirs) is getattr(mg, ours)


def test_the_gradient_of_arctan2_at_the_origin_is_0():
    a, b = (mg.Tensor(values, requires_grad=True) for values in ([0.0, 3.0, 0.0], [0.0, 4.0, 2.0]))
    mg.arctan2(a, b).sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), [0, 0.16, 0.5], rtol=1e-6)
    np.testing.assert_allclose(b.grad.numpy(), [0, -0.12, 0], rtol=1e-6)
