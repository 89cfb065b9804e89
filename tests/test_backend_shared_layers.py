"""The fused kernels, as they read on NumPy and CuPy alike, held to finite differences and to torch in float64."""

import inspect
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad.functional
import minigrad.losses  # noqa: F401  each makes ops
from minigrad.backend import Kernel, host, shared
from minigrad.ops import sum_to
from minigrad.primitive import OPS

rng = np.random.default_rng(0)
X = rng.standard_normal((6, 4))


def cases(n, dtype=np.float64):
    """(op, inputs, options): every kernel on inputs of `dtype` that grow with n."""

    def R(*shape):
        return rng.standard_normal(shape).astype(dtype)

    def heads(T, d):
        return R(2, T, 3, d).swapaxes(1, 2)  # (B, H, T, d), split from (B, T, H·d) and so not in order

    def attention(q, k, v, mask=None, p=0.0, is_causal=False):
        scores = (*q.shape[:-1], k.shape[-2])
        keep = rng.random(scores) >= p if p else None
        return "scaled_dot_product_attention", (q, k, v, mask), (keep, p, 0.4, is_causal)

    some = rng.random((2, 1, n, n)) < 0.7
    some[1, 0, 0] = False  # a query that may attend to nothing
    labels = np.where(np.arange(n) % 4 == 1, -100, rng.integers(0, 5, n))
    weight = np.arange(1, 6).astype(dtype)
    return [
        ("linear", (R(2, n, 4), R(3, 4), R(3)), ()),
        ("linear", (R(4), R(3, 4), None), ()),
        ("gelu", (R(n, 5) * 3, None), ("none",)),
        ("gelu", (R(n, 5) * 3, R(5)), ("none",)),
        ("gelu", (R(2, n, 5) * 3, R(5)), ("tanh",)),
        ("softmax", (R(n, 3, 5) * 9,), (-1,)),
        ("softmax", (R(n, 3, 5),), (0,)),
        ("log_softmax", (R(n, 3, 5) * 9,), (2,)),
        ("log_softmax", (R(n, 3, 5),), (1,)),
        ("layer_norm", (R(2, n, 5) + 2, R(5), R(5)), (1e-5,)),
        ("layer_norm", (R(n, 5), None, None), (1e-12,)),
        ("layer_norm", (R(n, 5), R(5), None), (1e-5,)),
        ("dropout", (R(n, 5),), (rng.random((n, 5)) > 0.3, 0.3)),
        attention(heads(n, 4), heads(n, 4), heads(n, 4)),
        attention(heads(n, 4), heads(n, 4), heads(n, 5), some, p=0.2),
        attention(heads(3, 4), heads(n, 4), heads(n, 4), R(3, n)),
        attention(heads(n, 4), heads(n, 4), heads(n, 4), is_causal=True, p=0.1),
        attention(heads(n, 4), heads(n, 4), heads(n, 4), some, is_causal=True),
        attention(R(2, n, 4), R(2, n, 4), R(2, n, 4), R(n, n), is_causal=True),
        attention(R(n, 4), R(n, 4), R(n, 4)),
        *(
            ("cross_entropy", (R(n, 5) * 3,), (labels, w, -100, smoothing, reduction))
            for w in (None, weight)
            for smoothing in (0.0, 0.2)
            for reduction in ("mean", "sum", "none")
        ),
        ("embedding", (R(7, 3),), (rng.integers(0, 7, (n, 2)),)),
    ]


def name(case):
    op, inputs, options = case
    return f"{op}-{'x'.join(map(str, inputs[0].shape))}" + "".join(
        f"-{o}" for o in options if isinstance(o, (str, bool, float))
    )


def run(kernel, inputs, options, g=None):
    """The result and the gradient of each input that is there and moves, for a given gradient of the result."""
    y, saved = kernel.forward(np, *inputs, *options)
    wanted = tuple(x is not None and x.dtype != bool for x in inputs)
    g = rng.standard_normal(np.shape(y)).astype(y.dtype) if g is None else g
    gradients = kernel.backward(np, g, saved, wanted, *options)
    assert [gx is not None for gx in gradients] == list(wanted)
    return y, g, [gx if gx is None else sum_to(gx, x.shape) for x, gx in zip(inputs, gradients)]  # as the tape does


