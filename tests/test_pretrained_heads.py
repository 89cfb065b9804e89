"""The losses of the heads, against the same sums written out in NumPy."""

import numpy as np
import pytest

from minigrad.pretrained.heads import answer_span, causal_loss, classification_loss, token_loss
from minigrad.pretrained.model import Config
from minigrad.tensor import Tensor

rng = np.random.default_rng(0)
B, T, C = 3, 4, 5


def log_softmax(x):
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def test_single_label_is_cross_entropy():
    logits = rng.standard_normal((B, C))
    expected = -log_softmax(logits)[range(B), [4, 0, 2]].mean()
    assert classification_loss(Tensor(logits), [4, 0, 2], Config(num_labels=C)).item() == pytest.approx(expected)


def test_multi_label_is_a_yes_or_no_for_each():
    logits, labels = rng.standard_normal((B, C)), rng.integers(0, 2, (B, C))
    p = 1 / (1 + np.exp(-logits))
    expected = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean()
    named = Config(num_labels=C, problem_type="multi_label_classification")
    for given, config in ((labels, named), (labels / 1, Config(num_labels=C))):  # floats say what is meant
        assert classification_loss(Tensor(logits), given, config).item() == pytest.approx(expected)


def test_floats_where_classes_were_meant_are_refused():
    with pytest.raises(
        ValueError, match=r"labels have shape \(3,\), but multi_label_.*: for one class each give whole num"
    ):
        classification_loss(Tensor(np.zeros((B, C))), [0.0, 1.0, 4.0], Config(num_labels=C))


@pytest.mark.parametrize(
    ("shape", "config"),
    [
        ((B,), Config(num_labels=1)),
        ((B, 1), Config(num_labels=1)),
        ((B, 2), Config(num_labels=2, problem_type="regression")),
    ],
)
def test_regression_is_the_squared_error(shape, config):
    logits, labels = rng.standard_normal((B, config.num_labels)), rng.standard_normal(shape)
    expected = ((logits.reshape(shape) - labels) ** 2).mean()
    for given in (labels, labels.tolist(), Tensor(labels)):
        assert classification_loss(Tensor(logits), given, config).item() == pytest.approx(expected)


def test_tokens_without_a_label_count_for_nothing():
    logits, labels = rng.standard_normal((B, T, C)), rng.integers(0, C, (B, T))
    labels[0, 1:] = labels[2] = -100
    kept = labels != -100
    expected = -log_softmax(logits)[kept, labels[kept]].mean()
    assert token_loss(Tensor(logits), labels).item() == pytest.approx(expected)
    logits[~kept] = 99.0
    assert token_loss(Tensor(logits), labels).item() == pytest.approx(expected)


def test_the_causal_loss_is_that_of_the_next_token():
    logits, ids = rng.standard_normal((B, T, C)), rng.integers(0, C, (B, T))
    rows, places = np.indices((B, T - 1))
    expected = -log_softmax(logits)[rows, places, ids[:, 1:]].mean()
    assert causal_loss(Tensor(logits), ids).item() == pytest.approx(expected)


def test_an_answer_beyond_the_text_counts_for_nothing_and_a_negative_place_is_the_first():
    logits = rng.standard_normal((B, T, 2))
    out = answer_span(Tensor(logits), [1, 9, -3], [[3], [2], [T]])
    start, end = log_softmax(logits[..., 0]), log_softmax(logits[..., 1])
    expected = -((start[0, 1] + start[2, 0]) / 2 + (end[0, 3] + end[1, 2]) / 2) / 2
    assert out.loss.item() == pytest.approx(expected)
    np.testing.assert_array_equal(out.start_logits.numpy(), logits[..., 0])
    np.testing.assert_array_equal(out.end_logits.numpy(), logits[..., 1])


def test_without_labels_there_is_no_loss():
    logits = Tensor(rng.standard_normal((B, T, C)))
    assert token_loss(logits, None) is causal_loss(logits, None) is classification_loss(logits, None, Config()) is None
    assert answer_span(logits, [0] * B, None).loss is None


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda: classification_loss(Tensor(np.zeros((1, 2))), [0], Config(problem_type="ranking")),
            "problem_type 'ranking' is not",
        ),
        (
            lambda: token_loss(Tensor(np.zeros((B, T, C))), np.zeros((B, T + 1), int)),
            r"labels have shape \(3, 5\), .* \(3, 4\) to",
        ),
        (
            lambda: classification_loss(
                Tensor(np.zeros((2, 3))),
                np.zeros((2, 2)),
                Config(num_labels=3, problem_type="multi_label_classification"),
            ),
            r"\(2, 2\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
