"""What NumPy's functions do with Tensors: operators are ours, and no function returns an array that lost its gradient.

NumPy hands over to a Tensor among its arguments (NEP 13 for ufuncs such as np.add, NEP 18 for functions such as
np.stack). The operators of arrays, `array + x`, are the ops of the same meaning.  Everything else is computed on the
values if no gradient is wanted, or if the result has none (booleans, indices); otherwise it is refused, with the op to
type instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..execution import recording
from ..tensor import Tensor
from . import arithmetic, elementwise, linalg

# In each lambda a is an array, for a Tensor's own operator comes first.
_OPERATORS = {
    "add": arithmetic.add,
    "subtract": arithmetic.subtract,
    "multiply": arithmetic.multiply,
    "divide": arithmetic.divide,
    "true_divide": arithmetic.divide,
    "power": elementwise.power,
    "matmul": linalg.matmul,
    "negative": arithmetic.negative,
    "absolute": arithmetic.abs,
    "equal": arithmetic.equal,
    "not_equal": arithmetic.not_equal,
    "less": arithmetic.less,
    "less_equal": arithmetic.less_equal,
    "greater": arithmetic.greater,
    "greater_equal": arithmetic.greater_equal,
    "bitwise_and": lambda a, b: b & a,
    "bitwise_or": lambda a, b: b | a,
    "bitwise_xor": lambda a, b: b ^ a,
    "floor_divide": lambda a, b: ops.floor_divide(a, b),
    "remainder": lambda a, b: ops.remainder(a, b),
    "divmod": lambda a, b: (ops.floor_divide(a, b), ops.remainder(a, b)),
}
_OURS = {  # NumPy's names of what is called otherwise here
    "array_split": "tensor_split",
    "split": "tensor_split",  # (mg.split takes sizes, as torch's does)
    "put_along_axis": "scatter",
    "cross": "linalg.cross",  # (mg.cross takes the first axis of 3, as torch's does)
    "add.reduce": "sum",
    "add.at": "scatter_add",
    "maximum.reduce": "max",
    "minimum.reduce": "min",
    "multiply.reduce": "prod",
    "add.accumulate": "cumsum",
    "multiply.accumulate": "cumprod",
    "multiply.outer": "outer",
    "degrees": "rad2deg",
    "radians": "deg2rad",
    "rint": "round",
    "fabs": "abs",
    "percentile": "quantile",
    "ptp": "aminmax",
    "mod": "remainder",
}
_READ_NOTHING = frozenset(["zeros_like", "ones_like", "empty_like", "full_like"])
_WRITE = frozenset(["copyto", "put", "place", "putmask", "fill_diagonal", "put_along_axis"])


def ufunc(self: Tensor, function: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    """array + x, np.exp(x), … : Tensor.__array_ufunc__."""
    if method == "__call__" and not options and function.__name__ in _OPERATORS:
        return _OPERATORS[function.__name__](*inputs)
    name = function.__name__ if method == "__call__" else f"{function.__name__}.{method}"
    return _on_values(getattr(function, method), name, inputs, options)


def function(function: Callable, args: tuple, kwargs: dict) -> Any:
    """np.sum(x), np.stack([x, y]), … : Tensor.__array_function__."""
    if function is np.shape and isinstance(args[0], Tensor):
        return args[0].shape
    linear = "linalg." if function.__module__ == "numpy.linalg" else ""
    return _on_values(function, linear + function.__name__, args, kwargs)


def _on_values(function: Callable, name: str, args: tuple, kwargs: dict) -> Any:
    """What NumPy gives for the values, unless a gradient would be lost by that.

    Raises:
        TypeError: it would.
    """
    wanted: list[Tensor] = []
    args, kwargs = _values(args, wanted), _values(kwargs, wanted)
    on_tape = wanted and recording()
    if on_tape and (name in _WRITE or name.endswith(".at") or kwargs.get("out") is not None):
        raise _lost(name)
    result = function(*args, **kwargs)
    if on_tape and name not in _READ_NOTHING and _has_floats(result):
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
    return isinstance(result, (float, complex)) or getattr(getattr(result, "dtype", None), "kind", "b") not in "biuSU"


def _lost(name: str) -> TypeError:
    ours = _OURS.get(name, name)
    there = ours in ops.__all__ or ours in ops.LATER or ours in ops.TORCH_NAMES or ours.startswith("linalg.")
    instead = f"type mg.{ours}, which has one" if there else f"minigrad has no {name}, so write it with mg's ops"
    return TypeError(
        f"np.{name} of a Tensor that requires a gradient would give an array without one: {instead}; or take the "
        "values alone, x.detach()"
    )
