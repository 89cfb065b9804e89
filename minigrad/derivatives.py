"""Functions made of functions by differentiation: value_and_grad, vjp, jvp, jacobian, hessian; and vmap.

JAX's names and shapes: `jacobian(f)` is itself a function.  Everything here rests on `grad` being differentiable.  The
inputs and the results of f may be trees, dicts, lists and named tuples of Tensors: what belongs to each leaf then has
its place in a tree of the same form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import ops
from .pytree import flatten
from .tensor import Tensor, grad


def _traced(f: Callable, primals: tuple) -> tuple[Any, list[Tensor], list[Tensor], Callable, Callable]:
    """What f gives, its leaves, those of the inputs, and the functions that make trees of such leaves."""
    leaves, rebuild = flatten(primals)
    xs = [_leaf(x) for x in leaves]
    y = f(*rebuild(xs))
    ys, rebuild_y = flatten(y)
    for part in ys:
        if not isinstance(part, Tensor):
            raise TypeError(f"f must return a Tensor to be differentiated, this one returned a {type(part).__name__}")
    return y, ys, xs, rebuild, rebuild_y


def _pulled(ys: list[Tensor], xs: list[Tensor], vs: list[Any]) -> list[Tensor]:
    """Σ vᵀ ∂y/∂x for each x."""
    moving = [(y, v) for y, v in zip(ys, vs, strict=True) if y.requires_grad]
    if not moving or not xs:  # what f gives is constant
        return [ops.zeros_like(x) for x in xs]
    if len(moving) == 1:
        return grad(moving[0][0], xs, moving[0][1], create_graph=True)
    total = Tensor(0.0)
    for y, v in moving:
        total = total + (y * (v if isinstance(v, Tensor) else Tensor(v, device=y.device))).sum()
    return grad(total, xs, create_graph=True)


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], list[Any]]]:
    """f at the primals, and the function that sends a vector back through it: pull(v) = [vᵀ ∂f/∂x for each x].

    `pull` can be called any number of times, and what it returns can be differentiated.  v has the form of f's result.
    """
    y, ys, xs, rebuild, _ = _traced(f, primals)

    def pull(v: Any) -> list[Any]:
        vs = [v] if isinstance(y, Tensor) else flatten(v)[0]
        if len(vs) != len(ys):
            raise ValueError(f"vjp: f returned {len(ys)} Tensors, but {len(vs)} vectors were given")
        return list(rebuild(_pulled(ys, xs, vs)))

    return y, pull


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """f at the primals, and its derivative along the tangents: ∂f/∂x · t summed over the inputs.

    `primals` and `tangents` are lists, with one entry for each input of f.

    By two passes back: vᵀ ∂f/∂x is linear in v, and its own derivative along t is ∂f/∂x · t (Townsend 2017).
    """
    if hasattr(primals, "shape") or hasattr(tangents, "shape"):
        raise TypeError("jvp: primals and tangents are lists, one entry for each input of f: jvp(f, [x], [t])")
    shapes = [[np.shape(x) for x in flatten(tuple(given))[0]] for given in (primals, tangents)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"jvp: primals have shapes {shapes[0]}, but tangents {shapes[1]}")
    y, ys, xs, _, rebuild_y = _traced(f, tuple(primals))
    vs = [_leaf(ops.zeros_like(part)) if part.requires_grad else ops.zeros_like(part) for part in ys]
    total = Tensor(0.0)
    for g, t in zip(_pulled(ys, xs, vs), flatten(tuple(tangents))[0]):
        total = total + (g * t).sum()
    found = [
        grad(total, v, create_graph=True) if total.requires_grad and v.requires_grad else ops.zeros_like(v) for v in vs
    ]
    return y, rebuild_y(found)


def jacobian(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """The function that returns ∂f/∂x for input `argnum`, (*f's shape, *x's), by a backward pass per entry of f.

    Of trees it returns a tree like f's result, of trees like x.
    """

    def of(*primals: Any) -> Any:
        _, ys, xs, _, rebuild_y = _traced(f, primals)
        chosen, rebuild_x = flatten(primals[argnum])
        before = len(flatten(primals[: argnum % len(primals)])[0])
        inputs = xs[before : before + len(chosen)]
        found = []
        for part in ys:
            rows = []
            for i in range(part.size):
                one = np.zeros(part.size, part.dtype)
                one[i] = 1
                rows.append(_pulled([part], inputs, [Tensor(one.reshape(part.shape), device=part.device)]))
            found.append(
                rebuild_x(
                    ops.reshape(ops.stack([row[k] for row in rows]), (*part.shape, *x.shape))
                    if rows
                    else ops.zeros((*part.shape, *x.shape), part.dtype)
                    for k, x in enumerate(inputs)
                )
            )
        return rebuild_y(found)

    return of


def hessian(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """The function that gives the second derivatives of a number-valued f: shape (*x's, *x's)."""

    def gradient(*primals: Any) -> Any:
        y, pull = vjp(f, *primals)
        if not isinstance(y, Tensor) or y.size != 1:
            raise ValueError(f"hessian: f must give one number, this one gives {_told(y)}: use jacobian(jacobian(f))")
        return pull(ops.ones_like(y))[argnum]

    return jacobian(gradient, argnum)


def value_and_grad(f: Callable[..., Any], argnum: int | Sequence[int] = 0) -> Callable[..., tuple[Tensor, Any]]:
    """The function that gives (f, its gradient by input `argnum`) of a number-valued f; of several inputs, a tuple.

    The gradient has the form of the input, and can be differentiated itself.

    Raises:
        ValueError: f gives more than one number.
    """

    def of(*primals: Any) -> tuple[Tensor, Any]:
        y, pull = vjp(f, *primals)
        if not isinstance(y, Tensor) or y.size != 1:
            raise ValueError(f"value_and_grad: f must give one number, this one gives {_told(y)}: see vjp and jacobian")
        pulled = pull(ops.ones_like(y))
        return y, pulled[argnum] if isinstance(argnum, int) else tuple(pulled[i] for i in argnum)

    return of


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: int = 0) -> Callable[..., Any]:
    """The function that calls f on each slice of its inputs along `in_axes`, and stacks the results along `out_axes`.

    It is a loop in Python, so it saves writing, not time.  `in_axes` is an axis for all inputs or one for each, None
    for what every call gets whole.

    Raises:
        ValueError: no input has an axis, or they are not of one length along it.
    """

    def of(*inputs: Any) -> Any:
        axes = in_axes if isinstance(in_axes, (tuple, list)) else (in_axes,) * len(inputs)
        if len(axes) != len(inputs):
            raise ValueError(f"vmap: in_axes={in_axes!r} are {len(axes)} for {len(inputs)} inputs")
        trees = [flatten(x) for x in inputs]
        cut = [
            [ops.moveaxis(x, axis, 0) for x in leaves] if axis is not None else leaves
            for (leaves, _), axis in zip(trees, axes)
        ]
        lengths = {len(x) for leaves, axis in zip(cut, axes) if axis is not None for x in leaves}
        if len(lengths) != 1 or lengths == {0}:
            raise ValueError(
                f"vmap: along in_axes the inputs are to have one length, at least 1, not {sorted(lengths)}"
            )
        found = []
        for i in range(lengths.pop()):
            parts = [
                rebuild([x[i] for x in leaves]) if axis is not None else x
                for x, leaves, axis, (_, rebuild) in zip(inputs, cut, axes, trees)
            ]
            found.append(flatten(f(*parts)))
        rebuild = found[0][1]
        return rebuild(ops.stack([leaves[k] for leaves, _ in found], out_axes) for k in range(len(found[0][0])))

    return of


def _told(y: Any) -> str:
    return f"shape {y.shape}" if isinstance(y, Tensor) else f"a {type(y).__name__}"


def _leaf(x: Any) -> Tensor:
    """x as a Tensor to differentiate by: itself, if it is on a tape already."""
    x = x if isinstance(x, Tensor) else Tensor(x)
    return x if x.requires_grad else Tensor(x.data, requires_grad=True)
