"""What every pretrained model can do: come from a directory, say what was loaded, and go back to one."""
from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np

from ..backend import dtype_named
from ..nn import Module, init
from .files import read_config, read_weights, save
from .layout import Layout, rewritten
from .report import LoadReport, fit
from .safetensors import contiguous


@dataclass
class Config:
    """The entries of config.json that the model reads, as attributes; `rest` keeps the others, so that nothing is lost."""
    model_type: ClassVar[str]
    num_labels: int = 2
    id2label: dict[int, str] = field(default_factory=dict)
    problem_type: str | None = None
    rest: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self):
        """Hold every entry against its annotation, such as "int | None"; families add what else theirs must be.

        Numbers are 1 or more, token ids 0 or more.  Raises a ValueError that names the entry.
        """
        for f in fields(self):
            kinds = (f.type.__name__ if type(f.type) is type else str(f.type)).split(" | ")
            value, least = getattr(self, f.name), 0 if f.name.endswith("_token_id") else 1
            if f.name != "id2label" and not any(_is(value, kind, least) for kind in kinds):
                expected = " or ".join(_WORDS[kind.partition("[")[0]].format(least) for kind in kinds)
                raise ValueError(f"{f.name} is {value!r} in the configuration; expected {expected}")
        names = self.id2label or {i: f"LABEL_{i}" for i in range(self.num_labels)}
        self.id2label = {int(i): str(name) for i, name in names.items()}

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any], **changes: Any) -> Self:
        """From what config.json holds; `changes` win, and a new number of labels forgets their names."""
        known = {f.name for f in fields(cls)} - {"rest"}
        if unknown := changes.keys() - known - entries.keys() - {"label2id"}:
            raise TypeError(f"{cls.__name__} has no entry {', '.join(sorted(unknown))}: it has {', '.join(sorted(known))}")
        if changes.get("label2id") and "id2label" not in changes:
            changes["id2label"] = {i: name for name, i in changes["label2id"].items()}
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
        own = {f.name: getattr(self, f.name) for f in fields(self)
               if f.name not in ("rest", "num_labels") and (getattr(self, f.name), f.default) != (None, None)}
        names = {str(i): name for i, name in self.id2label.items()}
        return {**self.rest, **own, "model_type": self.model_type, "id2label": names,
                "label2id": {name: int(i) for i, name in names.items()}}

    @property
    def longest(self) -> int | None:
        """How many tokens the model reads at most; None where there is no limit."""
        return None


_WORDS = {"int": "a whole number, {} or more", "float": "a number", "bool": "true or false", "str": "a text",
          "list": "a list of them", "dict": "an object", "None": "null"}


def _is(value, kind, least):
    """Whether a value is of the kind that an annotation names, "int" or "list[int]" say."""
    outer, _, inner = kind.rstrip("]").partition("[")
    if outer == "list":
        return isinstance(value, (list, tuple)) and all(_is(item, inner, least) for item in value)
    if outer == "int":
        return isinstance(value, Integral) and not isinstance(value, bool) and value >= least
    of = {"float": Real, "bool": bool, "str": str, "dict": Mapping, "None": type(None)}[outer]
    return isinstance(value, of) and isinstance(value, bool) == (outer == "bool")


def entries_of(source: str | os.PathLike, config: Config | Mapping[str, Any] | None, revision: str | None = None,
               local_files_only: bool = False) -> Mapping[str, Any]:
    """What the configuration says or, if that is None, the config.json at the source."""
    if config is None:
        return read_config(source, revision, local_files_only)
    if not isinstance(config, (Config, Mapping)):
        raise TypeError(f"config is {config!r}: give a configuration, such as that of AutoConfig.from_pretrained(...), or a dict")
    return config.to_dict() if isinstance(config, Config) else config


