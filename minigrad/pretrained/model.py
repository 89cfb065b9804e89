"""What every pretrained model can do: be loaded from a directory, report what was loaded, and be saved to one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np

from .. import backend
from ..backend import dtype_named
from ..nn import Embedding, Linear, Module, init
from ..nn.quantized import QuantizationConfig, Quantized, convert, empty, layers_of, quantizable
from ..nn.utils.prune import custom_from_mask, without_masks
from ..patterns import matches
from ..tensor import Tensor
from . import seen
from .blocks import Blocks, as_configured, remove_channels, remove_heads, remove_layers
from .checkpoint.files import read_weights, save
from .checkpoint.layout import Layout, rewritten
from .checkpoint.report import LoadReport, fit, listed
from .checkpoint.safetensors import contiguous
from .config import LABELS, Config, entries_of
from .values import found_in, shown

MAX_MORE_WEIGHTS, MAX_MORE_NUMBERS = 4096, 1 << 25  # a model may have beyond four times those in its file: 128 MB
# of DataParallel, torch.compile, and classes that wrap the model
PRUNED = "pruning_config"  # the entry of config.json with the names of the weights that have masks
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
QUANTISED = re.compile(r"\.(qweight|qzeros|SCB|absmax|quant_map|weight_(scale|zero_point|packed|shape)\w*)$")


class PretrainedModel(Module):
    """A model with a configuration, whose weights are read from checkpoints and written to them.

    A family sets `config_class`, `layout` and `heads`, and makes its modules in `build`.

    Args:
        config: the sizes and switches, of the class `config_class`.
        rng: the generator, or the seed, that weights and dropout are drawn with.
        drawn: whether to give the weights their first values; False leaves them empty, to be loaded.
    """

    config_class: type[Config]
    layout: Layout
    heads: tuple[str, ...] = ()  # patterns of weights that a checkpoint may lack
    label_layer: ClassVar[str] = ""  # the path of the Linear that has a row for each label, if there is one
    tied: ClassVar[dict[str, str]] = {}  # {name: the name of the weight that it shares}, as patterns; shared by `build`
    blocks: ClassVar[Blocks | None] = None  # of a base model: where its layers are, if some can be removed
    load_report: LoadReport | None = None
    config: Any  # an instance of `config_class`
    quantization: QuantizationConfig | None = None  # how weights are quantised, if any are

    def __init__(self, config: Any, rng: init.Rng = None, drawn: bool = True):
        generator: Any = init.generator(rng)
        self.config = config
        self.build(config, generator)
        if self.blocks is not None:
            as_configured(self)
        if drawn:
            self.draw(list(self.state_dict()), generator)

    def build(self, c: Any, rng: np.random.Generator) -> None:
        """Make the modules for the configuration `c`, with empty weights; dropout draws from `rng`."""
        raise NotImplementedError(f"{type(self).__name__} has no build")

    def __call__(
        self, *args: Any, output_hidden_states: bool | None = None, output_attentions: bool | None = None, **named: Any
    ) -> Any:
        """The result of `forward`; with its `hidden_states` and `attentions` if asked for here or in config.json."""
        options = {"hidden_states": output_hidden_states, "attentions": output_attentions}
        asked = [
            name
            for name, wanted in options.items()
            if (self.config.rest.get(f"output_{name}", False) if wanted is None else wanted)
        ]
        if not asked or seen.is_kept():  # the model that this one is part of keeps them
            return super().__call__(*args, **named)
        with seen.kept(*asked) as kept:
            out = super().__call__(*args, **named)
        if not any(kept.values()):
            raise ValueError(
                f"{type(self).__name__} has no {' and no '.join(asked)} to tell: leave out output_{asked[0]}"
            )
        has_decoder = any(name.startswith("decoder_") for name in kept)
        for name, found in kept.items():
            if found:
                setattr(out, name if has_decoder else name.removeprefix("encoder_"), tuple(found))
        return out

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike,
        *,
        config: Config | Mapping[str, Any] | None = None,
        dtype: Any = None,
        quantize: str | QuantizationConfig | None = None,
        ignore_mismatched_sizes: bool = False,
        strict: bool = True,
        rng: init.Rng = None,
        revision: str | None = None,
        local_files_only: bool = False,
        **changes: Any,
    ) -> Self:
        """The model in a Hugging Face directory or file, or of that name, in evaluation mode.

        Its `load_report` says what became of each weight.  The files are memory-mapped and never changed; a weight
        takes memory when it is first read.

        Args:
            source: a directory with config.json and safetensors or pytorch_model.bin, whole or in shards; a
                .safetensors, .bin, .pt or .pth file, with config.json beside it or given; or a name on the Hub, such as
                "bert-base-uncased".
            config: used instead of the config.json at the source.
            dtype: of the floating-point weights, "float16", "bfloat16" or "float64"; "auto" for that in config.json or
                else that of the file; float32 by default, whatever the file has.
            quantize: "int8" or "int4" for the weights of all Linears and Embeddings but the one that scores labels, or
                a `QuantizationConfig`; each is quantised as it is read, so that the floats are never all in memory.
                What `save_pretrained` wrote of a quantised model is loaded as that without it.
            ignore_mismatched_sizes: initialise weights of another shape anew instead of refusing them.
            strict: refuse a file that lacks more than a head, or has weights without a known reason; otherwise only
                report it.
            rng: the generator that new weights and dropout are drawn with, a seed, or None.
            revision: a branch, tag or commit, for a name on the Hub.
            local_files_only: use the Hub's cache alone.
            changes: entries of the configuration to change, such as num_labels=8 or id2label=["no", "yes"].

        Raises:
            FileNotFoundError: no such directory, file or name, or a file in it is missing.
            ValueError: the files are damaged or do not fit this model, or the dtype is unknown.
            TypeError: a change names an unknown entry of the configuration.
        """
        if "torch_dtype" in changes:  # as an entry of the configuration it would have no effect
            raise TypeError('torch_dtype is called dtype: type dtype="float16", say')
        is_auto = isinstance(dtype, str) and dtype == "auto"
        floating = _floating("float32" if is_auto else dtype)
        entries = entries_of(source, config, revision, local_files_only)
        stored = cls._check_family(source, entries)
        wanted = None if quantize is None else QuantizationConfig.of(quantize)
        if stored is not None and wanted is not None:
            raise ValueError(f"{source} holds a model that is quantised to {stored.weights}: leave out quantize")
        weights = read_weights(source, revision, local_files_only)
        if is_auto:
            found = next((str(a.dtype) for a in weights.values() if a.dtype.kind not in "biu"), None)
            floating = _floating(entries.get("dtype") or entries.get("torch_dtype") or found)
        prefix, weights = without_prefix(weights, cls)
        are_sizes_given = config is not None or any(
            _is_size(value) for name, value in changes.items() if name not in LABELS
        )
        generator: Any = init.generator(rng)
        model = cls._empty_for(weights, source, entries, changes, generator, are_sizes_given, stored)
        shapes, stored_shapes = (
            {name: item.shape for name, item in items.items()} for items in (model.state_dict(), weights)
        )
        report = fit(
            shapes, stored_shapes, cls.layout, cls.heads, model._ties(), ignore_mismatched_sizes, strict, str(source)
        )
        model._take(weights, report, floating, generator, wanted)
        model._mask(report)
        model.load_report = replace(report, prefix=prefix)
        model.eval()
        return model

    @classmethod
    def _check_family(cls, source: Any, entries: Mapping[str, Any]) -> QuantizationConfig | None:
        """How the model is quantised.  Refuse the configuration of another family, or of another quantisation."""
        if entries.get("model_type") != cls.config_class.model_type:
            raise ValueError(
                f"{source} holds a model of type {shown(entries.get('model_type'))}, but {cls.__name__} "
                f"needs {cls.config_class.model_type!r}: use the class of that family"
            )
        if quantisation := entries.get("quantization_config"):
            method = quantisation.get("quant_method") if isinstance(quantisation, Mapping) else None
            if method == QuantizationConfig.quant_method:
                with found_in(source):
                    return QuantizationConfig.of(quantisation)
            raise ValueError(
                f"{source} holds a quantised model ({shown(method or quantisation)}), which minigrad does "
                "not read: load the model it was made from"
            )
        return None

    @classmethod
    def _empty_for(
        cls,
        weights: Mapping[str, np.ndarray],
        source: Any,
        entries: Mapping[str, Any],
        changes: Mapping[str, Any],
        rng: np.random.Generator,
        are_sizes_given: bool,
        quantization: QuantizationConfig | None,
    ) -> Self:
        """The model for these weights, still empty.  The file wins where config.json ties weights that differ in it.

        With a `quantization`, layers of which the file has `qweight` are quantised.

        Raises ValueError if weights differ that the family always ties, or if the weights are quantised.
        """
        model = cls._empty(source, entries, changes, rng, None if are_sizes_given else weights)
        model._quantise_empty(weights, quantization)
        if model._ties_that_differ(weights):
            model = cls._empty(source, {**entries, "tie_word_embeddings": False}, changes, rng, None)
            model._quantise_empty(weights, quantization)
            if differing := model._ties_that_differ(weights):
                raise ValueError(
                    f"{source} has different numbers for {', '.join(differing)}, which are one weight in "
                    f"{cls.__name__}: remove what is not to be read"
                )
        own = model.state_dict()
        if quantised := _quantised(cls.layout.translate(weights, own), own, weights, quantization is not None):
            raise ValueError(
                f"{source} holds {quantised[0][:160]} as {weights[quantised[0]].dtype}, as quantised "
                "models do, which minigrad does not read: load the model it was made from"
            )
        return model

    @classmethod
    def _empty(
        cls,
        source: Any,
        entries: Mapping[str, Any],
        changes: Mapping[str, Any],
        rng: init.Rng,
        weights: Mapping[str, np.ndarray] | None,
    ) -> Self:
        """The model that the entries describe, with empty weights.

        Given the weights of the file, raises ValueError if the model is many times as large: a config.json of a few
        bytes may ask for terabytes, or for a million layers.
        """
        with found_in(source):
            config = cls.config_class.from_dict(entries, **changes)
            if weights is None:
                return cls(config, rng=rng, drawn=False)
            numbers = sum(array.size for array in weights.values())
            try:
                with init.at_most(MAX_MORE_WEIGHTS + 4 * len(weights), MAX_MORE_NUMBERS + 4 * numbers):
                    return cls(config, rng=rng, drawn=False)
            except init.TooLarge:
                largest = max((n for array in weights.values() for n in array.shape), default=1)
                sizes = [
                    f"{name} {shown(value)}"
                    for name, value in vars(config).items()
                    if _is_size(value) and np.max(value, initial=0) > largest and not name.endswith("_token_id")
                ]
                raise ValueError(
                    f"its config.json describes a model many times as large as its weights, which are "
                    f"{numbers} numbers in {len(weights)} arrays{': ' * bool(sizes)}{', '.join(sizes)}; "
                    "copy both again, or pass the sizes that are meant, as in from_pretrained(..., "
                    "vocab_size=30522)"
                ) from None

    def _quantise_empty(self, weights: Mapping[str, np.ndarray], quantization: QuantizationConfig | None) -> None:
        """Quantise the layers of which the file has the numbers, which are still to be loaded."""
        if quantization is None:
            return
        names = [name.removesuffix("qweight") + "weight" for name in weights if name.endswith(".qweight")]
        own = self.state_dict()
        quantised = {id(own[name]) for name in self.layout.translate(names, own) if name in own}
        convert([m for m in layers_of(self) if id(m.weight) in quantised], quantization, empty)
        self.quantization = quantization

    def _take(
        self,
        weights: Mapping[str, np.ndarray],
        report: LoadReport,
        floating: Any,
        rng: np.random.Generator,
        quantization: QuantizationConfig | None = None,
    ) -> None:
        """Give each weight its array from the file, or new values of the dtype `floating`, as the report says.

        With a `quantization`, layers are quantised one after the other, and no weight refers to the file afterwards.
        """
        own, layers = self.state_dict(), [] if quantization is None else quantizable(self, quantization)
        by_weight: dict[int, list[Any]] = {}
        for layer in layers:
            by_weight.setdefault(id(layer.weight), []).append(layer)
        for name, stored in report.loaded.items():
            array = weights[stored].T if self.layout.transposed(stored) else weights[stored]
            dtype = own[name].dtype if own[name].dtype.kind in "biu" else floating
            if name.endswith(".qweight") and array.dtype != dtype:
                raise ValueError(
                    f"{stored} is {array.dtype} in the file, where config.json means {dtype}: copy both again"
                )
            own[name].hold(np.require(contiguous(array), dtype, ["C", "A"]))
            if quantization is not None and convert(by_weight.get(id(own[name]), ()), quantization):
                own[name].data = own[name].data[:0].copy()  # so that its floats are freed
            elif quantization is not None:
                own[name].hold(own[name].data.copy())
        _unshare([own[name] for name in report.loaded])
        if new := [*report.newly_initialised, *report.wrong_shape]:
            if damaged := [name for name in new if name.endswith((".qweight", ".weight_scale"))]:
                raise ValueError(f"{listed(damaged)} cannot begin anew, for the model is quantised: load another file")
            self.draw(new, rng)
            for t in (own[name] for name in new if own[name].dtype.kind not in "biu"):
                t.hold(t.data.astype(floating, copy=False))
        if quantization is not None:
            convert([m for m in layers if not isinstance(m, Quantized)], quantization)
            self.quantization = quantization

    def _mask(self, report: LoadReport) -> None:
        """Give a mask to each weight that config.json says was pruned with one: what is zero there stays zero."""
        entry = self.config.rest.get(PRUNED)
        names = entry.get("parameters") if isinstance(entry, Mapping) else entry
        if entry is not None and not isinstance(names, list):
            raise ValueError(
                f"{PRUNED} in config.json is {shown(entry)}; expected parameters and a list of their names"
            )
        pruned = set(map(str, names or ()))
        for path, stored in report.loaded.items():
            where, _, name = path.rpartition(".")
            module = self.get_submodule(where) if stored in pruned else None
            if module is not None and not isinstance(module, Quantized):  # which is not trained
                custom_from_mask(module, name, getattr(module, name).numpy() != 0)

    def save_pretrained(self, directory: str | os.PathLike, max_shard_size: int | str = "5GB") -> None:
        """Write config.json and model.safetensors, so that minigrad and transformers load them back.

        Pruned weights are written with their zeros, and config.json says which they are, so that from_pretrained gives
        them masks again.

        A model of more than `max_shard_size` bytes becomes several files and their index.  If this is interrupted at
        any point, the directory still loads, as the old model or as the new one.

        Raises:
            ValueError: the directory holds something that is not a model; or this model has weights other than those
                that from_pretrained would make, see `update_config`.
            OSError: it cannot be written; its former content is unchanged.
        """
        self.update_config()
        entries = {
            **self.config.to_dict(),
            "architectures": [type(self).__name__],
            "dtype": str(self.parameters()[0].dtype),
        }
        entries.pop("torch_dtype", None)  # transformers 4's name for dtype, that of the file that was loaded
        entries.pop("quantization_config", None)
        if self.quantization is not None:
            entries["quantization_config"] = self.quantization.to_dict()
        entries.pop(PRUNED, None)
        state, ties = self.state_dict(), self._ties()
        plain = without_masks(state)
        if masked := self.layout.stored({name: t.numpy() for name, t in plain.items() if name not in state}):
            kept = sum(map(np.count_nonzero, masked.values())) / sum(array.size for array in masked.values())
            entries[PRUNED] = {"sparsity": round(1 - kept, 4), "parameters": [*masked]}
        arrays = {name: t.numpy() for name, t in plain.items() if name not in ties}
        save(directory, entries, self.layout.stored(arrays), max_shard_size)

    def update_config(self) -> None:
        """Update the number of labels in the configuration after a new head: model.classifier = nn.Linear(32, 5).

        Raises:
            ValueError: other weights differ from those of a model of this configuration, so that it could not be loaded
            again.
        """
        own = {name: t.shape for name, t in without_masks(self.state_dict()).items()}
        rows = own.get(f"{self.label_layer}.weight", (self.config.num_labels,))[0]
        if rows != self.config.num_labels:
            self.config.num_labels = rows
        made = {name: t.shape for name, t in self._made_anew().state_dict().items()}
        wrong = [
            f"{name} is {shape}, where the configuration means {made[name]}"
            for name, shape in own.items()
            if name in made and shape != made[name]
        ]
        wrong += [f"{name} has no place in it" for name in own if name not in made]
        wrong += [
            f"{name} is missing"
            for name in made
            if name not in own and (name.startswith(f"{self.label_layer}.") or not matches(self.heads, name))
        ]
        if wrong:
            where = (
                f"; a new head is a Linear at {self.label_layer}, with a bias if the old one has one"
                if self.label_layer
                else ""
            )
            raise ValueError(
                f"what this {type(self).__name__} would save could not be loaded again: "
                f"{'; '.join(wrong[:4])}: replace parts only by what has the same weights{where}; or keep "
                "model.state_dict() by itself, with numpy.savez"
            )

    def _made_anew(self) -> Any:
        """A model of this configuration, with empty weights, quantised where this one is."""
        made = type(self)(self.config, drawn=False)
        if self.quantization is not None:
            quantised = {path for path, m in self.named_modules() if isinstance(m, Quantized)}
            layers = {id(m): m for path, m in made.named_modules() if path in quantised}
            convert(layers.values(), self.quantization, empty)
        return made

    @property
    def base_model(self) -> Any:
        """The model without its head, under any name; a model that has no head is its own."""
        return getattr(self, self.layout.base, self) if self.layout.base else self

    def resize_token_embeddings(self, new_num_tokens: int, pad_to_multiple_of: int | None = None) -> None:
        """Give the model a vector for each of so many tokens, such as len(tokenizer) after tokenizer.add_tokens.

        Existing vectors stay, and new ones start as their mean (Hewitt 2021).  Tied weights stay tied;
        config.vocab_size follows.

        Args:
            new_num_tokens: the new size of the vocabulary.
            pad_to_multiple_of: round the size up to a multiple of this.

        Raises:
            ValueError: fewer than one token, or this model reads no tokens, or is quantised.
        """
        if self.quantization is not None:
            raise ValueError("a quantised model keeps its vocabulary: resize the model that it was made from")
        if "vocab_size" not in vars(self.config) or new_num_tokens < 1:
            raise ValueError(
                f"{type(self).__name__} cannot be resized to {new_num_tokens} tokens: it must read "
                "tokens, and get one or more"
            )
        size = -(-new_num_tokens // (pad_to_multiple_of or 1)) * (pad_to_multiple_of or 1)
        self.config.vocab_size, own = size, self.state_dict()
        pad = getattr(self.config, "pad_token_id", None)
        if pad is not None and pad >= size:
            self.config.pad_token_id = None
        made = type(self)(self.config, drawn=False).state_dict()
        resized = [name for name, t in without_masks(own).items() if t.shape != made[name].shape]
        if masked := [name for name in resized if name not in own]:
            raise ValueError(
                f"{masked[0]} has a mask, of its present size: type nn.utils.prune.remove(...) for it first"
            )
        for t, new in {id(own[name]): (own[name], made[name]) for name in resized}.values():
            old = t.data[:size]
            more = old.mean(0, keepdims=True, dtype="float32").astype(old.dtype)
            xp = backend.of(old).xp
            t.hold(xp.concatenate([old, xp.broadcast_to(more, (new.shape[0] - len(old), *old.shape[1:]))]))
        for module in self.modules():
            if isinstance(module, Embedding):
                module.num_embeddings = module.weight.shape[0]
            elif isinstance(module, Linear):
                module.out_features = module.weight.shape[0]

    def prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        """Remove attention heads: {layer: [heads]}, both counted from 0 as in the model before any was removed.

        Their weights are gone from the projections around them, and config.json keeps a list of them, `pruned_heads`,
        as transformers 4 does.  An optimiser of the model must be made afterwards.

        Raises:
            ValueError: there is no such layer or head, a layer would lose its last head, or the heads of this family
                share their keys and values.
        """
        remove_heads(self, heads_to_prune)

    def prune_channels(self, channels_to_prune: Mapping[int, Iterable[int]]) -> None:
        """Remove hidden channels of the feed-forward networks: {layer: [channels]}, as many from each layer.

        The entry of config.json with their number becomes smaller.  An optimiser of the model must be made afterwards.

        Raises:
            ValueError: there is no such layer or channel, layers would have different numbers, or none would be left.
        """
        remove_channels(self, channels_to_prune)

    def prune_layers(self, layers_to_prune: Iterable[int]) -> None:
        """Remove layers by their numbers, counted from 0; those after them get the next number.

        The entry of config.json with their number becomes smaller.  An optimiser of the model must be made afterwards.

        Raises:
            ValueError: there is no such layer, or none would be left.
        """
        remove_layers(self, layers_to_prune)

    def reset_head(self, rng: init.Rng = None) -> list[str]:
        """Initialise the weights that score the labels anew, if they came from a file; returns their names."""
        report = self.load_report
        if not self.label_layer or report is None:
            return []
        if new := [name for name in report.loaded if name.startswith(f"{self.label_layer}.")]:
            self.draw(new, init.generator(rng))
            loaded = {name: stored for name, stored in report.loaded.items() if name not in new}
            self.load_report = replace(report, loaded=loaded, newly_initialised=[*report.newly_initialised, *new])
        return new

    def _ties(self) -> dict[str, str]:
        """{second name of a weight: its first} for the weights that this model, by its configuration, shares."""
        own = self.state_dict()
        first = {name: self._first_name(name) for name in own}
        return {name: one for name, one in first.items() if one != name and own[name] is own.get(one)}

    def _first_name(self, name: str) -> str:
        """The name of the weight that this one shares, or of its numbers or scales, if it is quantised."""
        path, _, leaf = name.rpartition(".")
        if leaf not in ("qweight", "weight_scale"):
            return rewritten(name, self.tied.items())
        return rewritten(f"{path}.weight", self.tied.items()).removesuffix("weight") + leaf

    def _ties_that_differ(self, weights: Mapping[str, np.ndarray]) -> list[str]:
        """The file's second names of tied weights whose numbers differ from those under the first."""
        found = self.layout.translate(weights, self.state_dict())
        return [
            found[name]
            for name, one in self._ties().items()
            if name in found and one in found and not _same(weights[found[name]], weights[found[one]])
        ]

    def draw(self, names: list[str], rng: init.Rng) -> None:
        """Draw the named weights: normal with the configured standard deviation; padding and biases 0, scales 1."""
        own = self.state_dict()
        for name in names:
            if own[name].ndim > 1:
                init.normal_(own[name], std=self.config.initializer_range, rng=rng)
                if name.endswith("word_embeddings.weight") and self.config.pad_token_id is not None:
                    own[name][self.config.pad_token_id].detach().copy_(0.0)
            else:
                init.constant_(own[name], 1 if name.endswith("weight") else 0)


