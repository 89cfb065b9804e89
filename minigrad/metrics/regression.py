"""Scores of predicted numbers: their errors, and their correlation with the true numbers."""

import math
from typing import Any

import numpy as np

from .classification import array_of, mean_ranks


def mae(y_true: Any, y_pred: Any) -> float:
    """The mean absolute error, in the unit of the values."""
    true, predicted = number_pair(y_true, y_pred)
    return float(np.abs(true - predicted).mean())


def rmse(y_true: Any, y_pred: Any) -> float:
    """The root of the mean squared error, in the unit of the values."""
    true, predicted = number_pair(y_true, y_pred)
    return math.sqrt(((true - predicted) ** 2).mean())


def pearson(y_true: Any, y_pred: Any) -> float:
    """Pearson's correlation coefficient, from -1 to 1; nan where either side is constant."""
    sides = number_pair(y_true, y_pred)
    if any((y == y[0]).all() for y in sides):  # compared exactly, because differences from a rounded mean need not be 0
        return math.nan
    # Scaling the largest to about 1 by a power of two is exact, and keeps squares from overflowing or underflowing.
    sides = [np.ldexp(y, -np.frexp(np.abs(y).max())[1] - len(y).bit_length()) for y in sides]
    true, predicted = (y - y.mean() for y in sides)
    return float(np.clip((true / np.linalg.norm(true)) @ (predicted / np.linalg.norm(predicted)), -1, 1))


def spearman(y_true: Any, y_pred: Any) -> float:
    """Spearman's rank correlation: Pearson's coefficient of the ranks; equal values have the mean of their ranks."""
    true, predicted = number_pair(y_true, y_pred)
    return pearson(mean_ranks(true), mean_ranks(predicted))


def number_pair(y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both as flat float64 arrays.  Raises ValueError if the shapes differ, or a value is missing or not finite."""
    arrays = [array_of(y) for y in (y_true, y_pred)]
    if arrays[0].shape != arrays[1].shape or not arrays[0].size:
        raise ValueError(
            f"y_true has shape {arrays[0].shape} and y_pred {arrays[1].shape}; expected the same, one number or more"
        )
    for name, array in zip(("y_true", "y_pred"), arrays, strict=True):
        if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
            raise ValueError(f"{name} holds {array.dtype} values, not all finite numbers; expected finite numbers")
    true, predicted = (array.ravel().astype(np.float64) for array in arrays)
    return true, predicted
