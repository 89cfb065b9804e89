"""Rounding and remainders: halves, signs, infinities, and whole numbers, which have no infinity."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor

X = np.array([-2.5, -1.5, -0.5, -0.0, 0.5, 1.5, 2.5, np.inf, -np.inf, np.nan])


@pytest.mark.parametrize("name", ["floor", "ceil", "trunc", "round"])
def test_numpys_values_at_halves_and_infinities(name):
    np.testing.assert_array_equal(getattr(mg, name)(Tensor(X)).numpy(), getattr(np, name)(X))
    ids = np.arange(-3, 4)
    np.testing.assert_array_equal(getattr(mg, name)(Tensor(ids)).numpy(), ids)
    assert not getattr(mg, name)(Tensor([1.5], True)).requires_grad


def test_round_to_tens_and_hundredths():
    assert mg.round(Tensor(np.array([126, 135, -125])), -1).tolist() == [130, 140, -120]
    np.testing.assert_allclose(mg.round(Tensor(np.array([1.234, -5.678])), 2).numpy(), [1.23, -5.68])
    with pytest.raises(TypeError, match="decimals"):
        mg.round(Tensor([1.0]), 0.5)


@pytest.mark.parametrize(("a", "b"), [(7, 3), (-7, 3), (7, -3), (-7, -3), (7.5, 2), (-7.5, 2), (6, 3)])
def test_division_with_a_remainder(a, b):
    a, b = Tensor(np.array([a])), Tensor(np.array([b]))
    assert mg.floor_divide(a, b).item() == a.item() // b.item()
    assert mg.remainder(a, b).item() == a.item() % b.item()
    assert mg.fmod(a, b).item() == np.fmod(a.item(), b.item())
    assert mg.div(a, b, rounding_mode="trunc").item() == int(a.item() / b.item())
    assert mg.div(a, b, rounding_mode="floor").item() == a.item() // b.item()
    assert (mg.floor_divide(a, b) * b + mg.remainder(a, b)).item() == a.item()


@pytest.mark.parametrize("op", [mg.floor_divide, mg.remainder, mg.fmod])
def test_whole_numbers_are_not_divided_by_zero(op):
    with pytest.raises(ValueError, match=r"division of whole numbers by 0"):
        op(Tensor(np.array([1, 2])), Tensor(np.array([1, 0])))
    with np.errstate(all="ignore"):
        op(Tensor(np.array([1.0, 2])), Tensor(np.array([1, 0])))  # floating: there are infinities


def test_div_refuses_other_modes():
    with pytest.raises(ValueError, match='type None, "trunc" or "floor"'):
        mg.div(Tensor([1.0]), 2, rounding_mode="up")
