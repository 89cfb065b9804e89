"""Slopes are measured with an estimate of their error that holds, for tame functions and for wild ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.checking.functions import ByHand
from minigrad.checking.numeric import EPS, Limit, along, by_entry, exactly, measured_noise, steps


class Real(ByHand):
    """Refuses complex numbers, so that the differences have to do without the complex step."""

    def value(self, x):
        if np.iscomplexobj(x):
            raise TypeError("no complex numbers")
        return super().value(x)


def function(f, x, kind=Real, dtype="float64"):
    return kind(f, None, None, [np.zeros(len(x))], [("x", np.asarray(x, float))], "f", dtype)


def entry(f, x, kind=Real):
    g = function(f, [x], kind)
    return by_entry(g, g.value(g.x), np.ones(1), np.arange(1), 0.0)[0]


TAME = [
    (np.sin, np.cos),
    (np.exp, np.exp),
    (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    (lambda x: x**5, lambda x: 5 * x**4),
    (lambda x: 1e-9 * np.cos(x), lambda x: -1e-9 * np.sin(x)),
    (lambda x: 1e9 + x, np.ones_like),
]


@pytest.mark.parametrize("kind", [Real, ByHand])
@pytest.mark.parametrize(("f", "df"), TAME)
@given(x=st.integers(25, 200).map(lambda n: n / 100), sign=st.sampled_from([-1, 1]))
def test_the_error_is_within_its_estimate_and_the_estimate_is_small(kind, f, df, x, sign):
    x *= sign
    g = function(f, [x], kind)
    y, u = g.value(g.x), np.ones(1)
    slopes = [
        along(g, y, u, np.ones(1))[0],
        along(g, y, u, np.ones(1), enough=1e-10 * abs(df(np.array(x))))[0],
        by_entry(g, y, u, np.arange(1), 0.0)[0],
    ]
    for slope in slopes:
        error = abs(np.squeeze(slope.value) - df(np.array(x)))
        assert error <= np.squeeze(slope.estimate) + 4 * EPS * abs(df(np.array(x)))
        assert np.squeeze(slope.estimate) <= 1e-7 * abs(df(np.array(x))) + 1e-11 * abs(y[0])


@pytest.mark.parametrize("x", [1e-12, 1e-6, 1e-3, 1.0, 1e6, 1e12])
@np.errstate(invalid="ignore")  # the longest step may leave the domain
def test_steps_suit_the_size_of_the_input(x):
    slope = entry(np.log, x)
    assert (
        slope.value[0] == pytest.approx(1 / x, rel=1e-6) and abs(slope.value[0] - 1 / x) <= slope.estimate[0] + EPS / x
    )


@pytest.mark.parametrize("speed", [30, 1e3, 1e4, 1e6])
def test_steps_become_shorter_for_a_fast_function(speed):
    slope = entry(lambda x: np.sin(speed * x), 0.3)
    assert abs(slope.value[0] - speed * np.cos(speed * 0.3)) <= slope.estimate[0] <= 1e-6 * speed


def test_what_is_too_fast_has_a_large_estimate():
    assert entry(lambda x: np.sin(1e13 * x), 0.3).estimate[0] > 1


def test_shorter_steps_are_believed_where_they_contradict_longer_ones():
    slope = entry(lambda x: x + 1e-9 * np.sin(1e4 * x), 0.0)  # seen from afar its slope is 1
    assert slope.value[0] == pytest.approx(1 + 1e-5, abs=1e-8)


def test_a_step_along_an_exact_direction_is_free_of_rounding():
    for dtype in ("float64", "float32"):
        f = function(np.sin, 1.2 + np.random.default_rng(0).random(100) / 2, dtype=dtype)
        wanted = np.random.default_rng(1).standard_normal(100)
        v = exactly(f, wanted)
        for h in steps(f.eps)[1:]:  # the first leads across a power of 2, where x itself loses a digit
            assert (
                ((f.x + h * v).astype(dtype).astype(float) - f.x)[abs(h * v) < 0.1] == (h * v)[abs(h * v) < 0.1]
            ).all()
        np.testing.assert_allclose(v, wanted, atol=8 * f.eps / steps(f.eps)[-1])


def test_the_complex_step_is_exact_and_is_not_believed_when_it_is_misled():
    slope = entry(lambda x: np.exp(x) / np.sqrt(np.sin(x) ** 3 + np.cos(x) ** 3), 1.5, ByHand)  # Squire & Trapp's own
    assert slope.value[0] == pytest.approx(4.053427893898621, rel=1e-15) and slope.estimate[0] < 1e-12
    slope = entry(lambda x: np.abs(x) * x, 1.5, ByHand)  # |x| of a complex number is another function
    assert slope.value[0] == pytest.approx(3, rel=1e-9)


def test_kinks_and_jumps_bend_and_smooth_functions_do_not():
    def bend(f, x):
        return entry(f, x).bend[0]

    assert bend(np.abs, 0.0) == pytest.approx(2) and bend(lambda x: np.maximum(x, 0), 0.0) == pytest.approx(1)
    assert bend(lambda x: x + 1e-6 * abs(x), 0.0) == pytest.approx(2e-6, rel=1e-3)
    assert bend(lambda x: (x > 0).astype(float), 0.0) == bend(np.sign, 0.0) == bend(np.floor, 1.0) == np.inf
    assert bend(lambda x: 1e-3 * np.floor(x) + x, 1.0) == np.inf
    assert (
        bend(np.abs, 0.1)
        == bend(np.abs, 1e-3)
        == bend(lambda x: np.exp(5 * x), 0.3)
        == bend(lambda x: 7 + 0 * x, 0.3)
        == 0
    )
    assert bend(np.floor, 1.2) == bend(lambda x: x * abs(x), 0.0) == 0


def test_contributions_add_up_to_the_slope():
    g = function(lambda x: np.array([x[0] * x[1], x[0] ** 2, x[1]]), [2.0, 3.0])
    u = np.array([1.0, 10.0, 100.0])
    slope, contributions = by_entry(g, g.value(g.x), u, np.arange(2), 0.0)
    np.testing.assert_allclose(contributions, [[3, 40, 0], [2, 0, 100]], atol=1e-6)
    np.testing.assert_allclose(slope.value, [43, 102], rtol=1e-11)


def test_extrapolation_passes_over_what_is_not_finite():
    tame, wild = Limit(2), Limit(2)
    for k, h in enumerate(0.4 / 4.0 ** np.arange(5)):
        tame.add(1 + h**2 + h**4, 0.0)
        wild.add(1 + h**2 + h**4 if k else np.nan, 0.0)
    for limit in (tame, wild):
        assert limit.value == pytest.approx(1, rel=1e-12) and limit.error < 1e-6


def test_noise_is_measured_where_values_are_coarser_than_float64():
    def noise(f):
        g = function(f, [0.7, 1.3])
        return measured_noise(g, g.value(g.x), np.ones(2))

    assert noise(np.sin) < 1e-14 and noise(lambda x: np.sin(1e4 * x)) < 1e-10
    assert 1e-8 < noise(lambda x: np.sin(x).astype("f4").astype("f8")) < 1e-5
