"""Modules that hold modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .module import Module


class Sequential(Module):
    """Modules run one after the other; their names are their numbers, and `model[0]` is the first."""

    def __init__(self, *modules: Module):
        for module in modules:
            if not isinstance(module, Module):
                raise TypeError(
                    f"Sequential holds modules, not a {type(module).__name__}: try Sequential(Linear(3, 4), ReLU())"
                )
        vars(self).update({str(i): module for i, module in enumerate(modules)})

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x

    def __iter__(self) -> Iterator[Any]:
        return (m for m in vars(self).values() if isinstance(m, Module))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: int) -> Module:
        return list(self)[index]


class ModuleList(list):
    """A list of modules, under torch's name; an ordinary list serves as well."""


class Group(Module):
    """Modules under one name, for when a checkpoint's path has a step that does nothing by itself."""

    def __init__(*args: Any, **children: Any):  # *args, so that a child may be called "self", as one of BERT's is
        vars(args[0]).update(children)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # whatever was given by that name
