"""Reductions over any axes, with ties, with nothing to reduce, and at the edge of overflow."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import minigrad as mg
from minigrad import functional as F
from minigrad import ops
from minigrad.checking import gradcheck
from minigrad.tensor import Tensor, grad


@given(
    array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=3),
    st.data(),
    st.booleans(),
    st.sampled_from(["sum", "mean", "max", "min", "var"]),
)
def test_any_axes(shape, data, keepdims, name):
    """Value as NumPy's; the gradient against a directional difference."""
    axes = st.integers(-len(shape), len(shape) - 1)
    axis = data.draw(
        st.none() | (axes | st.sets(st.integers(0, len(shape) - 1)).map(tuple))
        if shape
        else st.sampled_from([None, ()])
    )
    x = np.random.default_rng(0).permutation(np.prod(shape, dtype=int)).reshape(shape) * 0.37
    y = getattr(mg, name)(Tensor(x), axis, keepdims=keepdims)
    expected = getattr(np, name)(x, axis=axis, keepdims=keepdims)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-13, atol=1e-14)
    gradcheck(lambda t: getattr(mg, name)(t, axis, keepdims=keepdims), x)


def test_ties_share_the_gradient():
    x = Tensor(np.array([[2.0, 1, 2], [0, 0, 0]]), requires_grad=True)
    assert grad(mg.sum(mg.max(x, 1)), x).tolist() == [[0.5, 0, 0.5], [1 / 3] * 3]
    assert grad(mg.min(x), x).tolist() == [[0, 0, 0], [1 / 3] * 3]
    assert mg.argmax(x, 1).tolist() == [0, 0] and mg.argmax(x).item() == 0 and mg.argmax(x, 1, True).shape == (2, 1)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("axis", [0, -1])
def test_scores_of_any_size_as_in_torch(name, dtype, axis):
    torch = pytest.importorskip("torch")
    values = np.array([[1e4, -1e4, 0], [3e3, 3e3, 3e3], [-1e4, -1e4, 1]], dtype)
    x, t = Tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = getattr(mg, name)(x, axis)
        seed = np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype)
        g = grad(y, x, seed)
    expected = getattr(torch, name)(t, axis)
    expected.backward(torch.tensor(seed))
    eps = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=eps, atol=eps)
    np.testing.assert_allclose(g.numpy(), t.grad.numpy(), rtol=eps, atol=eps)


def test_logsumexp_of_nothing_but_minus_infinity():
    with np.errstate(divide="ignore"):
        assert mg.logsumexp(Tensor([[-np.inf, -np.inf], [0.0, -np.inf]])).tolist() == [-np.inf, 0]


def test_softmax_sums_to_one():
    x = np.random.default_rng(0).standard_normal((50, 1000)).astype(np.float32) * 10
    np.testing.assert_allclose(mg.softmax(x).sum(-1), 1, rtol=1e-5)


def test_long_sums_of_float32_stay_exact_enough():
    x = Tensor(np.full(1_000_003, 0.1, np.float32))
    assert mg.mean(x).item() == pytest.approx(0.1, rel=1e-6) and mg.sum(x).dtype == np.float32


def test_no_examples_and_nothing_to_average():
    empty = Tensor(np.zeros((0, 3), np.float32), requires_grad=True)
    assert mg.sum(empty).item() == 0 and mg.sum(empty, 0).tolist() == [0, 0, 0]
    assert mg.mean(empty, 1).shape == mg.var(empty, 1).shape == (0,)
    assert grad(mg.sum(empty), empty).shape == (0, 3)
    with np.errstate(invalid="ignore", divide="ignore"):
        assert np.isnan(mg.mean(empty).item()) and mg.mean(empty, 0).shape == (3,)
    with pytest.raises(ValueError, match=r"max\(\(0, 3\), axis=None, keepdims=False\): zero-size"):
        mg.max(empty)


def test_variance_with_torchs_spelling_and_correction():
    x = np.random.default_rng(0).standard_normal((3, 4))
    np.testing.assert_allclose(
        mg.var(Tensor(x), dim=0, keepdim=True, correction=1).numpy(), x.var(0, ddof=1, keepdims=True), rtol=1e-13
    )
    assert (mg.var(Tensor(np.full(5, 1e4, np.float32))).item(), mg.var(Tensor([1, 2])).dtype) == (0, np.float32)


