"""Scores of predictions of several labels for each case: arrays (N, labels) of zeros and ones, the true ones first.

The definitions, including the averages, are scikit-learn's; a ratio whose denominator is 0 is 0.
"""

from typing import Any

import numpy as np

from .classification import Average, array_of, averaged


def multilabel_precision(y_true: Any, y_pred: Any, average: Average = "macro") -> float | np.ndarray:
    """The share of the cases predicted to have a label that have it; averaged over the labels, or (labels,)."""
    right, true, predicted = label_counts(y_true, y_pred)
    return averaged(right, predicted, true, average)


def multilabel_recall(y_true: Any, y_pred: Any, average: Average = "macro") -> float | np.ndarray:
    """The share of the cases with a label that are predicted to have it; averaged over the labels, or (labels,)."""
    right, true, _ = label_counts(y_true, y_pred)
    return averaged(right, true, true, average)


def multilabel_f1(y_true: Any, y_pred: Any, average: Average = "macro") -> float | np.ndarray:
    """The harmonic mean of precision and recall, 2 right / (predicted + true); averaged, or (labels,)."""
    right, true, predicted = label_counts(y_true, y_pred)
    return averaged(2 * right, predicted + true, true, average)


def exact_labels(y_true: Any, y_pred: Any) -> float:
    """The share of cases of which every label is predicted right, from 0 to 1."""
    true, predicted = label_arrays(y_true, y_pred)
    return float((true == predicted).all(axis=1).mean())


def label_counts(y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three counts for each label: the cases rightly predicted to have it, those that have it, those predicted to."""
    true, predicted = label_arrays(y_true, y_pred)
    return (true & predicted).sum(axis=0), true.sum(axis=0), predicted.sum(axis=0)


def label_arrays(y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both as booleans (N, labels).  Raises ValueError for other shapes or values, or if there are no cases."""
    arrays = [array_of(y) for y in (y_true, y_pred)]
    for name, array in zip(("y_true", "y_pred"), arrays, strict=True):
        if array.ndim != 2 or not array.size or array.shape != arrays[0].shape:
            raise ValueError(
                f"{name} has shape {array.shape}; expected (cases, labels), one case or more, the same for both"
            )
        if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
            raise ValueError(
                f"{name} holds {array.dtype} values, the first of which is {array.ravel()[0].item()!r}; expected zeros "
                "and ones, such as logits > 0"
            )
    return arrays[0] == 1, arrays[1] == 1
