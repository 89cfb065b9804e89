"""The gradient checker: nudge the inputs, and see whether the output moves as the gradient says.

One random direction settles whether anything is wrong, whatever the size: if v is a direction in input space and u one
in output space, the number u · Jv can be had by nudging the inputs along v, and by sending u backwards and taking the
inner product with v.  Only when the two differ, or when asked to, are the entries gone through one by one.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..tensor import Tensor, grad


class GradientError(AssertionError):
    """A gradient disagrees with finite differences; the text says where and by how much."""


def gradcheck(f: Callable[..., Tensor], inputs: Any, order: int = 1, every_entry: bool = False, step: float = 1e-5,
              tolerance: float = 1e-6, seed: int = 0, name: str | None = None) -> bool:
    """Compare the gradient of `f` with central differences, in float64, up to the given order.

    Both ways back are tried, the fast one and the one that can be differentiated again, so that a fused kernel and the
    meaning behind it are each held to the numbers.

    Args:
        f: a function of Tensors, returning one Tensor of any shape.
        inputs: one array or Tensor, or a sequence of them; they are taken to float64.
        order: 2 checks the gradient's own gradient as well, and so on.
        every_entry: compare entry by entry even if the random direction finds nothing.
        step: how far the inputs are nudged.
        tolerance: relative to the size of the numbers compared.

    Returns:
        True; so it can stand in an assert.

    Raises:
        GradientError: names the input, the entry, and both values.
    """
    xs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    xs = [np.array(x.numpy() if isinstance(x, Tensor) else x, np.float64) for x in xs]
    rng = np.random.default_rng(seed)
    name = name or getattr(f, "__name__", "f")
    leaves = [Tensor(x, requires_grad=True) for x in xs]
    y = f(*leaves)
    u = np.asarray(rng.standard_normal(y.shape))
    directions = [np.asarray(rng.standard_normal(x.shape)) for x in xs]
    for again in (False, True):
        gradients = ([g.numpy() for g in grad(y, leaves, Tensor(u), create_graph=again, retain_graph=True)]
                     if y.requires_grad else [np.zeros_like(x) for x in xs])   # a constant: so be it, if the numbers agree
        way = "the gradient that can be differentiated again" if again else "the gradient"
        exact = sum(float(np.sum(v * g)) for v, g in zip(directions, gradients, strict=True))
        numeric = _slope(f, xs, directions, u, step)
        if every_entry or not _close(numeric, exact, tolerance):
            _entry_by_entry(f, xs, gradients, u, step, tolerance, f"{name}: {way}")
            if not _close(numeric, exact, tolerance):
                raise GradientError(f"{name}: {way} along a random direction is {exact:.10g}, "
                                    f"finite differences say {numeric:.10g}")
    if order > 1:                               # the gradient is itself a function, of the inputs and of u: check it too
        for i in range(len(xs)):
            def gradient(*given: Tensor, i: int = i) -> Tensor:
                *ts, u = given
                ts = [t if t.requires_grad else Tensor(t.data, requires_grad=True) for t in ts]
                y = f(*ts)
                return grad(y, ts[i], u, create_graph=True) if y.requires_grad else Tensor(np.zeros_like(ts[i].data))
            gradcheck(gradient, [*xs, u], order - 1, every_entry, step, tolerance * 10, seed + 1, name=f"d({name})/d(input {i})")
    return True


def _slope(f: Callable, xs: Sequence[np.ndarray], directions: Sequence[np.ndarray], u: np.ndarray, step: float) -> float:
    """How fast u · f moves as the inputs move along `directions`."""
    ahead, behind = (f(*[Tensor(x + sign * step * v) for x, v in zip(xs, directions, strict=True)]).numpy() for sign in (1, -1))
    return float(np.sum(u * (ahead - behind))) / (2 * step)


def _close(a: float, b: float, tolerance: float) -> bool:
    return abs(a - b) <= tolerance * max(1.0, abs(a), abs(b))


def _entry_by_entry(f: Callable, xs: list, gradients: list, u: np.ndarray, step: float, tolerance: float, what: str) -> None:
    for k, (x, g) in enumerate(zip(xs, gradients, strict=True)):
        for index in np.ndindex(x.shape):
            directions = [np.zeros_like(z) for z in xs]
            directions[k][index] = 1
            numeric = _slope(f, xs, directions, u, step)
            if not _close(numeric, g[index], tolerance):
                raise GradientError(f"{what} of input {k} at {list(index)} is {g[index]:.10g}, "
                                    f"finite differences say {numeric:.10g}")
