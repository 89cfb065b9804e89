"""Finds the modules of a model that the patterns of a configuration match."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from ..nn import Linear, Module
from ..nn.tree import Tree
from .config import Hit, names_in
from .layer import AdapterLayer
from .names import model_type, theirs

ALL_LINEAR = "all-linear"
HEADS = "classifier", "score", "lm_head", "cls", "qa_outputs"
NUMBERED = re.compile(r"\.(\d+)\.")


def paths_of(model: Module) -> dict[str, Module]:
    """Each module once, under its first path, except lists, dictionaries and the modules of adapters."""
    found: dict[int, tuple[str, Module]] = {}
    of_adapters = {id(m) for layer in model.modules() if isinstance(layer, AdapterLayer) for m in layer.own_modules()}
    for path, module in model.named_modules():
        if path and isinstance(module, Module) and id(module) not in of_adapters:
            found.setdefault(id(module), (path, module))
    return dict(found.values())


def is_named(path: str, name: str) -> bool:
    """Whether a path equals the name or ends with its steps."""
    return path == name or path.endswith(f".{name}")


def is_within(path: str, names: Iterable[str]) -> bool:
    """Whether the module at a path is one of those named, or part of one."""
    return any(f".{name}." in f".{path}." for name in names)


def found(model: Module, config: Any, defaults: dict[str, Any], kinds: tuple[type, ...], strict: bool) -> list[Hit]:
    """The modules that `target_modules` and the related options select, each with the pattern that it matches.

    Args:
        defaults: the target_modules that None stands for, by the family of the model.
        kinds: the classes of layers that can be adapted.
        strict: whether every single pattern must match a module.

    Raises:
        ValueError: nothing matches (the nearest names are given), or a match cannot be adapted.
    """
    targets = config.target_modules
    if targets is None:
        targets = defaults.get(model_type(model))
        if targets is None:
            raise ValueError(
                f"there are no target_modules, and none are usual for {model_type(model) or type(model).__name__}: "
                f'give some of the names {", ".join(endings(model, kinds))}, or "all-linear"'
            )
    if isinstance(targets, (list, tuple, set)) and not targets:
        raise ValueError(
            f'target_modules is empty: give some of the names {", ".join(endings(model, kinds))}, or "all-linear"'
        )
    every = paths_of(model)
    paths = {path: module for path, module in every.items() if not left_out(model, path, config)}
    if strict:
        check_exclusions(model, every, config, kinds)
    if is_all_linear(targets):
        hits = all_linear(model, paths, kinds)
    else:
        patterns = [targets] if isinstance(targets, str) else sorted(targets)
        test = full_match(targets) if isinstance(targets, str) else is_named
        hits = [
            Hit(pattern, path, module)
            for path, module in paths.items()
            for pattern in patterns
            if test(path, pattern) or test(theirs(model, path), pattern)
        ]
        missed = sorted(set(patterns) - {hit.pattern for hit in hits})
        if missed and (strict or len(missed) == len(patterns)):
            for path in every.keys() - paths.keys():
                if test(path, missed[0]) or test(theirs(model, path), missed[0]):
                    raise ValueError(
                        f"{missed[0]!r} matches {path}, which is left out, since exclude_modules is "
                        f"{getattr(config, 'exclude_modules', None)} and modules_to_save, with the head of the "
                        f"task_type, {config.modules_to_save}: name it in only one of these options"
                    )
            raise ValueError(no_match(missed[0], model, isinstance(targets, str), kinds))
    targeted = list({hit.path: hit for hit in hits}.values())
    hits = [hit for hit in targeted if is_in_layer(hit.path, config)]
    if strict or not hits:
        check_layers(config, [hit.path for hit in targeted])
    for hit in hits:
        if not isinstance(hit.module, kinds):
            raise ValueError(
                f"{hit.pattern!r} matches {hit.path}, a {type(hit.module).__name__}; expected a layer that can be "
                f"adapted ({', '.join(kind.__name__ for kind in kinds)}): give some of the names "
                f"{', '.join(endings(model, kinds))}"
            )
    return hits


def all_linear(model: Module, paths: dict[str, Module], kinds: tuple[type, ...]) -> list[Hit]:
    """Every Linear except the head.  Raises ValueError if there is none."""
    hits = [Hit(ALL_LINEAR, path, module) for path, module in paths.items() if is_inner_linear(model, path, module)]
    if not hits:
        raise ValueError(
            f'"{ALL_LINEAR}" matches no module of {type(model).__name__}: it has no Linear except those that score '
            "labels or tokens, and those that exclude_modules or modules_to_save leave out; the layers that can be "
            "adapted are "
            f"{', '.join(endings(model, kinds)[:6]) or 'none'}"
        )
    return hits


def is_all_linear(targets: Any) -> bool:
    """Whether target_modules is "all-linear", in any capitalisation."""
    return isinstance(targets, str) and targets.lower() == ALL_LINEAR


def full_match(pattern: str, option: str = "target_modules") -> Callable[[str, str], Any]:
    """A test whether a whole path matches the regular expression in an option.

    Raises ValueError unless it is a regular expression.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"{option} is {pattern!r}, which is not a regular expression ({error}): give a list of names, such as "
            "['query', 'value'], or an expression such as '.*attention.*query'"
        ) from None
    return lambda path, _: compiled.fullmatch(path)


