"""Errors and correlations by hand, and against scikit-learn and SciPy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import metrics

numbers = st.lists(st.tuples(st.integers(-20, 20), st.integers(-20, 20)), min_size=3, max_size=20)


def test_by_hand():
    assert metrics.mae([1, 2], [2, 4]) == 1.5 and metrics.rmse([1, 2], [2, 4]) == pytest.approx(math.sqrt(2.5))
    assert metrics.pearson([1, 2, 3], [2, 4, 6]) == pytest.approx(1) == -metrics.pearson([1, 2, 3], [3, 2, 1])
    assert metrics.spearman([1, 2, 3], [1, 8, 27]) == pytest.approx(1)
    assert math.isnan(metrics.pearson([1, 1], [1, 2]))


@settings(max_examples=40)
@given(numbers)
def test_against_scikit_learn_and_scipy(cases):
    reference, stats = pytest.importorskip("sklearn.metrics"), pytest.importorskip("scipy.stats")
    true, pred = (np.array(side) / 4 for side in zip(*cases))
    assert metrics.mae(true, pred) == pytest.approx(reference.mean_absolute_error(true, pred), abs=1e-12)
    assert metrics.rmse(true, pred) == pytest.approx(reference.root_mean_squared_error(true, pred), abs=1e-12)
    if len(set(true)) > 1 and len(set(pred)) > 1:
        assert metrics.pearson(true, pred) == pytest.approx(stats.pearsonr(true, pred).statistic, abs=1e-12)
        assert metrics.spearman(true, pred) == pytest.approx(stats.spearmanr(true, pred).statistic, abs=1e-12)


@pytest.mark.parametrize(
    "true, pred, told",
    [
        ([], [], r"y_true has shape \(0,\)"),
        ([1, 2], [[1], [2]], r"y_true has shape \(2,\) and y_pred \(2, 1\); expected the same"),
        ([1, 2], [1, math.nan], "y_pred holds float64 values, not all finite numbers"),
        (["a"], ["b"], "y_true holds <U1 values"),
    ],
)
def test_what_is_no_number(true, pred, told):
    with pytest.raises(ValueError, match=told):
        metrics.rmse(true, pred)


@pytest.mark.parametrize("scale", [5e-324, 1e-200, 1.0, 1e200, 1.7e308 / 5])
def test_correlations_of_numbers_of_any_size(scale):
    true, predicted = [1.0, 2.0, 3.0, 5.0], [2.0, 1.0, 4.0, 5.0]
    expected = np.corrcoef(true, predicted)[0, 1]
    assert metrics.pearson(np.multiply(true, scale), predicted) == pytest.approx(expected, abs=1e-12)
    assert metrics.pearson(predicted, np.multiply(true, -scale)) == pytest.approx(-expected, abs=1e-12)


@pytest.mark.parametrize("value", [0.1, 1.1, 1e-300, 1e308, -3.3])
@pytest.mark.parametrize("n", [2, 3, 7, 10])
def test_a_constant_side_has_no_correlation_whatever_its_mean_rounds_to(value, n):
    for other in (range(n), [value] * n):
        assert math.isnan(metrics.pearson([value] * n, other)) and math.isnan(metrics.spearman(other, [value] * n))
