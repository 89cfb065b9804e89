"""Batches and model outputs: how items are collated, which labels count, and which classes are predicted.

A batch is a dict, which is passed to the model by name, a tuple, which is passed by position, or one array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter as Argument
from inspect import signature
from typing import Any

import numpy as np

from .. import backend
from ..data import DataCollatorWithPadding
from ..data.text import IGNORED
from ..losses import cross_entropy
from ..nn import Module
from ..pretrained import AutoModelForCausalLM, PretrainedModel
from ..pretrained.inputs import as_given, host_array
from ..tensor import Tensor

NEXT_TOKEN = {name.partition(".")[2] for name in AutoModelForCausalLM.families.values()}  # their labels are the inputs
LABELS = ("label", "labels", "label_ids", "start_positions", "end_positions")


def stacked(items: Sequence[Any]) -> Any:
    """Stack items: tuples into a tuple of arrays, arrays into one array."""
    if isinstance(items[0], (tuple, list)):
        return tuple(map(stacked, zip(*items, strict=True)))
    return np.stack([host_array(item) for item in items])


class Collator:
    """Pads and stacks dicts as `DataCollatorWithPadding` does, and stacks tuples and arrays."""

    def __init__(self, pad: DataCollatorWithPadding):
        self.pad = pad

    def __call__(self, items: Sequence[Any]) -> Any:
        return self.pad(items) if isinstance(items[0], (Mapping, str, bytes)) else stacked(items)


def looks_at_padding(item: Any) -> bool:
    """Whether the loss of an item depends on how far its batch is padded, as that of a span of tokens does."""
    return isinstance(item, Mapping) and "start_positions" in item


def padded_together(collator: Callable[[list], Any], parts: list[list]) -> list[Any]:
    """A batch of each part, all padded to the same length."""
    whole, size = collator([item for part in parts for item in part]), len(parts[0])
    return [{name: column[i * size : (i + 1) * size] for name, column in whole.items()} for i in range(len(parts))]


def agreed_collator(model: Module, tokenizer: Any, collator: Callable[[list], Any] | None) -> Callable[[list], Any]:
    """The given collator, or one that pads as the tokenizer does; the model adopts the tokenizer's padding token.

    Raises ValueError if the given collator pads with another token than the model's, which marks the end of a text.
    """
    config: Any = getattr(model, "config", None)
    own = getattr(config, "pad_token_id", None)
    if getattr(tokenizer, "pad_token_id", None) is not None:
        own = tokenizer.pad_token_id
        if hasattr(config, "pad_token_id"):
            config.pad_token_id = own
    if collator is None:
        pad = 0 if own is None and not isinstance(model, PretrainedModel) else own
        return Collator(DataCollatorWithPadding(pad, getattr(tokenizer, "settings", {}).get("padding_side", "right")))
    if isinstance(collator, DataCollatorWithPadding) and own not in (None, collator.pad_token_id):
        raise ValueError(
            f"data_collator pads with {collator.pad_token_id}, but the padding token of the model is {own}: leave "
            f"data_collator out, or pass DataCollatorWithPadding({own})"
        )
    return collator


def check_items(name: str, dataset: Any) -> None:
    """Raise ValueError for a dataset that is given as columns, each with an entry per item."""
    if isinstance(dataset, Mapping) and 0 not in dataset:
        columns = ", ".join(map(repr, dataset))
        told, rows = f"a dict of columns ({columns})", "[dict(zip(data, row)) for row in zip(*data.values())]"
    elif hasattr(dataset, "iloc"):
        told, rows = f"a {type(dataset).__name__} of columns", 'data.to_dict("records")'
    elif isinstance(dataset, (tuple, list)) and are_columns(dataset):
        told, rows = f"a {type(dataset).__name__} of {len(dataset)} columns", "list(zip(*data))"
    else:
        return
    raise ValueError(f"{name} is {told}; expected a sequence of items, such as {rows}")


def are_columns(arrays: Sequence[Any]) -> bool:
    """Whether arrays are columns with the same number of entries; items would have the same number of axes."""
    shapes: list[tuple[int, ...]] = [
        getattr(one, "shape", (len(one),) if isinstance(one, list) else ()) for one in arrays[:4]
    ]
    if len(arrays) != len(shapes) or len(arrays) < 2 or not all(shapes):
        return False
    return len({shape[0] for shape in shapes}) == 1 and len({len(shape) for shape in shapes}) > 1


def used_columns(model: Module, item: Any) -> set[str] | None:
    """The columns of a dict that the model's forward or its labels use; None if that is all of them, or unknown."""
    arguments = signature(model.forward).parameters.values()
    if not isinstance(item, Mapping) or any(one.kind is Argument.VAR_KEYWORD for one in arguments):
        return None
    known = {one.name for one in arguments}
    used = {name for name in item if name in known or name in LABELS}
    return used if used != set(item) and used & known else None


