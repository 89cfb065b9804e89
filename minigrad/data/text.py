"""Turns labelled texts into the inputs of a model: class numbers, token ids, and batches padded to the longest text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from typing import Any

import numpy as np

from ..places import warn
from .readers import Example
from .split import fold

IGNORED = -100  # the label that losses ignore


def label_names(examples: Sequence[Example]) -> list[str]:
    """The labels that occur, each once, sorted (2 before 10 if all are numbers); a label's index is its class number.

    A warning names labels that differ only in case or white space, which are probably meant to be the same.
    """
    return sorted_labels(example.label for example in examples if example.label is not None)


def sorted_labels(labels: Iterable[str]) -> list[str]:
    """The labels, each once, in the order of `label_names` and with its warning."""
    names = sorted(set(labels))
    for name, other in pairwise(sorted(names, key=fold)):
        if fold(name) == fold(other):
            warn(
                f"the labels {name!r} and {other!r} differ only by case or white space, and count as two classes: "
                "spell them alike if they are one"
            )
    return sorted(names, key=len) if all(name.isdecimal() for name in names) else names


def label_ids(examples: Sequence[Example], names: Sequence[str]) -> np.ndarray:
    """The class number of each example, int64.  Raises ValueError for a label that is not in `names`."""
    number: dict[str | None, int] = {name: i for i, name in enumerate(names)}
    for example in examples:
        if example.label not in number:
            raise ValueError(
                f"label {example.label!r} (of {example.text[:40]!r}) is not among the {len(names)} training labels "
                f"{', '.join(names)}; add training examples of it, or remove it"
            )
    return np.array([number[example.label] for example in examples], dtype=np.int64)


class TextDataset:
    """Tokenised texts, one item each: a dict of its token lists by name and, if labels are given, its `label`.

    `encodings` is the result of a tokenizer without padding: {"input_ids": [[101, ...], ...], "token_type_ids": ...}.
    `labels` has one entry per text: a class number, a float, a vector of either, or a class number for each of its
    tokens.
    """

    def __init__(
        self, encodings: Mapping[str, Sequence[Sequence[int]]], labels: Sequence[Any] | np.ndarray | None = None
    ):
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
    """Makes a batch from a list of dicts with the same keys; lists per token are padded to the longest text.

    `input_ids` becomes int64 of (texts, longest text), filled with `pad_token_id` on the `padding_side`; there is an
    `attention_mask` even if the items have none.  Other lists with an entry for each token, such as `token_type_ids`,
    are filled with 0.  Everything else, such as `pixel_values`, is stacked; Python floats become float32.

    `label`, or `labels`, becomes `labels` and keeps its kind: whole numbers int64, floats float32, vectors (texts,
    size), and lists with an entry for each token (texts, longest text), padded with -100, which losses ignore.

    Raises ValueError if the items differ in their keys or in their shapes, if labels are not numbers, or if texts must
    be padded and `pad_token_id` is None; TypeError for items that are not dicts.
    """

    pad_token_id: int | None = 0
    padding_side: str = "right"

    def __post_init__(self):
        if self.pad_token_id is not None and not isinstance(self.pad_token_id, Integral):
            raise TypeError(
                f"pad_token_id is a {type(self.pad_token_id).__name__}; expected a whole number: type "
                "DataCollatorWithPadding(tokenizer.pad_token_id)"
            )
        if self.padding_side not in ("right", "left"):
            raise ValueError(f'padding_side is {self.padding_side!r}; expected "right" or "left"')

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        if not items:
            raise ValueError("there are no items to make a batch of; expected at least one")
        for i, item in enumerate(items):
            if not isinstance(item, Mapping):
                raise TypeError(
                    f"item {i} is a {type(item).__name__}; expected a dict with the names of the model's "
                    'arguments, such as {"input_ids": [...], "label": 1}: make it one, or pass a '
                    "data_collator of your own"
                )
        if "input_ids" in items[0]:
            items = [
                {**item, "attention_mask": item.get("attention_mask", [1] * len(item["input_ids"]))}
                if "input_ids" in item
                else item
                for item in items
            ]
        for i, item in enumerate(items):
            if item.keys() != items[0].keys():
                raise ValueError(
                    f"item {i} of a batch has {', '.join(item)}, item 0 has {', '.join(items[0])}; expected "
                    "the same in each"
                )
        lengths = [len(item["input_ids"]) for item in items if "input_ids" in item]
        batch = {}
        for name in items[0]:
            labels = name in ("label", "labels")
            fill = self.pad_token_id if name == "input_ids" else IGNORED if labels else 0
            column = [numbers(name, item[name]) for item in items]
            batch["labels" if labels else name] = self.stack(name, column, lengths, fill)
        return batch

    def stack(self, name: str, column: list[np.ndarray], lengths: list[int], fill: int | None) -> np.ndarray:
        """One array of all entries: padded if they have one row per token, and else of one shape."""
        floats = [entry.dtype for entry in column if entry.dtype.kind == "f"]  # 0.5 and 2 are 0.5 and 2.0
        dtype = np.result_type(*(floats or column))
        if len(set(lengths)) > 1 and [len(entry) for entry in column if entry.ndim] == lengths:
            if fill is None:
                raise ValueError(
                    "texts of different lengths must be padded, and there is no padding token: name one, as in "
                    "AutoTokenizer.from_pretrained(..., pad_token='<|endoftext|>'), and pass Trainer the tokenizer, "
                    "or DataCollatorWithPadding its pad_token_id"
                )
            padded = np.full((len(column), max(lengths), *column[0].shape[1:]), fill, dtype)
            for row, entry in zip(padded, column, strict=True):
                row[len(row) - len(entry) if self.padding_side == "left" else 0 :][: len(entry)] = entry
            return padded
        if len(shapes := {entry.shape for entry in column}) > 1:
            raise ValueError(
                f"the entries {name!r} of a batch have the shapes {', '.join(map(str, sorted(shapes)))}; expected "
                "one shape, or an entry for each token of input_ids"
            )
        return np.stack(column, dtype=dtype, casting="unsafe")


def numbers(name: str, entry: Any) -> np.ndarray:
    """An entry as an array: ids, labels and Python's ints become int64, its floats float32; arrays keep their dtype."""
    given = entry.numpy() if hasattr(entry, "numpy") else entry
    try:
        array = np.asarray(given)
    except ValueError:  # lists of different lengths
        array = np.empty(0, object)
    labels = name in ("label", "labels")
    if array.dtype.kind not in "biuf":
        if labels:
            raise ValueError(
                f"the label {entry!r} is not a number; expected a class number, a float, or a list of them: for "
                "names of classes, type label_ids(examples, label_names(examples))"
            )
        raise ValueError(
            f"{name!r} holds {str(entry)[:40]!r}, which is not an array of numbers: leave it out of the dataset, "
            "or pass a data_collator of your own"
        )
    if not array.size and isinstance(given, Sequence):  # an empty list, which NumPy turns into floats
        return array.astype(np.int64)
    if isinstance(given, np.ndarray) and (array.dtype.kind == "f" or not labels and name != "input_ids"):
        return array
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    return array if array.dtype == bool and array.ndim else array.astype(np.int64)