@pytest.mark.parametrize("case", cases(6), ids=name)
def test_backward_is_the_derivative_of_forward(case):
    op, inputs, options = case
    y, g, gradients = run(shared.table[op], inputs, options)
    for i, gx in enumerate(gradients):
        if gx is not None:
            assert gx.shape == inputs[i].shape
            step = rng.standard_normal(inputs[i].shape)
            ahead, behind = (
                shared.table[op].forward(np, *inputs[:i], inputs[i] + h * step, *inputs[i + 1 :], *options)[0]
                for h in (1e-6, -1e-6)
            )
            assert np.sum(gx * step) == pytest.approx(np.sum(g * (ahead - behind)) / 2e-6, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("case", cases(6), ids=name)
def test_torch_agrees(case):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    op, inputs, options = case
    y, g, gradients = run(shared.table[op], inputs, options)
    xs = [None if x is None else torch.tensor(x, requires_grad=x.dtype != bool) for x in inputs]
    given = [torch.tensor(o) if isinstance(o, np.ndarray) else o for o in options]
    if op == "scaled_dot_product_attention":
        (mask, (keep, p, scale, is_causal)) = xs[3], given
        scores = xs[0] @ xs[1].mT * scale
        allowed = torch.ones(scores.shape, dtype=bool).tril(0 if is_causal else 10**6)
        if mask is not None:
            allowed, scores = (allowed & mask, scores) if mask.dtype == torch.bool else (allowed, scores + mask)
        theirs = F.softmax(scores.where(allowed, torch.tensor(-1e30)), -1) * allowed
        theirs = (theirs if keep is None else theirs * keep / (1 - p)) @ xs[2]
    else:
        theirs = {
            "linear": F.linear,
            "softmax": F.softmax,
            "gelu": lambda x, bias, how: F.gelu(x if bias is None else x + bias, approximate=how),
            "log_softmax": F.log_softmax,
            "layer_norm": lambda x, w, b, eps: F.layer_norm(x, x.shape[-1:], w, b, eps),
            "dropout": lambda x, keep, p: x * keep / (1 - p),
            "embedding": lambda weight, ids: F.embedding(ids, weight),
            "cross_entropy": lambda x, t, w, ignore, smoothing, reduction: F.cross_entropy(
                x, t, w, ignore_index=ignore, label_smoothing=smoothing, reduction=reduction
            ),
        }[op](*xs, *given)
    theirs.backward(torch.tensor(g))
    np.testing.assert_allclose(y, theirs.detach().numpy(), rtol=1e-10, atol=1e-12)
    for x, gx in zip(xs, gradients, strict=True):
        if gx is not None:
            np.testing.assert_allclose(gx, x.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_dtype_stays_and_inputs_are_left_alone(dtype):
    for op, inputs, options in cases(5, dtype):
        before = [None if x is None else x.copy() for x in inputs]
        wide = [x if x is None or x.dtype == bool else x.astype(np.float64) for x in inputs]
        wide_options = [o.astype(np.float64) if isinstance(o, np.ndarray) and o.dtype == dtype else o for o in options]
        y, g, gradients = run(shared.table[op], inputs, options)
        g_before = g.copy()
        expected = run(shared.table[op], wide, wide_options, g.astype(np.float64))
        for ours, theirs in [(y, expected[0]), *zip(gradients, expected[2], strict=True)]:
            if ours is not None:
                assert ours.dtype == dtype, op
                size = np.abs(theirs).max(initial=1)
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=30 * np.finfo(dtype).eps * size, err_msg=op)
        for x, was in zip((*inputs, g), (*before, g_before), strict=True):
            assert x is None or np.array_equal(x, was), op


@pytest.mark.parametrize("wanted", [(False, True, True), (True, False, False), (False, False, True)])
@pytest.mark.parametrize("op", ["linear", "gelu", "layer_norm", "scaled_dot_product_attention"])
def test_what_is_not_wanted_is_none(op, wanted):
    _, inputs, options = next(case for case in cases(6) if case[0] == op and all(x is not None for x in case[1]))
    wanted = (*wanted, False)[: len(inputs)]
    y, saved = shared.table[op].forward(np, *inputs, *options)
    everything = shared.table[op].backward(np, y, saved, (True,) * len(inputs), *options)
    for gx, want, complete in zip(
        shared.table[op].backward(np, y, saved, wanted, *options), wanted, everything, strict=True
    ):
        assert np.array_equal(gx, complete) if want else gx is None


@given(shape=st.lists(st.integers(0, 3), min_size=1, max_size=3), out=st.integers(1, 3))
def test_nothing_and_one_row(shape, out):
    x = rng.standard_normal((*shape, 4))
    y, _, (gx, gw, gb) = run(shared.table["linear"], (x, np.ones((out, 4)), np.zeros(out)), ())
    assert y.shape == (*shape, out) and gx.shape == x.shape and gw.shape == (out, 4) and gb.shape == (out,)
    for op, more, options in (
        ("gelu", (np.ones(4),), ("none",)),
        ("softmax", (), (0,)),
        ("softmax", (), (-1,)),
        ("log_softmax", (), (-1,)),
        ("dropout", (), (np.ones(x.shape, bool), 0.5)),
    ):
        y, _, (gx, *_) = run(shared.table[op], (x, *more), options)
        assert y.shape == gx.shape == x.shape
    y, _, (gx, gw, gb) = run(shared.table["layer_norm"], (x, np.ones(4), np.zeros(4)), (1e-5,))
    assert y.shape == gx.shape == x.shape and gw.shape == gb.shape == (4,)
    y, _, (gw,) = run(shared.table["embedding"], (np.ones((2, 4)),), (np.zeros(shape, np.int64),))
    assert y.shape == x.shape and gw.sum() == pytest.approx(_.sum())


@pytest.mark.parametrize(
    "op, option",
    [
        ("take", (slice(1, 5), 2)),
        ("take", (..., slice(None, None, 2))),
        ("take", np.array([3, 0, 3])),
        ("take", X > 0),
        ("embedding", np.array([[3, 0, 3], [5, 5, 3]])),
    ],
)
def test_adding_a_gradient_in_place_is_adding_it(op, option):
    y, saved = host.kernels[op].forward(np, X, option)
    g, total = rng.random(y.shape), rng.random(X.shape)  # of one sign: what cancels out has few digits left to compare
    expected = total + host.kernels[op].backward(np, g, saved, (True,), option)[0]
    host.kernels[op].add(np, total, g, saved, option)
    np.testing.assert_allclose(total, expected, rtol=1e-12)


@pytest.mark.parametrize("T, S", [(0, 3), (3, 0), (1, 1)])
def test_attention_to_nothing(T, S):
    q, k, v = (rng.standard_normal((2, n, 4)) for n in (T, S, S))
    y, _, gradients = run(shared.table["scaled_dot_product_attention"], (q, k, v, None), (None, 0.0, 1.0, False))
    np.testing.assert_array_equal(y, v if T == S else np.zeros((2, T, 4)))
    assert [gx.shape for gx in gradients[:3]] == [q.shape, k.shape, v.shape]


def test_attention_lies_as_the_query_does():
    q = rng.standard_normal((2, 5, 3, 4)).swapaxes(1, 2)
    y, _, (gq, *_) = run(shared.table["scaled_dot_product_attention"], (q, q, q, None), (None, 0.0, 1.0, False))
    assert y.strides == q.strides and np.shares_memory(y.swapaxes(1, 2).reshape(2, 5, 12), y)


def test_softmax_and_cross_entropy_of_large_scores():
    x = np.array([[1e4, 0, -1e4], [-math.inf, 5, 5]])
    assert shared.table["softmax"].forward(np, x, -1)[0].tolist() == [[1, 0, 0], [0, 0.5, 0.5]]
    assert shared.table["log_softmax"].forward(np, x[:1], -1)[0].tolist() == [[0, -1e4, -2e4]]
    losses = shared.table["cross_entropy"].forward(np, x, np.array([2, -1]), None, -1, 0.0, "none")[0]
    assert losses.tolist() == [2e4, 0]


def test_gradients_of_an_embedding_meet_in_order():
    ids, g = np.array([[2, 0], [2, 2]]), np.array([[[1e8], [3]], [[1], [-1e8]]], np.float32)
    (gw,) = shared.table["embedding"].backward(np, g, (4, 1), (True,), ids)
    assert (
        gw.ravel().tolist() == [3, 0, (np.float32(1e8) + np.float32(1)) - np.float32(1e8), 0] and gw.dtype == np.float32
    )


@pytest.mark.parametrize("table", [pytest.param(shared.table, id="generic"), pytest.param(host.kernels, id="numpy")])
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_adam_is_the_algorithm_of_the_paper(table, decoupled, dtype, tolerance):
    w, m, v = rng.standard_normal(200_000), np.zeros(200_000), np.zeros(200_000)
    param, kept_m, kept_v = (x.astype(dtype) for x in (w, m, v))
    for step in (1, 2, 3):
        g = rng.standard_normal(w.shape)
        table["adam_step"](
            np,
            [(param, g.astype(dtype), kept_m, kept_v)],
            lr=0.01,
            beta1=0.9,
            beta2=0.99,
            eps=1e-8,
            weight_decay=0.1,
            decoupled=decoupled,
            step=step,
        )
        if decoupled:
            w = w * (1 - 0.01 * 0.1)
        else:
            g = g + 0.1 * w
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        w = w - 0.01 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.99**step)) + 1e-8)
    np.testing.assert_allclose(param, w, rtol=tolerance, atol=tolerance)
    assert param.dtype == dtype