def check_arguments(model: Module, batch: Any, name: str, without_labels: bool = False) -> None:
    """Raise ValueError if the model's forward cannot be called with a batch."""
    told = batch if isinstance(batch, Mapping) else "arrays by position"
    try:
        by_position, by_name = arguments_of(without(batch)[0] if without_labels else batch)
        signature(model.forward).bind(*by_position, **by_name)
    except TypeError as error:
        raise ValueError(
            f"{type(model).__name__}.forward{signature(model.forward)} cannot be called with "
            f"{', '.join(told) if isinstance(told, Mapping) else told}, which the items of {name} have: {error}; "
            "write a forward that accepts them and returns loss and logits, or pass a data_collator that renames "
            "them"
        ) from None


def arguments_of(batch: Any) -> tuple[tuple, Mapping[str, Any]]:
    """The arguments for a model, by position and by name."""
    return ((), batch) if isinstance(batch, Mapping) else (batch, {}) if isinstance(batch, tuple) else ((batch,), {})


def called(model: Module, batch: Any) -> Any:
    """The model's output for a batch."""
    by_position, by_name = arguments_of(batch)
    return model(*by_position, **by_name)


def labels_of(batch: Any) -> Any:
    """The labels of a batch: by name, or the last of a tuple; None if there are none."""
    if isinstance(batch, Mapping):
        return batch.get("labels")
    return batch[-1] if isinstance(batch, tuple) and len(batch) > 1 else None


def without(batch: Any) -> tuple[Any, Any]:
    """A batch without its labels, and the labels."""
    if isinstance(batch, Mapping):
        return {name: value for name, value in batch.items() if name != "labels"}, batch.get("labels")
    return (batch[:-1], batch[-1]) if isinstance(batch, tuple) and len(batch) > 1 else (batch, batch)


def loss_and_logits(out: Any) -> tuple[Any, Any]:
    """The loss and logits a model returned, as attributes, entries of a dict or a tuple; None for what is missing."""
    if isinstance(out, tuple):
        return out[:2] if len(out) > 1 else (None, None)
    if isinstance(out, Mapping):
        return out.get("loss"), out.get("logits")
    return getattr(out, "loss", None), getattr(out, "logits", None)


def shifts(model: Module) -> bool:
    """Whether the model predicts the next token, so that its labels count from the second on."""
    return not NEXT_TOKEN.isdisjoint(kind.__name__ for kind in type(model).__mro__)


def compared(model: Module, labels: Any) -> Any:
    """The labels that scores are compared with: for a model that predicts the next token, those from the second on."""
    return labels[:, 1:] if shifts(model) else labels


def count_labels(model: Module, batch: Any) -> int:
    """The number of labels that count in a batch, over which its loss is a mean; without labels, that of its items."""
    labels = labels_of(batch)
    if labels is not None:
        labels = compared(model, host_array(labels))
        return int(np.count_nonzero(labels != IGNORED)) if labels.dtype.kind in "iu" else labels.size
    if isinstance(batch, Mapping):
        if "start_positions" in batch and "end_positions" in batch:
            return count_answers(batch)
        batch = tuple(batch.values())
    return len(batch[0] if isinstance(batch, tuple) else batch)


def count_answers(batch: Mapping[str, Any]) -> int:
    """The number of answers that lie within the tokens.

    Raises ValueError if the numbers of beginnings and ends there differ, since the two losses would then be means over
    different numbers.
    """
    tokens = batch["input_ids"].shape[1] if "input_ids" in batch else np.inf
    starts, ends = (
        int(np.count_nonzero((at >= 0) & (at < tokens)))
        for at in (host_array(batch[name]) for name in ("start_positions", "end_positions"))
    )
    if starts != ends:
        raise ValueError(
            f"{starts} answers of a batch begin within its {tokens} tokens and {ends} end there; expected the same "
            "number: for an answer that was cut off, put both positions beyond the last token"
        )
    return starts


def predicted_classes(model: Module, logits: Tensor | None, batch: Any) -> tuple[Any, Any] | None:
    """The predicted and the true classes, on the model's device; None if labels are not classes."""
    labels = labels_of(batch)
    if logits is None or labels is None or not isinstance(logits, Tensor):
        return None
    labels = as_given(labels)
    if labels.dtype.kind not in "iu" or logits.ndim != labels.ndim + 1 or logits.shape[-1] < 2:
        return None
    predicted, true = logits.data.argmax(-1), compared(model, labels)
    if predicted.shape[-1] != true.shape[-1] and shifts(model):
        predicted = predicted[:, :-1]
    return predicted, backend.of(predicted).xp.asarray(true)


def smoothed(out: Any, labels: Any, factor: float, shift: bool) -> dict[str, Tensor]:
    """The output with a smoothed cross-entropy in place of its loss; `shift` compares scores with the next label."""
    logits = loss_and_logits(out)[1]
    labels = as_given(labels)
    if logits is None or labels.dtype.kind not in "iu" or logits.ndim != labels.ndim + 1:
        raise ValueError(
            "label_smoothing_factor is for class numbers and a model that returns logits for them: set it to 0"
        )
    scores, true = (logits[:, :-1], labels[:, 1:]) if shift else (logits, labels)
    loss = cross_entropy(scores.reshape(-1, logits.shape[-1]), true.reshape(-1), label_smoothing=factor)
    return {"loss": loss, "logits": logits}
