"""How well predicted classes agree with the true ones: accuracy, precision, recall, F1, and tables a person can read.

Classes are integers from 0, in NumPy arrays or Tensors of any shape, or names, which are numbered in sorted order.
y_true comes first.  The definitions, averages included, are scikit-learn's; a ratio without cases (the precision of a
class that is never predicted) is 0.  Without `num_classes` the classes are those that occur; with it they are
0 … num_classes - 1, and a class that never occurs counts as 0 in the macro average.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ..errors import is_whole

# mean over classes, over cases, over classes by support, per class
Average = Literal["macro", "micro", "weighted"] | None


def accuracy(y_true: Any, y_pred: Any) -> float:
    """The share of cases predicted right."""
    y_true, y_pred = pair(y_true, y_pred)
    return float((y_true == y_pred).mean())


def confusion_matrix(y_true: Any, y_pred: Any, num_classes: int | None = None) -> np.ndarray:
    """Counts, int64 of (classes, classes): row = true class, column = predicted class."""
    row, column, n = numbered(y_true, y_pred, num_classes)
    return np.bincount(row * n + column, minlength=n * n).reshape(n, n)


def precision(
    y_true: Any, y_pred: Any, average: Average = "macro", num_classes: int | None = None
) -> float | np.ndarray:
    """Of the cases predicted to be of a class, the share that are."""
    right, true, predicted = counts(y_true, y_pred, num_classes)
    return averaged(right, predicted, true, average)


def recall(y_true: Any, y_pred: Any, average: Average = "macro", num_classes: int | None = None) -> float | np.ndarray:
    """Of the cases of a class, the share predicted to be."""
    right, true, _ = counts(y_true, y_pred, num_classes)
    return averaged(right, true, true, average)


def f1(y_true: Any, y_pred: Any, average: Average = "macro", num_classes: int | None = None) -> float | np.ndarray:
    """The harmonic mean of precision and recall: 2 right / (predicted + true)."""
    right, true, predicted = counts(y_true, y_pred, num_classes)
    return averaged(2 * right, predicted + true, true, average)


def mcc(y_true: Any, y_pred: Any) -> float:
    """Matthews' correlation coefficient of any number of classes (Gorodkin 2004), from -1 to 1.

    0 is chance, and the value where all cases, true or predicted, are of one class.
    """
    right, true, predicted = (count.astype(np.float64) for count in counts(y_true, y_pred, None))
    n = true.sum()
    spread = (n * n - (true**2).sum()) * (n * n - (predicted**2).sum())
    return float((n * right.sum() - true @ predicted) / math.sqrt(spread)) if spread > 0 else 0.0


def roc_auc(y_true: Any, scores: Any, average: Literal["macro", "weighted"] | None = "macro") -> float | np.ndarray:
    """The area under the ROC curve: how often a case of a class scores higher than one of another; ties count half.

    Args:
        y_true: classes (N,), or of several labels for each case zeros and ones (N, labels).
        scores: of two classes those of class 1, (N,); else (N, classes), each class against the rest.
        average: over the classes, or None for the area of each.

    nan where a class has all cases or none, and so has the average.

    Raises:
        ValueError: the shapes do not fit, a class is beyond the scores, or a score is nan.
    """
    true, scores = array_of(y_true), array_of(scores)
    if scores.dtype.kind not in "biuf":
        raise ValueError(f"scores holds {scores.dtype} values; expected numbers")
    scores = scores.astype(np.float64)
    if scores.ndim not in (1, 2) or true.shape not in (scores.shape, scores.shape[:1]) or not len(true):
        raise ValueError(
            f"y_true has shape {true.shape} and scores {scores.shape}; expected (N,) and (N,) or (N, classes), or "
            "twice (N, labels)"
        )
    if np.isnan(scores).any():
        raise ValueError("scores holds nan, which has no place in an order; expected numbers")
    classes = scores.shape[1] if scores.ndim == 2 and true.ndim == 1 else 2
    if true.dtype.kind not in "biuf" or not np.isin(true, np.arange(classes)).all():
        raise ValueError(
            f"y_true holds {true.ravel()[0].item()!r} and the like; expected integers from 0 to {classes - 1}"
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
    """The rank of each value from 1, equal ones the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (count.cumsum() - (count - 1) / 2)[place]


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
    """Precision, recall, F1 and support of each class from its counts, and averages of them.

    Of more than `most` classes only those with the most true cases are listed.
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
                f"{name} holds {y.flat[0]!r} and the like; expected classes, integers from 0, or names in both"
            )
        if y.dtype.kind not in "biu" or y.min() < 0:
            raise ValueError(f"{name} holds {y.dtype} values from {y.min()}; expected classes, integers from 0")
    return y_true.ravel().astype(np.int64), y_pred.ravel().astype(np.int64)


def array_of(y: Any) -> np.ndarray:
    """A NumPy array of a Tensor, of another library's, or of lists; bfloat16, which NumPy has not, as float32."""
    array = np.asarray(y.numpy() if hasattr(y, "numpy") else y)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def as_classes(y: Any) -> np.ndarray:
    """An array; of a list with names in it, one that keeps the rest as it is."""
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
            f"num_classes={num_classes} is for classes from 0, and these have names such as "
            f"{str(classes[0])!r}: leave it out, or give numbers"
        )
    if classes[-1] >= num_classes:
        raise ValueError(
            f"class {classes[-1]} occurs, but num_classes is {num_classes}; expected 0 to {num_classes - 1}"
        )
    return both[0], both[1], num_classes


def counts(y_true: Any, y_pred: Any, num_classes: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each class the cases predicted right, the true ones, and those predicted to be of it."""
    true, predicted, classes = numbered(y_true, y_pred, num_classes)
    right, true, predicted = (np.bincount(y, minlength=classes) for y in (true[true == predicted], true, predicted))
    return right, true, predicted


def averaged(right: np.ndarray, cases: np.ndarray, support: np.ndarray, average: Average) -> float | np.ndarray:
    """The ratio right / cases, two counts for each class, averaged; `support` are its true cases."""
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
