"""Ops under names that torch has too, on drawn shapes, axes and numbers: torch's values and gradients in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg

torch = pytest.importorskip("torch")

POSITIVE = "digamma lgamma log log10 log1p log2 reciprocal rsqrt sqrt".split()  # on numbers above 0.1
INSIDE = "arccos arcsin arctanh erfinv logit".split()  # on numbers inside the domain, 0.05 … 0.95
ANYWHERE = """abs arcsinh arctan ceil cos cosh deg2rad erf erfc exp exp2 expm1 fix floor frac isfinite isinf isnan
logical_not negative rad2deg relu round sigmoid sign signbit sin sinc sinh square tan tanh trunc""".split()
PAIRS = """add arctan2 copysign divide eq float_power fmax fmin fmod ge greater hypot isclose ldexp
less logaddexp logaddexp2 maximum minimum multiply not_equal pow remainder subtract xlogy""".split()
ALONG = """amax amin argmax argmin argsort count_nonzero cummax cummin cumprod cumsum diff flip log_softmax logcumsumexp
logsumexp max mean min nanmean nansum prod softmax sort sum unbind""".split()
WHOLE = """all any argwhere atleast_3d cov diagonal fliplr flipud isneginf isposinf mean mT nonzero prod ravel rot90 std
sum trace tril triu var""".split()
SQUARE = "det inv matrix_exp pinv slogdet svdvals".split()  # of mg.linalg, on matrices that are far from singular

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
seeds = st.integers(0, 2**16)
often = settings(max_examples=25, deadline=None)


def numbers(seed, *shape, name=""):
    drawn = np.random.default_rng(seed).random(shape)
    return drawn * 3 + 0.1 if name in POSITIVE else drawn * 0.9 + 0.05 if name in INSIDE else drawn * 6 - 3


def results(y):
    if isinstance(y, (tuple, list)):
        return [part for each in y for part in results(each)]
    return [y]


def same(name, ours, theirs, *arrays):
    """Both functions of the arrays, and the gradients of a weighted sum of what is floating among their results."""
    xs = [mg.Tensor(x, requires_grad=True) for x in arrays]
    their_xs = [torch.tensor(x, requires_grad=True) for x in arrays]
    ys, their_ys = results(ours(*xs)), results(theirs(*their_xs))
    total, their_total = 0.0, 0.0
    for i, (y, their_y) in enumerate(zip(ys, their_ys, strict=True)):
        np.testing.assert_allclose(
            np.asarray(y.detach().numpy()), their_y.detach().numpy(), rtol=1e-11, atol=1e-12, err_msg=name
        )
        if their_y.requires_grad:
            weights = np.random.default_rng(i).random(tuple(their_y.shape)) + 0.5
            total, their_total = total + (y * weights).sum(), their_total + (their_y * torch.tensor(weights)).sum()
    if isinstance(their_total, torch.Tensor):
        their_gradients = [g.numpy() for g in torch.autograd.grad(their_total, their_xs)]
        if not total.requires_grad:  # a step function is a constant here
            assert not any(g.any() for g in their_gradients), name
            return
        noise = 1e-9 if name == "digamma" else 1e-10  # torch's trigamma is a short series
        for gradient, their_gradient in zip(mg.grad(total, xs), their_gradients, strict=True):
            np.testing.assert_allclose(gradient.numpy(), their_gradient, rtol=noise, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("name", POSITIVE + INSIDE + ANYWHERE)
@often
@given(shapes, seeds)
def test_of_one(name, shape, seed):
    same(name, getattr(mg, name), getattr(torch, name), numbers(seed, *shape, name=name))


@pytest.mark.parametrize("name", PAIRS)
@often
@given(shapes, st.lists(st.booleans(), min_size=3, max_size=3), seeds)
def test_of_two_that_are_broadcast(name, shape, kept, seed):
    other = [n if keep else 1 for n, keep in zip(shape, kept)]
    a, b = numbers(seed, *shape), numbers(seed + 1, *other)
    if name in ("float_power", "pow", "xlogy"):
        a, b = abs(a) + 0.1, abs(b) + 0.1
    if name == "ldexp":
        return same(name, lambda a: mg.ldexp(a, 3), lambda a: torch.ldexp(a, torch.tensor(3)), a)
    return same(name, getattr(mg, name), getattr(torch, name), a, b)


@pytest.mark.parametrize("name", ALONG)
@often
@given(shapes, st.data(), seeds)
def test_along_an_axis(name, shape, data, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    word = "dims" if name == "flip" else "dim"
    given = {word: (axis,)} if name == "flip" else {word: axis}

    def theirs(x):
        y = getattr(torch, name)(x, **given)
        return y.values if name in ("max", "min") else y  # ours are the values alone, as NumPy's are

    same(name, lambda x: getattr(mg, name)(x, axis=axis), theirs, numbers(seed, *shape))


@pytest.mark.parametrize("name", WHOLE)
@often
@given(st.integers(2, 4), st.integers(2, 4), seeds)
def test_of_a_matrix(name, m, n, seed):
    theirs = getattr(torch, name, None) or (lambda x: getattr(x, name))
    ours = getattr(mg, name, None) or (lambda x: getattr(x, name))
    if name in ("std", "var"):  # ours divide by n unless told otherwise, as NumPy's do
        ours = lambda x, op=ours: op(x, correction=1)  # noqa: E731
    if name == "nonzero":
        ours, theirs = mg.argwhere, torch.nonzero
    same(name, ours, theirs, numbers(seed, m, n))


@pytest.mark.parametrize("name", SQUARE)
@often
@given(st.integers(1, 4), st.integers(1, 3), seeds)
def test_linear_algebra(name, n, count, seed):
    x = numbers(seed, count, n, n) / 6 + np.diag(np.arange(1.0, n + 1)) * 2
    same(name, getattr(mg.linalg, name), getattr(torch.linalg, name), x)


@often
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), seeds)
def test_products(count, m, k, n, seed):
    a, b = numbers(seed, count, m, k), numbers(seed + 1, count, k, n)
    same("matmul", mg.matmul, torch.matmul, a, b)
    same("bmm", mg.bmm, torch.bmm, a, b)
    same("mm", mg.mm, torch.mm, a[0], b[0])
    same("mv", mg.mv, torch.mv, a[0], b[0][:, 0])
    same("outer", mg.outer, torch.outer, a[0][:, 0], b[0][0])
    same("kron", mg.kron, torch.kron, a[0], b[0])
    same("cdist", mg.cdist, torch.cdist, a, b.swapaxes(1, 2))
    same("tensordot", lambda a, b: mg.tensordot(a, b, 1), lambda a, b: torch.tensordot(a, b, 1), a[0], b[0])
    same("einsum", lambda a, b: mg.einsum("bij,bjk->ik", a, b), lambda a, b: torch.einsum("bij,bjk->ik", a, b), a, b)


@often
@given(st.integers(1, 3), st.integers(1, 5), st.data(), seeds)
def test_rearranging_and_picking(m, n, data, seed):
    x, shift = numbers(seed, m, n), data.draw(st.integers(-6, 6))
    ids = np.random.default_rng(seed).integers(0, n, (m, 3))
    mask = numbers(seed + 1, m, n) > 0
    where, there = mg.Tensor(ids), torch.tensor(ids)
    same("roll", lambda x: mg.roll(x, shift, 1), lambda x: torch.roll(x, shift, 1), x)
    same("tile", lambda x: mg.tile(x, (2, 3)), lambda x: torch.tile(x, (2, 3)), x)
    same("moveaxis", lambda x: mg.moveaxis(x, 0, 1), lambda x: torch.moveaxis(x, 0, 1), x)
    same("repeat_interleave", lambda x: mg.repeat_interleave(x, 2, 1), lambda x: torch.repeat_interleave(x, 2, 1), x)
    same("chunk", lambda x: mg.chunk(x, 2, 1), lambda x: torch.chunk(x, 2, 1), x)
    same("tril", lambda x: mg.tril(x, shift), lambda x: torch.tril(x, shift), x)
    same("diag_embed", mg.diag_embed, torch.diag_embed, x)
    same("gather", lambda x: mg.gather(x, 1, where), lambda x: torch.gather(x, 1, there), x)
    same("index_select", lambda x: mg.index_select(x, 1, where[0]), lambda x: torch.index_select(x, 1, there[0]), x)
    same(
        "scatter_add",
        lambda x, src: mg.scatter_add(x, 1, where, src),
        lambda x, src: torch.scatter_add(x, 1, there, src),
        x,
        numbers(seed + 2, m, 3),
    )
    same("masked_fill", lambda x: mg.masked_fill(x, mask, 2.0), lambda x: x.masked_fill(torch.tensor(mask), 2.0), x)
    same("masked_select", lambda x: mg.masked_select(x, mask), lambda x: x.masked_select(torch.tensor(mask)), x)
    same("quantile", lambda x: mg.quantile(x, 0.3, 1), lambda x: torch.quantile(x, 0.3, 1), x)
    same("topk", lambda x: mg.topk(x, 1), lambda x: torch.topk(x, 1), x)
