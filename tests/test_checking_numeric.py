"""Slopes are measured with an estimate of their error that holds, for tame functions and for wild ones."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.checking.functions import ByHand
from minigrad.checking.numeric import EPS, QUICK, by_entry, directional, extrapolate, rounding


class Real(ByHand):
    """Refuses complex numbers, so that the differences have to do without the complex step."""
    def value(self, x):
        if np.iscomplexobj(x):
            raise TypeError("no complex numbers")
        return super().value(x)


def function(f, x, kind=Real):
    return kind(f, None, None, [np.zeros(len(x))], [("x", np.asarray(x, float))], "f")


TAME = [(np.sin, np.cos), (np.exp, np.exp), (np.tanh, lambda x: 1 / np.cosh(x) ** 2), (lambda x: x**5, lambda x: 5 * x**4),
        (lambda x: 1e-9 * np.cos(x), lambda x: -1e-9 * np.sin(x)), (lambda x: 1e9 + x, np.ones_like)]


@pytest.mark.parametrize("kind", [Real, ByHand])
@pytest.mark.parametrize(("f", "df"), TAME)
@given(x=st.integers(25, 200).map(lambda n: n / 100), sign=st.sampled_from([-1, 1]))
def test_the_error_is_within_its_estimate_and_the_estimate_is_small(kind, f, df, x, sign):
    x *= sign
    g = function(f, [x], kind)
    y, u = g.value(g.x), np.ones(1)
    slopes = [directional(g, y, u, np.ones(1), QUICK, rounding(g, y, u)), by_entry(g, y, u, np.arange(1))[0]]
    for slope in slopes:
        error = abs(np.squeeze(slope.value) - df(np.array(x)))
        assert error <= np.squeeze(slope.estimate) + 4 * EPS * abs(df(np.array(x)))
        assert np.squeeze(slope.estimate) <= 1e-7 * abs(df(np.array(x))) + 1e-11 * abs(y[0])


@pytest.mark.parametrize("x", [1e-12, 1e-6, 1e-3, 1.0, 1e6, 1e12])
@np.errstate(invalid="ignore")                  # the longest step may leave the domain
def test_steps_suit_the_size_of_the_input(x):
    g = function(np.log, [x])
    slope, _ = by_entry(g, g.value(g.x), np.ones(1), np.arange(1))
    assert slope.value[0] == pytest.approx(1 / x, rel=1e-6) and abs(slope.value[0] - 1 / x) <= slope.estimate[0] + EPS / x


def test_the_complex_step_is_exact_and_is_not_believed_when_it_is_misled():
    smooth = function(lambda x: np.exp(x) / np.sqrt(np.sin(x) ** 3 + np.cos(x) ** 3), [1.5], ByHand)     # Squire & Trapp's own
    slope, _ = by_entry(smooth, smooth.value(smooth.x), np.ones(1), np.arange(1))
    assert slope.value[0] == pytest.approx(4.053427893898621, rel=1e-15) and slope.estimate[0] < 1e-12
    misled = function(lambda x: np.abs(x) * x, [1.5], ByHand)                  # |x| of a complex number is another function
    slope, _ = by_entry(misled, misled.value(misled.x), np.ones(1), np.arange(1))
    assert slope.value[0] == pytest.approx(3, rel=1e-9)


def test_kinks_and_jumps_bend_and_smooth_functions_do_not():
    def bend(f, x):
        g = function(f, [x])
        return by_entry(g, g.value(g.x), np.ones(1), np.arange(1))[0].bend[0]
    assert bend(np.abs, 0.0) == pytest.approx(2) and bend(lambda x: np.maximum(x, 0), 0.0) == pytest.approx(1)
    assert bend(lambda x: (x > 0).astype(float), 0.0) == np.inf
    assert bend(np.abs, 0.1) == bend(np.abs, 1e-3) == bend(lambda x: np.exp(5 * x), 0.3) == bend(lambda x: 7 + 0 * x, 0.3) == 0


def test_contributions_add_up_to_the_slope():
    g = function(lambda x: np.array([x[0] * x[1], x[0] ** 2, x[1]]), [2.0, 3.0])
    u = np.array([1.0, 10.0, 100.0])
    slope, contributions = by_entry(g, g.value(g.x), u, np.arange(2))
    np.testing.assert_allclose(contributions, [[3, 40, 0], [2, 0, 100]], atol=1e-6)
    np.testing.assert_allclose(slope.value, [43, 102], rtol=1e-11)


def test_extrapolation_passes_over_what_is_not_finite():
    steps = np.array([0.4, 0.2, 0.1, 0.05])
    d = (1 + steps**2)[:, None] * np.ones(2)
    d[0, 1] = np.nan
    value, estimate = extrapolate(d, steps, np.zeros(2))
    np.testing.assert_allclose(value, 1, rtol=1e-12)
    assert (estimate < 1e-6).all()
