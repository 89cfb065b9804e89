"""The metrics by hand, their laws, and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import metrics

TRUE, PRED = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 1]  # class 3 never occurs
pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30)


def test_by_hand():
    assert metrics.accuracy(TRUE, PRED) == 0.5
    assert metrics.confusion_matrix(TRUE, PRED).tolist() == [[2, 1, 0], [0, 1, 1], [0, 1, 0]]
    assert metrics.precision(TRUE, PRED, average=None).tolist() == [1, 1 / 3, 0]
    assert metrics.recall(TRUE, PRED, average=None).tolist() == [2 / 3, 1 / 2, 0]
    assert metrics.f1(TRUE, PRED, average=None).tolist() == [0.8, 0.4, 0]
    assert metrics.f1(TRUE, PRED) == pytest.approx(0.4)
    assert metrics.f1(TRUE, PRED, average="weighted") == pytest.approx((3 * 0.8 + 2 * 0.4) / 6)
    assert metrics.f1(TRUE, PRED, average="micro") == 0.5


def test_a_class_that_never_occurs_counts_as_zero_if_num_classes_names_it():
    assert metrics.f1(TRUE, PRED, average=None, num_classes=4).tolist() == [0.8, 0.4, 0, 0]
    assert metrics.f1(TRUE, PRED, num_classes=4) == pytest.approx(0.3)
    assert metrics.confusion_matrix([5], [7]).tolist() == [[0, 1], [0, 0]]


def test_tensors_and_any_shape():
    class Tensor:  # all that metrics ask of one
        def numpy(self):
            return np.array([[0, 1], [2, 2]])

    assert metrics.accuracy(Tensor(), np.array([[0, 1], [2, 1]])) == 0.75
    assert isinstance(metrics.f1(Tensor(), Tensor()), float)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:A single label")
@settings(max_examples=30)
@given(pairs)
def test_against_scikit_learn(cases):
    reference = pytest.importorskip("sklearn.metrics")
    true, pred = zip(*cases)
    assert metrics.accuracy(true, pred) == pytest.approx(reference.accuracy_score(true, pred))
    for num_classes in (None, 6):
        labels = num_classes and range(num_classes)
        assert (
            metrics.confusion_matrix(true, pred, num_classes) == reference.confusion_matrix(true, pred, labels=labels)
        ).all()
        for name in ("precision", "recall", "f1"):
            for average in ("macro", "micro", "weighted", None):
                ours = getattr(metrics, name)(true, pred, average, num_classes)
                theirs = getattr(reference, f"{name}_score")(
                    true, pred, average=average, labels=labels, zero_division=0
                )
                assert ours == pytest.approx(theirs), (name, average)


def test_report_and_matrix_are_readable():
    assert metrics.classification_report(TRUE, PRED, ["cat", "dog", "hen"]).splitlines() == [
        "                  precision  recall     f1  support",
        "cat                   1.000   0.667  0.800        3",
        "dog                   0.333   0.500  0.400        2",
        "hen                   0.000   0.000  0.000        1",
        "macro average         0.444   0.389  0.400        6",
        "weighted average      0.611   0.500  0.533        6",
        "accuracy                             0.500        6",
    ]
    assert metrics.format_confusion_matrix(np.array([[12, 3], [0, 4]]), ["cat", "dog"]).splitlines() == [
        "true \\ predicted   0  1",
        "           cat 0  12  3",
        "           dog 1   .  4",
    ]


@pytest.mark.parametrize(
    "true, pred, message",
    [
        ([0, 1], [[0.1, 0.9], [0.8, 0.2]], r"y_true has shape \(2,\) and y_pred \(2, 2\); .*pass logits.argmax\(-1\)"),
        ([0, 1], [0, 1, 1], r"y_true has shape \(2,\) and y_pred \(3,\); expected the same$"),
        ([], [], "there are no cases to measure"),
        ([0, -100], [0, 1], "y_true holds int64 values from -100; expected classes, integers from 0"),
        ([0, 1], [0.0, 1.0], "y_pred holds float64 values from 0.0; expected classes"),
    ],
)
def test_what_is_not_classes_is_refused(true, pred, message):
    with pytest.raises(ValueError, match=message):
        metrics.f1(true, pred)


NAMES = np.array(["cat", "dog", "hen"])


def test_classes_may_have_names():
    """Which give what their numbers give, in lists, arrays of strings and arrays of objects."""
    true, pred = NAMES[TRUE], NAMES[PRED]
    for named in ((true, pred), (true.tolist(), pred.tolist()), (true.astype(object), pred)):
        assert metrics.accuracy(*named) == metrics.accuracy(TRUE, PRED)
        assert metrics.confusion_matrix(*named).tolist() == metrics.confusion_matrix(TRUE, PRED).tolist()
        for score in (metrics.precision, metrics.recall, metrics.f1):
            for average in ("macro", "micro", "weighted"):
                assert score(*named, average) == score(TRUE, PRED, average)
            assert score(*named, None).tolist() == score(TRUE, PRED, None).tolist()
    order = [2, 0, 1]  # the names need not be sorted
    numbers = [np.argsort(order)[y] for y in (TRUE, PRED)]
    assert metrics.classification_report(true, pred, NAMES[order].tolist()) == metrics.classification_report(
        *numbers, NAMES[order].tolist()
    )


def test_names_that_do_not_fit():
    with pytest.raises(
        ValueError, match="num_classes=3 is for classes numbered from 0, but these have names such as 'a': leave"
    ):
        metrics.f1(["a", "b"], ["a", "a"], num_classes=3)
    for true, pred in ((["a", "b"], [0, 1]), ([0, 1], ["a", "b"]), (["a", 1], ["a", "b"]), (["a", None], ["a", "b"])):
        with pytest.raises(ValueError, match="expected classes, integers from 0, or names in both"):
            metrics.accuracy(true, pred)
    with pytest.raises(ValueError, match="the class 'emu' is not among the names cat, dog"):
        metrics.classification_report(["cat", "emu"], ["dog", "cat"], ["cat", "dog"])


def test_bad_options():
    with pytest.raises(ValueError, match="class 2 occurs, but num_classes is 2; expected 0 to 1"):
        metrics.f1(TRUE, PRED, num_classes=2)
    with pytest.raises(ValueError, match="num_classes is 3.5; expected a whole number"):
        metrics.f1(TRUE, PRED, num_classes=3.5)
    with pytest.raises(ValueError, match="average is 'mean'; expected 'macro', 'micro', 'weighted' or None"):
        metrics.f1(TRUE, PRED, average="mean")
    with pytest.raises(ValueError, match=r"2 names for a matrix of shape \(3, 3\)"):
        metrics.format_confusion_matrix(np.eye(3, dtype=int), ["a", "b"])


@settings(max_examples=40)
@given(pairs)
def test_correlation_against_scikit_learn(cases):
    reference = pytest.importorskip("sklearn.metrics")
    true, pred = zip(*cases)
    if len({*true, *pred}) > 1:
        assert metrics.mcc(true, pred) == pytest.approx(reference.matthews_corrcoef(true, pred), abs=1e-12)


def test_correlation_by_hand():
    assert metrics.mcc([0, 1, 1], [0, 1, 1]) == 1 and metrics.mcc([0, 1], [1, 0]) == -1
    assert metrics.mcc([0, 1], [0, 0]) == metrics.mcc([2, 2], [2, 2]) == 0


@pytest.mark.slow
@settings(max_examples=40)
@given(st.data())
def test_areas_against_scikit_learn(data):
    reference = pytest.importorskip("sklearn.metrics")
    scores = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0])  # with ties
    rows = data.draw(st.lists(st.tuples(scores, scores, scores), min_size=3, max_size=12))
    true = data.draw(st.permutations([0, 1, 2, *([1] * (len(rows) - 3))]))
    p = np.array(rows) + 1e-3
    p /= p.sum(axis=1, keepdims=True)
    for average in ("macro", "weighted", None):
        theirs = reference.roc_auc_score(true, p, multi_class="ovr", average=average)
        np.testing.assert_allclose(metrics.roc_auc(true, p, average), theirs, rtol=0, atol=1e-12)
    yes = (np.array(true) == 1).astype(int)
    assert metrics.roc_auc(yes, p[:, 1]) == pytest.approx(reference.roc_auc_score(yes, p[:, 1]), abs=1e-12)
    labels = (np.array(true)[:, None] == np.arange(3)).astype(int)
    for average in ("macro", "weighted", None):
        theirs = reference.roc_auc_score(labels, p, average=average)
        np.testing.assert_allclose(metrics.roc_auc(labels, p, average), theirs, rtol=0, atol=1e-12)


def test_an_area_without_cases_is_not_a_number():
    assert np.isnan(metrics.roc_auc([1, 1], [0.1, 0.2])) and np.isnan(metrics.roc_auc([0, 0], [0.1, 0.2]))
    assert np.isnan(metrics.roc_auc([0, 1], np.eye(3)[:2], average=None)).tolist() == [False, False, True]
    with pytest.raises(ValueError, match=r"y_true has shape \(2,\) and scores \(3,\); expected \(N,\)"):
        metrics.roc_auc([0, 1], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="scores holds <U1 values; expected numbers"):
        metrics.roc_auc([0, 1], ["a", "b"])
    with pytest.raises(
        ValueError, match="y_true holds int64 values, the first of which is 2; expected integers from 0 to 1"
    ):
        metrics.roc_auc([2, 1], [0.1, 0.2])


def test_ten_thousand_classes_need_no_matrix():
    """Which would have 10⁸ entries."""
    true = np.arange(10_000)
    assert metrics.f1(true, true) == metrics.precision(true, true, "weighted") == metrics.mcc(true, true) == 1
    assert metrics.recall(true, true // 2 * 2, "micro") == 0.5


def test_scores_that_are_no_numbers_have_no_order():
    for true, scores in (([0, 1], [np.nan, 0.1]), ([0, 1, 2], np.full((3, 3), np.nan)), ([[0, 1]], [[np.nan, 1]])):
        with pytest.raises(ValueError, match="scores holds nan"):
            metrics.roc_auc(true, scores)
    assert metrics.roc_auc([0, 1], [-np.inf, np.inf]) == 1.0
