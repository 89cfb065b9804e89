"""Measures of predictions, a file for each kind; true values come first.  Plain NumPy, no Tensors, no models."""

from typing import TYPE_CHECKING, Any

from ..elsewhere import missing as _missing
from .answers import exact_match, normalize_answer, squad_f1
from .classification import (
    accuracy,
    classification_report,
    confusion_matrix,
    f1,
    format_confusion_matrix,
    mcc,
    precision,
    recall,
    roc_auc,
)
from .entities import entities_of, entity_report, entity_scores
from .language import bits_per_byte, perplexity
from .multilabel import exact_labels, multilabel_f1, multilabel_precision, multilabel_recall
from .regression import mae, pearson, rmse, spearman
from .written import bleu, chrf, rouge

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        raise _missing(__name__, name)