class PretrainedModel(Module):
    """A model that knows its configuration and how its weights are laid out on disk.

    A family says what `config_class`, `layout` and new `heads` are; `load_report` tells what became of each weight.
    """
    config_class: type[Config]
    layout: Layout
    heads: tuple[str, ...] = ()                 # patterns of weights that a checkpoint may lack
    tied: ClassVar[dict[str, str]] = {}         # our name: the name of the weight it is, patterns both; made one in __init__
    load_report: LoadReport | None = None
    config: Config

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike, *, config: Config | Mapping[str, Any] | None = None, dtype: Any = None,
                        ignore_mismatched_sizes: bool = False, strict: bool = True, rng: init.Rng = None,
                        revision: str | None = None, local_files_only: bool = False, **changes: Any) -> Self:
        """The model of a Hugging Face directory, file or name, in evaluation mode; its `load_report` tells what was loaded.

        The files are mapped into memory and never changed, and a weight takes memory when it is first looked at.

        Args:
            source: a directory with config.json and safetensors or pytorch_model.bin, whole or in shards; a .safetensors, .bin,
                .pt or .pth file, config.json beside it or given; or a name on the Hub, such as "bert-base-uncased".
            config: instead of the config.json at the source.
            dtype: of the floating weights, "float16", "bfloat16" or "float64"; float32 by default, whatever the file has.
            ignore_mismatched_sizes: begin weights of another shape anew instead of refusing them.
            strict: refuse a file that lacks more than a head, or has weights that nothing explains; or else only report that.
            rng: what new weights, and dropout, are drawn from: a generator, a seed, or None.
            revision: which branch, tag or commit, if it is a name on the Hub.
            local_files_only: do not look further than the Hub's cache.
            changes: entries of the configuration to change, such as num_labels=8, or id2label=["no", "yes"].

        Raises:
            FileNotFoundError: no such directory, file or name, or something in it is missing.
            ValueError: the files are damaged, or do not fit this model; or the dtype is none.
            TypeError: a change is of no entry of the configuration.
        """
        if "torch_dtype" in changes:            # where config.json has it, it would be taken for an entry without effect
            raise TypeError('torch_dtype is called dtype: type dtype="float16", say')
        floating = _floating(dtype)
        entries = entries_of(source, config, revision, local_files_only)
        if entries.get("model_type") != cls.config_class.model_type:
            raise ValueError(f"{source} holds a model of type {entries.get('model_type')!r}, but {cls.__name__} needs "
                             f"{cls.config_class.model_type!r}: use the class of that family")
        weights, rng = read_weights(source, revision, local_files_only), init.generator(rng)
        model = cls(cls.config_class.from_dict(entries, **changes), rng=rng, drawn=False)
        if model._ties_that_differ(weights):    # then the file is right, and its config.json is not
            model = cls(cls.config_class.from_dict({**entries, "tie_word_embeddings": False}, **changes), rng=rng, drawn=False)
            if differing := model._ties_that_differ(weights):
                raise ValueError(f"{source} has different numbers for {', '.join(differing)}, which are one weight in "
                                 f"{cls.__name__}: remove what is not to be read")
        own = model.state_dict()
        ours, theirs = ({name: item.shape for name, item in items.items()} for items in (own, weights))
        report = fit(ours, theirs, cls.layout, cls.heads, model._ties(), ignore_mismatched_sizes, strict, str(source))
        for name, stored in report.loaded.items():
            array = weights[stored].T if cls.layout.transposed(stored) else weights[stored]
            dtype = own[name].dtype if own[name].dtype.kind in "biu" else floating
            _put(own[name], np.require(contiguous(array), dtype, ["C", "A"]))
        _part([own[name] for name in report.loaded])
        if new := [*report.newly_initialised, *report.wrong_shape]:
            model.draw(new, rng)
            for t in (own[name] for name in new if own[name].dtype.kind not in "biu"):
                _put(t, t.data.astype(floating, copy=False))
        model.load_report = report
        return model.eval()

    def save_pretrained(self, directory: str | os.PathLike, max_shard_size: int | str = "5GB") -> None:
        """Write config.json and model.safetensors, so that minigrad and transformers load them back.

        A model of more than `max_shard_size` bytes becomes several files and their index.  Whenever this is interrupted, the
        directory loads as what it was or as what it is to be.

        Raises:
            ValueError: the directory holds something that is not a model.
            OSError: it cannot be written; what was there is as it was.
        """
        entries = {**self.config.to_dict(), "architectures": [type(self).__name__], "dtype": str(self.parameters()[0].dtype)}
        entries.pop("torch_dtype", None)        # what transformers 4 calls dtype: the one the weights were loaded from
        ties = self._ties()
        arrays = {name: t.numpy() for name, t in self.state_dict().items() if name not in ties}
        save(directory, entries, self.layout.stored(arrays), max_shard_size)

    def _ties(self) -> dict[str, str]:
        """{second name of a weight: its first}, of those that this model, by its configuration, has made one."""
        own = self.state_dict()
        first = {name: rewritten(name, self.tied.items()) for name in own}
        return {name: one for name, one in first.items() if one != name and own[name] is own.get(one)}

    def _ties_that_differ(self, weights: Mapping[str, np.ndarray]) -> list[str]:
        """Second names whose numbers in the file are not those of the weight they are tied to here."""
        found = self.layout.translate(weights, self.state_dict())
        return [found[name] for name, one in self._ties().items() if name in found and one in found
                and not _same(weights[found[name]], weights[found[one]])]

    def draw(self, names: list[str], rng: init.Rng) -> None:
        """Give the named weights their first values: normal with the configured deviation; padding and biases 0, scales 1."""
        own = self.state_dict()
        for name in names:
            if own[name].ndim > 1:
                init.normal_(own[name], std=self.config.initializer_range, rng=rng)
                if name.endswith("word_embeddings.weight") and self.config.pad_token_id is not None:
                    own[name].data[self.config.pad_token_id] = 0
            else:
                init.constant_(own[name], 1 if name.endswith("weight") else 0)


def _floating(dtype):
    """The dtype that a user named, in whatever way."""
    name = "float32" if dtype is None else np.dtype(dtype).name if isinstance(dtype, type) else str(dtype)
    if name not in ("float32", "float16", "bfloat16", "float64"):
        raise ValueError(f'dtype is {dtype!r}: expected "float32", "float16", "bfloat16" or "float64"')
    return dtype_named(name)


def _put(tensor, array):
    """Give a leaf another array, maybe of another dtype."""
    on, tensor.node = tensor.requires_grad, None
    tensor.data, tensor.requires_grad = array, on


def _part(tensors):
    """Give each its own memory, where a file has several on the same."""
    end = 0
    for start, tensor in sorted(((t.data.__array_interface__["data"][0], t) for t in tensors), key=lambda pair: pair[0]):
        if start < end:
            tensor.data = tensor.data.copy()
        end = max(end, start + tensor.data.nbytes)


def _same(one, two):
    where = [(array.__array_interface__["data"], array.strides, array.shape, array.dtype) for array in (one, two)]
    return where[0] == where[1] or np.array_equal(one, two)
