"""What the tasks whose models read tokens share: a tokenizer, a length at which texts are truncated, and padding."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import TextDataset
from ..errors import is_whole
from ..pretrained import AutoTokenizer, PretrainedModel
from ..pretrained.values import check
from .base import Task

MAX_LENGTH = "text_max_length"  # the entry of config.json with the number of tokens to which training truncated texts


@dataclass
class TextTask(Task):
    """A task with a tokenizer.

    Its models read at most `max_length` tokens of a text, including special tokens.  None means as many as in
    training, or as many as the model can read if that is unknown.
    """

    max_length: int | None = 128

    def load_processor(self, source: str | os.PathLike) -> AutoTokenizer:
        tokenizer = AutoTokenizer.from_pretrained(source)
        if tokenizer.pad_token is None:  # as in GPT-2; no text holds its end token, so that can pad
            tokenizer = AutoTokenizer.from_pretrained(source, pad_token=tokenizer.eos_token)
        return tokenizer

    def attach(self, model: PretrainedModel, processor: Any) -> None:
        super().attach(model, processor)
        config = model.config
        check_vocabulary(model, processor)
        check(MAX_LENGTH, config.rest.get(MAX_LENGTH), "int | None")
        if self.max_length is not None and not is_whole(self.max_length):
            raise ValueError(f"max_length is {self.max_length!r}; expected a whole number of tokens, or None")
        if self.max_length is None:
            self.max_length = config.rest.get(MAX_LENGTH) or config.longest
        elif self.max_length == type(self).max_length and config.longest is not None:
            self.max_length = min(self.max_length, config.longest)
        if self.max_length is not None and config.longest is not None and self.max_length > config.longest:
            raise ValueError(f"max_length is {self.max_length}; this model reads at most {config.longest} tokens")
        if self.max_length is not None:
            config.rest[MAX_LENGTH] = self.max_length

    def stop_tokens(self, model: Any) -> dict[str, Any]:
        """`generate`'s option for the end of a text: the tokenizer's token, unless generation_config.json has one."""
        end = self.processor.eos_token_id
        return {} if end is None or model.generation_config else {"eos_token_id": end}

    def note(self, dataset: Any) -> str:
        cut = np.mean([n == self.max_length for n in dataset.lengths])
        return f"{cut:.0%} of the texts reach max_length={self.max_length} and may be cut"


class WindowDataset(TextDataset):
    """Rows of tokens, one or more windows for each example; `of` holds the index of each row's example."""

    def __init__(self, encodings: Any, rows: list[Any], of: list[int], examples: Sequence[Any]):
        super().__init__(encodings)
        self.rows, self.of, self.examples = rows, of, examples

    def note(self, what: str, max_length: int | None) -> str:
        """The share of the examples that needed several windows; `what` names what is long in them."""
        long = sum(count > 1 for count in Counter(self.of).values()) / len(self.examples)
        return f"{long:.0%} of the {what} are longer than max_length={max_length} and are read in windows"


def texts_of(inputs: Any) -> list[str]:
    """The input of a pipeline, one text or several, as a list.

    Raises TypeError for anything else (a dict too, whose keys would otherwise be taken for texts) and ValueError for
    an empty list.
    """
    if inputs is not None and (isinstance(inputs, (bytes, Mapping)) or not isinstance(inputs, Iterable)):
        raise TypeError(f"the texts are {inputs!r:.60}; expected a text or a list of them")
    texts: list[Any] = [inputs] if isinstance(inputs, str) else list(() if inputs is None else inputs)
    if not texts:
        raise ValueError("there is no text; expected one or more")
    for i, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise TypeError(f"text {i} is {str(text)[:60]!r}, a {type(text).__name__}; expected a str")
    return texts


def check_vocabulary(model: PretrainedModel, tokenizer: AutoTokenizer) -> None:
    """Raise ValueError if the tokenizer gives ids for which the model has no embedding."""
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"the tokenizer in {tokenizer.directory} has {tokenizer.vocab_size} tokens, but config.json has "
            f"vocab_size {model.config.vocab_size}: expected no more than that; copy the model's own tokenizer"
        )