@given(array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3), st.data())
def test_sum_to_undoes_any_broadcast(shape, data):
    small = tuple(data.draw(st.sampled_from([1, n])) for n in shape)[data.draw(st.integers(0, len(shape))) :]
    x = np.ones(shape)
    y = ops.sum_to(x, small)
    assert y.shape == small
    assert (y == (x.size / y.size if y.size else 0)).all()


@pytest.mark.parametrize("f", [mg.sum, mg.max, mg.softmax, mg.logsumexp, mg.argmax, mg.log_softmax])
def test_an_axis_that_is_not_there_is_refused(f):
    with pytest.raises((ValueError, IndexError), match=f"{f.__name__}.*axis 2 is out of bounds"):
        f(Tensor([[1.0]]), axis=2)


def test_any_and_all():
    x = Tensor([[0.0, 2.0], [0.0, 0.0]])
    np.testing.assert_array_equal(mg.any(x, 1), [True, False])
    np.testing.assert_array_equal(mg.all(x != 1, dim=0, keepdim=True), [[True, True]])


def test_of_equal_numbers_to_third_order():
    """√ has no slope at 0; that of equal numbers, or of zeros, is taken to be 0, as in torch."""
    for f, x in ((mg.std, np.full(4, 1.7)), (mg.norm, np.zeros(4)), (mg.var, np.full(4, 1.7))):
        leaf = Tensor(x, requires_grad=True)
        first = grad(f(leaf), leaf, create_graph=True)
        assert first.tolist() == [0] * 4
        second = grad((first * np.arange(4.0)).sum(), leaf, create_graph=True)
        assert np.isfinite(second.numpy()).all() and (f is mg.var or not second.numpy().any())
    rows = Tensor([[1.0, 1, 1], [1, 2, 4]], requires_grad=True)  # one row of equals leaves the other alone
    g = grad(mg.sum(mg.std(rows, 1)), rows).numpy()
    assert g[0].tolist() == [0, 0, 0] and g[1] == pytest.approx(
        (np.array([1, 2, 4]) - 7 / 3) / (3 * np.std([1, 2, 4])), rel=1e-6
    )


@pytest.mark.parametrize("correction", [3, 4])
def test_variance_of_too_few(correction):
    with np.errstate(divide="ignore", invalid="ignore"):
        for f in (mg.var, mg.std):
            assert f(Tensor([1.0, 2, 4]), correction=correction).item() == np.inf
            assert np.isnan(f(Tensor([1.0, 1, 1]), correction=correction).item())


@pytest.mark.parametrize("numbers", [[1.0, 2, 4], [3.0], [2.0, 2], [[1.0, 3, 5], [2, 2, 2]]])
@pytest.mark.parametrize("beyond", [0, 1, 2.5])
def test_the_gradient_of_a_variance_of_too_few_is_torchs(numbers, beyond):
    torch = pytest.importorskip("torch")
    for name in ("var", "std"):
        x, t = (
            Tensor(np.array(numbers), requires_grad=True),
            torch.tensor(numbers, dtype=torch.float64, requires_grad=True),
        )
        correction = x.shape[-1] + beyond
        with np.errstate(all="ignore"):
            y = getattr(mg, name)(x, -1, correction=correction)
            y.sum().backward()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of degrees of freedom
            expected = getattr(torch, name)(t, dim=-1, correction=correction)
        expected.sum().backward()
        np.testing.assert_allclose(y.numpy(), expected.detach().numpy())
        np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("f", "shape", "axis", "expected"),
    [
        (mg.sum, (2, 0), 1, [0, 0]),
        (mg.prod, (2, 0), 1, [1, 1]),
        (mg.prod, (0,), None, 1),
        (mg.norm, (2, 0), 1, [0, 0]),
        (mg.logsumexp, (2, 0), 1, [-np.inf] * 2),
        (mg.logsumexp, (0,), None, -np.inf),
        (mg.logsumexp, (0, 2), 1, []),
        (mg.any, (0,), None, False),
        (mg.any, (2, 0), 1, [False] * 2),
        (mg.all, (0,), None, True),
        (mg.all, (0, 2), 1, []),
        (mg.softmax, (0,), -1, []),
        (mg.log_softmax, (2, 0), 1, [[], []]),
        (mg.cumsum, (0,), 0, []),
        (mg.argsort, (0,), -1, []),
    ],
)
def test_over_nothing(f, shape, axis, expected):
    x = Tensor(np.zeros(shape), requires_grad=True)
    y = f(x, axis=axis)
    assert y.tolist() == expected
    if y.requires_grad:
        assert grad(y, x, np.ones(y.shape), create_graph=True).shape == shape


