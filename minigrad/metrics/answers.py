"""Scores of answers to questions about a text: exact match and F1, as SQuAD's evaluation script defines them."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)


def normalize_answer(answer: str) -> str:
    """The answer in lower case, without punctuation, articles and extra white space."""
    return " ".join(ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split())


def exact_match(y_true: Sequence[Sequence[str]], y_pred: Sequence[str]) -> float:
    """The share of answers that equal a true one after `normalize_answer`, from 0 to 1.

    Args:
        y_true: the true answers to each question, a list of texts; [] or [""] for a question without an answer.
        y_pred: an answer to each question.

    Raises:
        ValueError: there are not as many answers as questions, there are none, or something is not a text.
    """
    return mean_of_best(lambda true, answer: float(normalize_answer(true) == normalize_answer(answer)), y_true, y_pred)


def squad_f1(y_true: Sequence[Sequence[str]], y_pred: Sequence[str]) -> float:
    """The mean over the questions of the F1 of an answer's words against the closest true answer, from 0 to 1.

    Takes what `exact_match` takes.
    """
    return mean_of_best(words_f1, y_true, y_pred)


def words_f1(true: str, answer: str) -> float:
    """The harmonic mean of the shares of their words that two answers have in common; 1 if both are empty."""
    words, others = (normalize_answer(text).split() for text in (true, answer))
    if not words or not others:
        return float(words == others)
    common = sum((Counter(words) & Counter(others)).values())
    if not common:
        return 0.0
    precision, recall = common / len(others), common / len(words)
    return 2 * precision * recall / (precision + recall)


def mean_of_best(score, y_true: Sequence[Sequence[str]], y_pred: Sequence[str]) -> float:
    """The mean over the questions of the best score among the true answers."""
    check_texts(y_pred)
    if len(y_true) != len(y_pred) or not len(y_true):
        raise ValueError(
            f"there are {len(y_true)} questions and {len(y_pred)} predicted answers; expected an answer to each "
            "question, and at least one question"
        )
    for i, true in enumerate(y_true):
        if isinstance(true, str):
            raise ValueError(f"the true answers to question {i} are a text, {true[:40]!r}; expected a list of them")
    best = [max(score(true, answer) for true in (y or [""])) for y, answer in zip(y_true, y_pred, strict=True)]
    return sum(best) / len(best)


def check_texts(y_pred: Sequence[str]) -> None:
    """Raise ValueError unless the predictions are a list of texts; a single text is a sequence of texts too."""
    if isinstance(y_pred, str):
        raise ValueError(f"the predictions are one text, {y_pred[:40]!r}; expected a list of them")
    for i, text in enumerate(y_pred):
        if not isinstance(text, str):
            raise ValueError(f"prediction {i} is {text!r}, a {type(text).__name__}; expected a text")
