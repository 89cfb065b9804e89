"""Modules that hold modules, and lists and dictionaries of modules and of parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..tensor import Tensor
from .module import Module
from .tree import Parameter, Tree, check_name


class Sequential(Module):
    """Modules run one after the other: `Sequential(Linear(3, 4), ReLU())`, or of names, `Sequential({"up": …})`.

    Without names they are called by their numbers, and `model[0]` is the first, `model[1:]` a Sequential of the others.
    """

    def __init__(self, *modules: Any):
        named = isinstance(modules[0], Mapping) if len(modules) == 1 else False
        self._fill(modules[0] if named else {str(i): module for i, module in enumerate(modules)})

    def _fill(self, modules: Mapping[str, Module]) -> None:
        """Hold these modules and no others."""
        for name, module in modules.items():
            if not isinstance(module, Module):
                raise TypeError(
                    f"Sequential holds modules, not a {type(module).__name__}: try Sequential(Linear(3, 4), ReLU())"
                )
            if not isinstance(name, str) or not name or "." in name or hasattr(Sequential, name):
                raise KeyError(f"Sequential: {name!r} cannot be the name of a module")
        for name in self._entries():
            del vars(self)[name]
        vars(self).update(modules)

    def _entries(self) -> dict[str, Module]:
        return {name: m for name, m in vars(self).items() if isinstance(m, Module)}

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x

    def __iter__(self) -> Iterator[Any]:
        return (m for m in vars(self).values() if isinstance(m, Module))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: int | slice) -> Any:
        names = list(self._entries())
        if not isinstance(index, slice):
            return vars(self)[names[index]]
        return Sequential({name: vars(self)[name] for name in names[index]})

    def __setitem__(self, index: int, module: Module) -> None:
        self._fill({**self._entries(), list(self._entries())[index]: module})

    def __delitem__(self, index: int | slice) -> None:
        modules = self._entries()
        names = list(modules)
        del names[index]
        numbered = list(modules) == [str(i) for i in range(len(modules))]
        self._fill({str(i) if numbered else name: modules[name] for i, name in enumerate(names)})

    def append(self, module: Module) -> Sequential:
        """Add a module at the end; returns the Sequential."""
        return self.insert(len(self), module)

    def extend(self, modules: Iterable[Module]) -> Sequential:
        """Add modules at the end; returns the Sequential."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Sequential:
        """Put a module before the one at `index`; those after it get the next number.  Returns the Sequential.

        Raises:
            IndexError: there is no such place.
            KeyError: the modules that would have to move have names.
        """
        modules = self._entries()
        if not -len(modules) <= index <= len(modules):
            raise IndexError(f"Sequential of {len(modules)} modules has no place {index}: give 0 to {len(modules)}")
        index = range(len(modules))[index] if index < 0 else index
        names = list(modules)
        if names[index:] != [str(i) for i in range(index, len(names))] or str(index) in names[:index]:
            raise KeyError(
                f"Sequential: the modules have names, {', '.join(names)}: make a new Sequential({{name: …}})"
            )
        order = list(modules.values())
        order.insert(index, module)
        self._fill(dict(zip([*names[:index], *map(str, range(index, len(order)))], order, strict=True)))
        return self

    def pop(self, index: int = -1) -> Module:
        """Take a module away, the last one unless told otherwise, and return it."""
        module = self[index]
        del self[index]
        return module


class _List(list, Tree):
    """A list that looks at each of its entries, with `_entry`, before it takes them."""

    def __init__(self, values: Iterable[Any] = ()):
        super().__init__(map(self._entry, values))

    def _entry(self, value: Any) -> Any:
        raise NotImplementedError

    def append(self, value: Any) -> None:
        """Add an entry at the end."""
        super().append(self._entry(value))

    def extend(self, values: Iterable[Any]) -> None:
        """Add entries at the end."""
        super().extend(map(self._entry, values))

    def insert(self, index: Any, value: Any) -> None:
        """Put an entry before the one at `index`."""
        super().insert(index, self._entry(value))

    def __iadd__(self, values: Iterable[Any]) -> Any:
        self.extend(values)
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(index, list(map(self._entry, value)) if isinstance(index, slice) else self._entry(value))


class _Dict(dict, Tree):
    """A dictionary that looks at each of its entries, with `_entry`, before it takes them.

    Its keys are steps of the paths in the state dict, so they are text, not empty and without a dot.
    """

    def __init__(self, entries: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()):
        super().__init__()
        self.update(entries)

    def _entry(self, value: Any) -> Any:
        raise NotImplementedError

    def update(self, entries: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Put in, or replace, what is given by name.

        Raises:
            TypeError: a name is not text, or a value has the wrong type.
            KeyError: a name is empty or has a dot in it.
        """
        for name, value in dict(entries).items():
            self[name] = value

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The entry of this name, which is put in if there is none."""
        if name not in self:
            self[name] = default
        return self[name]

    def __ior__(self, entries: Any) -> Any:
        self.update(entries)
        return self

    def __setitem__(self, name: str, value: Any) -> None:
        check_name(type(self).__name__, name)
        super().__setitem__(name, self._entry(value))


class ModuleList(_List):
    """A list of modules, under torch's name, with the methods of the tree; an ordinary list serves as well."""

    def __init__(self, modules: Iterable[Any] = ()):
        super().__init__(modules)

    def _entry(self, value: Any) -> Any:
        return _module("ModuleList", value)


class ModuleDict(_Dict):
    """A dictionary of modules, under torch's name, with the methods of the tree; an ordinary one serves as well."""

    def __init__(self, modules: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()):
        super().__init__(modules)

    def _entry(self, value: Any) -> Any:
        return _module("ModuleDict", value)


class ParameterList(_List):
    """A list of parameters; what is put into it as a Tensor becomes one."""

    def _entry(self, value: Any) -> Any:
        return _parameter(value)


class ParameterDict(_Dict):
    """A dictionary of parameters; what is put into it as a Tensor becomes one."""

    def __init__(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()):
        super().__init__(parameters)

    def _entry(self, value: Any) -> Any:
        return _parameter(value)


def _module(owner: str, value: Any) -> Any:
    """A module, or None, as it is."""
    if value is None or isinstance(value, Tree):
        return value
    raise TypeError(f"{owner} holds modules, not a {type(value).__name__}")


def _parameter(value: Any) -> Any:
    """A plain Tensor as a Parameter; anything else as it is."""
    return Parameter(value.data) if type(value) is Tensor else value


class Group(Module):
    """Modules under one name, for when a checkpoint's path has a step that does nothing by itself."""

    def __init__(*args: Any, **children: Any):  # *args, so that a child may be called "self", as one of BERT's is
        vars(args[0]).update(children)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # whatever was given by that name