@pytest.mark.parametrize("f", [mg.max, mg.min, mg.argmax])
def test_the_largest_of_nothing_is_refused(f):
    with pytest.raises(ValueError, match=f.__name__):
        f(Tensor(np.zeros((2, 0))), 1)


REDUCTIONS = [mg.sum, mg.mean, mg.max, mg.min, mg.norm, mg.logsumexp, mg.var, mg.std, mg.any, mg.all]


@pytest.mark.parametrize("f", REDUCTIONS)
def test_axes_of_any_kind(f):
    x = np.random.default_rng(0).standard_normal((2, 3, 2))
    expected = f(x, axis=(0, 2))
    for axis in ([0, 2], (np.int64(0), np.int32(-1)), [0, -1]):
        np.testing.assert_array_equal(f(Tensor(x), axis=axis).numpy(), expected)
        np.testing.assert_array_equal(f(Tensor(x), dim=axis).numpy(), expected)
    np.testing.assert_array_equal(f(Tensor(x), axis=np.int64(1)).numpy(), f(x, axis=1))
    np.testing.assert_allclose(
        f([[1.0, 2], [3, 4]], axis=1), f(np.array([[1, 2], [3, 4]], np.float32), axis=1), rtol=1e-6
    )
    if f not in (mg.any, mg.all):
        gradcheck(lambda x: f(x, axis=[0, -1]), x)
    for wrong in (True, 1.0, "1", [0, None], [[0]]):
        with pytest.raises(TypeError, match=f"^{f.__name__}: an axis is one whole number"):
            f(Tensor(x), axis=wrong)
    for wrong in (3, (0, 5), (0, 0), [0, -3]):
        with pytest.raises((ValueError, IndexError), match=f"^{f.__name__}"):
            f(Tensor(x), axis=wrong)


@pytest.mark.parametrize(
    "f", [mg.softmax, mg.log_softmax, mg.argmax, mg.cumsum, mg.argsort, mg.sort, mg.prod, mg.flip, mg.squeeze]
)
def test_one_axis_of_any_kind(f):
    x = Tensor(np.ones((2, 1, 3)))
    for found, expected in zip(f(x, np.int64(1)), f(x, 1), strict=True):
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
    for wrong in (True, 1.0, "1"):
        with pytest.raises(TypeError, match=f"{f.__name__}: an axis is one whole number"):
            f(x, wrong)


@pytest.mark.parametrize("p", [0, 0.5, 1, 2, 3, -1, math.inf, -math.inf, "fro", np.int64(2)])
@pytest.mark.parametrize("axis", [None, 1, (0, -1)])
def test_norms_are_torchs(p, axis):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((3, 2, 4))
    ours, theirs = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y = mg.norm(ours, p, axis, keepdims=True)
    expected = torch.linalg.vector_norm(theirs, 2 if p == "fro" else float(p), axis, keepdim=True)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-12)
    assert mg.norm(x, p, dim=axis).shape == mg.sum(x, axis).shape
    if p != 0:
        expected.sum().backward()
        np.testing.assert_allclose(grad(mg.sum(y), ours).numpy(), theirs.grad.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("p", [0.5, 1, 1.5, 2, 3, math.inf, -0.5, -1, -3.5, -math.inf])
def test_the_gradient_of_a_norm_at_zero_is_zero(p):
    x = Tensor(np.zeros(3), requires_grad=True)
    assert grad(mg.norm(x, p), x).tolist() == [0, 0, 0]


@pytest.mark.parametrize("p", [-0.5, -1, -2])
def test_a_norm_of_a_negative_order_is_zero_where_an_entry_is(p):
    torch = pytest.importorskip("torch")
    x = np.array([[0.0, 2.0, -1.0], [0.5, 2.0, -1.0]])
    ours, theirs = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, expected = mg.norm(ours, p, 1), torch.linalg.vector_norm(theirs, p, 1)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-12)
    expected.sum().backward()
    np.testing.assert_allclose(grad(mg.sum(y), ours).numpy(), theirs.grad.numpy(), rtol=1e-12)


