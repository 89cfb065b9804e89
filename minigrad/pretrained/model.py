"""What every pretrained model can do: come from a directory, say what was loaded, and go back to one."""
from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

import numpy as np

from .. import backend
from ..backend import dtype_named
from ..nn import Embedding, Linear, Module, init
from ..patterns import matches
from . import seen
from .checkpoint.files import read_config, read_weights, save
from .checkpoint.layout import Layout, rewritten
from .checkpoint.report import LoadReport, fit
from .checkpoint.safetensors import contiguous
from .values import check, found_in, shown

LABELS = ("num_labels", "id2label", "label2id")
SPARE_WEIGHTS, SPARE_NUMBERS = 4096, 1 << 25    # what a model may have beside four times what its file has: 128 MB
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")         # of DataParallel, torch.compile, and classes that hold the model
QUANTISED = re.compile(r"\.(qweight|qzeros|SCB|absmax|quant_map|weight_(scale|zero_point|packed|shape)\w*)$")
PROBLEMS = ("single_label_classification", "multi_label_classification", "regression")


@dataclass
class Config:
    """The entries of config.json that the model reads, as attributes; `rest` keeps the others, so that nothing is lost."""
    model_type: ClassVar[str]
    num_labels: int | None = None               # as many as id2label has; 2 without one
    id2label: dict[int, str] | None = None      # LABEL_0, LABEL_1, … by default
    label2id: dict[str, int] | None = None      # the same, the other way round
    problem_type: str | None = None
    rest: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self):
        """Hold every entry against its annotation, such as "int | None"; families add what else theirs must be.

        Numbers are in the ranges that values.py tells; of token ids, -1 means that there is none.  Raises a ValueError that names
        the entry.
        """
        for f in fields(self):
            if f.name.endswith("_token_id") and "None" in str(f.type) and getattr(self, f.name) == -1:
                setattr(self, f.name, None)
        for f in fields(self):
            if f.name not in ("id2label", "label2id"):
                check(f.name, getattr(self, f.name), f.type.__name__ if type(f.type) is type else str(f.type))
        pad, words = getattr(self, "pad_token_id", None), getattr(self, "vocab_size", None)
        if pad is not None and words is not None and pad >= words:
            raise ValueError(f"pad_token_id is {pad} in the configuration; expected an id below vocab_size, which is {words}")
        self.set_labels(self.num_labels, self.id2label, self.label2id)
        if self.problem_type not in (None, *PROBLEMS):
            raise ValueError(f"problem_type {self.problem_type!r} is not known: use {', '.join(map(repr, PROBLEMS[:-1]))} or "
                             f"{PROBLEMS[-1]!r}")
        if self.problem_type == "single_label_classification" and self.num_labels == 1:
            raise ValueError('problem_type "single_label_classification" with num_labels=1 chooses among one class: give '
                             'num_labels=2 or more, or problem_type="regression" for a number')

    def set_labels(self, num_labels: int | None = None, id2label: Mapping[int, str] | Sequence[str] | None = None,
                   label2id: Mapping[str, int] | None = None) -> None:
        """Set the number of labels and their names, of which the others follow from any one.

        Raises ValueError if two of them contradict each other, or the names are not numbered 0, 1, 2, ….
        """
        names = _numbered(id2label, "id2label")
        if label2id:
            given = _numbered({i: name for name, i in dict(label2id).items()}, "label2id")
            if names and given != names:
                raise ValueError(f"label2id is {shown(label2id)} but id2label is {shown(id2label)}: give one of the two")
            names = given
        if names and num_labels not in (None, len(names)):
            raise ValueError(f"num_labels={num_labels} but there are {len(names)} names, "
                             f"{', '.join([*names.values()][:20])}: give one of the two")
        names = names or {i: f"LABEL_{i}" for i in range(2 if num_labels is None else num_labels)}
        vars(self).update(num_labels=len(names), id2label=names, label2id={name: i for i, name in names.items()})

    def __setattr__(self, name: str, value: Any) -> None:
        """Any of the three entries about labels sets the other two, when it is changed later."""
        if name not in LABELS or "rest" not in vars(self):
            super().__setattr__(name, value)
        elif name != "num_labels" or value != self.num_labels:
            self.set_labels(**{name: value})

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any], **changes: Any) -> Self:
        """From what config.json holds; `changes` win, and a new number of labels forgets their names."""
        known = {f.name: "None" in str(f.type) for f in fields(cls) if f.name != "rest"}
        if unknown := changes.keys() - known.keys() - entries.keys():
            raise TypeError(f"{cls.__name__} has no entry {', '.join(sorted(unknown))}: it has {', '.join(sorted(known))}")
        labels = {name: changes.get(name) for name in LABELS}
        if all(value is None for value in labels.values()):                 # the file's; its names count before its number
            labels["id2label"] = entries.get("id2label") or None
            if not isinstance(labels["id2label"], (Mapping, type(None))):
                raise ValueError(_UNNUMBERED.format("id2label", shown(labels["id2label"])))
            for name in ("num_labels", "label2id") if labels["id2label"] is None else ():
                labels[name] = entries.get(name)
        elif labels["id2label"] is labels["label2id"] is None and labels["num_labels"] == len(entries.get("id2label") or ()):
            labels["id2label"] = entries["id2label"]
        entries = {name: value for name, value in {**entries, **changes, **labels}.items()
                   if value is not None or known.get(name, True)}           # a null means the default
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


