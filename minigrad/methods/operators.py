"""The operators of a Tensor, such as `x + y` for `mg.add(x, y)`, and Python's own functions of one."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from .. import backend, ops, writes
from ..execution import no_grad, recording
from ..tensor import Tensor, as_array


def _swapped(op: Callable) -> Callable[[Any, Any], Tensor]:
    """The operator for `other ⊕ x`, where `other` is not a Tensor."""
    return lambda self, other: op(other, self)


def _booleans(operator: str, x: Any) -> Any:
    """x, known to hold booleans."""
    kind = getattr(x, "dtype", np.dtype(type(x)))
    if kind.kind != "b":
        raise TypeError(f"{operator} is for booleans, such as x > 0, not for {kind}")
    return x


def _protocol() -> Any:
    """What NumPy's functions do with Tensors, a file that is imported when it is first used."""
    return import_module("minigrad.ops.numpy_protocol")


class _ForNumPy:
    """Tensor.__array_ufunc__: NumPy reads it from the class; on a Tensor CuPy gets None, so that operators are ours."""

    def __get__(self, tensor: Tensor | None, kind: type) -> Callable | None:
        return _protocol().ufunc if tensor is None else None


def _later(op: str) -> Callable[[Any, Any], Any]:
    """The operator for an op of this name, whose file is imported when it is first used."""
    return lambda a, b: getattr(ops, op)(a, b)


def _in_place(op: Callable, symbol: str) -> Callable[[Any, Any], Tensor]:
    """The operator `x ⊕= y`, which changes the Tensor x, so that every name of it sees the result, as in torch.

    What is not recorded is written into x's memory.  What is recorded is computed into new memory, which x then holds
    with the new place on the tape.

    Raises:
        RuntimeError: a gradient would be lost: x is a leaf that requires one, or a Buffer, and the tape runs; or x is
            the result of an op, and it does not.  Or it is recorded, and something else holds the memory of x, which
            would not see it: what x is a view of, a view of x, an op.
        ValueError: the result has another shape than x, or several entries of x lie in one place.
        TypeError: the result is floating and x holds whole numbers, or it holds whole numbers and x booleans.
    """

    def write(self: Tensor, other: Any) -> Tensor:
        on = recording()
        recorded = on and (self.node is not None or isinstance(other, Tensor) and other.node is not None)
        if recorded and self.is_leaf and (self.node is not None or type(self) is not Tensor):
            raise RuntimeError(
                f"x {symbol}= y would write into a {type(self).__name__} that is a leaf and lose its gradient: "
                f"do it inside `with mg.no_grad():`, or type x.copy_(values); a new Tensor is x {symbol} y"
            )
        if not recorded and self.node is not None and not self.is_leaf:
            raise RuntimeError(
                f"x {symbol}= y inside no_grad would take x, the result of {self.node.step.name}, off the tape: "
                f"type x = x.detach() {symbol} y, or do it outside no_grad"
            )
        if recorded and writes.is_view(self.data):
            raise RuntimeError(
                f"x {symbol}= y: x is a view, and the Tensor or array whose memory it shows would not see the result: "
                f"type x = x {symbol} y for a new Tensor"
            )
        if recorded and writes.is_held(self):
            raise RuntimeError(
                f"x {symbol}= y: something else holds the old values of x and would not see the result, a view of x, "
                f"x.detach(), x.numpy(), or an op that needs them for its gradient: type x = x {symbol} y"
            )
        if recorded:
            writes.check_own_places(self.data)
            result: Any = op(self, other)
        else:
            with no_grad():
                result = as_array(op(self, other))
        if result.shape != self.shape:
            raise ValueError(
                f"x {symbol}= y: the result has shape {result.shape}, but it is to be written into x of shape "
                f"{self.shape}: type x = x {symbol} y for a new Tensor"
            )
        if _rank(result.dtype) > _rank(self.dtype):
            raise TypeError(
                f"x {symbol}= y: the result is {result.dtype}, which x, of {self.dtype}, cannot hold: type "
                f"x = x {symbol} y for a new Tensor"
            )
        if not recorded:
            return self.copy_(result)
        result = result if result.dtype == self.dtype else result.astype(self.dtype)
        self.data, self.node, self.frozen = result.data, result.node, None
        return self

    return write


def _rank(dtype: np.dtype) -> int:
    """The place of a dtype among booleans, whole numbers and fractions, of which each holds those before it."""
    return 2 if backend.is_float(dtype) else int(dtype.kind != "b")


class Operators:
    """The operators, and what Python's own functions such as `round` call."""

    __add__, __radd__, __iadd__ = ops.add, _swapped(ops.add), _in_place(ops.add, "+")
    __sub__, __rsub__, __isub__ = ops.subtract, _swapped(ops.subtract), _in_place(ops.subtract, "-")
    __mul__, __rmul__, __imul__ = ops.multiply, _swapped(ops.multiply), _in_place(ops.multiply, "*")
    __truediv__, __rtruediv__, __itruediv__ = ops.divide, _swapped(ops.divide), _in_place(ops.divide, "/")
    __pow__, __rpow__, __ipow__ = ops.power, _swapped(ops.power), _in_place(ops.power, "**")
    __matmul__, __rmatmul__, __imatmul__ = ops.matmul, _swapped(ops.matmul), _in_place(ops.matmul, "@")
    __floordiv__, __rfloordiv__ = _later("floor_divide"), _swapped(_later("floor_divide"))
    __mod__, __rmod__ = _later("remainder"), _swapped(_later("remainder"))
    __ifloordiv__, __imod__ = _in_place(__floordiv__, "//"), _in_place(__mod__, "%")
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

    def __xor__(self, other: Any) -> Tensor:
        return ops.not_equal(_booleans("^", self), _booleans("^", other))

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__
    __iand__, __ior__, __ixor__ = _in_place(__and__, "&"), _in_place(__or__, "|"), _in_place(__xor__, "^")

    def __divmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return other // self, other % self

    def __round__(self, decimals: int | None = None) -> Tensor:
        return ops.round(self, decimals or 0)

    def __contains__(self, value: Any) -> bool:
        return bool(ops.any(ops.equal(self, value)))

    def __format__(self: Any, form: str) -> str:
        """f"{loss:.3f}": the number of a Tensor that has one."""
        if self.shape == () or form and self.size == 1:
            return format(self.item(), form)
        if form:
            raise TypeError(
                f"the format {form!r} is for one number, and this Tensor has shape {self.shape}: pick one, x[0], or "
                "reduce it, x.mean(); np.array2string(x.numpy(), precision=3) writes all"
            )
        return repr(self)

    def __index__(self: Any) -> int:
        """The one whole number, where Python wants an index, range(n) or a list's place."""
        if self.size != 1 or self.dtype.kind not in "iu":
            raise TypeError(
                f"an index is one whole number, not a Tensor of shape {self.shape} and dtype {self.dtype}"
                + (": type int(x)" if self.size == 1 else "")
            )
        return int(self.item())

    __array_ufunc__ = _ForNumPy()

    def __array_function__(self, function: Callable, types: Any, args: tuple, kwargs: dict) -> Any:
        return _protocol().function(function, args, kwargs)
