"""The function under test as the checker sees it: one vector of numbers in, one vector of numbers out.

Three kinds: a function of Tensors (or the gradient of one, to check the next order), NumPy with a derivative written by
hand, and a single node of the tape with its local rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import ops
from ..backend import is_float
from ..execution import no_grad
from ..tape import Node, new_node
from ..tensor import Tensor, grad, wrap
from .tree import is_number, leaves, rebuilt


class Function:
    """The common base: the floating inputs are concatenated into one vector.

    Attributes:
        name, paths, shapes: the names of the function and of its inputs, and the inputs' shapes.
        x: all inputs in one vector, float64.
        ways: the backward passes that exist: False is the fast one, True the one that can be differentiated again.
        y_names, y_shapes: the names and shapes of the outputs, known after the first call of `value`.
        dtype, eps: the dtype that the function computes in, and its machine epsilon.
    """

    ways: tuple[bool, ...] = (False, True)

    def __init__(self, name: str, inputs: Sequence[tuple[str, np.ndarray]], dtype: str = "float64"):
        self.dtype, self.eps = dtype, float(np.finfo(dtype).eps)
        self.name, self.paths = name, [path for path, _ in inputs]
        self.shapes = [a.shape for _, a in inputs]
        x = np.concatenate([a.ravel() for _, a in inputs]) if inputs else np.zeros(0)
        self.x = x.astype(dtype).astype(np.float64)
        self.y_names: list[str] = []
        self.y_shapes: list[tuple] = []
        self.dtypes: set[str] = set()  # of the outputs, before the conversion to float64
        self.calls = 0

    def value(self, x: np.ndarray) -> np.ndarray:
        """All outputs in one vector."""
        self.calls += 1
        outputs = self.outputs(self.given(x))
        self.y_names, self.y_shapes = [path for path, _ in outputs], [np.shape(a) for _, a in outputs]
        self.dtypes |= {str(a.dtype) for _, a in outputs if a.dtype.kind == "f"}
        y = joined([a for _, a in outputs])
        return y.astype(complex if np.iscomplexobj(x) else np.float64, copy=False)

    def given(self, x: np.ndarray) -> list[np.ndarray]:
        """Copies of the inputs, since the function may write into them."""
        return parts(x.astype(x.dtype if np.iscomplexobj(x) else self.dtype), self.shapes)

    def outputs(self, arrays: list[np.ndarray]) -> list[tuple[str, np.ndarray]]:
        """The outputs by name, at these inputs."""
        raise NotImplementedError

    def gradient(self, x: np.ndarray, u: np.ndarray, again: bool) -> np.ndarray:
        """The gradient of u · value, by one of the backward passes in `ways`."""
        raise NotImplementedError

    def derivative(self) -> Function:
        """The gradient as a function itself, if it can be differentiated."""
        raise NotImplementedError


def parts(vector: np.ndarray, shapes: Sequence[tuple]) -> list[np.ndarray]:
    """A vector cut into arrays of these shapes."""
    found, start = [], 0
    for shape in shapes:
        stop = start + math.prod(shape)
        found.append(vector[start:stop].reshape(shape))
        start = stop
    return found


def joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The entries of all arrays in one vector."""
    return np.concatenate([np.ravel(a) for a in arrays])


def dot(a: np.ndarray, b: np.ndarray) -> float:
    """a · b of two vectors, on one core: even for a million numbers, synchronising threads costs more than it saves."""
    return float(np.einsum("i,i", a, b))


def norm(a: np.ndarray) -> float:
    """The length of a vector."""
    return math.sqrt(dot(a, a))


