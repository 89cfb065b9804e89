"""Rows of elementwise ops: rounding, trigonometry, powers and logarithms, special functions, tests of values."""

from __future__ import annotations

import math

import numpy as np

from ... import ops
from .rows import Row, drawn_from

R, P = drawn_from(2)

INSIDE = np.array([[-0.9, -0.3, 0.1], [0.4, 0.75, -0.6]])  # between -1 and 1


def each(function):
    """A function of Python floats, applied to each entry of an array."""
    return np.vectorize(function, [float])


def erfinv(p):
    """Newton's method for erf(x) = p, starting at 0; the iterates increase towards the root in absolute value."""
    x = 0.0
    for _ in range(60):
        x += (p - math.erf(x)) * math.sqrt(math.pi) / 2 * math.exp(x * x)
    return x


def polygamma(n, x):
    """The series summed term by term, and its tail by the Euler-Maclaurin formula; for n = 0, a central difference."""
    if n == 0:
        h = 1e-5
        return (each(math.lgamma)(x + h) - each(math.lgamma)(x - h)) / (2 * h)
    k = np.arange(20000).reshape(-1, *[1] * np.ndim(x))
    terms = math.factorial(n) * (-1) ** (n + 1) / (x + k) ** (n + 1)
    last = x + 20000
    rest = (
        math.factorial(n)
        * (-1) ** (n + 1)
        * (1 / (n * last**n) + 0.5 / last ** (n + 1) + (n + 1) / 12 / last ** (n + 2))
    )
    return terms.sum(0) + rest


def nan_to_num(x):
    return np.nan_to_num(x, nan=0.0)


