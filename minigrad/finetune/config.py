"""The base of the configurations of adapters, which adapter_config.json stores under the names of `peft`."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from ..errors import is_number, is_whole
from ..nn import Module
from ..pretrained.checkpoint.files import SMALL, model_directory, read_json, replacing
from .names import PREFIXES

CONFIG = "adapter_config.json"
NAMES = "target_modules", "exclude_modules", "feedforward_modules", "modules_to_save", "layers_pattern"
TASKS = ("SEQ_CLS", "SEQ_2_SEQ_LM", "CAUSAL_LM", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION")
# Entries of `peft`'s files that do not change what a trained adapter computes.
WITHOUT_EFFECT = {
    "auto_mapping",
    "peft_version",
    "megatron_core",
    "runtime_config",
    "loftq_config",
    "eva_config",
    "corda_config",
    "lora_ga_config",
    "qalora_group_size",
}


class Hit(NamedTuple):
    """A module that matched a pattern."""

    pattern: str
    path: str
    module: Module


@dataclass
class PeftConfig:
    """The options that all configurations share; each method's subclass adds its own and sets `peft_type`.

    Args:
        task_type: "SEQ_CLS", "TOKEN_CLS", "CAUSAL_LM" and others; for the first two the head of the model is trained
            and saved with the adapter.
        base_model_name_or_path: the source of the model, recorded for whoever loads the adapter.
        modules_to_save: names of modules that are trained as a whole and saved with the adapter.
        inference_mode: whether the adapter is frozen.
        rest: entries of a file that have no effect here.
    """

    peft_type: ClassVar[str] = ""
    kinds: ClassVar[dict[str, type[PeftConfig]]] = {}  # by peft_type

    task_type: str | None = field(default=None, kw_only=True)
    base_model_name_or_path: str | None = field(default=None, kw_only=True)
    revision: str | None = field(default=None, kw_only=True)
    modules_to_save: list[str] | None = field(default=None, kw_only=True)
    inference_mode: bool = field(default=False, kw_only=True)
    rest: dict[str, Any] = field(default_factory=dict, kw_only=True, repr=False)

    def __new__(cls, *values: Any, **options: Any) -> Self:
        """Refuses options that there are not, before Python does without saying which there are."""
        names = [f.name for f in fields(cls) if f.name != "rest"]
        for name in options.keys() - {"rest"}:
            if name not in names:
                near = get_close_matches(name, names, 1)
                raise TypeError(
                    f"{cls.__name__} has no option {name!r}: "
                    + (f"type {near[0]}=" if near else f"it has {', '.join(names)}")
                )
        return super().__new__(cls)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.kinds[cls.peft_type] = cls

    def __post_init__(self) -> None:
        self.task_type = None if self.task_type is None else str(getattr(self.task_type, "value", self.task_type))
        if self.task_type not in (None, *TASKS):
            raise ValueError(f"task_type is {self.task_type!r}; expected None or one of {', '.join(map(repr, TASKS))}")

        for option in NAMES:
            value = getattr(self, option, None)
            if not (value is None or isinstance(value, str)) and (
                isinstance(value, dict)
                or not isinstance(value, Iterable)
                or not all(isinstance(name, str) for name in value)
            ):
                raise TypeError(f"{option} is {value!r:.80}; expected names, such as ['query', 'value']")
        for pattern in names_in(getattr(self, "layers_pattern", None)):
            check_expression("layers_pattern", pattern)

    def hits(self, model: Module, strict: bool) -> list[Hit]:
        """The layers of a model to adapt; with `strict` every single pattern must match one."""
        return []

    def add(self, model: Module, hit: Hit, name: str, rng: Any) -> None:
        """Add the adapter `name` to a layer of the model, its values drawn from `rng` or, if that is LATER, not set."""

    def trains(self, path: str, hits: list[Hit]) -> bool:
        """Whether the model's own parameter at a path is trained, in addition to those of `modules_to_save`."""
        bias = getattr(self, "bias", "none")
        if bias == "all":
            return path.rpartition(".")[2] == "bias"
        return bias.endswith("_only") and any(path == f"{hit.path}.bias" for hit in hits)

    def saved(self, model: Module, hits: list[Hit]) -> Self:
        """The configuration to write, in which defaults that depend on the model's family are given explicitly."""
        return copy.copy(self)

    def stored(self, path: str, part: str) -> str:
        """The name in a file of a part of the adapter of the layer at a path."""
        return f"{path}.{part}"

    def in_file(self, name: str) -> str:
        """A name with the prefix that `peft` gives it in files."""
        return f"{PREFIXES[0]}{name}"

    def to_dict(self) -> dict[str, Any]:
        """The entries of adapter_config.json."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "rest"}
        return {**self.rest, **own, "peft_type": self.peft_type}

    @classmethod
    def from_dict(cls, entries: dict[str, Any], source: Any = "the configuration") -> Self:
        """The configuration with the entries of adapter_config.json, of the class that its peft_type names.

        Raises:
            ValueError: the peft_type is unknown or of another class, or an option is set that is not supported here.
        """
        known = {name: kind for name, kind in cls.kinds.items() if name and issubclass(kind, cls)}
        kind = known.get(str(entries.get("peft_type", "")))
        if kind is None:
            raise ValueError(
                f"{source} has peft_type {entries.get('peft_type')!r}, which {cls.__name__} does not support: "
                f"expected one of {', '.join(map(repr, sorted(known)))}"
            )
        names = {f.name for f in fields(kind)} - {"rest"}
        own = {name: value for name, value in entries.items() if name in names}
        rest = {name: value for name, value in entries.items() if name not in names | {"peft_type"}}
        if unknown := [name for name, value in rest.items() if value and name not in WITHOUT_EFFECT]:
            near = "".join(f"; did you mean {one}?" for one in get_close_matches(unknown[0], names, 1))
            raise ValueError(
                f"{source} has {unknown[0]} = {str(rest[unknown[0]])[:80]}, which minigrad's {kind.__name__} does not "
                f"support{near}: it has {', '.join(sorted(names))}"
            )
        return kind(**own, rest=rest)

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike) -> Self:
        """The configuration in the adapter_config.json of a directory, or of a name on the Hub.

        Raises what `from_dict` does, and FileNotFoundError if there is no such file.
        """
        path = model_directory(source, SMALL) / CONFIG
        return cls.from_dict(read_json(path), path)

    def save_pretrained(self, directory: str | os.PathLike) -> None:
        """Write adapter_config.json."""
        Path(directory).mkdir(parents=True, exist_ok=True)
        with replacing(Path(directory) / CONFIG) as [part]:
            part.write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The content of adapter_config.json."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"


def check_expression(option: str, pattern: Any) -> None:
    """Raise ValueError unless a pattern is a regular expression."""
    try:
        re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"{option} has {pattern!r}, which is not a regular expression: {error}") from None


def number(option: str, value: Any, expected: str, fits: Callable[[Any], bool], kind: Callable = is_number) -> Any:
    """A number as a Python int or float, for JSON.  Raises ValueError unless it is of the `kind` and `fits`."""
    if not kind(value) or not fits(value):
        raise ValueError(f"{option} is {value!r}; expected {expected}")
    return value if isinstance(value, (int, float)) else value.item()


def layer_numbers(value: Any) -> list[int] | int | None:
    """`layers_to_transform` as Python ints.  Raises ValueError if something in it is not the number of a layer."""
    if value is None:
        return None
    many = isinstance(value, Iterable) and not isinstance(value, str)
    numbers = [
        number("layers_to_transform", one, "numbers of layers, such as [0, 1]", lambda n: n >= 0, is_whole)
        for one in (value if many else [value])
    ]
    return numbers if many else numbers[0]


def names_in(value: Any) -> list[str]:
    """The names in an option that is None, one name, or several."""
    return [] if value is None else [value] if isinstance(value, str) else sorted(value)