def without_prefix(weights: Mapping[str, Any], model: type[PretrainedModel]) -> tuple[str, Mapping[str, Any]]:
    """The prefix of every name, left by a wrapper around the model when it was saved, and the weights without it.

    A prefix counts only if every name has it, and if it is not the family's own name for its base model.
    """
    prefix = ""
    while weights:
        found = next((one for one in PREFIXES if all(name.startswith(one) for name in weights)), "")
        inside = {name.removeprefix(found): array for name, array in weights.items()} if found else {}
        is_own = found == f"{model.layout.base}." and not any(name.startswith(found) for name in inside)
        if not found or is_own:
            break
        prefix, weights = prefix + found, inside
    return prefix, weights


def _quantised(found, own, weights, known):
    """The file's names of integer arrays for floats, or, unless the quantisation is `known`, of scales and the like."""
    return [
        *(
            stored
            for name, stored in found.items()
            if name in own and own[name].dtype.kind not in "biu" and weights[stored].dtype.kind in "biu"
        ),
        *(name for name in weights if not known and QUANTISED.search(name)),
    ]


def _is_size(value):
    """Whether an entry of a configuration may be a size: a whole number or several."""
    several = value if isinstance(value, (list, tuple)) and value else [value]
    return all(isinstance(item, int) and not isinstance(item, bool) for item in several)


def _floating(dtype):
    """The dtype for a name or a NumPy type."""
    name = "float32" if dtype is None else np.dtype(dtype).name if isinstance(dtype, type) else str(dtype)
    if name not in ("float32", "float16", "bfloat16", "float64"):
        raise ValueError(f'dtype is {dtype!r}: expected "float32", "float16", "bfloat16", "float64" or "auto"')
    return dtype_named(name)


def _unshare(tensors: Iterable[Tensor]) -> None:
    """Copy each tensor that shares memory in the file with one before it."""
    end = 0
    for start, tensor in sorted(
        ((t.data.__array_interface__["data"][0], t) for t in tensors), key=lambda pair: pair[0]
    ):
        if start < end:
            tensor.data = tensor.data.copy()
        end = max(end, start + tensor.data.nbytes)


def _same(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether two arrays are one in memory, or equal."""
    where = [(array.__array_interface__["data"], array.strides, array.shape, array.dtype) for array in (one, two)]
    return where[0] == where[1] or np.array_equal(one, two)