class OnTape(Function):
    """A function of Tensors: `run(list of Tensors) -> list of (name, Tensor)`."""

    def __init__(
        self, name: str, inputs: Sequence[tuple[str, np.ndarray]], run: Callable[[list], list], dtype: str = "float64"
    ):
        super().__init__(name, inputs, dtype)
        self.run = run

    @classmethod
    def of(cls, f: Callable, tree: Sequence, inputs: Sequence[tuple[str, np.ndarray]], name: str, dtype: str) -> OnTape:
        return cls(name, inputs, lambda ts: _tensors(_called(f, rebuilt(tree, iter(ts)), name), name), dtype)

    def outputs(self, arrays: list) -> list:
        return [(path, y.numpy()) for path, y in self.run([wrap(a, None) for a in arrays])]

    def gradient(self, x: np.ndarray, u: np.ndarray, again: bool) -> np.ndarray:
        self.calls += 1
        arrays = self.given(x)
        ts = [wrap(a, new_node(a.shape, a.dtype)) for a in arrays]
        ys = [y for _, y in self.run(ts)]
        for path, now, before in zip(self.paths, arrays, self.given(x), strict=True):
            if not np.array_equal(now, before, equal_nan=True):
                raise ValueError(f"{self.name} writes into {path}, which the tape may keep: compute a new array, x * 2")
        us = [wrap(a.astype(y.dtype), None) for a, y in zip(parts(u, [y.shape for y in ys]), ys, strict=True)]
        try:
            return joined([g.numpy() for g in _pull(ys, ts, us, again)])
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise NoGradient(str(error)) from error

    def derivative(self) -> OnTape:
        """The gradient as a function of the inputs and of the incoming gradient."""
        many = len(self.paths)

        def run(given: list) -> list:
            again = any(t.requires_grad for t in given)
            ts, us = (
                [t if t.requires_grad else wrap(t.data, new_node(t.shape, t.dtype)) for t in given[:many]],
                given[many:],
            )
            ys = [y for _, y in self.run(ts)]
            return [
                (f"d({self.name})/d({path})", g) for path, g in zip(self.paths, _pull(ys, ts, us, again), strict=True)
            ]

        u = parts(np.random.default_rng(many).standard_normal(sum(map(math.prod, self.y_shapes))), self.y_shapes)
        return OnTape(
            f"the gradient of {self.name}",
            [
                *zip(self.paths, parts(self.x, self.shapes), strict=True),
                *((f"the gradient coming in at {path}", a) for path, a in zip(self.y_names, u, strict=True)),
            ],
            run,
            self.dtype,
        )


def _pull(ys: list, ts: list, us: list, again: bool) -> list:
    """The gradient of Σ u · y with respect to each of ts; zeros where nothing depends on them."""
    live = [(y, u) for y, u in zip(ys, us, strict=True) if y.requires_grad]
    if not live:
        return [Tensor(np.zeros(t.shape)) for t in ts]
    if len(live) == 1:
        return grad(live[0][0], ts, live[0][1], create_graph=again)
    total = ops.sum(live[0][0] * live[0][1])
    for y, u in live[1:]:
        total = total + ops.sum(y * u)
    return grad(total, ts, create_graph=again)


def _called(f: Callable, given: Sequence, name: str) -> Any:
    """f(*given); if f turns out to be written with NumPy, the TypeError says how to check such a function."""
    try:
        return f(*given)
    except TypeError as error:
        if (getattr(f, "__module__", None) or "").startswith("numpy"):
            raise TypeError(
                f"{name} was given Tensors, and calls a NumPy function: write it with mg.sin, not np.sin, say; or "
                "check it as a function of arrays, with a derivative by hand: gradcheck(f, x, gradient=df) if it "
                "returns one number, else vjp=lambda g, x: …"
            ) from error
        raise


def _tensors(y: Any, name: str) -> list[tuple[str, Tensor]]:
    """The floating Tensors among what f returned, by path."""
    found, stack = [], [("the output", y)]
    while stack:
        path, y = stack.pop()
        if isinstance(y, Tensor):
            if is_float(y.dtype):
                found.append((path, y))
        elif isinstance(y, (list, tuple, dict)):
            stack.extend(
                reversed(
                    [
                        (f"output[{k!r}]" if path == "the output" else f"{path}[{k!r}]", child)
                        for k, child in (y.items() if isinstance(y, dict) else enumerate(y))
                    ]
                )
            )
        elif isinstance(y, (float, np.ndarray, np.floating)):
            raise TypeError(
                f"{name} was given Tensors and returned a bare {type(y).__name__} ({path}), so it left the tape: "
                "compute with Tensors to the end (mg.sin, not np.sin; no .data, .numpy() or float()), or give its "
                "derivative: vjp=lambda g, x: … or, if it returns one number, gradient=df"
            )
    if not found:
        raise TypeError(f"{name} returned no floating Tensor, so there is nothing to differentiate")
    return found


