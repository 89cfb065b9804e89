"""Products of matrices: where nearly all the arithmetic of a network is done."""

from __future__ import annotations

import math
from typing import Any

from .. import backend
from ..builtin import builtin
from ..primitive import primitive
from ..tensor import as_array, shape_of, shaped
from .index import pick
from .reduce import sum
from .shape import expand_dims, reshape, squeeze, swapaxes, transpose


@builtin(in_float32="halves", in_int64=True, autocast="half")
@primitive
def matmul(xp, a, b, /):
    """Matrix product over the last two axes, (…, m, k) and (…, k, n); leading axes broadcast, vectors act as in NumPy.

    Of whole numbers and booleans it is int64, as their sum is.
    """
    return a @ b


def _of_a(g, b, a_shape):
    """g bᵀ, where a vector for b counts as a column, and one for a as a row."""
    if b.ndim == 1:  # each row of a gets b times its own g
        return (expand_dims(g, -1) if len(a_shape) > 1 else g) * b
    if len(a_shape) == 1:  # a g for each row of a stack is a stack of vectors, not a matrix
        return squeeze(matmul(b, expand_dims(g, -1)), -1)
    return matmul(g, swapaxes(b, -1, -2))


def _of_b(g, a, b_shape):
    """aᵀ g, in the same way."""
    if a.ndim == 1:  # each column of b gets a times its own g
        return expand_dims(a, -1) * expand_dims(g, -2) if len(b_shape) > 1 else g * a
    if len(b_shape) == 1:
        return squeeze(matmul(swapaxes(a, -1, -2), expand_dims(g, -1)), -1)
    return matmul(swapaxes(a, -1, -2), g)


matmul.defvjp(a=_of_a, b=_of_b)
matmul.in_symbols(a="g bᵀ", b="aᵀ g")


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """y = x Wᵀ + b over the last axis of x, with W stored (out, in).

    Raises:
        ValueError: x is a single number, W no matrix, x and W do not fit, or the bias is not (out,).
    """
    size = shape_of(weight, "linear")
    if len(size) != 2:
        raise ValueError(f"linear: a weight is a matrix (out, in), but this one has the shape {size}")
    if not shape_of(x, "linear"):
        raise ValueError(
            f"linear: a weight of {size} (out, in) multiplies an axis of {size[-1]}, but x is a single number"
        )
    if bias is not None and shape_of(bias, "linear") != size[:1]:
        raise ValueError(
            f"linear: a weight of {size} (out, in) takes a bias of {size[:1]}, but it has {shape_of(bias)}"
        )
    return _linear(x, weight, bias)


@builtin(name="linear", in_float32="halves", in_int64=True, autocast="half")
@primitive
def _linear(xp, x, weight, bias, /):
    """linear, with a bias or None."""
    y = x @ weight.T
    return y if bias is None else y + bias


def _as_rows(x):
    return reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


_linear.defvjp(  # where the weight is frozen, nothing keeps x
    x=lambda g, weight: matmul(g, weight),
    weight=lambda g, x: matmul(transpose(_as_rows(g)), _as_rows(x)),
    bias=lambda g: g,
)
_linear.in_symbols(x="g W", weight="gᵀ x", bias="Σ g over all but the last axis")


@builtin(in_float32="halves")
def einsum(subscripts: Any, *xs: Any) -> Any:
    """Einstein's summation: "bij,bjk->bik" multiplies along shared letters and sums over those missing on the right.

    Any number of operands, taken in pairs from the left, each pair one matrix product; `...` stands for further axes.
    Without `->` the letters that occur once are kept, in alphabetical order.  Of a letter repeated in one operand the
    diagonal counts: "ii" is the trace.  Lists of numbers may stand for letters: einsum(x, [0, 1], y, [1, 2], [0, 2]).

    Raises:
        ValueError: the subscripts do not fit the operands; the message says where.
    """
    if not isinstance(subscripts, str) and xs and isinstance(xs[0], (list, tuple)):
        subscripts, xs = _from_lists(subscripts, *xs)
    if not isinstance(subscripts, str):
        raise TypeError(f'einsum: the subscripts come first, as text such as "ij,jk->ik", not {subscripts!r:.40}')
    operands = [shaped(x, "einsum") for x in xs]
    *terms, out = _terms(subscripts, [len(x.shape) for x in operands])
    for i, term in enumerate(terms):
        if len(set(term)) < len(term):
            operands[i], terms[i] = _diagonal(subscripts, operands[i], term)
    sizes = {}
    for letter, n in [
        pair for term, x in zip(terms, operands, strict=True) for pair in zip(term, x.shape, strict=True)
    ]:
        if n != 1 and sizes.setdefault(letter, n) != n:
            raise ValueError(
                f"einsum {subscripts!r}: axis {letter!r} is {sizes[letter]} long in one operand and {n} in another"
            )
    x, term = operands[0], terms[0]
    for k, (y, other) in enumerate(zip(operands[1:], terms[1:], strict=True), 2):
        needed = set(out).union(*terms[k:])
        x, term = _contract(x, term, y, other, needed)
    x, term = _sum_out(x, term, set(out))
    return x if term == out else transpose(x, tuple(term.index(letter) for letter in out))


