"""Functions made of functions by differentiation: vjp, jvp, jacobian, hessian, and checkpoint, which trades time for memory.

JAX's names and shapes: `jacobian(f)` is itself a function.  Everything here rests on `grad` being differentiable.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import ops
from .nn.module import Buffer, Module
from .tensor import Node, Tensor, carry_back, grad, mode, new_node, record, wrap


def vjp(f: Callable[..., Tensor], *primals: Any) -> tuple[Tensor, Callable[[Any], list[Tensor]]]:
    """f at the primals, and the function that sends a vector back through it: pull(v) = [vᵀ ∂f/∂x for each x].

    `pull` can be called any number of times, and what it returns can be differentiated.
    """
    xs = [_leaf(x) for x in primals]
    y = f(*xs)
    if not isinstance(y, Tensor):
        raise TypeError(f"f must return a Tensor to be differentiated, this one returned a {type(y).__name__}")

    def pull(v: Any) -> list[Tensor]:
        return grad(y, xs, v, create_graph=True) if y.requires_grad else [ops.zeros_like(x) for x in xs]      # y is a constant
    return y, pull


def jvp(f: Callable[..., Tensor], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """f at the primals, and its derivative along the tangents: ∂f/∂x · t summed over the inputs.

    `primals` and `tangents` are lists, with one entry for each input of f.

    By two passes back: vᵀ ∂f/∂x is linear in v, and its own derivative along t is ∂f/∂x · t (Townsend 2017).
    """
    if hasattr(primals, "shape") or hasattr(tangents, "shape"):
        raise TypeError("jvp: primals and tangents are lists, one entry for each input of f: jvp(f, [x], [t])")
    if [np.shape(p) for p in primals] != [np.shape(t) for t in tangents]:
        raise ValueError(f"jvp: primals have shapes {[np.shape(p) for p in primals]}, "
                         f"but tangents {[np.shape(t) for t in tangents]}")
    y, pull = vjp(f, *primals)
    v = _leaf(ops.zeros_like(y))
    pulled = pull(v)
    total = sum(((g * Tensor(t)).sum() for g, t in zip(pulled, tangents)), Tensor(0.0))
    return y, grad(total, v, create_graph=True) if total.requires_grad else ops.zeros_like(y)


def jacobian(f: Callable[..., Tensor], argnum: int = 0) -> Callable[..., Tensor]:
    """The function that gives ∂f/∂x for the input number `argnum`: shape (*f's, *x's), one backward pass per entry of f."""
    def of(*primals: Any) -> Tensor:
        y, pull = vjp(f, *primals)
        x_shape, rows = np.shape(primals[argnum]), []
        for i in range(y.size):
            one = np.zeros(y.size, y.dtype)
            one[i] = 1
            rows.append(pull(Tensor(one.reshape(y.shape), device=y.device))[argnum])
        return ops.reshape(ops.stack(rows), (*y.shape, *x_shape)) if rows else ops.zeros((*y.shape, *x_shape), y.dtype)
    return of


def hessian(f: Callable[..., Tensor], argnum: int = 0) -> Callable[..., Tensor]:
    """The function that gives the second derivatives of a number-valued f: shape (*x's, *x's)."""
    def gradient(*primals: Any) -> Tensor:
        y, pull = vjp(f, *primals)
        if y.size != 1:
            raise ValueError(f"hessian: f must give one number, this one gives shape {y.shape}: use jacobian(jacobian(f))")
        return pull(ops.ones_like(y))[argnum]
    return jacobian(gradient, argnum)


def checkpoint(f: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """f(*inputs), keeping none of what lies between: the backward pass computes it again (Chen et al. 2016).

    `f` may be a Module, or any function of Tensors; weights it closes over get their gradients all the same.  A Module's
    dropout draws the same numbers again, and its buffers, the running statistics say, change once; a function that draws for
    itself must draw from a fresh generator each time.

    Raises:
        TypeError: f returns something else than one Tensor.
    """
    generators = {id(m.rng): m.rng for m in f.modules() if hasattr(m, "rng")} if isinstance(f, Module) else {}
    buffers = [t for t in f.state_dict().values() if isinstance(t, Buffer)] if isinstance(f, Module) else []
    drawn = {key: rng.bit_generator.state for key, rng in generators.items()}
    given = mode().given                        # what casts the inputs of ops now will cast them again
    begin = new_node((), None).order            # every node made from here on is the segment's own
    y = f(*inputs)
    if not isinstance(y, Tensor):
        raise TypeError(f"checkpoint: f must return one Tensor, this one returned a {type(y).__name__}: give a function that "
                        "returns the one that is needed")
    outside, guards = _entrances(y, begin)
    if not outside:
        return y

    def again() -> Tensor:
        now = {key: rng.bit_generator.state for key, rng in generators.items()}
        counted = [(t, t.data.copy(), t.version) for t in buffers]
        for key, rng in generators.items():
            rng.bit_generator.state = drawn[key]
        try:
            with record(mode()._replace(on=True, given=given)):
                return f(*inputs)
        finally:
            for key, rng in generators.items():
                rng.bit_generator.state = now[key]
            for t, values, version in counted:
                t.data[...], t.version = values, version
    return wrap(y.data, new_node(y.shape, y.dtype, outside, _Recompute(again), guards=guards))


class _Recompute:
    """The step of a checkpoint: run the segment again, and send the gradient through what that made."""
    name = "checkpoint"

    def __init__(self, again: Callable[[], Tensor]):
        self.again = again

    def pull(self, node: Node, saved: tuple, g: Any, create_graph: bool) -> list:
        y = self.again()
        g = g if isinstance(g, Tensor) else wrap(g, None)
        found = carry_back(y, g, list(node.parents), create_graph, create_graph, beyond=False)
        return [found.get(parent) if create_graph or parent not in found else found[parent].data for parent in node.parents]


def _entrances(y: Tensor, begin: int) -> tuple[list[Node], list]:
    """The nodes older than `begin` through which the tape of y is entered (inputs, and weights that were closed over), and
    the leaves in between whose values must not change before the backward pass."""
    guards, seen, entrances, stack = [], set(), [], [y.node] if y.node is not None else []
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.order > begin:
            entrances.append(node)
        else:
            guards.extend(node.guards)
            stack.extend(node.parents)
    return entrances, guards


def _leaf(x: Any) -> Tensor:
    """x as a Tensor to differentiate by: itself, if it is on a tape already."""
    x = x if isinstance(x, Tensor) else Tensor(x)
    return x if x.requires_grad else Tensor(x.data, requires_grad=True)
