"""Turns labelled texts into what a model takes: class numbers, token ids, and batches padded to their longest text."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .readers import Example


def label_names(examples: Sequence[Example]) -> list[str]:
    """The labels that occur, each once, sorted (2 before 10 if all are numbers): a label's place is its class number."""
    names = sorted({example.label for example in examples})
    return sorted(names, key=len) if all(name.isdecimal() for name in names) else names


def label_ids(examples: Sequence[Example], names: Sequence[str]) -> np.ndarray:
    """The class number of each example, int64.  Raises ValueError for a label that is not in `names`."""
    number = {name: i for i, name in enumerate(names)}
    for example in examples:
        if example.label not in number:
            raise ValueError(f"label {example.label!r} (of {example.text[:40]!r}) is not among the {len(names)} training labels "
                             f"{', '.join(names)}; add training examples of it, or remove it")
    return np.array([number[example.label] for example in examples], dtype=np.int64)


class TextDataset:
    """Tokenised texts, one item each: a dict of its token lists by name and, if labels are given, its class number `label`.

    `encodings` is what a tokenizer returns without padding: {"input_ids": [[101, ...], ...], "token_type_ids": ...}.
    """

    def __init__(self, encodings: Mapping[str, Sequence[Sequence[int]]], labels: Sequence[int] | None = None):
        self.columns = {**encodings, **({} if labels is None else {"label": labels})}
        sizes = {name: len(column) for name, column in self.columns.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"columns of different sizes: {sizes}; expected one entry per text in each")

    def __len__(self) -> int:
        return len(self.columns["input_ids"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: column[index] for name, column in self.columns.items()}

    @property
    def lengths(self) -> list[int]:
        """Tokens per text, for `DataLoader(lengths=...)`."""
        return [len(ids) for ids in self.columns["input_ids"]]


@dataclass(frozen=True)
class DataCollatorWithPadding:
    """Makes a batch of tokenised texts: int64 arrays of (texts, longest text), padded on the right.

    Each item has `input_ids` and maybe `attention_mask` (default: ones), `token_type_ids`, and `label`, which becomes `labels`
    of shape (texts,).
    """
    pad_token_id: int = 0

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        shape = len(items), max(len(item["input_ids"]) for item in items)
        names = ["input_ids", "attention_mask", *(["token_type_ids"] if "token_type_ids" in items[0] else [])]
        batch = {name: np.full(shape, self.pad_token_id if name == "input_ids" else 0, dtype=np.int64) for name in names}
        for row, item in enumerate(items):
            for name in names:
                batch[name][row, :len(item["input_ids"])] = item.get(name, 1)
        if "label" in items[0]:
            batch["labels"] = np.array([item["label"] for item in items], dtype=np.int64)
        return batch