@pytest.mark.parametrize("table", [pytest.param(shared.table, id="generic"), pytest.param(host.kernels, id="numpy")])
def test_a_step_writes_into_no_gradient(table):
    param, g, m, v = np.abs(rng.standard_normal((4, 5000))).astype("f4")
    before = g.copy()
    table["adam_step"](
        np, [(param, g, m, v)], lr=0.1, beta1=0.9, beta2=0.99, eps=1e-8, weight_decay=0.1, decoupled=False, step=1
    )
    table["sgd_step"](
        np, [(param, g, m)], lr=0.1, momentum=0.9, dampening=0.0, weight_decay=0.1, nesterov=True, first=True
    )
    np.testing.assert_array_equal(g, before)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("shape", [(), (7, 3)])
def test_adam_step_is_torchs(decoupled, shape):
    torch = pytest.importorskip("torch")
    w = np.array(rng.standard_normal(shape))
    theirs = torch.nn.Parameter(torch.tensor(w))
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    optimizer = kind([theirs], lr=0.1, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.3)
    m, v = np.zeros_like(w), np.zeros_like(w)
    for step in (1, 2, 3):
        g = np.array(rng.standard_normal(shape))
        shared.table["adam_step"](
            np, [(w, g, m, v)], lr=0.1, beta1=0.8, beta2=0.9, eps=1e-6, weight_decay=0.3, step=step, decoupled=decoupled
        )
        theirs.grad = torch.tensor(g)
        optimizer.step()
    np.testing.assert_allclose(w, theirs.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        dict(momentum=0.0, dampening=0.0, nesterov=False),
        dict(momentum=0.9, dampening=0.5, nesterov=False),
        dict(momentum=0.9, dampening=0.0, nesterov=True),
    ],
)
def test_sgd_step_is_torchs(options):
    torch = pytest.importorskip("torch")
    w = rng.standard_normal((3, 4))
    theirs = torch.nn.Parameter(torch.tensor(w))
    optimizer = torch.optim.SGD([theirs], lr=0.1, weight_decay=0.2, **options)
    velocity = np.empty_like(w) if options["momentum"] else None
    for step in range(3):
        g = rng.standard_normal(w.shape)
        shared.table["sgd_step"](np, [(w, g, velocity)], lr=0.1, weight_decay=0.2, first=step == 0, **options)
        theirs.grad = torch.tensor(g)
        optimizer.step()
    np.testing.assert_allclose(w, theirs.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_square_sum(dtype):
    x = np.full((300, 4), 200, dtype)
    assert float(shared.table["square_sums"](np, [x.T])[0]) == 300 * 4 * 200**2  # more than float16 can hold
    assert float(shared.table["square_sums"](np, [x[:0]])[0]) == 0


def test_every_kernel_takes_what_its_op_takes():
    for op, kernel in shared.table.items():
        if isinstance(kernel, Kernel):
            _, *takes = (p.name for p in inspect.signature(kernel.forward).parameters.values() if p.default is p.empty)
            assert takes == [*OPS[op].inputs, *OPS[op].options], op
