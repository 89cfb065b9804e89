"""Arithmetic on large arrays, divided among the cores of a CPU."""

from __future__ import annotations

import operator

import numpy as np

from ..record import Value
from . import cores
from .cores import share
from .memory import flat, in_order


def in_parts(function, a, b):
    """Apply function(a, b), where b broadcasts to a contiguous a, in equal parts on all cores: memory bounds it.

    The result has a's memory order.  NumPy warns, or raises, as it would on the calling thread.
    """
    b = np.broadcast_to(np.asarray(b, a.dtype), a.shape)
    if not a.flags.c_contiguous:
        return in_parts(function, a.T, b.T).T if a.flags.f_contiguous else function(a, b)
    if all(b.strides):  # not broadcast
        b = in_order(b)
    y, errors = np.empty(a.shape, a.dtype), np.geterr()
    out = y
    if b.flags.c_contiguous or not any(b.strides):  # however few there are along the first axis
        out, a = flat(y, a)
        b = b.reshape(-1) if b.flags.c_contiguous else np.broadcast_to(b.reshape(-1)[:1], a.shape)
    while len(a) == 1:
        a, b, out = a[0], b[0], out[0]
    step = -(-len(a) // cores.CORES)

    def work(i):
        with np.errstate(**errors):
            function(a[i : i + step], b[i : i + step], out=out[i : i + step])

    share(work, range(0, len(a), step))
    return y


def shared(function, operator):
    """operator(a, b), but function(a, b) on all cores if b is a number, or is broadcast to a."""

    def value(xp, a, b):
        alike = type(a) is np.ndarray and a.dtype.kind == "f" and getattr(b, "dtype", a.dtype) == a.dtype
        if not alike or np.broadcast_shapes(a.shape, getattr(b, "shape", ())) != a.shape:
            return operator(a, b)
        return in_parts(function, a, b)

    return Value(value, least=cores.MIN_SHARED)


table = {
    "add": shared(np.add, operator.add),
    "subtract": shared(np.subtract, operator.sub),
    "multiply": shared(np.multiply, operator.mul),
    "divide": shared(np.divide, operator.truediv),
}
