"""The right class for a directory, chosen by the model_type in its config.json."""
from __future__ import annotations

import os
from typing import Any

from .bert import BertForSequenceClassification, BertModel
from .files import read_config
from .model import PretrainedModel


class _Auto:
    families: dict[str, type[PretrainedModel]]

    @classmethod
    def from_pretrained(cls, directory: str | os.PathLike, **options: Any) -> PretrainedModel:
        """The model of a Hugging Face directory; options are those of `PretrainedModel.from_pretrained`.

        Raises:
            FileNotFoundError: no such directory, or something in it is missing.
            ValueError: the model_type is not one minigrad knows, or the files are damaged or do not fit.
        """
        kind = read_config(directory)["model_type"]
        if kind not in cls.families:
            raise ValueError(f"{directory} holds a model of type {kind!r}, which {cls.__name__} does not know: "
                             f"choose a directory with one of {', '.join(map(repr, cls.families))}")
        return cls.families[kind].from_pretrained(directory, **options)


class AutoModel(_Auto):
    """Base models: vectors for tokens, no head."""
    families = {"bert": BertModel}


class AutoModelForSequenceClassification(_Auto):
    """Models that score classes of whole texts."""
    families = {"bert": BertForSequenceClassification}
