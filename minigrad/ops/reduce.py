"""Reductions: many entries to one.

`axis` is a number, a tuple or None (all); torch's `dim` and `keepdim` work as well.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from ..builtin import builtin
from ..precision import sum_dtype
from ..primitive import primitive
from ..spelling import given_twice, torch_spelling
from ..tensor import as_array, shaped
from .arithmetic import abs, astype, divide, reshape, restore, sum, where
from .elementwise import exp, power, sqrt
from .shape import axes_of, axis_of, check_flags, pad, squeeze

Axes = int | tuple[int, ...] | None


def _over(op, x, axis):
    """x, once it is known that it has these axes: what a reduction made of others has to say in its own name."""
    x = shaped(x)
    if axis is not None:
        axes_of(op, x, axis, of_number=True)
    return x


@builtin(in_float32="halves", autocast="float32")
@torch_spelling
def mean(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The mean over `axis`."""
    x = _over("mean", x, axis)
    total = sum(x, axis, keepdims)
    return divide(total, math.prod(x.shape) / (math.prod(total.shape) or 1))


def _correction(op, correction, unbiased):
    """The correction, which torch's older `unbiased` is another name for: 1 if True, 0 if False."""
    if unbiased is None:
        return correction
    check_flags(op, unbiased=unbiased)
    if correction:
        raise given_twice(op, "correction", correction, "unbiased", unbiased)
    return int(unbiased)


@builtin(in_float32="halves and integers", autocast="float32")
@torch_spelling
def var(x: Any, axis: Axes = None, *, keepdims: bool = False, correction: int = 0, unbiased: bool | None = None) -> Any:
    """The variance over `axis`, the mean squared distance to the mean: the sum is divided by n, in torch by n - 1.

    `correction=1`, or `unbiased=True`, gives torch's: the sum is divided by n - `correction` (NumPy's `ddof`).
    Of no more than `correction`
    numbers the variance is infinite, or NaN if they are equal: the sum of squares is divided by 0.  The gradient is
    then torch's, 2 (x - mean) / (n - correction).
    """
    x = _over("var", x, axis)
    correction = _correction("var", correction, unbiased)
    if not isinstance(correction, Real):
        raise TypeError(f"var: the correction is a number, not {correction!r}")
    middle = mean(x, axis, True)
    centred = x - middle
    centred = centred - mean(centred, axis, True)  # of a large mean, what rounding left
    count = math.prod(n for n, m in zip(x.shape, middle.shape) if n != m)
    if count > correction:
        return sum(centred * centred, axis, keepdims) / (count - correction)
    centred = x - as_array(x - centred)  # an infinite gradient minus its mean would be NaN
    total = sum(centred * centred, axis, keepdims)
    return total / 0 if count == correction else total / (count - correction) + as_array(total) / 0


@builtin(in_float32="halves and integers", autocast="float32")
@torch_spelling
def std(x: Any, axis: Axes = None, *, keepdims: bool = False, correction: int = 0, unbiased: bool | None = None) -> Any:
    """The standard deviation over `axis`, the root of `var`: the sum is divided by n, in torch by n - 1.

    `correction=1` gives torch's.  The gradient of equal numbers is 0, as in torch.
    """
    correction = _correction("std", correction, unbiased)
    square = var(_over("std", x, axis), axis, keepdims=keepdims, correction=correction)
    return where(square == 0, 0, sqrt(where(square == 0, 1, square)))


@builtin(in_float32="halves and integers", autocast="float32")
@torch_spelling
def norm(x: Any, p: float | str = 2, axis: Axes = None, keepdims: bool = False) -> Any:
    """The p-norm (Σ|x|ᵖ)^(1/p) of all entries over `axis`, a vector's norm (also of a matrix, whose p="fro" is p=2).

    p = ∞ is the largest |x|, −∞ the smallest, 0 the number of entries that are not zero.  The gradient at 0 is 0, as in
    torch.

    Raises:
        ValueError: p is not a number, but for example "nuc".
    """
    x = _over("norm", x, axis)
    if p in ("fro", 2):
        return _norm(x, axis, keepdims)
    if isinstance(p, str) or not isinstance(p, Real):
        raise ValueError(f'norm: p={p!r} is not known: give a number, math.inf, or "fro"')
    if p == 0:
        return sum(astype(x != 0, x.dtype), axis, keepdims)
    size = abs(x)
    if p == 1:
        return sum(size, axis, keepdims)
    if math.isinf(p):
        return (max if p > 0 else min)(size, axis, keepdims)
    at_zero = 0.0 if p > 0 else math.inf  # what |x|ᵖ is at 0
    if p < 1:  # there the slope of |x|ᵖ is infinite; torch makes it 0
        powers = where(size == 0, at_zero, power(where(size == 0, 1, size), p))
    else:
        powers = power(size, p)
    total = sum(powers, axis, keepdims)
    return where(total == at_zero, 0, power(where(total == at_zero, 1, total), 1 / p))