_UNNUMBERED = '{} is {} in the configuration; expected names by number, such as {{"0": "no", "1": "yes"}}'


def _numbered(names, entry):
    """{0: name, 1: name, …} of a mapping or a list of names; {} for none."""
    if isinstance(names, (list, tuple)):
        names = dict(enumerate(names))
    try:
        numbered = {int(i): str(name) for i, name in (names or {}).items()}
    except (AttributeError, TypeError, ValueError):
        raise ValueError(_UNNUMBERED.format(entry, shown(names))) from None
    if sorted(numbered) != list(range(len(names or ()))):
        raise ValueError(f"{entry} numbers the labels {', '.join(map(str, sorted(numbered)[:20]))}, but the scores of a model "
                         f"are numbered 0 … {len(names) - 1}: give such numbers, as in "
                         f"id2label={shown(dict(enumerate(numbered.values())))}")
    return dict(sorted(numbered.items()))


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
    label_layer: ClassVar[str] = ""             # the path of the Linear that has a row for each label, if there is one
    tied: ClassVar[dict[str, str]] = {}         # our name: the name of the weight it is, patterns both; made one in __init__
    load_report: LoadReport | None = None
    config: Config

    def __call__(self, *args: Any, output_hidden_states: bool | None = None, output_attentions: bool | None = None,
                 **named: Any) -> Any:
        """What `forward` returns; also, if asked for here or in config.json, its `hidden_states` and its `attentions`."""
        said = {"hidden_states": output_hidden_states, "attentions": output_attentions}
        asked = [name for name, wanted in said.items()
                 if (self.config.rest.get(f"output_{name}", False) if wanted is None else wanted)]
        if not asked or seen.is_kept():         # by the model whose part this one is
            return super().__call__(*args, **named)
        with seen.kept(*asked) as kept:
            out = super().__call__(*args, **named)
        if not any(kept.values()):
            raise ValueError(f"{type(self).__name__} has no {' and no '.join(asked)} to tell: leave out output_{asked[0]}")
        alone = not any(name.startswith("decoder_") for name in kept)           # an encoder without a decoder
        for name, found in kept.items():
            if found:
                setattr(out, name.removeprefix("encoder_") if alone else name, tuple(found))
        return out

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
            dtype: of the floating weights, "float16", "bfloat16" or "float64"; "auto" for what config.json or, without that, the
                file has; float32 by default, whatever the file has.
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
        floating = _floating("float32" if dtype == "auto" else dtype)
        entries = entries_of(source, config, revision, local_files_only)
        if entries.get("model_type") != cls.config_class.model_type:
            raise ValueError(f"{source} holds a model of type {shown(entries.get('model_type'))}, but {cls.__name__} needs "
                             f"{cls.config_class.model_type!r}: use the class of that family")
        if quantisation := entries.get("quantization_config"):
            method = quantisation.get("quant_method") if isinstance(quantisation, Mapping) else None
            raise ValueError(f"{source} holds a quantised model ({shown(method or quantisation)}), which minigrad does not read: "
                             "load the model it was made from")
        weights, rng = read_weights(source, revision, local_files_only), init.generator(rng)
        if isinstance(dtype, str) and dtype == "auto":
            of_file = next((str(a.dtype) for a in weights.values() if a.dtype.kind not in "biu"), None)
            floating = _floating(entries.get("dtype") or entries.get("torch_dtype") or of_file)
        prefix, weights = without_prefix(weights, cls)
        are_sizes_given = config is not None or any(_is_size(value) for name, value in changes.items() if name not in LABELS)
        model = cls._empty(source, entries, changes, rng, None if are_sizes_given else weights)
        if model._ties_that_differ(weights):    # then the file is right, and its config.json is not
            model = cls._empty(source, {**entries, "tie_word_embeddings": False}, changes, rng, None)
            if differing := model._ties_that_differ(weights):
                raise ValueError(f"{source} has different numbers for {', '.join(differing)}, which are one weight in "
                                 f"{cls.__name__}: remove what is not to be read")
        own = model.state_dict()
        if quantised := _quantised(cls.layout.translate(weights, own), own, weights):
            raise ValueError(f"{source} holds {quantised[0][:160]} as {weights[quantised[0]].dtype}, as quantised models do, "
                             "which minigrad does not read: load the model it was made from")
        ours, theirs = ({name: item.shape for name, item in items.items()} for items in (own, weights))
        report = fit(ours, theirs, cls.layout, cls.heads, model._ties(), ignore_mismatched_sizes, strict, str(source))
        report = replace(report, prefix=prefix)
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

    @classmethod
    def _empty(cls, source: Any, entries: Mapping[str, Any], changes: Mapping[str, Any], rng: init.Rng,
               weights: Mapping[str, np.ndarray] | None) -> Self:
        """The model that the entries describe, without its numbers.

        Given the weights of the file, raises ValueError if it is many times as large: a config.json of a few bytes may ask for
        terabytes, or for a million layers.
        """
        with found_in(source):
            config = cls.config_class.from_dict(entries, **changes)
            if weights is None:
                return cls(config, rng=rng, drawn=False)
            numbers = sum(array.size for array in weights.values())
            try:
                with init.at_most(SPARE_WEIGHTS + 4 * len(weights), SPARE_NUMBERS + 4 * numbers):
                    return cls(config, rng=rng, drawn=False)
            except init.TooLarge:
                largest = max((n for array in weights.values() for n in array.shape), default=1)
                sizes = [f"{name} {shown(value)}" for name, value in vars(config).items()
                         if _is_size(value) and np.max(value, initial=0) > largest and not name.endswith("_token_id")]
                raise ValueError(f"its config.json describes a model many times as large as its weights, which are {numbers} "
                                 f"numbers in {len(weights)} arrays{': ' * bool(sizes)}{', '.join(sizes)}; copy both again, or "
                                 "pass the sizes that are meant, as in from_pretrained(..., vocab_size=30522)") from None

    def save_pretrained(self, directory: str | os.PathLike, max_shard_size: int | str = "5GB") -> None:
        """Write config.json and model.safetensors, so that minigrad and transformers load them back.

        A model of more than `max_shard_size` bytes becomes several files and their index.  Whenever this is interrupted, the
        directory loads as what it was or as what it is to be.

        Raises:
            ValueError: the directory holds something that is not a model; or this model has weights other than those that
                from_pretrained would make, see `update_config`.
            OSError: it cannot be written; what was there is as it was.
        """
        self.update_config()
        entries = {**self.config.to_dict(), "architectures": [type(self).__name__], "dtype": str(self.parameters()[0].dtype)}
        entries.pop("torch_dtype", None)        # what transformers 4 calls dtype: the one the weights were loaded from
        ties = self._ties()
        arrays = {name: t.numpy() for name, t in self.state_dict().items() if name not in ties}
        save(directory, entries, self.layout.stored(arrays), max_shard_size)

    def update_config(self) -> None:
        """Make the configuration say how many labels the head has now, if it was replaced: model.classifier = nn.Linear(32, 5).

        Raises:
            ValueError: the weights differ otherwise from those of a model of this configuration, so that what is saved could not
                be loaded.
        """
        own = {name: t.shape for name, t in self.state_dict().items()}
        rows = own.get(f"{self.label_layer}.weight", (self.config.num_labels,))[0]
        if rows != self.config.num_labels:
            self.config.num_labels = rows
        made = {name: t.shape for name, t in type(self)(self.config, rng=init.LATER, drawn=False).state_dict().items()}
        wrong = [f"{name} is {shape}, where the configuration means {made[name]}" for name, shape in own.items()
                 if name in made and shape != made[name]]
        wrong += [f"{name} has no place in it" for name in own if name not in made]
        wrong += [f"{name} is missing" for name in made if name not in own
                  and (name.startswith(f"{self.label_layer}.") or not matches(self.heads, name))]
        if wrong:
            where = f"; a new head is a Linear at {self.label_layer}, with a bias if the old one has one" * bool(self.label_layer)
            raise ValueError(f"what this {type(self).__name__} would save could not be loaded again: {'; '.join(wrong[:4])}: "
                             f"replace parts only by what has the same weights{where}; or keep model.state_dict() by itself, "
                             "with numpy.savez")

    def resize_token_embeddings(self, new_num_tokens: int, pad_to_multiple_of: int | None = None) -> None:
        """Give the model vectors for so many tokens, such as len(tokenizer) after tokenizer.add_tokens.

        Those that there are stay; new ones begin as their mean (Hewitt 2021).  What is tied stays so; config.vocab_size follows.

        Args:
            new_num_tokens: as many as there will be.   pad_to_multiple_of: or the next multiple of this.

        Raises:
            ValueError: fewer than one, or this model reads no tokens.
        """
        if "vocab_size" not in vars(self.config) or new_num_tokens < 1:
            raise ValueError(f"{type(self).__name__} cannot be resized to {new_num_tokens} tokens: it must read tokens, and get "
                             "one or more")
        size = -(-new_num_tokens // (pad_to_multiple_of or 1)) * (pad_to_multiple_of or 1)
        self.config.vocab_size, own = size, self.state_dict()
        pad = getattr(self.config, "pad_token_id", None)
        if pad is not None and pad >= size:
            self.config.pad_token_id = None
        made = type(self)(self.config, rng=init.LATER, drawn=False).state_dict()
        for t, new in {id(t): (t, made[name]) for name, t in own.items() if t.shape != made[name].shape}.values():
            old = t.data[:size]
            more = old.mean(0, keepdims=True, dtype="float32").astype(old.dtype)
            xp = backend.of(old).xp
            _put(t, xp.concatenate([old, xp.broadcast_to(more, (new.shape[0] - len(old), *old.shape[1:]))]))
        for module in self.modules():
            if isinstance(module, Embedding):
                module.num_embeddings = module.weight.shape[0]
            elif isinstance(module, Linear):
                module.out_features = module.weight.shape[0]

    def reset_head(self, rng: init.Rng = None) -> list[str]:
        """Begin the weights that score the labels anew, if they came from a file; returns their names."""
        report = self.load_report
        new = [name for name in report.loaded if name.startswith(f"{self.label_layer}.")] if self.label_layer and report else []
        if new:
            self.draw(new, init.generator(rng))
            loaded = {name: stored for name, stored in report.loaded.items() if name not in new}
            self.load_report = replace(report, loaded=loaded, newly_initialised=[*report.newly_initialised, *new])
        return new

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
                    own[name][self.config.pad_token_id].detach().copy_(0.0)
            else:
                init.constant_(own[name], 1 if name.endswith("weight") else 0)


def without_prefix(weights: Mapping[str, Any], model: type[PretrainedModel]) -> tuple[str, Mapping[str, Any]]:
    """The prefix that stands before every name because the model was wrapped when it was saved, and the weights without it.

    It goes as long as it is before every name and is not what the family itself calls its base model.
    """
    prefix = ""
    while weights:
        found = next((one for one in PREFIXES if all(name.startswith(one) for name in weights)), None)
        inside = {name.removeprefix(found): array for name, array in weights.items()} if found else {}
        is_own = found == f"{model.layout.base}." and not any(name.startswith(found) for name in inside)
        if not found or is_own:
            break
        prefix, weights = prefix + found, inside
    return prefix, weights


def _quantised(found, own, weights):
    """Names in the file of whole numbers where the model has a weight, or of what quantised models keep beside their weights."""
    return [*(stored for name, stored in found.items() if name in own and own[name].dtype.kind not in "biu"
              and weights[stored].dtype.kind in "biu"), *(name for name in weights if QUANTISED.search(name))]


def _is_size(value):
    """Whether an entry of a configuration may be the size of something: a whole number or several."""
    several = value if isinstance(value, (list, tuple)) and value else [value]
    return all(isinstance(item, int) and not isinstance(item, bool) for item in several)


def _floating(dtype):
    """The dtype that a user named, in whatever way."""
    name = "float32" if dtype is None else np.dtype(dtype).name if isinstance(dtype, type) else str(dtype)
    if name not in ("float32", "float16", "bfloat16", "float64"):
        raise ValueError(f'dtype is {dtype!r}: expected "float32", "float16", "bfloat16", "float64" or "auto"')
    return dtype_named(name)


def _put(tensor, array):
    """Give a leaf another array, maybe of another dtype."""
    tensor.hold(array)


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
