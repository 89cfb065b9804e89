"""What NumPy's functions do with Tensors: the op of ours that means the same, and never an array that has lost its gradient.

NumPy hands over to a Tensor among its arguments (NEP 13 for ufuncs such as np.exp, NEP 18 for functions such as np.stack).
What has no op here is computed on the values, as long as no gradient is wanted of them or the result has none: booleans, ids.
"""
from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..tape import recording
from ..tensor import Tensor
from . import arithmetic, create, elementwise, index, linalg, order, reduce, shape
from .shape import reshape

_ROOMS = (arithmetic, elementwise, linalg, reduce, shape, order, index, create)
_OTHERS = {                                     # NumPy's names of what is called otherwise here
    "true_divide": "divide", "absolute": "abs", "amax": "max", "amin": "min", "ravel": "flatten", "vstack": "concatenate",
    "hstack": "concatenate", "array_split": "split", "take_along_axis": "gather", "put_along_axis": "scatter",
    "linalg.norm": "norm", "inner": "matmul", "vecdot": "matmul", "outer": "einsum", "tensordot": "einsum", "dot": "matmul",
    "argsort": "sort"}
_PLAIN = frozenset(["zeros_like", "ones_like", "empty_like", "full_like"])     # these read no values, so no gradient is lost
_WRITE = frozenset(["copyto", "put", "place", "putmask", "fill_diagonal", "put_along_axis"])


