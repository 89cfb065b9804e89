"""A model with adapters: `get_peft_model` converts a model in place, so that its weights keep their names.

    model = get_peft_model(model, LoraConfig(r=8, target_modules=["query", "value"], task_type="SEQ_CLS"))
    model.print_trainable_parameters()

Only the adapters of such a model are trained, with the parts of the model that the configuration names: biases, heads
and other `modules_to_save`.  Each adapter has its own values of these parts, which the model uses while it is active.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import DEVICES
from ..nn import Module, Parameter, init
from ..nn.tree import check_name, walk
from ..places import warn
from ..pretrained import PretrainedModel
from ..pretrained.checkpoint.report import listed
from ..tensor import Tensor
from . import files, lora
from .config import WITHOUT_EFFECT, Hit, PeftConfig, names_in
from .layer import AdapterLayer, Mark, joined
from .names import plain_name, theirs
from .targets import is_within, saved_modules

WITHOUT_MEANING = {*WITHOUT_EFFECT, "inference_mode", "base_model_name_or_path", "revision", "init_lora_weights"}
HEADED = {"SEQ_CLS": ("classifier", "score"), "TOKEN_CLS": ("classifier", "score"), "QUESTION_ANS": ("qa_outputs",)}


def get_peft_model(
    model: Module, peft_config: PeftConfig, adapter_name: str = "default", *, rng: init.Rng = None
) -> PeftModel:
    """Freeze a model and add an adapter to be trained instead; returns the model, converted into a PeftModel.

    Newly initialised parts of the model, such as a head that its file lacks, are trained and saved with the adapter.

    Args:
        peft_config: the configuration of the adapter, such as a `LoraConfig`.
        rng: the generator or the seed for the initial values of the adapter.

    Raises:
        ValueError: a pattern of the configuration matches nothing, or the model has adapters already.  It is unchanged.
        TypeError: the model is not a Module, or the configuration is not that of an adapter.
    """
    if not isinstance(model, Module):
        raise TypeError(f"get_peft_model takes a Module, such as a model of minigrad.pretrained, not {model!r:.80}")
    if isinstance(model, PeftModel):
        raise ValueError(
            f"this model has the adapters {', '.join(model.peft_config)} already: model.add_adapter(name, config) adds "
            "another, and model.unload() removes them"
        )
    if isinstance(model, PretrainedModel):
        model.update_config()
    plan = _Plan(model, peft_config)
    adapted = _with_adapters(model)
    try:
        adapted._put(adapter_name, plan, rng)
        adapted.set_adapter(adapter_name)
    except BaseException:
        adapted.unload()
        raise
    return adapted


def _with_adapters(model: Any) -> PeftModel:
    """The model, frozen and converted into a PeftModel that has no adapter yet."""
    plain = type(model)
    model.__class__ = joined(PeftModel, plain)
    model.peft = _State(plain, {path: t.requires_grad for path, t in walk(model) if isinstance(t, Parameter)})
    model.requires_grad_(False)
    model.peft.mark(model)
    return model


class _Plan:
    """The layers and weights of a model that a configuration selects, found before anything is changed.

    Args:
        strict: whether every name must match, and whether heads that are to be trained are added; False for an adapter
            that is read from a file, whose content is settled.
    """

    def __init__(self, model: Any, config: PeftConfig, strict: bool = True):
        if not isinstance(config, PeftConfig):
            raise TypeError(f"an adapter is described by a configuration, such as LoraConfig(r=8), not {config!r:.80}")
        self.config = copy.deepcopy(config)
        if strict:
            self.config.modules_to_save = with_heads(model, self.config)
        self.hits = self.config.hits(model, strict)
        saved = saved_modules(model, names_in(self.config.modules_to_save), strict)
        self.own = [path for path in weights(model) if is_within(path, saved) or self.config.trains(path, self.hits)]

    @classmethod
    def of(cls, config: PeftConfig, hits: list[Hit], own: list[str]) -> _Plan:
        """A plan from the layers and weights themselves."""
        plan = cls.__new__(cls)
        plan.config, plan.hits, plan.own = config, hits, own
        return plan


def with_heads(model: Any, config: PeftConfig) -> list[str] | None:
    """The modules to save, extended by the head that the task trains and by modules that were newly initialised."""
    names, report = names_in(config.modules_to_save), getattr(model, "load_report", None)
    wanted = [name for name in HEADED.get(config.task_type or "", ()) if name in vars(model)]
    for weight in report.newly_initialised if report else ():
        module = weight.rpartition(".")[0]
        wanted += [module] * (module != "" and not is_within(module, [*names, *wanted]))
    return [*names, *(name for name in dict.fromkeys(wanted) if name not in names)] or None


class _State:
    """The adapters of a PeftModel, and the values that they have of the model's own weights.

    It is not a Module, so these values are not in the state dict; those of the active adapters are in the model.
    """

    def __init__(self, plain: type, trainable: dict[str, bool]):
        self.plain = plain  # the class of the model before it had adapters
        self.trainable = trainable  # whether each parameter was trained before, by path
        self.configs: dict[str, PeftConfig] = {}
        self.hits: dict[str, list[Hit]] = {}
        self.active: tuple[str, ...] = ()
        self.merged: tuple[str, ...] = ()
        self.own: dict[str, dict[str, Tensor]] = {}  # an adapter's values of the model's own weights, by path
        self.base: dict[str, Tensor] = {}  # the values of these weights without an adapter
        self.marks: dict[str, Mark] = {}  # a mark of each weight of the model

    def mark(self, model: Module, but: Collection[str] = ()) -> None:
        """Record the state of the weights; those in `but` count as changed."""
        self.marks = {path: Mark(t, path not in but) for path, t in weights(model).items()}

    def changed(self, model: Module) -> dict[str, Tensor]:
        """The model's own weights that are trained or were written since `mark`, by path, without adapters' values."""
        own = {id(t) for values in self.own.values() for t in values.values()}
        return {
            path: t
            for path, t in weights(model).items()
            if id(t) not in own and (t.requires_grad or path not in self.marks or not self.marks[path].is_of(t))
        }


def layers(model: Module) -> list[AdapterLayer]:
    """The layers of a model that have adapters, each once."""
    return list({id(m): m for m in model.modules() if isinstance(m, AdapterLayer)}.values())


def weights(model: Module) -> dict[str, Tensor]:
    """The parameters and buffers of a model except those of adapters, by path."""
    of_adapters = {id(t) for layer in layers(model) for name in layer.names for t in layer.tensors(name).values()}
    return {path: t for path, t in walk(model) if isinstance(t, Tensor) and id(t) not in of_adapters}


class PeftModel(Module):
    """A model with adapters, made by `get_peft_model` or `PeftModel.from_pretrained`.

    It keeps all methods of the model, and has those below in addition.
    """

    peft: _State

    # The adapters.

    @property
    def peft_config(self) -> dict[str, PeftConfig]:
        """The configuration of each adapter by its name."""
        return self.peft.configs

    @property
    def active_adapters(self) -> list[str]:
        """The names of the active adapters."""
        return list(self.peft.active)

    @property
    def active_adapter(self) -> str:
        """The name of the active adapter, or of the first of several; "" if none is active."""
        return next(iter(self.peft.active), "")

    def add_adapter(self, adapter_name: str, peft_config: PeftConfig, *, rng: init.Rng = None) -> None:
        """Add another adapter, which is inactive until `set_adapter`.

        Raises:
            ValueError: the name is taken, the configuration is of another method than the model's adapters, or one of
                its patterns matches nothing.
        """
        self._put(adapter_name, _Plan(self, peft_config), rng)

    def add_weighted_adapter(
        self,
        adapters: Sequence[str],
        weights: Sequence[float],
        adapter_name: str,
        combination_type: str = "svd",
        svd_rank: int | None = None,
    ) -> None:
        """Add an adapter that is a weighted sum of LoRA adapters.

        Args:
            combination_type: "cat" gives the exact sum, whose rank is the sum of the ranks; "svd" the best
                approximation of rank `svd_rank` (by default the largest of the ranks); "linear" adds the matrices A and
                the matrices B separately, a rough approximation.

        Raises:
            ValueError: an adapter or the combination_type is unknown, or the adapters cannot be added: they are not
                LoRA, have use_dora or lora_bias, differ in rank for "linear", or several have their own values of the
                model's weights.
        """
        adapters = self._known(adapters)
        plan, factors = lora.weighted(
            self,
            [self.peft.configs[name] for name in adapters],
            list(adapters),
            list(weights),
            combination_type,
            svd_rank,
        )
        holders = [name for name in adapters if self.peft.own[name]]
        if len(holders) > 1:
            raise ValueError(
                f"{' and '.join(holders)} have their own values of the model's weights, which cannot be added: keep one"
            )
        self._put(adapter_name, _Plan.of(*plan, [path for name in holders for path in self.peft.own[name]]), init.LATER)
        for name in holders:
            for path, t in self.peft.own[adapter_name].items():
                t.copy_(self.peft.own[name][path])
        for layer, a, b in factors:
            for p, array in zip(layer.factors(adapter_name), (a, b)):
                p.copy_(array.reshape(p.shape))

    def set_adapter(self, adapter_name: str | Sequence[str]) -> None:
        """Activate an adapter, or several together, and deactivate the others; active adapters are trained.

        Raises:
            ValueError: a name is unknown, adapters are merged, or two have their own values of the same weight.
        """
        names = self._known(adapter_name)
        self._check_apart(names)
        if self.merged_adapters:
            raise ValueError(f"{', '.join(self.merged_adapters)} is merged: type model.unmerge_adapter() first")
        self._act(names)
        for name in self.peft.configs:
            trained = name in names and not self.peft.configs[name].inference_mode
            for t in self._tensors(name).values():
                if isinstance(t, Parameter):
                    t.requires_grad = trained

    def delete_adapter(self, adapter_name: str) -> None:
        """Remove an adapter.  If it was active, the first of the remaining ones becomes active.

        Raises:
            ValueError: the name is unknown, the adapter is merged, or it is the only one.
        """
        self._check_known(adapter_name)
        if len(self.peft.configs) == 1:
            raise ValueError(f"{adapter_name} is the only adapter: type model.unload() to remove it")
        left = [name for name in self.peft.configs if name != adapter_name]
        active = [name for name in self.peft.active if name != adapter_name]
        self.set_adapter(active or left[:1])
        self._remove(adapter_name)

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """In `with model.disable_adapter():` the model computes without adapters, and with its own heads."""
        active = self.peft.active
        with self._unmerged():
            self._act(())
            try:
                yield
            finally:
                self._act(active)

    # Merging.

    @property
    def merged_adapters(self) -> list[str]:
        """The names of the adapters that are merged into the weights."""
        return list(self.peft.merged)

    def merge_adapter(self, adapter_names: Sequence[str] | None = None, safe_merge: bool = False) -> None:
        """Merge the active adapters, or the named ones, into the weights, so that they take no time.

        The model then computes with these adapters only, and has their heads; `unmerge_adapter` undoes it.  The sum is
        computed in float32 or float64 and rounded to the dtype of the weights.  It is always checked, so `safe_merge`
        makes no difference.

        Raises:
            ValueError: a weight would not be finite, some are merged already, or the method cannot be merged.
        """
        if self.merged_adapters:
            raise ValueError(f"{', '.join(self.merged_adapters)} is merged already: type model.unmerge_adapter() first")
        names = self.peft.active if adapter_names is None else self._known(adapter_names)
        if not names:
            raise ValueError(f"no adapter is active, so none is merged: give some of {', '.join(self.peft.configs)}")
        self._check_apart(names)
        try:
            self._stand(names)
            for layer in layers(self):
                layer.merge(names)
            self.peft.merged = names
        except BaseException:
            self.unmerge_adapter()
            raise

    def unmerge_adapter(self) -> None:
        """Undo `merge_adapter`; the weights are restored bit for bit."""
        for layer in layers(self):
            layer.unmerge()
        self.peft.merged = ()
        self._stand(self.peft.active)

    def merge_and_unload(
        self, progressbar: bool = False, safe_merge: bool = False, adapter_names: Sequence[str] | None = None
    ) -> Any:
        """Merge the active adapters, or the named ones, and return the plain model; raises as `merge_adapter` does."""
        if adapter_names is not None:
            self.set_adapter(adapter_names)
        with self._unmerged():
            ties = self._ties() if isinstance(self, PretrainedModel) else {}
        if not self.merged_adapters:
            self.merge_adapter()
        model: Any = self._plain()
        own = model.state_dict()
        if any(own[name] is not own[one] for name, one in ties.items()):  # only one of two tied weights was merged
            for name in [name for name, one in ties.items() if own[name] is own[one]]:
                model.replace(name, Parameter(own[name].data.copy(), own[name].requires_grad))
            model.config.tie_word_embeddings = False
        return model

    def unload(self) -> Any:
        """Remove the adapters, and return the model as it was before, with its own heads."""
        self.unmerge_adapter()
        self._act(())
        return self._plain()

    def get_base_model(self) -> Any:
        """This model itself, as `peft`'s method of that name returns the wrapped one."""
        return self

    # Reports.

    def get_nb_trainable_parameters(self) -> tuple[int, int]:
        """The number of trained parameters, and of all parameters, counted in scalars."""
        return sum(p.size for p in self.parameters() if p.requires_grad), sum(p.size for p in self.parameters())

    def print_trainable_parameters(self) -> None:
        """Print the number of trained parameters, of all, and the percentage."""
        trained, total = self.get_nb_trainable_parameters()
        print(f"trainable params: {trained:,} || all params: {total:,} || trainable%: {100 * trained / total:.4f}")

    @property
    def targeted_module_names(self) -> list[str]:
        """The paths of the layers that have adapters."""
        return list(dict.fromkeys(hit.path for hits in self.peft.hits.values() for hit in hits))

    def adapter_table(self) -> str:
        """A table of the layers that each pattern matched, and of the number of parameters added or trained there."""
        rows = [("adapter", "pattern", "modules", "numbers", "such as")]
        for name, hits in self.peft.hits.items():
            for pattern in dict.fromkeys(hit.pattern for hit in hits):
                these: Any = [hit for hit in hits if hit.pattern == pattern]
                size = sum(t.size for hit in these for t in hit.module.tensors(name).values())
                rows.append((name, pattern, f"{len(these)}", f"{size:,}", listed([hit.path for hit in these])))
            if own := self.peft.own[name]:
                size = sum(t.size for t in {id(t): t for t in own.values()}.values())
                rows.append((name, "(the model's own)", f"{len(own)}", f"{size:,}", listed(own)))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        return "\n".join(
            f"{a:{widths[0]}}  {b:{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}  {e}" for a, b, c, d, e in rows
        )

    # Files.

    @classmethod
    def from_pretrained(
        cls,
        model: Any,
        model_id: str | os.PathLike,
        adapter_name: str = "default",
        is_trainable: bool = False,
        config: PeftConfig | None = None,
    ) -> Any:
        """Add the adapter in a directory that `peft` or `save_pretrained` wrote to a model; returns the model.

        Args:
            model: the model that the adapter was trained for, with its weights.
            model_id: a directory with adapter_config.json and adapter_model.safetensors or .bin, or a name on the Hub.
            is_trainable: whether the adapter is to be trained further.
            config: a configuration to use instead of adapter_config.json.

        Raises:
            FileNotFoundError: there is no such directory, or a file in it is missing.
            ValueError: the adapter is of an unknown kind or for another model, or the files are damaged.  The model is
                unchanged.
        """
        if isinstance(model, PeftModel):
            raise ValueError("this model has adapters already: model.load_adapter(directory, name) adds another")
        if not isinstance(model, Module):
            raise TypeError(f"PeftModel.from_pretrained takes a model and a directory, not {model!r:.80}")
        plan, arrays = cls._read(model, model_id, is_trainable, config)
        adapted = _with_adapters(model)
        adapted._take(adapter_name, plan, arrays, model_id)
        adapted.set_adapter(adapter_name)
        return adapted.eval()

    def load_adapter(
        self,
        model_id: str | os.PathLike,
        adapter_name: str,
        is_trainable: bool = False,
        config: PeftConfig | None = None,
    ) -> None:
        """Add the adapter in a directory, inactive until `set_adapter`; raises what `from_pretrained` does."""
        self._take(adapter_name, *PeftModel._read(self, model_id, is_trainable, config), model_id)

    def save_pretrained(
        self, save_directory: str | os.PathLike, selected_adapters: Sequence[str] | None = None
    ) -> None:
        """Write adapter_config.json and adapter_model.safetensors, so that minigrad and `peft` load them.

        Everything that was trained is written: the adapter, the model's own weights that it trains, and those that were
        unfrozen or written since.  The file is read back and compared.  An adapter that is not called "default" is
        written to a subdirectory of its name.

        Raises:
            ValueError: a name is unknown.
            OSError: it cannot be written, or the file that is read back differs.
        """
        for name in self._known(self.peft.configs if selected_adapters is None else selected_adapters):
            with self._unmerged():
                files.write(self._place(save_directory, name), self._saved_config(name), self._arrays(name))

    def saved_state(self, directory: str | os.PathLike) -> dict[str, np.ndarray]:
        """The arrays that `save_pretrained` wrote to a directory, by their names in this model's state dict.

        Raises:
            FileNotFoundError: an adapter is missing there.
            ValueError: the files are damaged, or belong to other adapters.
        """
        state, paths = {}, {id(t): path for path, t in walk(self) if isinstance(t, Tensor)}
        ours = {theirs(self, path): path for path in weights(self)}
        for name in self.peft.configs:
            wanted = {plain_name(stored): t for stored, t in self._tensors(name).items()}
            self._check_same(name, self._place(directory, name))
            found = self._plainly(files.read(self._place(directory, name)))
            check_fit(
                self,
                directory,
                {stored: a for stored, a in found.items() if stored not in ours},
                {stored: t for stored, t in wanted.items() if stored not in ours},
            )
            for stored, array in found.items():
                if (path := paths.get(id(wanted[stored])) if stored in wanted else ours[stored]) is not None:
                    state[path] = array
        return state

    def _check_same(self, name: str, directory: Path) -> None:
        """Raise ValueError if the adapter in a directory has other options, which give its weights another meaning."""
        there, here = (
            json.loads(config.text()) for config in (PeftConfig.from_pretrained(directory), self._saved_config(name))
        )
        for option, value in here.items():
            if option not in WITHOUT_MEANING and there.get(option) != value:
                raise ValueError(
                    f"the adapter in {directory} was made with {option}={there.get(option)!r}, not {value!r}: give the "
                    f"configuration that it was made with, PeftConfig.from_pretrained({str(directory)!r})"
                )

    def update_config(self) -> None:
        """Does nothing, because the configuration of the model is not saved with adapters."""

    def resize_token_embeddings(self, new_num_tokens: int, pad_to_multiple_of: int | None = None) -> None:
        """Raises ValueError, because an adapter belongs to the vocabulary of its model."""
        raise ValueError("a model with adapters keeps its vocabulary: resize it before get_peft_model")

    def train(self, mode: bool = True) -> Any:
        """As for every module; warns of merged adapters, which are not trained."""
        if mode and self.merged_adapters:
            warn(f"{', '.join(self.merged_adapters)} is merged and is not trained: type model.unmerge_adapter() first")
        return super().train(mode)

    def to(self, target: Any) -> Any:
        """As for every module; the values of inactive adapters are moved too."""
        with self._unmerged():
            state, here = self.peft, {id(t) for _, t in walk(self)}
            changed = state.changed(self)
            super().to(target)
            hidden = [t for values in (state.base, *state.own.values()) for t in values.values() if id(t) not in here]
            for t in {id(t): t for t in hidden}.values():
                t.hold(t.detach().to(target).data if target in DEVICES or t.dtype.kind not in "iub" else t.data)
            state.mark(self, changed)
        return self

    # Helpers of the methods above.

    def _check_known(self, name: str) -> None:
        if name not in self.peft.configs:
            raise ValueError(f"there is no adapter {name!r}: there are {', '.join(map(repr, self.peft.configs))}")

    def _known(self, names: str | Iterable[str]) -> tuple[str, ...]:
        """The names of adapters, each once.  Raises ValueError for an unknown name."""
        names = (names,) if isinstance(names, str) else tuple(dict.fromkeys(names))
        for name in names:
            self._check_known(name)
        return names

    def _check_apart(self, names: Sequence[str]) -> None:
        for i, name in enumerate(names):
            for other in names[:i]:
                if both := sorted(self.peft.own[name].keys() & self.peft.own[other].keys()):
                    raise ValueError(
                        f"{other} and {name} both have their own {both[0]}, so they cannot be active together: set one"
                    )

    def _put(self, name: str, plan: _Plan, rng: init.Rng) -> None:
        """Add an adapter with values drawn from `rng`; with LATER they are not set."""
        state = self.peft
        check_name("an adapter", name)
        if name in state.configs:
            raise ValueError(f"there is an adapter {name!r} already: give another name, or delete_adapter({name!r})")
        for other in state.configs.values():
            if type(other) is not type(plan.config):
                here, given = type(other).__name__, type(plan.config).__name__
                raise ValueError(
                    f"the model has adapters of {here}, so it cannot have one of {given}: expected the same kind"
                )
        generator: Any = init.generator(rng)
        state.configs[name], state.hits[name], state.own[name] = plan.config, plan.hits, {}
        try:
            with self._unmerged():  # the new adapter belongs to the model's own weights
                for hit in plan.hits:
                    plan.config.add(self, hit, name, generator)
                self._own(name, plan.own)
        except BaseException:
            self._remove(name)
            raise

    def _own(self, name: str, paths: Iterable[str]) -> None:
        """Give an adapter its own copies of the model's weights at these paths; tied weights stay tied."""
        state, here, copies = self.peft, weights(self), {}
        for path in paths:
            base = state.base.setdefault(path, here[path])
            if id(base) not in copies:
                copies[id(base)] = type(base)(base.data.copy())
            state.own[name][path] = copies[id(base)]

    def _act(self, names: tuple[str, ...]) -> None:
        """Activate these adapters, with their values of the model's own weights."""
        self._stand(names)
        self.peft.active = names

    def _stand(self, names: tuple[str, ...]) -> None:
        """Compute with these adapters, without recording them as the active ones."""
        for layer in layers(self):
            layer.active = names
        own = {path: t for name in names for path, t in self.peft.own[name].items()}
        for path, t in (self.peft.base | own).items():
            self.replace(path, t)

    def _remove(self, name: str) -> None:
        state = self.peft
        for layer in layers(self):
            layer.delete(name)
            if not layer.names:
                layer.unload()
        del state.configs[name], state.hits[name], state.own[name]

    def _plain(self) -> Any:
        """Convert the model back into a plain one, with the weights that it has now."""
        for layer in layers(self):
            layer.unload()
        for path, t in walk(self):
            if isinstance(t, Parameter):
                t.requires_grad = self.peft.trainable.get(path, True)
        plain = vars(self).pop("peft").plain
        self.__class__ = plain
        return self

    @contextmanager
    def _unmerged(self) -> Iterator[None]:
        """In the block no adapter is merged; those that were are merged again at its end."""
        names = self.merged_adapters
        self.unmerge_adapter()
        try:
            yield
        finally:
            if names:
                self.merge_adapter(names)

    def _tensors(self, name: str) -> dict[str, Tensor]:
        """The weights of an adapter, and its values of the model's own weights, by their names in a file."""
        state, tensors = self.peft, {}
        for hit in state.hits[name]:
            layer: Any = hit.module
            path = theirs(self, hit.path)
            tensors |= {state.configs[name].stored(path, part): t for part, t in layer.tensors(name).items()}
        return tensors | {self._stored_name(name, path): t for path, t in state.own[name].items()}

    def _stored_name(self, name: str, path: str) -> str:
        return files.stored_name(self, path, {hit.path for hit in self.peft.hits[name]})

    def _arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays to write for an adapter, everything that was trained, by their names in the file."""
        arrays = {stored: t.numpy() for stored, t in self._tensors(name).items()}
        for path, t in (self.peft.changed(self) | self.peft.own[name]).items():
            array = t.numpy()
            arrays[self._stored_name(name, path)] = array.T if files.is_transposed(self, path) else array
        in_file = self.peft.configs[name].in_file
        return {in_file(stored): np.ascontiguousarray(array) for stored, array in arrays.items()}

    @staticmethod
    def _place(directory: str | os.PathLike, name: str) -> Path:
        """The directory in which an adapter is saved."""
        return Path(directory) if name == "default" else Path(directory) / name

    def _plainly(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays of a file by their plain names, transposed where minigrad stores them the other way."""
        own = {theirs(self, path): path for path in weights(self)}
        found = {plain_name(stored): array for stored, array in arrays.items() if ".original_module." not in stored}
        return {
            stored: array.T if stored in own and files.is_transposed(self, own[stored]) else array
            for stored, array in found.items()
        }

    def _saved_config(self, name: str) -> PeftConfig:
        config = self.peft.configs[name].saved(self, self.peft.hits[name])
        config.inference_mode = True
        if config.base_model_name_or_path is None:
            config.base_model_name_or_path = getattr(getattr(self, "config", None), "rest", {}).get("_name_or_path")
        return config

    @staticmethod
    def _read(model: Any, source: Any, is_trainable: bool, config: PeftConfig | None) -> tuple[_Plan, dict]:
        """The plan and the arrays of the adapter in a directory.  Raises ValueError if it is for another model."""
        config = PeftConfig.from_pretrained(source) if config is None else config
        try:
            plan = _Plan(model, config, strict=False)
        except ValueError as error:
            raise ValueError(f"{source} holds an adapter of another model: {error}") from None
        plan.config.inference_mode = not is_trainable
        return plan, files.read(source)

    def _take(self, name: str, plan: _Plan, arrays: Mapping[str, np.ndarray], source: Any) -> None:
        """Add an adapter with the arrays of a file.  Raises ValueError, and changes nothing, if they do not fit."""
        found, ours = self._plainly(arrays), {theirs(self, path): path for path in weights(self)}
        plan.own = list(dict.fromkeys([*plan.own, *(ours[stored] for stored in found if stored in ours)]))
        fresh = not self.peft.configs
        try:
            self._put(name, plan, init.LATER)
            wanted = {plain_name(stored): t for stored, t in self._tensors(name).items()}
            check_fit(self, source, found, wanted)
            for stored, t in wanted.items():
                t.copy_(found[stored])
        except BaseException:
            if name in self.peft.configs and plan.config is self.peft.configs[name]:
                self._remove(name)
            if fresh:
                self._plain()
            raise


def check_fit(model: PeftModel, source: Any, found: Mapping[str, Any], wanted: Mapping[str, Tensor]) -> None:
    """Raise ValueError, in one line, if a file lacks arrays of an adapter, has others, or has other shapes."""
    missing = [name for name in wanted if name not in found]
    unknown = [name for name in found if name not in wanted]
    wrong = [
        f"{name} is {tuple(array.shape)}, here {wanted[name].shape}"
        for name, array in found.items()
        if name in wanted and tuple(array.shape) != wanted[name].shape
    ]
    faults = [f"it lacks {listed(missing)}"] * bool(missing)
    faults += [f"it has {listed(unknown)}, which the adapter does not have"] * bool(unknown)
    faults += [listed(wrong)] * bool(wrong)
    if faults:
        raise ValueError(
            f"the adapter in {source} does not fit this {model.peft.plain.__name__}: {'; '.join(faults)}: load the "
            "model that it was trained for"
        )
