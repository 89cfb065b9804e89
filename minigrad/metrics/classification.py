"""Scores of predicted classes: accuracy, precision, recall, F1, ROC-AUC, and tables a person can read.

Classes are integers from 0, in NumPy arrays or Tensors of any shape, or names, which are numbered in sorted order.
y_true comes first.  The definitions, including the averages, are scikit-learn's; a ratio whose denominator is 0 (the
precision of a class that is never predicted) is 0.  Without `num_classes` the classes are those that occur; with it
they are 0 … num_classes - 1, and a class that never occurs counts as 0 in the macro average.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ..errors import is_whole

# the mean over classes, over cases, over classes weighted by their support, and one value per class
Average = Literal["macro", "micro", "weighted"] | None


def accuracy(y_true: Any, y_pred: Any) -> float:
    """The share of cases whose prediction is right, from 0 to 1."""
    y_true, y_pred = pair(y_true, y_pred)
    return float((y_true == y_pred).mean())


def confusion_matrix(y_true: Any, y_pred: Any, num_classes: int | None = None) -> np.ndarray:
    """The counts (classes, classes) in int64: row = true class, column = predicted class."""
    row, column, n = numbered(y_true, y_pred, num_classes)
    return np.bincount(row * n + column, minlength=n * n).reshape(n, n)


def precision(
    y_true: Any, y_pred: Any, average: Average = "macro", num_classes: int | None = None
) -> float | np.ndarray:
    """The share of the cases predicted to be of a class that are of it; averaged over the classes, or (classes,)."""
    right, true, predicted = counts(y_true, y_pred, num_classes)
    return averaged(right, predicted, true, average)


def recall(y_true: Any, y_pred: Any, average: Average = "macro", num_classes: int | None = None) -> float | np.ndarray:
    """The share of the cases of a class that are predicted to be of it; averaged over the classes, or (classes,)."""
    right, true, _ = counts(y_true, y_pred, num_classes)
    return averaged(right, true, true, average)


def f1(y_true: Any, y_pred: Any, average: Average = "macro", num_classes: int | None = None) -> float | np.ndarray:
    """The harmonic mean of precision and recall, 2 right / (predicted + true); averaged, or (classes,)."""
    right, true, predicted = counts(y_true, y_pred, num_classes)
    return averaged(2 * right, predicted + true, true, average)


def mcc(y_true: Any, y_pred: Any) -> float:
    """Matthews' correlation coefficient for any number of classes (Gorodkin 2004), from -1 to 1.

    It is 0 for predictions no better than chance, and where all true or all predicted cases are of one class.
    """
    right, true, predicted = (count.astype(np.float64) for count in counts(y_true, y_pred, None))
    n = true.sum()
    spread = (n * n - (true**2).sum()) * (n * n - (predicted**2).sum())
    return float((n * right.sum() - true @ predicted) / math.sqrt(spread)) if spread > 0 else 0.0


def roc_auc(y_true: Any, scores: Any, average: Literal["macro", "weighted"] | None = "macro") -> float | np.ndarray:
    """The area under the ROC curve: how often a case of a class scores higher than one of another; ties count half.

    Args:
        y_true: classes (N,), or zeros and ones (N, labels) if a case may have several labels.
        scores: the scores of class 1, (N,), for two classes; otherwise (N, classes), each class against the rest.
        average: how to average over the classes; None returns the area of each, (classes,).

    The area of a class that has all cases or none is nan, and so is the average over it.

    Raises:
        ValueError: the shapes do not match, a class has no column of scores, or a score is nan.
    """
    true, scores = array_of(y_true), array_of(scores)
    if scores.dtype.kind not in "biuf":
        raise ValueError(f"scores holds {scores.dtype} values; expected numbers")
    scores = scores.astype(np.float64)
    if scores.ndim not in (1, 2) or true.shape not in (scores.shape, scores.shape[:1]) or not len(true):
        raise ValueError(
            f"y_true has shape {true.shape} and scores {scores.shape}; expected (N,) and (N,) or (N, classes), or "
            "(N, labels) for both"
        )
    if np.isnan(scores).any():
        raise ValueError("scores holds nan, which cannot be ordered; expected numbers")
    classes = scores.shape[1] if scores.ndim == 2 and true.ndim == 1 else 2
    if true.dtype.kind not in "biuf" or not np.isin(true, np.arange(classes)).all():
        raise ValueError(
            f"y_true holds {true.dtype} values, the first of which is {true.ravel()[0].item()!r}; expected integers "
            f"from 0 to {classes - 1}"
        )
    is_class = (true[:, None] == np.arange(classes)) if true.ndim < scores.ndim else true.reshape(len(true), -1) == 1
    columns = scores.reshape(len(scores), -1).T
    area = np.array([area_under_curve(yes, score) for yes, score in zip(is_class.T, columns, strict=True)])
    if scores.ndim == 1:
        return float(area[0])
    if average is None:
        return area
    if average not in ("macro", "weighted"):
        raise ValueError(f"average is {average!r}; expected 'macro', 'weighted' or None for one area per class")
    return float(np.average(area, weights=is_class.sum(0) if average == "weighted" and is_class.any() else None))


def area_under_curve(yes: np.ndarray, scores: np.ndarray) -> float:
    """The area of one class, from the ranks of the scores (Mann and Whitney's U)."""
    n = int(yes.sum())
    if n in (0, len(yes)):
        return math.nan
    return float((mean_ranks(scores)[yes].sum() - n * (n + 1) / 2) / (n * (len(yes) - n)))


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each value, from 1; equal values have the mean of their ranks."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (count.cumsum() - (count - 1) / 2)[place]


def classification_report(y_true: Any, y_pred: Any, names: Sequence[str]) -> str:
    """A table of precision, recall, F1 and support (the number of true cases) of each class, and of their averages.

    names[i] is the name of class i; y_true and y_pred may also hold names.  Raises ValueError for an unknown class.
    """
    y_true, y_pred = pair(y_true, y_pred)
    if y_true.dtype.kind == "U":
        if unknown := sorted({*y_true.tolist(), *y_pred.tolist()} - set(names)):
            raise ValueError(f"the class {unknown[0]!r} is not among the names {', '.join(names)}")
        number = {name: i for i, name in enumerate(names)}
        y_true, y_pred = (np.array([number[name] for name in y.tolist()]) for y in (y_true, y_pred))

    right, true, predicted = counts(y_true, y_pred, len(names))
    table = score_table(names, right, true, predicted, averages=("macro", "weighted"))
    width = len(table.partition("  precision")[0])
    return f"{table}\n{'accuracy':{width}}  {accuracy(y_true, y_pred):24.3f}  {true.sum():7d}"


def score_table(
    names: Sequence[str],
    right: np.ndarray,
    true: np.ndarray,
    predicted: np.ndarray,
    averages: Sequence[Average],
    most: int | None = None,
) -> str:
    """A table of precision, recall, F1 and support of each class, from its counts, and of their averages.

    If there are more than `most` classes, only those with the most true cases are listed.
    """
    columns = [(right, predicted), (right, true), (2 * right, true + predicted)]
    order = range(len(names)) if most is None or len(names) <= most else np.argsort(-true, kind="stable")[:most]
    each: list[Any] = [averaged(*column, true, None) for column in columns]
    rows = [
        *((names[i], *(score[i] for score in each), true[i]) for i in order),
        *(
            (f"{average} average", *(averaged(*column, true, average) for column in columns), true.sum())
            for average in averages
        ),
    ]
    width = max(len(name) for name, *_ in rows)
    lines = [
        f"{'':{width}}  precision  recall     f1  support",
        *(f"{name:{width}}  {p:9.3f}  {r:6.3f}  {f:5.3f}  {n:7d}" for name, p, r, f, n in rows),
    ]
    if left_out := len(names) - len(order):
        lines.insert(len(order) + 1, f"... and {left_out:,} more classes")
    return "\n".join(lines)


def format_confusion_matrix(matrix: np.ndarray, names: Sequence[str]) -> str:
    """A confusion matrix as text: a named and numbered row per true class, a numbered column per predicted class.

    Zeros are printed as dots, so that the confusions stand out.
    """
    if matrix.shape != (len(names), len(names)):
        raise ValueError(
            f"{len(names)} names for a matrix of shape {matrix.shape}; make it with num_classes={len(names)}"
        )
    cells = [[str(n) if n else "." for n in row] for row in matrix.tolist()]
    labels = [f"{name} {i}" for i, name in enumerate(names)]
    left = max(len(label) for label in [*labels, "true \\ predicted"])
    right = max(len(cell) for row in [*cells, [str(len(names) - 1)]] for cell in row)
    return "\n".join(
        f"{label:>{left}}  " + " ".join(f"{cell:>{right}}" for cell in row)
        for label, row in [("true \\ predicted", range(len(names))), *zip(labels, cells)]
    )


def pair(y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
    """y_true and y_pred as flat arrays of the same size, of int64 or of names."""
    y_true, y_pred = as_classes(y_true), as_classes(y_pred)
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"y_true has shape {y_true.shape} and y_pred {y_pred.shape}; expected the same"
            + ("; for logits, pass logits.argmax(-1)" if y_pred.ndim == y_true.ndim + 1 else "")
        )
    if y_true.size == 0:
        raise ValueError("there are no cases to measure; expected at least one")
    named = [y.dtype.kind in "UO" and all(isinstance(name, str) for name in y.flat) for y in (y_true, y_pred)]
    if all(named):
        return y_true.ravel().astype(str), y_pred.ravel().astype(str)
    for name, y in (("y_true", y_true), ("y_pred", y_pred)):
        if y.dtype.kind in "UO":
            raise ValueError(
                f"{name} holds values such as {y.flat[0]!r}; expected classes, integers from 0, or names in both"
            )
        if y.dtype.kind not in "biu" or y.min() < 0:
            raise ValueError(f"{name} holds {y.dtype} values from {y.min()}; expected classes, integers from 0")
    return y_true.ravel().astype(np.int64), y_pred.ravel().astype(np.int64)


def array_of(y: Any) -> np.ndarray:
    """A Tensor, another library's array or a list as a NumPy array; bfloat16, which NumPy lacks, becomes float32."""
    array = np.asarray(y.numpy() if hasattr(y, "numpy") else y)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def as_classes(y: Any) -> np.ndarray:
    """Classes as an array; of objects for a list with a name in it, so that its numbers do not become text."""
    array = array_of(y)
    return np.asarray(y, object) if array.dtype.kind == "U" and not isinstance(y, np.ndarray) else array


def numbered(y_true: Any, y_pred: Any, num_classes: int | None) -> tuple[np.ndarray, np.ndarray, int]:
    """True and predicted classes as numbers from 0, and how many classes there are."""
    both = np.stack(pair(y_true, y_pred))
    classes, codes = np.unique(both, return_inverse=True)
    if num_classes is None:
        true, predicted = codes.reshape(both.shape)
        return true, predicted, len(classes)
    if not is_whole(num_classes, 1):
        raise ValueError(f"num_classes is {num_classes!r}; expected a whole number of at least 1")
    if both.dtype.kind == "U":
        raise ValueError(
            f"num_classes={num_classes} is for classes numbered from 0, but these have names such as "
            f"{str(classes[0])!r}: leave it out, or give numbers"
        )
    if classes[-1] >= num_classes:
        raise ValueError(
            f"class {classes[-1]} occurs, but num_classes is {num_classes}; expected 0 to {num_classes - 1}"
        )
    return both[0], both[1], num_classes


def counts(y_true: Any, y_pred: Any, num_classes: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three counts for each class: the cases predicted right, the true cases, and those predicted to be of it."""
    true, predicted, classes = numbered(y_true, y_pred, num_classes)
    right, true, predicted = (np.bincount(y, minlength=classes) for y in (true[true == predicted], true, predicted))
    return right, true, predicted


def averaged(right: np.ndarray, cases: np.ndarray, support: np.ndarray, average: Average) -> float | np.ndarray:
    """The averaged ratio right / cases of two counts for each class; `support` counts its true cases."""
    if average == "micro":
        right, cases = right.sum(keepdims=True), cases.sum(keepdims=True)
    score = right / np.maximum(cases, 1)
    if average is None:
        return score
    if average not in ("macro", "micro", "weighted"):
        raise ValueError(
            f"average is {average!r}; expected 'macro', 'micro', 'weighted' or None for one score per class"
        )
    if average == "weighted" and not support.any():
        return 0.0
    return float(np.average(score, weights=support if average == "weighted" else None))
