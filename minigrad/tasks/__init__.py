"""Tasks, one file each: the files a task reads, how it encodes them, which model it needs, its scores and its answers.

The names are those of transformers' pipelines.  `base.py` says what a task consists of.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from ..pretrained import PretrainedModel
from ..pretrained.checkpoint.files import read_config
from ..pretrained.values import shown
from .base import Task

# name -> file.Class; a task's file is imported when it is first needed
TASKS = {
    "text-classification": "text_classification.TextClassification",
    "token-classification": "token_classification.TokenClassification",
    "question-answering": "question_answering.QuestionAnswering",
    "text-generation": "language_modeling.CausalLanguageModeling",
    "fill-mask": "language_modeling.MaskedLanguageModeling",
    "text2text-generation": "text_to_text.TextToText",
    "image-classification": "image_classification.ImageClassification",
}
WITHOUT_HEAD = {"feature-extraction": "feature_extraction.FeatureExtraction"}  # of any model; there is nothing to train
DEFAULT = "text-classification"
ALIASES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}


def task_class(name: str) -> type[Task]:
    """The class of a task.  Raises ValueError, which suggests the nearest name, if there is no task of that name."""
    name = ALIASES.get(name, name) if isinstance(name, str) else name
    known = TASKS | WITHOUT_HEAD
    if not isinstance(name, str) or name not in known:
        near = "".join(f"; did you mean {one!r}?" for one in get_close_matches(str(name), [*known, *ALIASES], 1))
        raise ValueError(f"task is {name!r}; expected one of {', '.join(map(repr, known))}{near}")
    file, _, kind = known[name].partition(".")
    return getattr(import_module(f".{file}", __name__), kind)


def kind_of_model(source: str | os.PathLike | PretrainedModel) -> tuple[Any, Any]:
    """The family and the architectures of a model, given as an object or as a directory with a config.json."""
    if isinstance(source, PretrainedModel):
        return source.config.model_type, [type(source).__name__]
    entries: Any = read_config(source)
    return entries.get("model_type"), entries.get("architectures") or []


def task_named(architectures: Any) -> type[Task] | None:
    """The class of the task that models of these architectures are for; None if there is none, as for BertModel."""
    for kind in map(task_class, TASKS):
        classes = {path.partition(".")[2] for path in kind.model_class.families.values()}
        if isinstance(architectures, list) and not classes.isdisjoint(map(str, architectures)):
            return kind
    return None


def task_of(source: str | os.PathLike | PretrainedModel) -> type[Task]:
    """The class of the task that a model, given as an object or a directory, was fine-tuned for, by its architecture.

    A model without a head is taken for a text classifier whose head is still to be added, if its family has one.

    Raises FileNotFoundError if there is no such directory, ValueError if its model is for no task.
    """
    family, named = kind_of_model(source)
    if (kind := task_named(named)) is not None:
        return kind
    if isinstance(family, str) and family in task_class(DEFAULT).model_class.families:
        return task_class(DEFAULT)
    raise ValueError(
        f"a model of the kind {shown(named or family)} cannot be used; expected one that was fine-tuned for "
        f"{', '.join(TASKS)}: type minigrad finetune MODEL_DIR --train FILE --output DIR"
    )
