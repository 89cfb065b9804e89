"""Arithmetic between Tensors: what the operators mean, with NumPy's broadcasting.

NumPy and Python scalars never widen a dtype; int / int gives float32.  Here are also the ops by which broadcasting is
done and undone, `broadcast_to` and `sum`, each of which is the other's gradient.
"""

from __future__ import annotations

from typing import Any

from .. import backend
from ..builtin import builtin
from ..precision import F4, sum_dtype
from ..primitive import primitive
from ..tensor import sum_to  # noqa: F401  which the tape undoes broadcasting with


@builtin(in_float32="halves beside numbers")
@primitive
def add(xp, a, b, /):
    """a + b."""
    return a + b


add.defvjp(a=lambda g: g, b=lambda g: g)
add.in_symbols(a="g", b="g")


@builtin(in_float32="halves beside numbers")
@primitive
def subtract(xp, a, b, /):
    """a - b."""
    return a - b


subtract.defvjp(a=lambda g: g, b=lambda g: -g)
subtract.in_symbols(a="g", b="-g")


@builtin(in_float32="halves beside numbers")
@primitive
def multiply(xp, a, b, /):
    """a · b, entry by entry."""
    return a * b


multiply.defvjp(a=lambda g, b: g * b, b=lambda g, a: g * a)
multiply.in_symbols(a="g · b", b="g · a")


@builtin(in_float32="halves and integers")
@primitive
def divide(xp, a, b, /):
    """a / b."""
    return a / b


divide.defvjp(a=lambda g, b: g / b, b=lambda g, b, y: -g * y / b)
divide.in_symbols(a="g / b", b="-g · y / b")


@builtin()
@primitive
def negative(xp, x, /):
    """-x."""
    return -x


negative.defvjp(x=lambda g: -g)
negative.in_symbols(x="-g")


@builtin()
@primitive
def abs(xp, x, /):
    """|x|; the gradient at 0 is 0."""
    return xp.abs(x)


abs.defvjp(x=lambda g, x: g * sign(x))
abs.in_symbols(x="g · sign(x)")


@builtin()
@primitive
def sign(xp, x, /):
    """-1, 0 or 1; constant almost everywhere, so without a gradient."""
    return xp.sign(x)


sign.defvjp()


@builtin()
@primitive
def maximum(xp, a, b, /):
    """The larger of a and b; where they are equal the gradient is shared half and half."""
    return xp.maximum(a, b)


maximum.defvjp(a=lambda g, a, b: _share(g, a > b, a == b), b=lambda g, a, b: _share(g, b > a, a == b))
maximum.in_symbols(a="g where a > b, g/2 where equal", b="g where b > a, g/2 where equal")


@builtin()
@primitive
def minimum(xp, a, b, /):
    """The smaller of a and b; where they are equal the gradient is shared half and half."""
    return xp.minimum(a, b)


minimum.defvjp(a=lambda g, a, b: _share(g, a < b, a == b), b=lambda g, a, b: _share(g, b < a, a == b))
minimum.in_symbols(a="g where a < b, g/2 where equal", b="g where b < a, g/2 where equal")


def _share(g, won, tied):
    """g where one has won, half of it where the two are equal, infinite ones too, else 0."""
    return where(won, g, where(tied, 0.5 * g, 0))


@builtin()
@primitive
def where(xp, condition, a, b, /):
    """a where the condition holds, else b."""
    return xp.where(condition, a, b)


where.defvjp(a=lambda g, condition: where(condition, g, 0), b=lambda g, condition: where(condition, 0, g))
where.in_symbols(a="g where the condition holds, else 0", b="g where it does not hold, else 0")


@builtin()
@primitive
def astype(xp, x, /, dtype):
    """x in another dtype; the gradient comes back in x's own, by the tape."""
    return backend.cast(x, dtype)


astype.defvjp(x=lambda g: g)
astype.in_symbols(x="g, in x's dtype")


@builtin()
@primitive
def reshape(xp, x, /, shape):
    """x with its entries, in order, in another shape; one size may be -1."""
    if shape is None:
        raise TypeError("a shape is a size or a tuple of sizes, one of which may be -1, not None")
    if type(shape) is tuple and shape and min(shape) < -1:  # NumPy would read any negative size as -1
        raise ValueError("a size is at least 0; one may be -1, for as many as are left")
    return xp.reshape(x, shape)


reshape.defvjp(x=lambda g, x_shape: reshape(g, x_shape))
reshape.in_symbols(x="g, in x's shape")


@builtin()
@primitive
def broadcast_to(xp, x, /, shape):
    """x repeated, without a copy, along new axes and axes of size 1."""
    return xp.broadcast_to(x, shape)


broadcast_to.defvjp(x=lambda g: g)  # the tape adds it up again
broadcast_to.in_symbols(x="g, summed over the axes that were stretched")


def restore(g, shape, axis, keepdims):
    """Put back the axes a reduction took away, so that g lines up with what was reduced."""
    if axis is not None and not keepdims:
        axes = {a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,))}
        g = reshape(g, tuple(1 if i in axes else n for i, n in enumerate(shape)))
    return broadcast_to(g, shape)


@builtin(in_float32="halves", autocast="float32")
@primitive
def sum(xp, x, /, axis=None, keepdims=False):
    """The sum over `axis`; of whole numbers and booleans in int64."""
    dtype = F4 if x.dtype is F4 else sum_dtype(x.dtype)
    return xp.add.reduce(x, axis, dtype, None, keepdims)  # by position: at four entries it shows


sum.defvjp(x=lambda g, x_shape, axis, keepdims: restore(g, x_shape, axis, keepdims))
sum.in_symbols(x="g, repeated along the axes that were summed")


@builtin()
@primitive
def equal(xp, a, b, /):
    """a == b, as booleans; comparisons have no gradient."""
    return a == b


equal.defvjp()


@builtin()
@primitive
def not_equal(xp, a, b, /):
    """a != b."""
    return a != b


not_equal.defvjp()


@builtin()
@primitive
def less(xp, a, b, /):
    """a < b."""
    return a < b


less.defvjp()


@builtin()
@primitive
def less_equal(xp, a, b, /):
    """a <= b."""
    return a <= b


less_equal.defvjp()


@builtin()
@primitive
def greater(xp, a, b, /):
    """a > b."""
    return a > b


greater.defvjp()


@builtin()
@primitive
def greater_equal(xp, a, b, /):
    """a >= b."""
    return a >= b


greater_equal.defvjp()


def to_device(x: Any, device: str) -> Any:
    """x on another device, "cpu" or "cuda"; the gradient travels back."""
    return _to_device(x, x.device, device)


@builtin(name="to_device")
@primitive
def _to_device(xp, x, /, source, target):
    """x copied from one device to another."""
    return backend.get(target).xp.asarray(backend.get(source).to_numpy(x))


_to_device.defvjp(x=lambda g, source, target: _to_device(g, target, source))
_to_device.in_symbols(x="g, sent back")