def _from_lists(*given):
    """The subscripts and the operands of x, [0, 1], y, [1, 2], …, and maybe a last list for the result."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    lists = [*given[1::2], *(given[-1:] if len(given) % 2 else ())]
    for axes in lists:
        if not all(a is Ellipsis or isinstance(a, int) and 0 <= a < len(letters) for a in axes):
            raise ValueError(f"einsum: axes are named by whole numbers from 0 to {len(letters) - 1}, not by {axes!r}")
    terms = ["".join("..." if a is Ellipsis else letters[a] for a in axes) for axes in lists]
    count = len(given) // 2
    return ",".join(terms[:count]) + "".join("->" + out for out in terms[count:]), given[0 : 2 * count : 2]


def _diagonal(subscripts, x, term):
    """The operand with one axis for each letter, its diagonal where the letter is repeated, and the letters."""
    for letter in [c for c in dict.fromkeys(term) if term.count(c) > 1]:
        places = [i for i, c in enumerate(term) if c == letter]
        lengths = {x.shape[i] for i in places}
        if len(lengths) > 1:
            raise ValueError(f"einsum {subscripts!r}: axis {letter!r} of one operand is {sorted(lengths)} long")
        rest = [i for i in range(len(term)) if i not in places]
        ids = backend.of(as_array(x)).xp.arange(lengths.pop())
        x = pick(transpose(x, (*rest, *places)), (..., *[ids] * len(places)))
        term = "".join(term[i] for i in rest) + letter
    return x, term


def _terms(subscripts, ndims):
    """The letters of each operand, then of the result, with every `...` spelled out in unused letters."""
    given, arrow, out = subscripts.replace(" ", "").partition("->")
    terms = given.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"einsum {subscripts!r} describes {len(terms)} operands, but {len(ndims)} were given")
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in subscripts]
    more = max([n - len(t) + 3 for t, n in zip(terms, ndims, strict=True) if "..." in t], default=0)
    dots = spare[:more]
    for i, (term, n) in enumerate(zip(terms, ndims, strict=True)):
        terms[i] = term = term.replace("...", "".join(dots[more - (n - len(term) + 3) :]))
        if len(term) != n:
            raise ValueError(f"einsum {subscripts!r}: operand {i} has {n} axes, but its term names {len(term)}")
    letters = "".join(terms)
    out = (
        out.replace("...", "".join(dots))
        if arrow
        else "".join(dots) + "".join(sorted(c for c in set(letters) - set(dots) if letters.count(c) == 1))
    )
    if not set(out) <= set(letters) or len(set(out)) != len(out):
        raise ValueError(f"einsum {subscripts!r}: the result may name each letter of the operands once, and no other")
    return [*terms, out]


def _sum_out(x, term, needed):
    """The sum over the axes that are not needed."""
    drop = tuple(i for i, letter in enumerate(term) if letter not in needed)
    return (sum(x, drop), "".join(letter for letter in term if letter in needed)) if drop else (x, term)


def _contract(a, p, b, q, needed):
    """Two operands to one: shared letters that are needed are a batch, shared ones that are not are multiplied out."""
    a_sizes, b_sizes = dict(zip(p, a.shape, strict=True)), dict(zip(q, b.shape, strict=True))
    stretched = {c for c in set(p) & set(q) if a_sizes[c] != b_sizes[c]}  # size 1 on one side: the other's axis counts
    a, p = _sum_out(a, p, (needed | set(q)) - {c for c in stretched if a_sizes[c] == 1})
    b, q = _sum_out(b, q, (needed | set(p)) - {c for c in stretched if b_sizes[c] == 1})
    batch = [c for c in p if c in q and c in needed]
    inner = [c for c in p if c in q and c not in needed]
    left, right = ([c for c in term if c not in batch and c not in inner] for term in (p, q))
    sizes = dict(zip(p + q, a.shape + b.shape, strict=True))
    a = transpose(a, tuple(p.index(c) for c in batch + left + inner))
    b = transpose(b, tuple(q.index(c) for c in batch + inner + right))
    rows, middle, columns = (math.prod(sizes[c] for c in part) for part in (left, inner, right))
    y = matmul(
        reshape(a, (*a.shape[: len(batch)], rows, middle)), reshape(b, (*b.shape[: len(batch)], middle, columns))
    )
    return reshape(y, (*y.shape[:-2], *(sizes[c] for c in left + right))), "".join(batch + left + right)
