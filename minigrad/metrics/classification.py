"""How well predicted classes agree with the true ones: accuracy, precision, recall, F1, and tables a person can read.

Classes are integers from 0, in NumPy arrays or Tensors of any shape, or names, which are numbered in sorted order.
y_true comes first.  The definitions, averages included, are scikit-learn's; a ratio without cases (the precision of a
class that is never predicted) is 0.  Without `num_classes` the classes are those that occur; with it they are
0 … num_classes - 1, and a class that never occurs counts as 0 in the macro average.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

# mean over classes, over cases, over classes by support, per class
Average = Literal["macro", "micro", "weighted"] | None


def accuracy(y_true: Any, y_pred: Any) -> float:
    """The share of cases predicted right."""
    y_true, y_pred = pair(y_true, y_pred)
    return float((y_true == y_pred).mean())


def confusion_matrix(y_true: Any, y_pred: Any, num_classes: int | None = None) -> np.ndarray:
    """Counts, int64 of (classes, classes): row = true class, column = predicted class."""
    y_true, y_pred = pair(y_true, y_pred)
    both = np.stack([y_true, y_pred])
    classes, codes = np.unique(both, return_inverse=True)
    if num_classes is not None:
        if both.dtype.kind == "U":
            raise ValueError(
                f"num_classes={num_classes} is for classes from 0, and these have names such as "
                f"{str(classes[0])!r}: leave it out, or give numbers"
            )
        if classes[-1] >= num_classes:
            raise ValueError(
                f"class {classes[-1]} occurs, but num_classes is {num_classes}; expected 0 to {num_classes - 1}"
            )
        classes, codes = np.arange(num_classes), both
    n, (row, column) = len(classes), codes.reshape(2, -1)
    return np.bincount(row * n + column, minlength=n * n).reshape(n, n)


def precision(
    y_true: Any, y_pred: Any, average: Average = "macro", num_classes: int | None = None
) -> float | np.ndarray:
    """Of the cases predicted to be of a class, the share that are."""
    matrix = confusion_matrix(y_true, y_pred, num_classes)
    return averaged(matrix, matrix.diagonal(), matrix.sum(axis=0), average)


def recall(y_true: Any, y_pred: Any, average: Average = "macro", num_classes: int | None = None) -> float | np.ndarray:
    """Of the cases of a class, the share predicted to be."""
    matrix = confusion_matrix(y_true, y_pred, num_classes)
    return averaged(matrix, matrix.diagonal(), matrix.sum(axis=1), average)


def f1(y_true: Any, y_pred: Any, average: Average = "macro", num_classes: int | None = None) -> float | np.ndarray:
    """The harmonic mean of precision and recall: 2 right / (predicted + true)."""
    matrix = confusion_matrix(y_true, y_pred, num_classes)
    return averaged(matrix, 2 * matrix.diagonal(), matrix.sum(axis=0) + matrix.sum(axis=1), average)


def classification_report(y_true: Any, y_pred: Any, names: Sequence[str]) -> str:
    """A table of precision, recall, F1 and support (cases) of each class, and of their averages.

    names[i] is class i's; y_true and y_pred may hold the names themselves.
    """
    y_true, y_pred = pair(y_true, y_pred)
    if y_true.dtype.kind == "U":
        if unknown := sorted({*y_true.tolist(), *y_pred.tolist()} - set(names)):
            raise ValueError(f"the class {unknown[0]!r} is not among the names {', '.join(names)}")
        number = {name: i for i, name in enumerate(names)}
        y_true, y_pred = (np.array([number[name] for name in y.tolist()]) for y in (y_true, y_pred))

    def scores(average: Average) -> list[Any]:
        return [score(y_true, y_pred, average, len(names)) for score in (precision, recall, f1)]

    support = confusion_matrix(y_true, y_pred, len(names)).sum(axis=1)
    rows = [
        *zip(names, *scores(None), support),
        *((f"{average} average", *scores(average), support.sum()) for average in ("macro", "weighted")),
    ]
    width = max(len(name) for name, *_ in rows)
    lines = [
        f"{'':{width}}  precision  recall     f1  support",
        *(f"{name:{width}}  {p:9.3f}  {r:6.3f}  {f:5.3f}  {n:7d}" for name, p, r, f, n in rows),
        f"{'accuracy':{width}}  {accuracy(y_true, y_pred):24.3f}  {support.sum():7d}",
    ]
    return "\n".join(lines)


def format_confusion_matrix(matrix: np.ndarray, names: Sequence[str]) -> str:
    """A confusion matrix as text: a named and numbered row per true class, a numbered column per predicted class.

    Zeros are dots, so that what is confused with what stands out.
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
    """Both as flat arrays of the same size, int64 or of names."""
    y_true, y_pred = (as_classes(y.numpy() if hasattr(y, "numpy") else y) for y in (y_true, y_pred))
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
                f"{name} holds {y.flat[0]!r} and the like; expected classes, integers from 0, or names in both"
            )
        if y.dtype.kind not in "biu" or y.min() < 0:
            raise ValueError(f"{name} holds {y.dtype} values from {y.min()}; expected classes, integers from 0")
    return y_true.ravel().astype(np.int64), y_pred.ravel().astype(np.int64)


def as_classes(y: Any) -> np.ndarray:
    """An array; of a list with names in it, one that keeps the rest as it is."""
    y = y.numpy() if hasattr(y, "numpy") else y
    array = np.asarray(y)
    return np.asarray(y, object) if array.dtype.kind == "U" and not isinstance(y, np.ndarray) else array


def averaged(matrix: np.ndarray, right: np.ndarray, cases: np.ndarray, average: Average) -> float | np.ndarray:
    """The ratio right / cases, two counts for each class, averaged."""
    if average == "micro":
        right, cases = right.sum(keepdims=True), cases.sum(keepdims=True)
    score = right / np.maximum(cases, 1)
    if average is None:
        return score
    if average not in ("macro", "micro", "weighted"):
        raise ValueError(
            f"average is {average!r}; expected 'macro', 'micro', 'weighted' or None for one score per class"
        )
    return float(np.average(score, weights=matrix.sum(axis=1) if average == "weighted" else None))