class ByHand(Function):
    """A function of NumPy arrays with a derivative written by hand.

    The derivative is gradient(*inputs) if the function returns one number, and vjp(g, *inputs) otherwise.
    """

    ways = (False,)

    def __init__(
        self,
        f: Callable,
        grad: Callable | None,
        vjp: Callable | None,
        tree: Sequence,
        inputs: Sequence[tuple[str, np.ndarray]],
        name: str,
        dtype: str = "float64",
    ):
        super().__init__(name, inputs, dtype)
        self.f, self.grad, self.tree, self.single = f, grad, tree, True
        self.vjp: Any = vjp  # not None if `grad` is

    def outputs(self, arrays: list) -> list:
        y = self.f(*rebuilt(self.tree, iter(arrays)))
        self.single = not isinstance(y, (tuple, list))
        ys = (
            [("the output", np.asarray(y))]
            if self.single
            else [(f"output[{i}]", np.asarray(a)) for i, a in enumerate(y)]
        )
        if isinstance(y, Tensor) or any(a.dtype.kind not in "fc" for _, a in ys):
            raise TypeError(
                f"{self.name} was given NumPy arrays, since a derivative was given for it, and returned a "
                f"{type(y).__name__}: it must return a floating array, or a tuple of them"
            )
        if any(a.dtype.kind == "c" for _, a in ys) and not any(np.iscomplexobj(a) for a in arrays):
            raise TypeError(
                f"{self.name} returns complex numbers, whose gradient several conventions define differently: return "
                "their real and imaginary parts, (y.real, y.imag), and give the vjp of these"
            )
        return ys

    def gradient(self, x: np.ndarray, u: np.ndarray, again: bool) -> np.ndarray:
        self.calls += 1
        us, given = parts(u.astype(self.dtype), self.y_shapes), rebuilt(self.tree, iter(self.given(x)))
        if self.grad and u.size != 1:
            raise TypeError(
                f"gradient= is for a function that returns one number, and {self.name} returns the shapes "
                f"{self.y_shapes}: give vjp=, which is also passed the gradient of the output"
            )
        derivative = self.grad or partial(self.vjp, us[0] if self.single else us)
        found = derivative(*given)
        found = found if isinstance(found, (tuple, list)) else [found]
        sparse = next((g for g in found if hasattr(g, "toarray") or hasattr(g, "todense")), None)
        if sparse is not None:
            raise TypeError(
                f"{self.name}: its derivative returned a sparse {type(sparse).__name__}: return a dense array, "
                "g.toarray()"
            )
        named = {path: g for i, d in enumerate(found) for path, g in leaves(d, f"input {i}", is_number)}
        if not set(self.paths) <= named.keys() and len(named) == len(self.paths):  # nested differently: match by order
            named = dict(zip(self.paths, named.values()))
        if not set(self.paths) <= named.keys():
            raise TypeError(
                f"{self.name}: its derivative returned {len(named)} arrays for {len(self.paths)} floating inputs "
                f"({', '.join(self.paths)}): return one for each, in order"
            )
        for path, shape in zip(self.paths, self.shapes):
            if named[path].shape != shape:
                raise ShapeMismatch(path, named[path], shape)
        return joined([named[path] for path in self.paths]) * (u if self.grad else 1)


class NoGradient(Exception):
    """No gradient could be computed: a rule raised an error (the `__cause__`), or returned the wrong shape."""


class ShapeMismatch(NoGradient):
    """A gradient whose shape differs from that of its input."""

    def __init__(self, path: str, g: Any, shape: tuple):
        super().__init__(path)
        self.path, self.g, self.shape = path, g, shape


class AtNode(Function):
    """One op at its recorded inputs: recomputed for perturbed inputs, with the gradient of the step on the tape."""

    def __init__(self, op: Any, inputs: tuple, options: tuple, node: Node, dtype: str = "float64"):
        self.op, self.inputs, self.options, self.node = op, inputs, options, node
        self.slots = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.node is not None]
        super().__init__(op.name, [(op.inputs[i], np.asarray(inputs[i].data, np.float64)) for i in self.slots], dtype)

    def outputs(self, arrays: list) -> list:
        given = list(self.inputs)
        for i, a in zip(self.slots, arrays, strict=True):
            given[i] = wrap(a, None)
        with no_grad():
            return [("the output", self.op.front(*given, *self.options).numpy())]

    def gradient(self, x: np.ndarray, u: np.ndarray, again: bool) -> np.ndarray:
        g = u.reshape(self.node.shape).astype(self.node.dtype)
        pulled = self.node.step.pull(self.node, self.node.saved, wrap(g, None) if again else g, again)
        for path, gx, shape in zip(self.paths, pulled, self.shapes, strict=True):
            if gx is not None and not stretched(shape, getattr(gx, "shape", None)):
                raise ShapeMismatch(path, gx, shape)
        return joined(
            [
                np.zeros(shape) if gx is None else ops.sum_to(gx.data if isinstance(gx, Tensor) else gx, shape)
                for gx, shape in zip(pulled, self.shapes)
            ]
        )


def stretched(shape: tuple, reached: tuple | None) -> bool:
    """Whether an array of `shape` can be broadcast to the shape `reached`."""
    return (
        reached is not None
        and len(shape) <= len(reached)
        and all(n in (1, m) for n, m in zip(shape[::-1], reached[::-1]))
    )
