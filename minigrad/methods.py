"""The operators and methods of a Tensor, which are ops by another name: `x + y` is `mg.add(x, y)`.

Each is the op itself, not a function that calls it, which saves a call per operator.  They are put into the class when
the ops exist, since ops make Tensors.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from . import backend, ops
from .errors import ELSEWHERE
from .mode import no_grad, recording
from .tensor import Tensor, as_array


def _swapped(op: Callable) -> Callable[[Any, Any], Tensor]:
    """The operator for `other ⊕ x`, where `other` is no Tensor."""
    return lambda self, other: op(other, self)


def _booleans(operator: str, x: Any) -> Any:
    """x, known to hold booleans."""
    kind = getattr(x, "dtype", np.dtype(type(x)))
    if kind.kind != "b":
        raise TypeError(f"{operator} is for booleans, such as x > 0, not for {kind}")
    return x


def _of_arrays(function: Callable) -> Callable:
    """An operator that has no op, on what Tensors hold."""

    def apply(self: Tensor, other: Any) -> Any:
        if recording() and any(isinstance(x, Tensor) and x.node is not None for x in (self, other)):
            raise TypeError(f"{function.__name__} has no gradient here: type x.detach()")
        return function(self.data, as_array(other) if isinstance(other, (Tensor, list, tuple)) else other)

    return apply


def _in_place(op: Callable, symbol: str) -> Callable[[Any, Any], Tensor]:
    """The operator `x ⊕= y`: writes into a leaf x while nothing is recorded; else x becomes the name of a new Tensor.

    Raises:
        RuntimeError: a gradient would be lost: x is a leaf that requires one, or a Buffer, and the tape runs; or x is
            the result of an op, and it does not.
        ValueError: the result has another shape than x.
        TypeError: the result is floating and x holds whole numbers.
    """

    def write(self: Tensor, other: Any) -> Tensor:
        on = recording()
        recorded = on and (self.node is not None or isinstance(other, Tensor) and other.node is not None)
        if recorded and not self.is_leaf or recorded and self.node is None and type(self) is Tensor:
            return op(self, other)  # `total += loss`: the sum is on the tape, and nothing is lost
        if self.node is not None and not self.is_leaf:
            raise RuntimeError(
                f"x {symbol}= y inside no_grad would take x, the result of {self.node.step.name}, off the tape: "
                f"type x = x.detach() {symbol} y, or do it outside no_grad"
            )
        if recorded:
            raise RuntimeError(
                f"x {symbol}= y would write into a {type(self).__name__} that is a leaf and lose its gradient: "
                f"do it inside `with mg.no_grad():`, or type x.copy_(values); a new Tensor is x {symbol} y"
            )
        with no_grad():
            values = as_array(op(self, other))
        if values.shape != self.shape:
            raise ValueError(
                f"x {symbol}= y: the result has shape {values.shape}, but it is to be written into x of shape "
                f"{self.shape}: type x = x {symbol} y for a new Tensor"
            )
        if backend.is_float(values.dtype) and not backend.is_float(self.dtype):
            raise TypeError(
                f"x {symbol}= y: the result is {values.dtype}, which x, of {self.dtype}, cannot hold: type "
                f"x = x {symbol} y for a new Tensor"
            )
        return self.copy_(values)

    return write


def _elsewhere(name: str, there: str) -> property:
    """An attribute that does not exist, and says what to type instead."""

    def refuse(self: Tensor) -> None:
        raise AttributeError(f"Tensor has no attribute {name!r}: type {there}", name=name, obj=self)

    return property(refuse, doc=f"Not here: type {there}.")


class Methods:
    """What Tensors have besides the methods in tensor.py."""

    __add__, __radd__, __iadd__ = ops.add, _swapped(ops.add), _in_place(ops.add, "+")
    __sub__, __rsub__, __isub__ = ops.subtract, _swapped(ops.subtract), _in_place(ops.subtract, "-")
    __mul__, __rmul__, __imul__ = ops.multiply, _swapped(ops.multiply), _in_place(ops.multiply, "*")
    __truediv__, __rtruediv__, __itruediv__ = ops.divide, _swapped(ops.divide), _in_place(ops.divide, "/")
    __pow__, __rpow__, __ipow__ = ops.power, _swapped(ops.power), _in_place(ops.power, "**")
    __matmul__, __rmatmul__, __imatmul__ = ops.matmul, _swapped(ops.matmul), _in_place(ops.matmul, "@")
    __ifloordiv__ = _in_place(_of_arrays(operator.floordiv), "//")
    __imod__ = _in_place(_of_arrays(operator.mod), "%")
    __neg__, __abs__, __getitem__ = ops.negative, ops.abs, ops.pick
    __eq__, __ne__, __lt__, __le__, __gt__, __ge__ = (
        ops.equal,
        ops.not_equal,
        ops.less,
        ops.less_equal,
        ops.greater,
        ops.greater_equal,
    )
    __hash__ = object.__hash__

    def __invert__(self) -> Tensor:
        return ops.equal(_booleans("~", self), False)

    def __and__(self, other: Any) -> Tensor:
        return ops.multiply(_booleans("&", self), _booleans("&", other))

    def __or__(self, other: Any) -> Tensor:
        return ops.maximum(_booleans("|", self), _booleans("|", other))

    __rand__, __ror__, __iand__, __ior__ = __and__, __or__, _in_place(__and__, "&"), _in_place(__or__, "|")

    sum, mean, var, max, min, argmax = ops.sum, ops.mean, ops.var, ops.max, ops.min, ops.argmax
    exp, log, sqrt, abs, tanh, sigmoid, relu = ops.exp, ops.log, ops.sqrt, ops.abs, ops.tanh, ops.sigmoid, ops.relu
    clip, softmax, log_softmax, astype = ops.clip, ops.softmax, ops.log_softmax, ops.astype
    swapaxes, squeeze, flatten = ops.swapaxes, ops.squeeze, ops.flatten

    def reshape(self, *shape: Any) -> Tensor:
        """The entries, in order, in another shape: `x.reshape(2, -1)` or `x.reshape((2, -1))`."""
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        """Two axes change places, as in torch; more, or a tuple: all in that order, as in NumPy; none: all reversed."""
        if len(axes) == 2:
            return ops.swapaxes(self, *axes)
        return ops.transpose(self, axes[0] if len(axes) == 1 else axes or None)

    def to(self: Any, target: Any) -> Tensor:
        """On another device ("cpu", "cuda"), or in another dtype ("float64"); differentiable."""
        if target in backend.DEVICES:
            return self if target == self.device else ops.to_device(self, target)
        try:
            return ops.astype(self, backend.dtype_named(target))
        except TypeError:
            raise ValueError(
                f'{target!r} is neither a device, "cpu" or "cuda", nor a dtype such as "float32"'
            ) from None

    T = property(lambda self: ops.transpose(self), doc="All axes in reverse order.")
    mT = property(lambda self: ops.swapaxes(self, -1, -2), doc="The last two axes swapped.")
    __array_ufunc__ = ops.numpy_protocol.ForNumPy()

    def __array_function__(self, function: Callable, types: Any, args: tuple, kwargs: dict) -> Any:
        return ops.numpy_protocol.function(function, args, kwargs)


for _name, _method in vars(Methods).items():
    if _name not in ("__module__", "__doc__", "__dict__", "__weakref__"):
        setattr(Tensor, _name, _method)
for _name, _there in ELSEWHERE.items():  # (a class with __getattr__ would take longer to find the attributes it has)
    setattr(Tensor, _name, _elsewhere(_name, _there))