def ufunc(self: Tensor, function: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    """np.exp(x), array + x, … : Tensor.__array_ufunc__."""
    if method == "__call__" and not options and function.__name__ in _UFUNCS:
        return _UFUNCS[function.__name__](*inputs)
    return _on_values(getattr(function, method), function.__name__, inputs, options)


def function(function: Callable, args: tuple, kwargs: dict) -> Any:
    """np.sum(x), np.stack([x, y]), … : Tensor.__array_function__."""
    name = function.__name__
    if function.__module__ == "numpy.linalg":
        name = f"linalg.{name}"
    if name in _FUNCTIONS:
        try:
            return _FUNCTIONS[name](*args, **kwargs)
        except _Other:
            pass
    return _on_values(function, name, args, kwargs)


def _on_values(function: Callable, name: str, args: tuple, kwargs: dict) -> Any:
    """What NumPy gives for the values, unless a gradient would be lost by that."""
    wanted: list[Tensor] = []
    args, kwargs = _values(args, wanted), _values(kwargs, wanted)
    on_tape = wanted and recording()
    if on_tape and (name in _WRITE or kwargs.get("out") is not None):
        raise _lost(name)
    result = function(*args, **kwargs)
    if on_tape and name not in _PLAIN and _has_floats(result):
        raise _lost(name)
    return result


def _values(item: Any, wanted: list[Tensor]) -> Any:
    """The same with arrays in the place of Tensors, of which those that want a gradient are collected."""
    if isinstance(item, Tensor):
        if item.node is not None:
            wanted.append(item)
        return item.numpy()
    if isinstance(item, dict):
        return {key: _values(value, wanted) for key, value in item.items()}
    return type(item)([_values(part, wanted) for part in item]) if type(item) in (list, tuple) else item


def _has_floats(result: Any) -> bool:
    if isinstance(result, (tuple, list)):
        return any(map(_has_floats, result))
    return isinstance(result, (float, complex)) or getattr(getattr(result, "dtype", None), "kind", "b") not in "biu"


def _lost(name: str) -> TypeError:
    ours = _OTHERS.get(name, name)
    instead = f"type mg.{ours}, which has one" if any(hasattr(room, ours) for room in _ROOMS) else \
        f"minigrad has no {name}, so write it with mg's ops"
    return TypeError(f"np.{name} of a Tensor that requires a gradient would give an array without one: {instead}; or take the "
                     "values alone, x.detach()")


class _Other(Exception):
    """NumPy's function was called in a way that ours does not know."""


def _known(**given: Any) -> None:
    """Arguments that must be left out."""
    if any(value is not None for value in given.values()):
        raise _Other


def _reduction(op: Callable) -> Callable:
    def call(a, axis=None, dtype=None, out=None, keepdims=False):
        _known(dtype=dtype, out=out)
        return op(a, axis, keepdims)
    return call


def _extreme(op: Callable) -> Callable:
    def call(a, axis=None, out=None, keepdims=False):
        _known(out=out)
        return op(a, axis, keepdims)
    return call


def _spread(op: Callable) -> Callable:
    def call(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False):
        _known(dtype=dtype, out=out)
        return op(a, axis, keepdims=keepdims, correction=ddof)
    return call


def _where(condition, *branches):
    if not branches:
        raise _Other
    return arithmetic.where(condition, *branches)


def _clip(a, a_min=None, a_max=None, out=None, *, min=None, max=None):
    _known(out=out)
    return elementwise.clip(a, a_min if min is None else min, a_max if max is None else max)


def _dot(a, b, out=None):
    _known(out=out)
    dims = np.ndim(a), np.ndim(b)
    if 0 in dims:
        return arithmetic.multiply(a, b)
    if max(dims) > 2:                           # np.dot of stacks pairs each with each
        raise _Other
    return linalg.matmul(a, b)


def _norm(x, ord=None, axis=None, keepdims=False):
    if not (ord is None or ord == 2 and (np.ndim(x) == 1 or isinstance(axis, int))):
        raise _Other
    return reduce.norm(x, axis=axis, keepdims=keepdims)


def _reshape(a, shape, order="C"):
    if order != "C":
        raise _Other
    return reshape(a, shape if isinstance(shape, (tuple, list)) else (shape,))


def _one_axis(op: Callable) -> Callable:
    def call(a, axis=None):
        if isinstance(axis, tuple):
            raise _Other
        return op(a, axis)
    return call


_UFUNCS = {name: getattr(room, _OTHERS.get(name, name)) for room in (arithmetic, elementwise, linalg) for name in (
    "add", "subtract", "multiply", "true_divide", "divide", "negative", "absolute", "sign", "maximum", "minimum", "equal",
    "not_equal", "less", "less_equal", "greater", "greater_equal", "exp", "log", "log1p", "expm1", "sqrt", "sin", "cos", "tanh",
    "power", "matmul")
    if hasattr(room, _OTHERS.get(name, name))} | {
    "bitwise_and": operator.and_, "bitwise_or": operator.or_, "invert": operator.invert, "square": lambda x: x * x}

_FUNCTIONS = {
    "shape": lambda a: a.shape if isinstance(a, Tensor) else np.shape(_values(a, [])),
    "ndim": lambda a: a.ndim if isinstance(a, Tensor) else np.ndim(_values(a, [])),
    "sum": _reduction(reduce.sum), "mean": _reduction(reduce.mean), "prod": _reduction(reduce.prod),
    "max": _extreme(reduce.max), "amax": _extreme(reduce.max), "min": _extreme(reduce.min), "amin": _extreme(reduce.min),
    "var": _spread(reduce.var), "std": _spread(reduce.std), "argmax": _extreme(reduce.argmax),
    "where": _where, "clip": _clip, "dot": _dot, "linalg.norm": _norm, "reshape": _reshape,
    "ravel": lambda a: reshape(a, (-1,)),
    "stack": lambda arrays, axis=0: shape.stack(arrays, axis),
    "concatenate": lambda arrays, axis=0: shape.concatenate(arrays, axis),
    "transpose": lambda a, axes=None: shape.transpose(a, axes),
    "swapaxes": lambda a, axis1, axis2: shape.swapaxes(a, axis1, axis2),
    "squeeze": _one_axis(shape.squeeze), "expand_dims": _one_axis(shape.expand_dims),
    "broadcast_to": lambda array, sizes: shape.broadcast_to(array, sizes),
    "flip": lambda m, axis=None: shape.flip(m, tuple(range(m.ndim)) if axis is None else axis),
    "tile": lambda A, reps: shape.tile(A, reps),
    "tril": lambda m, k=0: shape.tril(m, k), "triu": lambda m, k=0: shape.triu(m, k),
    "einsum": lambda subscripts, *operands: linalg.einsum(subscripts, *operands),
}
