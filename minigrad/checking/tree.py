"""Nested inputs: lists, tuples, dicts and Modules are flattened into float64 arrays and rebuilt from them.

Floating arrays, Tensors and numbers are leaves, which are perturbed.  Everything else (integers, masks, strings, None)
is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import numpy as np

from ..backend import is_float
from ..nn.module import Module
from ..tape import new_node
from ..tensor import Tensor


def is_floating(x: Any) -> bool:
    """Whether x is a floating array, Tensor or number."""
    return isinstance(x, float) or isinstance(x, (np.ndarray, np.generic, Tensor)) and is_float(x.dtype)


def is_number(x: Any) -> bool:
    """Whether x is a number or an array of any library, and can therefore be a gradient."""
    return isinstance(x, (int, float)) or hasattr(x, "__array__")


def prepared(tree: Any, dtype: str = "float64") -> Any:
    """The tree with a copy of each Module in this dtype, since the checker writes into its parameters."""
    if isinstance(tree, Module):
        return deepcopy(tree).to(dtype)
    return _like(tree, [prepared(child, dtype) for _, child in _children(tree)]) if _children(tree) else tree


def leaves(tree: Any, path: str = "input", is_leaf: Callable = is_floating) -> Iterator[tuple[str, np.ndarray]]:
    """(path as one would type it, float64 array) for each leaf."""
    if isinstance(tree, Module):
        for name, p in tree.named_parameters():
            if p.requires_grad:
                yield f"{path}.{name}", p.numpy().copy()
    elif is_leaf(tree):
        yield path, np.asarray(tree.numpy() if isinstance(tree, Tensor) else tree, np.float64).copy()
    for key, child in _children(tree):
        yield from leaves(child, f"{path}[{key!r}]", is_leaf)


def rebuilt(tree: Any, values: Iterator[Any]) -> Any:
    """The tree with its floating leaves replaced by `values`, in order; a Module's parameters take their data and node.

    Parameters always get a node: BatchNorm treats a parameter without one as frozen, and would compute differently.
    """
    if isinstance(tree, Module):
        for p in tree.parameters():
            if p.requires_grad:
                t = next(values)
                p.data, p.node = t.data, t.node or new_node(t.shape, t.dtype)
        return tree
    if is_floating(tree):
        return next(values)
    return _like(tree, [rebuilt(child, values) for _, child in _children(tree)]) if _children(tree) else tree


def _children(tree: Any) -> list[tuple[Any, Any]]:
    return (
        list(tree.items())
        if isinstance(tree, dict)
        else list(enumerate(tree))
        if isinstance(tree, (list, tuple))
        else []
    )


def _like(tree: Any, children: list) -> Any:
    if isinstance(tree, dict):
        return dict(zip(tree, children))
    # The constructor of a NamedTuple takes its fields as separate arguments.
    return type(tree)(*children) if hasattr(tree, "_fields") else type(tree)(children)