ROWS = [
    # rounding
    *[Row(name, getattr(ops, name), (3 * R(2, 3),), getattr(np, name)) for name in ("floor", "ceil", "trunc", "round")],
    Row("round", lambda x: ops.round(x, 1), (R(2, 3),), lambda x: np.round(x * 10) / 10),
    Row("frac", ops.frac, (3 * R(2, 3),), lambda x: x - np.trunc(x)),
    *[
        Row(name, getattr(ops, name), (3 * R(2, 3), P(2, 3)), getattr(np, name), (0, 1))
        for name in ("floor_divide", "remainder", "fmod")
    ],
    Row(
        "trunc_divide",
        lambda a, b: ops.div(a, b, rounding_mode="trunc"),
        (3 * R(2, 3), P(2, 3)),
        lambda a, b: np.trunc(a / b),
        (0, 1),
    ),
    # trigonometric and hyperbolic functions
    *[
        Row(name, getattr(ops, name), (R(2, 3),), getattr(np, name))
        for name in ("tan", "arctan", "sinh", "cosh", "arcsinh", "deg2rad", "rad2deg", "sinc")
    ],
    *[Row(name, getattr(ops, name), (INSIDE,), getattr(np, name)) for name in ("arcsin", "arccos", "arctanh")],
    Row("arccosh", ops.arccosh, (1 + P(2, 3),), np.arccosh),
    Row("arctan2", ops.arctan2, (R(2, 3), R(2, 3)), np.arctan2, (0, 1)),
    Row("hypot", ops.hypot, (R(2, 3), R(2, 3)), np.hypot, (0, 1)),
    # powers and logarithms
    Row("square", ops.square, (R(2, 3),), np.square),
    Row("reciprocal", ops.reciprocal, (P(2, 3),), lambda x: 1 / x),
    Row("rsqrt", ops.rsqrt, (P(2, 3),), lambda x: 1 / np.sqrt(x)),
    Row("exp2", ops.exp2, (R(2, 3),), np.exp2),
    Row("log2", ops.log2, (P(2, 3),), np.log2),
    Row("log10", ops.log10, (P(2, 3),), np.log10),
    Row("logaddexp", ops.logaddexp, (R(2, 3), R(2, 3)), np.logaddexp, (0, 1)),
    Row("logaddexp2", ops.logaddexp2, (R(2, 3), R(2, 3)), np.logaddexp2, (0, 1)),
    Row("xlogy", ops.xlogy, (P(2, 3), P(2, 3)), lambda x, y: x * np.log(y), (0, 1)),
    Row("logit", ops.logit, ((INSIDE + 1) / 2,), lambda x: np.log(x / (1 - x))),
    Row(
        "logit",
        lambda x: ops.logit(x, 0.125),
        ((INSIDE + 1) / 2,),
        lambda x: (lambda z: np.log(z / (1 - z)))(np.clip(x, 0.125, 0.875)),
    ),
    Row("ldexp", ops.ldexp, (R(2, 3), R(2, 3)), lambda x, e: x * 2**e, (0, 1)),
    Row("lerp", ops.lerp, (R(2, 3), R(2, 3), P(2, 3)), lambda a, b, w: a + w * (b - a), (0, 1, 2)),
    Row(
        "addcmul",
        lambda x, a, b: ops.addcmul(x, a, b, value=2),
        (R(2, 3), R(2, 3), R(2, 3)),
        lambda x, a, b: x + 2 * a * b,
        (0, 1, 2),
    ),
    Row(
        "addcdiv",
        lambda x, a, b: ops.addcdiv(x, a, b, value=2),
        (P(2, 3), P(2, 3), P(2, 3)),
        lambda x, a, b: x + 2 * a / b,
        (0, 1, 2),
    ),
    Row("copysign", ops.copysign, (R(2, 3), R(2, 3)), np.copysign, (0, 1)),
    # special functions
    Row("erfc", ops.erfc, (R(2, 3),), each(math.erfc)),
    Row("erfinv", ops.erfinv, (INSIDE,), each(erfinv)),
    Row("lgamma", ops.lgamma, (3 * P(2, 3),), each(math.lgamma)),
    Row("lgamma", ops.lgamma, (np.array([[-0.3, -1.4, -2.6], [0.2, 40.5, -0.9]]),), each(math.lgamma)),
    Row("polygamma", lambda x: ops.polygamma(1, x), (2 * P(2, 3),), lambda x: polygamma(1, x)),
    Row(
        "mvlgamma",
        lambda x: ops.mvlgamma(x, 2),
        (1 + P(2, 3),),
        lambda x: math.log(math.pi) / 2 + each(math.lgamma)(x) + each(math.lgamma)(x - 0.5),
    ),
    # tests of values
    *[
        Row(name, getattr(ops, name), (R(2, 3),), getattr(np, name))
        for name in ("isnan", "isinf", "isfinite", "isposinf", "isneginf")
    ],
    Row("signbit", ops.signbit, (R(2, 3),), np.signbit),
    *[
        Row(name, getattr(ops, name), (np.round(R(4, 3)), np.round(R(4, 3))), getattr(np, name), (0, 1))
        for name in ("logical_and", "logical_or", "logical_xor", "isclose")
    ],
    Row("logical_not", ops.logical_not, (np.round(R(4, 3)),), np.logical_not),
    Row("heaviside", ops.heaviside, (R(2, 3), R(2, 3)), np.heaviside, (0, 1)),
    Row("nan_to_num", ops.nan_to_num, (R(2, 3),), nan_to_num),
    Row("fmax", ops.fmax, (R(2, 3), R(2, 3)), np.fmax, (0, 1)),
    Row("fmin", ops.fmin, (R(2, 3), R(2, 3)), np.fmin, (0, 1)),
]
QUESTIONS = {"isposinf", "isneginf", "logical_and", "logical_or", "logical_xor", "logical_not", "isclose"}
BROADCASTING = set(
    """
    floor_divide remainder fmod trunc_divide arctan2 hypot logaddexp logaddexp2 xlogy ldexp lerp addcmul addcdiv
    copysign logical_and logical_or logical_xor isclose heaviside fmax fmin
    """.split()
)
