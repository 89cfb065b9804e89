"""How good predictions are: one file for each kind, true values first.  Plain NumPy, no Tensors, no models."""

from .classification import (
    accuracy,
    classification_report,
    confusion_matrix,
    f1,
    format_confusion_matrix,
    precision,
    recall,
)
