"""What the layers mean, beside torch; and what they refuse."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import functional as F
from minigrad.checking import gradcheck
from minigrad.primitive import OPS
from minigrad.tensor import Tensor, grad

rng = np.random.default_rng(0)


def assert_is_torchs(f, arrays, name=None, tolerance=1e-12):
    """Value and every gradient; `f` takes the module of functions and the inputs."""
    torch = pytest.importorskip("torch")
    ours, theirs = (
        [Tensor(a, requires_grad=True) for a in arrays],
        [torch.tensor(a, requires_grad=True) for a in arrays],
    )
    y, expected = f(F, *ours), f(torch.nn.functional, *theirs)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=tolerance, atol=tolerance)
    seed = np.asarray(np.cos(np.arange(y.size)).reshape(y.shape), y.dtype)
    expected.backward(torch.tensor(seed))
    for k, (t, g) in enumerate(zip(theirs, grad(y, ours, seed), strict=True)):
        np.testing.assert_allclose(g.numpy(), t.grad.numpy(), rtol=tolerance, atol=tolerance, err_msg=f"input {k}")


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 2e-6)])
@pytest.mark.parametrize(
    "f",
    [
        lambda F, x: F.gelu(x),
        lambda F, x: F.gelu(x, approximate="tanh"),
        lambda F, x: F.silu(x),
        lambda F, x: F.softplus(x),
        lambda F, x: F.softplus(x, 2.0, 5.0),
        lambda F, x: F.relu6(x),
        lambda F, x: F.relu6(0 * x),
        lambda F, x: F.relu6(0 * x + 6),
        lambda F, x: F.leaky_relu(x),
        lambda F, x: F.leaky_relu(x, 0.2),
        lambda F, x: F.softmax(x, dim=-1),
        lambda F, x: F.log_softmax(x, dim=0),
    ],
)
def test_activations_are_torchs_at_every_size_of_input(f, dtype, tolerance):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in (np.linspace(-6, 6, 100), np.array([-1e4, -90.0, -20, -1e-6, 1e-6, 20, 90, 1e4])):
            assert_is_torchs(f, [x.astype(dtype)[:, None] * np.ones((1, 2), dtype)], tolerance=tolerance)


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 4), min_size=0, max_size=3),
    st.integers(2, 6),
    st.sampled_from([1e-5, 1e-12, 0.1]),
    st.integers(0, 2),
)
def test_layer_norm_is_torchs(lead, size, eps, how_many):
    arrays = [rng.standard_normal((*lead, size)), rng.standard_normal(size), rng.standard_normal(size)][: 1 + how_many]
    assert_is_torchs(
        lambda F, x, weight=None, bias=None: F.layer_norm(x, (size,), weight, bias, eps),
        arrays,
        tolerance=1e-9 if eps == 1e-12 else 1e-11,
    )


def test_softplus_is_smooth_at_zero():
    gradcheck(F.softplus, np.zeros(1), order=2)


def test_layer_norm_of_numbers_far_from_zero_and_of_a_constant():
    x = (1e4 + rng.standard_normal((5, 64))).astype(np.float32)
    expected = (x - x.mean(-1, keepdims=True, dtype=float)) / x.std(-1, keepdims=True, dtype=float)
    np.testing.assert_allclose(F.layer_norm(x, x.shape[-1:]), expected, atol=2e-3)
    constant = Tensor(np.full((2, 4), 7.0, np.float32), requires_grad=True)
    y = F.layer_norm(constant, constant.shape[-1:])
    assert (y.numpy() == 0).all() and np.isfinite(grad(mg.sum(y * y), constant).numpy()).all()


@st.composite
def attentions(draw):
    """Shapes, a mask of every kind that leaves each query something to see, and whether it is causal."""
    lead, t, s, d, e = draw(st.lists(st.integers(1, 3), max_size=2)), *draw(st.tuples(*[st.integers(1, 4)] * 4))
    q, k, v = (
        np.random.default_rng(draw(st.integers(0, 99))).standard_normal((*lead, *shape))
        for shape in ((t, d), (s, d), (s, e))
    )
    kind = draw(st.sampled_from([None, "causal", "bool", "float"]))
    mask = None
    if kind in ("bool", "float"):
        mask = (
            np.random.default_rng(1).random(
                (*[draw(st.sampled_from([1, n])) for n in lead], draw(st.sampled_from([1, t])), s)
            )
            > 0.5
        )
        mask[..., 0] = True
        mask = mask if kind == "bool" else np.where(mask, 0.5, -2.0)
    return (q, k, v), mask, kind == "causal", draw(st.sampled_from([None, 0.3]))


@settings(max_examples=60)
@given(attentions())
def test_attention_is_torchs(case):
    torch = pytest.importorskip("torch")
    arrays, mask, causal, scale = case

    def f(F, q, k, v):
        m = torch.tensor(mask) if mask is not None and F.__name__.startswith("torch") else mask
        return F.scaled_dot_product_attention(q, k, v, attn_mask=m, is_causal=causal, scale=scale)

    assert_is_torchs(f, arrays, tolerance=1e-11)


def test_masks_say_the_same_in_every_form():
    q, k, v = (Tensor(rng.standard_normal((2, 3, 4))) for _ in range(3))
    allowed = np.tri(3, dtype=bool)
    causal = F.scaled_dot_product_attention(q, k, v, is_causal=True).numpy()
    for mask in (
        allowed,
        Tensor(allowed),
        allowed.tolist(),
        np.where(allowed, 0, -1e30),
        np.where(allowed, 0, -np.inf),
        allowed[None],
    ):
        np.testing.assert_allclose(
            F.scaled_dot_product_attention(q, k, v, mask).numpy(), causal, rtol=1e-14, atol=1e-15
        )
    both = F.scaled_dot_product_attention(q, k, v, np.array([True, True, False]), is_causal=True)
    np.testing.assert_allclose(
        both.numpy(), F.scaled_dot_product_attention(q, k, v, allowed & [True, True, False]).numpy(), rtol=1e-14
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_query_that_may_attend_to_nothing_gets_zeros_and_a_finite_gradient(dtype):
    mask = np.array([[True, True], [False, False]])
    for again in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            xs = [Tensor(rng.standard_normal((2, 3)).astype(dtype), requires_grad=True) for _ in range(3)]
            y = F.scaled_dot_product_attention(*xs, mask)
            gradients = grad(mg.sum(y * y), xs, create_graph=again)
        assert (y.numpy()[1] == 0).all() and (gradients[0].numpy()[1] == 0).all()
        assert all(np.isfinite(g.numpy()).all() for g in gradients)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_query_that_is_no_number_is_not_taken_for_one_that_may_attend_to_nothing(dtype):
    q, k, mask = np.ones((2, 40, 16), dtype), np.ones((2, 40, 16), dtype), np.tri(40, dtype=bool)
    q[0, 7, 3], mask[9] = np.nan, False
    for added in (mask, np.where(mask, 0, -np.inf).astype(dtype)):
        y = F.scaled_dot_product_attention(q, k, k, added)
        assert np.isnan(y[0, 7]).all() and (y[:, 9] == 0).all() and np.isfinite(np.delete(y, 7, 1)).all()
    q[0, 7] = -np.inf  # all its scores are -inf
    assert np.isnan(F.scaled_dot_product_attention(q, k, k, is_causal=True)[0, 7]).all()


def test_attention_to_the_second_order_with_dropout():
    xs = [rng.standard_normal((2, 3)) for _ in range(3)]
    gradcheck(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=0.4, rng=7), xs, order=2
    )


def test_dropout_keeps_the_mean_and_is_decided_by_its_seed():
    x = Tensor(np.ones(10_000, np.float32), requires_grad=True)
    y = F.dropout(x, 0.25, rng=0)
    assert sorted(set(y.tolist())) == pytest.approx([0, 4 / 3]) and y.dtype == np.float32
    assert y.numpy().mean() == pytest.approx(1, abs=0.02)
    assert y.tolist() == F.dropout(x, 0.25, rng=0).tolist() == F.dropout(x, 0.25, rng=np.random.default_rng(0)).tolist()
    assert (
        y.tolist() != F.dropout(x, 0.25, rng=1).tolist() and F.dropout(x, 0.25).tolist() != F.dropout(x, 0.25).tolist()
    )
    assert F.dropout(x, 0.25, training=False) is x and F.dropout(x, 0) is x
    np.testing.assert_array_equal(grad(y, x, np.ones(10_000, np.float32)).numpy(), y.numpy())


Q = np.zeros((2, 3, 4))


@pytest.mark.parametrize(
    ("action", "error", "text"),
    [
        (lambda: F.gelu(Q, "erf"), ValueError, "approximate='erf' is not known: type \"none\""),
        (
            lambda: F.gelu(Q, bias=Q),
            ValueError,
            r"gelu of \(.*\) takes a bias of the size of the last axis, but was given",
        ),
        (
            lambda: F.linear(Q, np.ones((5, Q.shape[-1])), np.ones(1)),
            ValueError,
            r"a weight of \(5, .* takes a bias of \(5,\)",
        ),
        (lambda: F.linear(3.0, np.ones((5, 4))), ValueError, r"multiplies an axis of 4, but x is a single number"),
        (
            lambda: F.linear(Q, np.ones(5)),
            ValueError,
            r"a weight is a matrix \(out, in\), but this one has the shape \(5,\)",
        ),
        (lambda: F.gelu(np.float32(1), bias=np.float32(2)), ValueError, r"gelu of \(\) takes a bias"),
        (lambda: F.dropout(Q, 1.0), ValueError, "p=1.0 is not a probability below 1"),
        (lambda: F.dropout(Q, -0.1), ValueError, "p=-0.1"),
        (lambda: F.scaled_dot_product_attention(Q, Q, Q, dropout_p=1.5), ValueError, "1.5"),
        (
            lambda: F.scaled_dot_product_attention(Q, Q[..., :2], Q),
            ValueError,
            r"query \(2, 3, 4\) and key \(2, 3, 2\) must agree",
        ),
        (
            lambda: F.scaled_dot_product_attention(Q, Q, Q[:, :2]),
            ValueError,
            r"key and value \(2, 2, 4\) in the last but one",
        ),
        (
            lambda: F.scaled_dot_product_attention(Q, Q, Q, np.ones((3, 3), int)),
            TypeError,
            r"a mask of dtype int64 is ambiguous.*mask == 1",
        ),
        (
            lambda: F.scaled_dot_product_attention(Q, Q, Q, np.ones((2, 3), bool)),
            ValueError,
            r"mask of shape \(2, 3\) does not broadcast to the scores' \(2, 3, 3\)",
        ),
        (
            lambda: F.scaled_dot_product_attention(Q, Q, Q, np.ones((1, 2, 3, 3), bool)),
            ValueError,
            r"mask of shape \(1, 2, 3, 3\)",
        ),
        (
            lambda: F.scaled_dot_product_attention(Q, Q[:1], Q[:1]),
            ValueError,
            r"leading axes of query \(2, 3, 4\), key \(1, 3, 4\)",
        ),
        (
            lambda: F.scaled_dot_product_attention(np.ones((3, 5, 4)), Q, Q, enable_gqa=True),
            ValueError,
            "the 3 heads of the query",
        ),
        (lambda: F.group_norm(Q[0, 0], 2), ValueError, r"takes x \(N, C, …\), but x has shape \(4,\): x\[None\]"),
        (lambda: F.batch_norm(Q[0, 0], training=True), ValueError, r"takes x \(N, C, …\)"),
        (
            lambda: F.batch_norm(Q, np.zeros(2), np.ones(2)),
            ValueError,
            r"3 channels, on axis 1, but .* has shape \(2,\)",
        ),
        (
            lambda: F.batch_norm(Q, np.zeros(3), np.ones(3), training=True, momentum=None),
            ValueError,
            "BatchNorm2d.* counts them",
        ),
        (
            lambda: F.layer_norm(Q, 4, np.ones(3)),
            ValueError,
            r"takes a weight and a bias of that shape, but one has \(3,\)",
        ),
        (lambda: F.softmax(Tensor(Q), dim=3), (ValueError, IndexError), r"softmax\(\(2, 3, 4\), axis=3\)"),
    ],
)
def test_refusals(action, error, text):
    with pytest.raises(error, match=text):
        action()


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_dropout_keeps_its_share_whatever_the_generator(bits):
    kept = F.dropout(np.ones(200_000, np.float32), 0.1, rng=np.random.Generator(bits(0)))
    assert abs((kept != 0).mean() - 0.9) < 0.003 and set(np.unique(kept)) == {0, np.float32(1 / 0.9)}


def test_whole_numbers_are_taken_as_float32():
    for y in (F.softmax(Tensor([1, 2])), F.layer_norm(Tensor([[1, 2]]), 2), mg.erf(Tensor([1, 2]))):
        assert y.dtype == np.float32 and abs(y.numpy()).max() < 1


@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 7), (1, 1, 5, 7), (2, 1, 1, 7), (2, 3, 5, 7), (5, 1), (1,), ()])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_learned_bias_gets_its_gradient(shape, is_causal, dtype):
    """By the kernel and by the definition, as torch says; twice, for the second order."""
    torch = pytest.importorskip("torch")
    arrays = [rng.standard_normal(s).astype(dtype) for s in ((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6), shape)]
    ours, theirs = (
        [Tensor(a, requires_grad=True) for a in arrays],
        [torch.tensor(a, requires_grad=True) for a in arrays],
    )
    y = F.scaled_dot_product_attention(*ours, is_causal=is_causal)
    scores = theirs[0] @ theirs[1].mT / 2 + theirs[3]
    scores = scores.masked_fill(~torch.ones(5, 7, dtype=bool).tril(), -math.inf) if is_causal else scores
    expected = scores.softmax(-1) @ theirs[2]
    seed, rtol = np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype), 1e-12 if dtype is np.float64 else 2e-5
    first = torch.autograd.grad(expected, theirs, torch.tensor(seed), create_graph=True)
    second = torch.autograd.grad(sum((g * g).sum() for g in first), theirs)
    for again in (False, True):
        g = grad(y, ours, seed, create_graph=again, retain_graph=True)
        for a, b in zip(g, first, strict=True):
            np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=rtol, atol=rtol)
    for a, b in zip(grad(sum((a * a).sum() for a in g), ours), second, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=20 * rtol, atol=20 * rtol)


@pytest.mark.parametrize("dropped", [0.0, 0.3])
def test_a_learned_bias_under_dropout_and_in_other_dtypes(dropped):
    arrays = [rng.standard_normal(s) for s in ((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6), (3, 5, 7))]

    def gradient(again, *dtypes):
        xs = [Tensor(a.astype(dtype), requires_grad=True) for a, dtype in zip(arrays, dtypes * 4)]
        g = grad(F.scaled_dot_product_attention(*xs, dropout_p=dropped, rng=1).sum(), xs[3], create_graph=again)
        assert g.dtype == xs[3].dtype and g.shape == (3, 5, 7)
        return g.numpy().astype(float)

    expected = gradient(True, np.float64)
    np.testing.assert_allclose(gradient(False, np.float64), expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(gradient(False, np.float32), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient(False, np.float16), expected, rtol=0.02, atol=0.02)
    np.testing.assert_allclose(
        gradient(False, np.float32, np.float32, np.float32, np.float64), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    "mask", [np.array([[True, False, True], [False] * 3]), np.array([[0.0, -np.inf, 0], [-np.inf] * 3])]
)
@pytest.mark.parametrize("low", [0.0, -1e5, -1e15])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_may_not_be_attended_to_is_not_counted_however_low_the_rest(mask, low, dtype):
    """A mask is no number to add: scores below all of float16's are allowed too.

    A row where nothing is allowed gives 0.
    """
    q = np.full((2, 1), 1.0 if low == 0 else low, dtype)
    k, v = np.array([[1.0], [0.5], [1.0]], dtype), np.array([[1.0], [2], [4]], dtype)
    xs = [Tensor(a[None], requires_grad=True) for a in (q, k, v)]
    for again in (False, True):
        with np.errstate(all="raise", under="ignore"):
            y = F.scaled_dot_product_attention(*xs, mask if mask.dtype == bool else mask.astype(dtype))
            first = grad(y.sum(), xs, create_graph=again)
            if again:
                second = grad(sum(g.sum() for g in first), xs)
                assert all(np.isfinite(g.numpy()).all() for g in second)
        np.testing.assert_allclose(y.numpy(), [[[2.5], [0.0]]], rtol=1e-6)
        np.testing.assert_allclose(first[2].numpy(), [[[0.5], [0], [0.5]]], rtol=1e-6)
        assert first[0].numpy()[0, 1] == 0
        assert all(np.isfinite(g.numpy()).all() for g in first)
    definition = OPS["scaled_dot_product_attention"].function
    allowed = mask if mask.dtype == bool else mask.astype(dtype)
    np.testing.assert_allclose(definition(*xs, allowed, None, 0.0, 1.0, False).numpy(), [[[2.5], [0.0]]], rtol=1e-6)


def test_a_mask_that_is_learned_and_forbids_some():
    """-inf stays, without a gradient; a row of nothing else gives zeros and passes none on."""
    bias = Tensor(np.array([[0.5, -np.inf, 0.0], [-np.inf] * 3]), requires_grad=True)
    xs = [Tensor(rng.standard_normal((1, n, 2)), requires_grad=True) for n in (2, 3, 3)]
    for again in (False, True):
        y = F.scaled_dot_product_attention(*xs, bias)
        g = grad((y * np.array([[1.0, 2], [3, 4]])).sum(), [bias, *xs], create_graph=again)
        assert y.numpy()[0, 1].tolist() == [0, 0] and all(np.isfinite(a.numpy()).all() for a in g)
        assert (g[0].numpy() != 0).tolist() == [[True, False, True], [False] * 3]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("T", [1, 40])
def test_a_row_that_a_large_number_forbids_throughout_is_the_mean_of_all(dtype, T):
    """As in torch: the smallest number of the dtype, unlike -inf, is the same for all, which share the weight."""
    x = [Tensor(rng.standard_normal((2, 3, n, 4)).astype(dtype), requires_grad=True) for n in (T, 7, 7)]
    mask = np.full((T, 7), np.finfo(dtype).min, dtype)
    for again in (False, True):
        y = F.scaled_dot_product_attention(*x, mask)
        np.testing.assert_allclose(
            y.numpy(), np.broadcast_to(x[2].numpy().mean(2, keepdims=True), y.shape), rtol=1e-5, atol=1e-6
        )
        np.testing.assert_allclose(grad(y.sum(), x[2], create_graph=again).numpy(), T / 7, rtol=1e-5)


@pytest.mark.parametrize("eps", [-1e-5, "1e-5", float("nan"), 1j])
def test_what_is_added_to_a_variance_is_a_number_of_at_least_0(eps):
    x = Tensor(np.ones((2, 3)))
    for norm in (
        lambda: F.layer_norm(x, 3, eps=eps),
        lambda: F.rms_norm(x, 3, eps=eps),
        lambda: F.group_norm(x, 1, eps=eps),
        lambda: F.batch_norm(x, x[0], x[0], eps=eps),
    ):
        with pytest.raises(ValueError, match="eps is a number of at least 0"):
            norm()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [40, 4000, 300_000])
def test_gelu_keeps_its_digits_where_it_is_tiny(dtype, size):
    """x Φ(x) and its slope by the kernel, and both with the curvature by the definition, against erfc."""
    x = np.linspace(-12.9, 6, size).astype(dtype)
    X = x.astype(float)
    cdf, pdf = np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in X]), np.exp(-X * X / 2) / math.sqrt(2 * math.pi)
    rtol, near_zero = max(8 * np.finfo(dtype).eps, 1e-13), np.abs(X + 0.75) < 0.2  # where the slope is 0
    for create_graph in (False, True):
        t = Tensor(x, requires_grad=True)
        y = F.gelu(t)
        (slope,) = grad(y, [t], np.ones_like(x), create_graph=create_graph)
        np.testing.assert_allclose(y.numpy(), X * cdf, rtol=rtol)
        np.testing.assert_allclose(slope.numpy()[~near_zero], (cdf + X * pdf)[~near_zero], rtol=rtol)
    (curve,) = grad(slope, [t], np.ones_like(x))
    np.testing.assert_allclose(curve.numpy(), pdf * (2 - X * X), rtol=8 * rtol, atol=rtol / 8)
