"""Trees of Tensors: dicts, lists, tuples and named tuples, taken apart into their leaves and put together again.

A list of plain numbers, nested or not, is an array, as everywhere else, and so one leaf.  None is no leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .tensor import Tensor
from .tensor import grad as grad_of_tensors


def flatten(tree: Any) -> tuple[list[Any], Callable[[Iterable[Any]], Any]]:
    """The leaves, in order, and the function that makes the same tree of others."""
    leaves: list[Any] = []
    _collect(tree, leaves)

    def rebuild(values: Iterable[Any]) -> Any:
        values = list(values)
        if len(values) != len(leaves):
            raise ValueError(f"a tree of {len(leaves)} leaves cannot be made of {len(values)}")
        return _rebuilt(tree, iter(values))

    return leaves, rebuild


def grad(
    y: Tensor, xs: Any = (), gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False
) -> Any:
    """d(y)/d(x) for a Tensor x, for each of a sequence (a list), or for each leaf of a tree (a tree of that form).

    Every `.grad` is left alone.  What y does not depend on has gradient zero.  The other arguments are
    `Tensor.backward`'s.

    Raises:
        RuntimeError: y, or one of xs, does not require a gradient.
    """
    if callable(y) and not isinstance(y, Tensor):
        raise TypeError("grad: a Tensor is differentiated, not a function: mg.value_and_grad(f)(x) has its gradient")
    if isinstance(xs, dict) or hasattr(xs, "_fields") or not isinstance(xs, Tensor) and any(map(_is_node, xs)):
        leaves, rebuild = flatten(xs)
        return rebuild(grad_of_tensors(y, leaves, gradient, retain_graph, create_graph))
    return grad_of_tensors(y, xs, gradient, retain_graph, create_graph)


def _is_node(tree: Any) -> bool:
    return isinstance(tree, dict) or isinstance(tree, (list, tuple)) and not _of_numbers(tree)


def _of_numbers(tree: Any) -> bool:
    """Whether it is a number, or nested lists of at least one."""
    if isinstance(tree, (list, tuple)) and not hasattr(tree, "_fields"):
        return bool(tree) and all(map(_of_numbers, tree))
    return isinstance(tree, (bool, int, float))


def _children(tree: Any) -> Iterable[Any]:
    return tree.values() if isinstance(tree, dict) else tree


def _collect(tree: Any, leaves: list[Any]) -> None:
    if _is_node(tree):
        for child in _children(tree):
            _collect(child, leaves)
    elif tree is not None:
        leaves.append(tree)


def _rebuilt(tree: Any, values: Any) -> Any:
    if not _is_node(tree):
        return tree if tree is None else next(values)
    children = [_rebuilt(child, values) for child in _children(tree)]
    if isinstance(tree, dict):
        return dict(zip(tree, children))
    return type(tree)(*children) if hasattr(tree, "_fields") else type(tree)(children)