def test_norm_names_what_it_does_not_know():
    with pytest.raises(ValueError, match="norm: p='nuc' is not known: give a number"):
        mg.norm(np.eye(3), "nuc")


HALVES = [pytest.param(dtype, id=dtype) for dtype in ("float16", "bfloat16")]


def long(dtype, value=1.0, n=3000):
    pytest.importorskip("ml_dtypes")
    return Tensor(np.full(n, value), dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("dtype", HALVES)
def test_sums_of_16_bits(dtype):
    """Sums that would stop growing at 256 or 2048, or leave the range of float16, if they ran in 16 bits."""
    step = 2.0**-8 if dtype == "bfloat16" else 2.0**-11
    x, large = long(dtype), long(dtype, 300.0)
    ids = np.zeros(3000, int)
    for found, right in [
        (mg.sum(x), 3000),
        (mg.mean(large), 300),
        (mg.norm(large), 300 * math.sqrt(3000)),
        (mg.cumsum(x, 0)[-1], 3000),
        (mg.logsumexp(x), 1 + math.log(3000)),
        (mg.einsum("i,i->", x, x), 3000),
        (x @ x, 3000),
        (mg.std(large * Tensor(np.resize([0.5, 1.5], 3000), dtype=dtype)), 150),
        (mg.scatter_add(Tensor(np.zeros(1), dtype=dtype), 0, ids, x)[0], 3000),
        (F.avg_pool1d(large[None, None], 3000), 300),
        (F.adaptive_avg_pool1d(large[None, None], 1), 300),
        (F.l1_loss(large, x * 0), 300),
        (F.mse_loss(large * 0.5, x * 0), 22500),
        (F.smooth_l1_loss(large, x * 0), 299.5),
        (F.huber_loss(large, x * 0), 299.5),
        (F.binary_cross_entropy_with_logits(x, x, reduction="sum"), 3000 * 0.31326168752),
    ]:
        assert found.dtype.name == dtype and found.numpy().astype("f8") == pytest.approx(right, rel=step)


@pytest.mark.parametrize("dtype", HALVES)
def test_gradients_that_meet_are_added_up_in_float32(dtype):
    one = long(dtype, n=1)
    right = Tensor([3000], dtype=dtype).tolist()
    for use in (
        lambda: (one + long(dtype)).sum(),
        lambda: one[np.zeros(3000, int)].sum(),
        lambda: mg.concatenate([one] * 3000).sum(),
        lambda: F.embedding(np.zeros(3000, int), one.reshape((1, 1))).sum(),
        lambda: mg.broadcast_to(one, (3000, 1)).sum(),
        lambda: sum((one * 1 for _ in range(2999)), one).sum(),
        lambda: (one * long(dtype)).sum(),
    ):
        assert mg.grad(use(), one).tolist() == right


WHOLE = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
ADDING_UP = {
    "sum": (lambda x: mg.sum(x), lambda n: 4 * n),
    "sum along": (lambda x: x.sum(1, keepdims=True)[0, 0], lambda n: 2 * n),
    "cumsum": (lambda x: mg.cumsum(x, None)[-1], lambda n: 4 * n),
    "prod": (lambda x: mg.prod(x), lambda n: n**4),
    "prod of one": (lambda x: mg.prod(x[0, 0]), lambda n: n),
    "matmul": (lambda x: (x @ x)[0, 0], lambda n: 2 * n * n),
    "dot": (lambda x: x[0] @ x[1], lambda n: 2 * n * n),
    "array @ x": (lambda x: (x.numpy() @ x)[0, 0], lambda n: 2 * n * n),
    "einsum": (lambda x: mg.einsum("ij,ij->", x, x), lambda n: 4 * n * n),
    "linear": (lambda x: F.linear(x, x, x[0])[0, 0], lambda n: 2 * n * n + n),
    "conv2d": (lambda x: F.conv2d(x[None, None], x[None, None])[0, 0, 0, 0], lambda n: 4 * n * n),
    "conv_transpose1d": (lambda x: F.conv_transpose1d(x[None], x[..., None])[0, 0, 0], lambda n: 2 * n * n),
    "scatter_add": (lambda x: mg.scatter_add(x[0], 0, [0, 0, 0], mg.tile(x[1, 0], 3))[0], lambda n: 4 * n),
    "addr": (lambda x: mg.addr(x, x[0], x[0], alpha=2)[0, 0], lambda n: n + 2 * n * n),
    "addbmm": (lambda x: mg.addbmm(x, x[None], x[None])[0, 0], lambda n: n + 2 * n * n),
    "scatter_add by name": (lambda x: mg.scatter_add(x[0], axis=0, ids=[0], src=x[1, :1])[0], lambda n: 2 * n),
    "index_add": (lambda x: mg.index_add(x, 0, [0, 0], x)[0, 0], lambda n: 3 * n),
    "vecdot": (lambda x: mg.vecdot(x, x)[0], lambda n: 2 * n * n),
    "cross": (lambda x: mg.cross(mg.pad(x[0], ((0, 1),)), mg.pad(x[0], ((1, 0),)))[2], lambda n: n * n),
    "cumprod": (lambda x: mg.cumprod(x, 0)[1, 0], lambda n: n * n),
    "trace": (lambda x: mg.trace(x), lambda n: 2 * n),
    "tensordot": (lambda x: mg.tensordot(x, x), lambda n: 4 * n * n),
    "addmm": (lambda x: mg.addmm(x, x, x)[0, 0], lambda n: n + 2 * n * n),
    "nansum": (lambda x: mg.nansum(x), lambda n: 4 * n),
    "array": (lambda x: mg.sum(x.numpy()), lambda n: 4 * n),
    "no_grad": (mg.no_grad()(lambda x: mg.sum(x)), lambda n: 4 * n),
}


@pytest.mark.parametrize("dtype", WHOLE)
@pytest.mark.parametrize("name", ADDING_UP)
def test_whole_numbers_are_added_up_in_int64(name, dtype):
    f, right = ADDING_UP[name]
    n = 1 if dtype == "bool" else 100
    y = f(Tensor(np.full((2, 2), n, dtype)))
    assert y.dtype == np.int64
    assert int(y) == right(n) and int(y - 100_000) == right(n) - 100_000


def test_what_moves_whole_numbers_keeps_their_dtype():
    x = Tensor(np.array([100, 50], np.int8))
    assert mg.scatter(x, 0, [0], x[1:]).dtype == mg.max(x).dtype == (x + 1).dtype == np.int8
    assert mg.mean(x).dtype == mg.var(x).dtype == np.float32 and mg.mean(x).item() == 75
    assert (x.astype("float32") @ x).dtype == np.float32  # beside floats they count as these


@pytest.mark.parametrize("op", [mg.sum, mg.mean, mg.max, mg.min, mg.any, mg.all, mg.prod, mg.argmax, mg.logsumexp])
def test_a_second_axis_is_no_keepdims(op):
    x = mg.ones((2, 3))
    for call in (lambda: op(x, 0, 1), lambda: op(x, 0, keepdims=1), lambda: op(x, dim=0, keepdim=0)):
        with pytest.raises(TypeError, match="keepdims is True or False, not [01]"):
            call()
    with pytest.raises(TypeError, match=r"several axes are a tuple, axis=\(0, 1\)"):
        x.sum(0, 1)
    assert op(x, 0, True).shape == (1, 3) and op(x, 0, np.True_).shape == (1, 3)


def test_unbiased_is_a_name_of_the_correction():
    """The numbers are those of torch 2.13's var(unbiased=…) and std(unbiased=…)."""
    x = Tensor([1.0, 2.0, 6.0])
    for var, std in ((mg.var, mg.std), (Tensor.var, Tensor.std)):
        assert var(x, unbiased=True).item() == var(x, correction=1).item() == 7
        np.testing.assert_allclose(std(x, 0, unbiased=True).item(), 7**0.5, rtol=1e-6)
        np.testing.assert_allclose(var(x, dim=0, unbiased=False, keepdim=True).numpy(), [14 / 3], rtol=1e-6)
        for f in (var, std):
            with pytest.raises(TypeError, match="correction=1 and unbiased=False, two names of one option"):
                f(x, correction=1, unbiased=False)
            with pytest.raises(TypeError, match="unbiased"):
                f(x, unbiased="no")
