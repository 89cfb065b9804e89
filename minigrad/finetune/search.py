"""Search over templates: ranks them by how well they classify held-out examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..data import Example
from ..pretrained import AutoTokenizer, PretrainedModel
from .prompts import PromptClassifier, probabilities
from .templates import Template
from .verbalizers import Verbalizer


class TemplateScore(NamedTuple):
    """A template, its accuracy on the examples, and their mean cross-entropy in nats."""

    template: Template
    accuracy: float
    loss: float


def rank_templates(
    model: PretrainedModel,
    tokenizer: AutoTokenizer,
    templates: Iterable[Template | str],
    verbalizer: Verbalizer | Mapping[str, str | Sequence[str]],
    examples: Sequence[Example | tuple[str, str]],
    *,
    calibrate: bool = False,
    **options: Any,
) -> list[TemplateScore]:
    """The templates in descending order of accuracy on the examples, ties by cross-entropy.

    Evaluate the chosen template on other examples: on those that selected it, the best of many looks better than it is.

    Args:
        templates: written by hand, or made by `expand_templates`.
        calibrate: whether each template is calibrated before it is scored.
        options: those of `PromptClassifier`, such as demonstrations.

    Raises:
        ValueError: there is no template, or `PromptClassifier` raises it.
    """
    found, given = [], [templates] if isinstance(templates, (str, Template)) else templates
    if not isinstance(given, Iterable):
        raise TypeError(
            f"templates is {given!r}; expected several in a list, such as ['{{text}} It is about {{mask}}.']"
        )
    for template in given:
        classifier = PromptClassifier(model, tokenizer, template, verbalizer, **options)
        if calibrate:
            classifier.calibrate()
        found.append(TemplateScore(classifier.template, *score(classifier, examples)))
    if not found:
        raise ValueError("there is no template to score: give one or more, such as ['{text} It is about {mask}.']")
    return sorted(found, key=lambda one: (-one.accuracy, one.loss))


def score(classifier: PromptClassifier, examples: Sequence[Example | tuple[str, str]]) -> tuple[float, float]:
    """The classifier's accuracy on labelled examples, and its mean cross-entropy."""
    dataset = classifier.dataset(examples)
    labels = dataset.columns["label"]
    logits = classifier.logits([text for text, _ in examples])
    p = np.maximum(probabilities(logits)[np.arange(len(labels)), labels], np.finfo(np.float32).tiny)
    return float((logits.argmax(1) == labels).mean()), float(-np.log(p).mean())
