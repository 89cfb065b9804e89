"""Scores of several labels by hand, and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import metrics

TRUE, PRED = [[1, 0, 1], [0, 1, 0], [1, 1, 0]], [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
cells = st.lists(st.tuples(*[st.booleans()] * 6), min_size=1, max_size=10)


def test_by_hand():
    assert metrics.multilabel_precision(TRUE, PRED, None).tolist() == [1, 1, 0]
    assert metrics.multilabel_recall(TRUE, PRED, None).tolist() == [0.5, 1, 0]
    assert metrics.multilabel_f1(TRUE, PRED, "micro") == pytest.approx(6 / 8)
    assert metrics.exact_labels(TRUE, PRED) == pytest.approx(1 / 3)


@pytest.mark.slow
@settings(max_examples=40)
@given(cells)
def test_against_scikit_learn(rows):
    reference = pytest.importorskip("sklearn.metrics")
    true, pred = np.hsplit(np.array(rows, int), 2)
    assert metrics.exact_labels(true, pred) == pytest.approx(reference.accuracy_score(true, pred), abs=1e-12)
    for name in ("precision", "recall", "f1"):
        for average in ("macro", "micro", "weighted", None):
            theirs = getattr(reference, f"{name}_score")(true, pred, average=average, zero_division=0)
            ours = getattr(metrics, f"multilabel_{name}")(true, pred, average)
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "true, pred, told",
    [
        ([1, 0], [1, 0], r"y_true has shape \(2,\); expected \(cases, labels\)"),
        ([[1, 0]], [[1, 0, 0]], r"y_pred has shape \(1, 3\)"),
        (
            [[1, 0]],
            [[0.3, 0.7]],
            "y_pred holds float64 values, the first of which is 0.3; expected zeros and ones, such as logits > 0",
        ),
    ],
)
def test_what_is_no_array_of_labels(true, pred, told):
    with pytest.raises(ValueError, match=told):
        metrics.multilabel_f1(true, pred)