def left_out(model: Module, path: str, config: Any) -> bool:
    """Whether a module is excluded, or trained and saved as a whole."""
    if is_within(path, names_in(config.modules_to_save)):
        return True
    excluded = getattr(config, "exclude_modules", None)
    if isinstance(excluded, str):
        test = full_match(excluded, "exclude_modules")
        return any(test(name, excluded) for name in (path, theirs(model, path)))
    return any(is_named(name, one) for one in names_in(excluded) for name in (path, theirs(model, path)))


def check_exclusions(model: Module, paths: dict[str, Module], config: Any, kinds: tuple[type, ...]) -> None:
    """Raise ValueError, which gives the nearest names, if one of `exclude_modules` matches nothing."""
    excluded = getattr(config, "exclude_modules", None)
    test = full_match(excluded, "exclude_modules") if isinstance(excluded, str) else is_named
    for one in names_in(excluded):
        if not any(test(path, one) or test(theirs(model, path), one) for path in paths):
            raise ValueError(f"exclude_modules: {no_match(one, model, isinstance(excluded, str), kinds)}")


def check_layers(config: Any, paths: list[str]) -> None:
    """Raise ValueError if one of the `layers_to_transform` contains none of these modules."""
    there = sorted({n for path in paths if (n := layer_of(path, config)) is not None})
    wanted = wanted_layers(config)
    if missed := [n for n in wanted or [] if n not in there]:
        where = ", ".join(map(str, there)) or "no layer"
        pattern = names_in(getattr(config, "layers_pattern", None))
        more = f", by layers_pattern={pattern}" if pattern else ""
        raise ValueError(
            f"layers_to_transform is {config.layers_to_transform}, and no target is in layer {missed[0]}: they are in "
            f"{where}{more}"
        )


def wanted_layers(config: Any) -> list[int] | None:
    """The `layers_to_transform` as a list; None means all."""
    wanted = getattr(config, "layers_to_transform", None)
    return [wanted] if isinstance(wanted, int) else wanted or None


def is_in_layer(path: str, config: Any) -> bool:
    """Whether a module is in one of the `layers_to_transform`."""
    wanted = wanted_layers(config)
    return wanted is None or layer_of(path, config) in wanted


def layer_of(path: str, config: Any) -> int | None:
    """The number of the layer that contains a module: the first number in its path, or that after `layers_pattern`."""
    patterns = names_in(getattr(config, "layers_pattern", None))
    numbers = (
        [re.search(rf"(?:^|\.){pattern}\.(\d+)\.", path) for pattern in patterns]
        if patterns
        else [NUMBERED.search(path)]
    )
    return next((int(found[1]) for found in numbers if found), None)


def is_inner_linear(model: Any, path: str, module: Module) -> bool:
    """Whether a module is a Linear other than the one that scores labels or tokens."""
    if not isinstance(module, Linear) or path == getattr(model, "label_layer", ""):
        return False
    words = getattr(getattr(model, "config", None), "vocab_size", None)
    return not (path.split(".")[0] in HEADS and module.weight.shape[0] == words)


def endings(model: Module, kinds: tuple[type, ...]) -> list[str]:
    """The last steps of the paths of all layers that can be adapted, each once."""
    return list(dict.fromkeys(path.rpartition(".")[2] for path, m in paths_of(model).items() if isinstance(m, kinds)))


def no_match(pattern: str, model: Module, is_expression: bool, kinds: tuple[type, ...]) -> str:
    """The message about a pattern that matches nothing."""
    paths = [path for path, module in paths_of(model).items() if isinstance(module, kinds)]
    if is_expression and any(is_named(path, pattern) for path in paths):
        return (
            f"target_modules is the text {pattern!r}, which as a regular expression matches no whole path of "
            f"{type(model).__name__}: give a list for names, [{pattern!r}]"
        )
    near = get_close_matches(pattern, [*endings(model, kinds), *paths], 3, 0.4) or endings(model, kinds)[:6]
    return f"{pattern!r} matches no module of {type(model).__name__}; the nearest names are {', '.join(near)}"


def saved_modules(model: Module, names: Sequence[str], strict: bool) -> dict[str, Tree]:
    """The modules that `modules_to_save` names, by path.

    Raises ValueError, which gives the nearest names, if a name matches nothing, or if none does when not `strict`.
    """
    paths = {path: module for path, module in model.named_modules() if path}
    hit: dict[str, Tree] = {}
    for name in names:
        these = {path: m for path, m in paths.items() if is_named(path, name) or is_named(theirs(model, path), name)}
        if not these and (strict or not hit and name == names[-1]):
            near = get_close_matches(name, [path.rpartition(".")[2] for path in paths] + list(paths), 3, 0.4)
            raise ValueError(
                f"modules_to_save has {name!r}, which matches no module of {type(model).__name__}; the nearest names "
                "are "
                f"{', '.join(dict.fromkeys(near or list(paths)[:3]))}"
            )
        hit |= these
    return hit


def named(config: Any, model: Module, hits: list[Hit], defaults: dict[str, Any]) -> Any:
    """The target_modules to write: those of the configuration if `peft` understands them equally, else whole paths."""
    targets = defaults[model_type(model)] if config.target_modules is None else config.target_modules
    if is_all_linear(targets) or any(theirs(model, hit.path) != hit.path for hit in hits):
        return [theirs(model, hit.path) for hit in hits]
    return targets if isinstance(targets, str) else sorted(targets)


def stored_transposed(model: Module, hits: list[Hit]) -> bool:
    """Whether the reference library stores the weights of the targets as (in, out)."""
    layout = getattr(model, "layout", None)
    return layout is not None and any(layout.transposed(f"{hit.path}.weight") for hit in hits)
