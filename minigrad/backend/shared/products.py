"""Products of matrices that read the same on both libraries: vectors among the operands, and linear layers."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

from ..record import Kernel, is_half


def with_vectors(products: Kernel, dot: Callable | None = None) -> Kernel:
    """The product of stacks of matrices or, as in NumPy, vectors: a row on the left, a column on the right.

    `dot` is a faster product of two vectors, if there is one.  (The rules of matmul define the backward pass.)
    """

    def forward(xp, a, b):
        m, n = getattr(a, "ndim", 0), getattr(b, "ndim", 0)
        if not m or not n:
            raise ValueError("a number has no axes")
        row, column = m == 1, n == 1
        if row and column and dot is not None:
            return dot(a, b), (None, a, b)
        if not row and not column:
            y, saved = products.forward(xp, a, b)
            return y, (saved, a, b)
        y, saved = products.forward(xp, a[None] if row else a, b[:, None] if column else b)
        y = y[..., 0, :] if row else y
        return y[..., 0] if column else y, (saved, a, b)

    def backward(xp, g, saved, wanted):
        saved, a, b = saved
        row, column = a.ndim == 1, b.ndim == 1
        if row and column:
            return g * b if wanted[0] else None, g * a if wanted[1] else None
        if row or column:
            g = xp.ascontiguousarray(g)  # that of a sum is one number in many places, which BLAS cannot read
        g = g[..., None] if column else g[..., None, :] if row else g
        ga, gb = products.backward(xp, g, saved, wanted)
        return ga[..., 0, :] if row and wanted[0] else ga, gb[..., 0] if column and wanted[1] else gb

    return Kernel(forward, backward)


def linear_forward(xp, x, weight, bias):
    """x Wᵀ + b with W stored (out, in): one matrix product, however many leading axes x has."""
    y = xp.empty((*x.shape[:-1], weight.shape[0]), x.dtype)
    xp.matmul(as_matrix(xp, x), weight.T, out=as_matrix(xp, y))
    if bias is not None:
        y += bias
    return y, (x.shape, x, weight)


def linear_backward(xp, g, saved, wanted):
    shape, x, weight = saved
    g, gx = as_matrix(xp, g), None
    if wanted[0]:
        gx = xp.empty(shape, g.dtype)
        xp.matmul(g, weight, out=as_matrix(xp, gx))
    return gx, g.T @ as_matrix(xp, x) if wanted[1] else None, g.sum(0) if wanted[2] else None


def linear_needed(saved, wanted):
    """The input is needed for the gradient of the weight alone: where that is frozen, it is let go."""
    shape, x, weight = saved
    return shape, x if wanted[1] else None, weight


def with_lora(linear: Kernel, multiply: Callable) -> Kernel:
    """The kernel of a linear layer with the weight W + scale · B A; `multiply` multiplies two matrices.

    The backward pass computes the sum again instead of keeping it: W is small compared with x.
    """

    def changed(weight, a, b, scale):
        total = multiply(b, a)
        total *= scale
        total += weight
        return total

    def forward(xp, x, weight, bias, a, b, scale):
        y, _ = linear.forward(xp, x, changed(weight, a, b, scale), bias)
        return y, (x, weight, a, b)

    def backward(xp, g, saved, wanted, scale):
        x, weight, a, b = saved
        gradients = linear.backward(xp, g, (x.shape, x, changed(weight, a, b, scale)), wanted[:3])
        rows, g = as_matrix(xp, x), as_matrix(xp, g)  # (thin matrices on the left: BLAS is three times as fast)
        ga = multiply(multiply(b.T, g.T) * scale, rows) if wanted[3] else None
        gb = xp.ascontiguousarray(multiply(multiply(a, rows.T) * scale, g).T) if wanted[4] else None
        return *gradients, ga, gb

    return Kernel(forward, backward, fits=has_more_rows)


def has_more_rows(x, weight, bias, a, b, scale):
    """Whether x is larger than the weight, and all are of one dtype, in which W + scale · B A loses nothing."""
    alike = x.dtype == weight.dtype == a.dtype == b.dtype and not is_half(x.dtype)
    return x.ndim > 1 and x.size > weight.size and alike


def as_matrix(xp, x):
    """x with its leading axes made one, in the layout BLAS reads (a gradient may be a broadcast view)."""
    return xp.ascontiguousarray(x).reshape(math.prod(x.shape[:-1]), x.shape[-1])


linear = Kernel(linear_forward, linear_backward, needed=linear_needed)
table = {"linear": linear, "lora_linear": with_lora(linear, operator.matmul)}
