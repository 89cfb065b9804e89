"""Scores of generated texts against references: BLEU and chrF by sacrebleu, ROUGE by rouge-score (extra `scores`)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from .answers import check_texts

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")

References = Sequence[str] | Sequence[Sequence[str]]  # one for each text, or a list for each


def bleu(y_true: References, y_pred: Sequence[str]) -> float:
    """The BLEU of the corpus from 0 to 100, with sacrebleu's defaults.

    Each text has one reference, or a list of references of the same length for every text.

    Raises ImportError without sacrebleu, ValueError if the numbers of texts and references do not match.
    """
    references = streams(y_true, y_pred)
    return library("sacrebleu").corpus_bleu(list(y_pred), references).score


def chrf(y_true: References, y_pred: Sequence[str]) -> float:
    """The chrF of the corpus from 0 to 100, with sacrebleu's defaults; takes and raises what `bleu` does."""
    references = streams(y_true, y_pred)
    return library("sacrebleu").corpus_chrf(list(y_pred), references).score


def rouge(y_true: References, y_pred: Sequence[str], use_stemmer: bool = False) -> dict[str, float]:
    """The mean F1 of rouge1, rouge2, rougeL and rougeLsum over the texts, from 0 to 1.

    The best of several references counts.  `use_stemmer` compares English words by their stems.

    Raises ImportError without rouge-score, ValueError if the numbers of texts and references do not match.
    """
    references = zip(*streams(y_true, y_pred), strict=True)
    scorer = library("rouge_score.rouge_scorer").RougeScorer(KINDS, use_stemmer=use_stemmer)
    found = [scorer.score_multi(some, text) for some, text in zip(references, y_pred, strict=True)]
    return {kind: sum(one[kind].fmeasure for one in found) / len(found) for kind in KINDS}


def streams(y_true: References, y_pred: Sequence[str]) -> list[list[str]]:
    """A list of the first references of all texts, one of the second references, …, as sacrebleu takes them."""
    check_texts(y_pred)
    if isinstance(y_true, str):
        raise ValueError(f"the true texts are one text, {y_true[:40]!r}; expected a list of them")
    references: list[list[str]] = [[one] if isinstance(one, str) else list(one) for one in y_true]
    counts = {len(some) for some in references}
    if len(references) != len(y_pred) or not references or len(counts) != 1 or 0 in counts:
        raise ValueError(
            f"there are {len(y_pred)} predicted texts and {len(references)} true texts, with {sorted(counts)} "
            "references each; expected equal numbers, at least one, and as many references for every text"
        )
    return [list(stream) for stream in zip(*references, strict=True)]


def library(name: str) -> Any:
    """An optional library.  Raises ImportError that says how to install it."""
    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0].replace("_", "-")
        raise ImportError(f"these scores need {package}: type pip install 'minigrad-learn[scores]'") from None