@builtin(name="norm", in_float32="halves and integers", autocast="float32")
@primitive
def _norm(xp, x, /, axis=None, keepdims=False):
    """The length √Σx² over `axis`."""
    return xp.sqrt((x * x).sum(axis=axis, keepdims=keepdims))


_norm.defvjp(
    x=lambda g, x, y, axis, keepdims: x * restore(where(y == 0, 0, g / where(y == 0, 1, y)), x.shape, axis, keepdims)
)
_norm.in_symbols(x="g · x / y")


@builtin(in_float32="halves", autocast="float32")
@torch_spelling
def prod(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The product over one `axis`, or of all entries; halving the axis keeps the gradient right at zeros."""
    check_flags("prod", keepdims=keepdims)
    x = shaped(x)
    if axis is None or not x.shape:
        if axis is not None:
            axis_of("prod", x, axis, 1)
        return reshape(prod(reshape(x, (math.prod(x.shape),)), 0), (1,) * len(x.shape) if keepdims else ())
    axis = axis_of("prod", x, axis)
    x = x if sum_dtype(x.dtype) == x.dtype else astype(x, sum_dtype(x.dtype))
    while x.shape[axis] != 1:
        if x.shape[axis] % 2 or not x.shape[axis]:
            x = pad(x, tuple((0, int(i == axis)) for i in range(len(x.shape))), 1)
            continue
        half = x.shape[axis] // 2
        a, b = ((slice(None),) * axis + (part,) for part in (slice(half), slice(half, None)))
        x = x[a] * x[b]
    return x if keepdims else squeeze(x, axis)


@builtin()
@primitive
def max(xp, x, /, axis=None, keepdims=False):
    """The largest entry over `axis`; entries that tie for it share the gradient."""
    return x.max(axis=axis, keepdims=keepdims)


max.defvjp(x=lambda g, x, y, axis, keepdims: _to_winners(g, x, y, axis, keepdims))
max.in_symbols(x="g to the largest entries, in equal shares")


@builtin()
@primitive
def min(xp, x, /, axis=None, keepdims=False):
    """The smallest entry over `axis`; entries that tie for it share the gradient."""
    return x.min(axis=axis, keepdims=keepdims)


min.defvjp(x=lambda g, x, y, axis, keepdims: _to_winners(g, x, y, axis, keepdims))
min.in_symbols(x="g to the smallest entries, in equal shares")


def _to_winners(g, x, y, axis, keepdims):
    """The gradient of an extreme: to the entries that equal it, in equal shares."""
    winners = astype(x == restore(y, x.shape, axis, keepdims), g.dtype)
    return restore(g, x.shape, axis, keepdims) * winners / sum(winners, axis, True)


@torch_spelling
def any(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Whether any entry along `axis` is not zero; of no entries none is."""
    return sum(_over("any", x, axis) != 0, axis, keepdims) > 0


@torch_spelling
def all(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Whether no entry along `axis` is zero; of no entries none is."""
    return sum(_over("all", x, axis) == 0, axis, keepdims) == 0


@builtin()
@primitive
def argmax(xp, x, /, axis=None, keepdims=False):
    """The index of the (first) largest entry over `axis`; an index has no gradient."""
    check_flags("argmax", keepdims=keepdims)
    return xp.argmax(x, axis=axis, keepdims=keepdims)


argmax.defvjp()


@builtin(in_float32="halves and integers", autocast="float32")
@primitive
def logsumexp(xp, x, /, axis: Axes = -1, keepdims=False):
    """log Σ exp(x) over `axis`, -inf where there is nothing.

    Subtracting the largest entry first keeps exp from overflowing.
    """
    check_flags("logsumexp", keepdims=keepdims)
    if not x.size:
        return x.sum(axis=axis, keepdims=keepdims) - math.inf
    top = x.max(axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, 0)
    y = xp.log(xp.exp(x - top).sum(axis=axis, keepdims=True)) + top
    return y if keepdims else y.squeeze(axis)


logsumexp.defvjp(
    x=lambda g, x, y, axis, keepdims: restore(g, x.shape, axis, keepdims) * exp(x - restore(y, x.shape, axis, keepdims))
)
logsumexp.in_symbols(x="g · exp(x - y)")


@builtin(in_float32="halves and integers", autocast="float32")
@primitive
def softmax(xp, x, /, axis=-1):
    """exp(x), scaled to sum to one along `axis`."""
    y = xp.exp(x - x.max(axis=axis, keepdims=True))
    y /= y.sum(axis=axis, keepdims=True)
    return y


softmax.defvjp(x=lambda g, y, axis: y * (g - sum(g * y, axis, True)))
softmax.in_symbols(x="y · (g - Σ g y)")


@builtin(in_float32="halves and integers", autocast="float32")
@primitive
def log_softmax(xp, x, /, axis=-1):
    """log(softmax(x)), without computing the softmax."""
    y = x - x.max(axis=axis, keepdims=True)
    y -= xp.log(xp.exp(y).sum(axis=axis, keepdims=True))
    return y


log_softmax.defvjp(x=lambda g, y, axis: g - exp(y) * sum(g, axis, True))
log_softmax.in_symbols(x="g - exp(y) Σ g")
