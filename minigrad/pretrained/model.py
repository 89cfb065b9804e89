"""What every pretrained model can do: come from a directory, say what was loaded, and go back to one."""
from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

import numpy as np

from .. import losses, ops
from ..nn import Module, init
from ..tensor import Tensor
from .files import read_config, read_weights, save
from .layout import Layout
from .report import LoadReport, fit


@dataclass
class Config:
    """The entries of config.json that the model reads, as attributes; `rest` keeps the others, so that nothing is lost."""
    model_type: ClassVar[str]
    num_labels: int = 2
    id2label: dict[int, str] = field(default_factory=dict)
    problem_type: str | None = None
    rest: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self):
        names = self.id2label or {i: f"LABEL_{i}" for i in range(self.num_labels)}
        self.id2label = {int(i): str(name) for i, name in names.items()}

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any], **changes: Any) -> Self:
        """From what config.json holds; `changes` win, and a new number of labels forgets their names."""
        known = {f.name for f in fields(cls)} - {"rest"}
        if unknown := changes.keys() - known - entries.keys() - {"label2id"}:
            raise TypeError(f"{cls.__name__} has no entry {', '.join(sorted(unknown))}: it has {', '.join(sorted(known))}")
        if isinstance(changes.get("id2label"), (list, tuple)):
            changes["id2label"] = dict(enumerate(changes["id2label"]))
        entries = {**entries, **changes}
        names = entries.get("id2label") or {}
        if not isinstance(names, Mapping):
            raise ValueError(f"id2label is {names!r} in the configuration; expected names by number, such as "
                             '{"0": "no", "1": "yes"}')
        if "id2label" in changes and changes.get("num_labels", len(names)) != len(names):
            raise ValueError(f"num_labels={changes['num_labels']} but id2label has {len(names)} names: give one of the two")
        if "id2label" not in changes and changes.get("num_labels", len(names)) != len(names):
            entries.pop("id2label", None)
        else:
            entries["num_labels"] = len(names) or entries.get("num_labels", 2)
        return cls(**{name: value for name, value in entries.items() if name in known},
                   rest={name: value for name, value in entries.items() if name not in known})

    def to_dict(self) -> dict[str, Any]:
        """What config.json is to hold."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("rest", "num_labels")}
        own = {name: value for name, value in own.items() if value is not None}
        names = {str(i): name for i, name in self.id2label.items()}
        return {**self.rest, **own, "model_type": self.model_type, "id2label": names,
                "label2id": {name: int(i) for i, name in names.items()}}


class PretrainedModel(Module):
    """A model that knows its configuration and how its weights are laid out on disk.

    A family says what `config_class`, `layout` and new `heads` are; `load_report` tells what became of each weight.
    """
    config_class: type[Config]
    layout: Layout
    heads: tuple[str, ...] = ()                 # patterns of weights that a checkpoint may lack
    load_report: LoadReport | None = None
    config: Config

    @classmethod
    def from_pretrained(cls, directory: str | os.PathLike, *, ignore_mismatched_sizes: bool = False,
                        rng: init.Rng = None, **changes: Any) -> Self:
        """The model of a Hugging Face directory (config.json and safetensors), in evaluation mode, in float32.

        Args:
            directory: where the files are.
            ignore_mismatched_sizes: begin weights of another shape anew instead of refusing them.
            rng: what new weights, and dropout, are drawn from: a generator, a seed, or None.
            changes: entries of the configuration to change, such as num_labels=8, or id2label=["no", "yes"].

        Raises:
            FileNotFoundError: no such directory, or something in it is missing.
            ValueError: the files are damaged, or do not fit this model; every weight that does not fit is named.
        """
        entries, weights = read_config(directory), read_weights(directory)
        if entries["model_type"] != cls.config_class.model_type:
            raise ValueError(f"{directory} holds a model of type {entries['model_type']!r}, but {cls.__name__} needs "
                             f"{cls.config_class.model_type!r}: use the class of that family")
        rng = init.generator(rng)
        model = cls(cls.config_class.from_dict(entries, **changes), rng=rng, drawn=False)
        own = model.state_dict()
        report = fit({name: t.shape for name, t in own.items()}, weights.shapes, cls.layout, cls.heads, ignore_mismatched_sizes,
                     source=str(directory))
        for name, stored in report.loaded.items():
            array = weights[stored]
            own[name].data = np.ascontiguousarray(array.T if cls.layout.transposed(stored) else array, dtype=np.float32)
        model.draw([*report.newly_initialised, *report.wrong_shape], rng)
        model.load_report = report
        return model.eval()

    def save_pretrained(self, directory: str | os.PathLike) -> None:
        """Write config.json and model.safetensors, so that minigrad and transformers load them back.

        Raises:
            ValueError: the directory holds something that is not a model.
            OSError: it cannot be written; what was there is as it was.
        """
        entries = {**self.config.to_dict(), "architectures": [type(self).__name__], "dtype": str(self.parameters()[0].dtype)}
        entries.pop("torch_dtype", None)        # what transformers 4 calls dtype: the one the weights were loaded from
        save(directory, entries, self.layout.stored({name: t.numpy() for name, t in self.state_dict().items()}))

    def draw(self, names: list[str], rng: init.Rng) -> None:
        """Give the named weights their first values: normal with the configured deviation; padding and biases 0, scales 1."""
        own = self.state_dict()
        for name in names:
            if own[name].ndim > 1:
                init.normal_(own[name], std=self.config.initializer_range, rng=rng)
                if name.endswith("word_embeddings.weight"):
                    own[name].data[self.config.pad_token_id] = 0
            else:
                init.constant_(own[name], 1 if name.endswith("weight") else 0)


def token_ids(ids: Any, longest: int) -> np.ndarray:
    """Token ids as (B, T) integers, T at most `longest`.

    Raises:
        ValueError: they have another shape, or are too long for the model.
        TypeError: they are not integers.
    """
    ids = np.asarray(ids.numpy() if isinstance(ids, Tensor) else ids)
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        kind = TypeError if ids.ndim == 2 else ValueError
        raise kind(f"input_ids must be integers of shape (batch, tokens), these are {ids.dtype} of shape {ids.shape}: "
                   "a tokenizer called on a list of texts returns them so")
    if ids.shape[1] > longest:
        raise ValueError(f"input_ids are {ids.shape[1]} tokens long, but this model reads at most {longest}: "
                         f"call the tokenizer with max_length={longest}")
    return ids


def padding_mask(attention_mask: Any, shape: tuple[int, int]) -> np.ndarray | None:
    """(B, T) of ones and zeros as (B, 1, 1, T) booleans, True where there is a token; None if nothing is padded."""
    if attention_mask is None:
        return None
    mask = np.asarray(attention_mask.numpy() if isinstance(attention_mask, Tensor) else attention_mask)
    if mask.shape != shape:
        raise ValueError(f"attention_mask has shape {mask.shape}, but input_ids {shape}: they must be the same")
    mask = mask.astype(bool)
    return None if mask.all() else mask[:, None, None, :]


def classification_loss(logits: Tensor, labels: Any, config: Config) -> Tensor:
    """The loss Hugging Face would take: cross-entropy, or the squared error if there is a single label (regression).

    Raises:
        ValueError: the configuration asks for another problem type.
    """
    problem = config.problem_type or ("regression" if config.num_labels == 1 else "single_label_classification")
    if problem == "single_label_classification":
        return losses.cross_entropy(logits, labels)
    if problem == "regression":
        labels = labels if isinstance(labels, Tensor) else Tensor(np.asarray(labels, np.float32))
        return losses.mse_loss(ops.reshape(logits, labels.shape), labels)
    raise ValueError(f"problem_type {problem!r} is not known: use 'single_label_classification' or 'regression'")
