"""The CPU's own kernels: the same answers as the generic ones in float64, however the work is cut up and shared out."""

import math

import numpy as np
import pytest
from test_backend_shared_layers import cases, name, run

from minigrad import ops
from minigrad.backend import host, shared
from minigrad.backend.cpu import loops
from minigrad.backend.cpu.layers import erf

rng = np.random.default_rng(1)
CASES = cases(80, np.float32)


@pytest.fixture(autouse=True, params=["loops", "without"])
def form(request, monkeypatch):
    """The compiled loops, where numba is installed, and what answers without them."""
    if request.param == "without":
        monkeypatch.setattr(loops, "available", lambda: False)


def agrees(op, inputs, options, g=None, atol=2e-5):
    y, g, gradients = run(host.kernels[op], inputs, options, g)
    wide = [x if x is None or x.dtype == bool else x.astype(np.float64) for x in inputs]
    options = [o.astype(np.float64) if getattr(o, "dtype", None) == np.float32 else o for o in options]
    expected = run(shared.table[op], wide, options, g.astype(np.float64))
    for ours, theirs in [(y, expected[0]), *zip(gradients, expected[2], strict=True)]:
        if theirs is not None:
            assert ours.dtype == np.float32 and ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=atol * max(1, np.abs(theirs).max(initial=0)))


@pytest.mark.parametrize("case", CASES, ids=name)
def test_agrees_with_float64(case, small_pieces):
    op, inputs, options = case
    before = [None if x is None else x.copy() for x in inputs]
    agrees(op, inputs, options)
    for x, was in zip(inputs, before, strict=True):
        assert x is None or np.array_equal(x, was)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_agrees_on_what_does_not_lie_in_order(case, small_pieces):
    op, inputs, options = case
    apart = [None if x is None else np.repeat(x, 2, axis=-1)[..., ::2] for x in inputs]
    y = shared.table[op].forward(np, *inputs, *options)[0]
    agrees(op, apart, options)
    agrees(op, inputs, options, g=np.broadcast_to(np.float32(0.5), np.shape(y)))
    agrees(op, inputs, options, g=np.asfortranarray(rng.standard_normal(np.shape(y), np.float32)))
    turned = [x if x is None else np.asfortranarray(x) for x in inputs]
    agrees(op, turned, options)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_dtypes_are_answered_by_the_generic_kernel(dtype):
    for op, inputs, options in cases(40, dtype):
        theirs, g, their_gradients = run(shared.table[op], inputs, options)
        ours, _, our_gradients = run(host.kernels[op], inputs, options, g)
        for a, b in [(ours, theirs), *zip(our_gradients, their_gradients, strict=True)]:
            if b is not None:
                assert a.dtype == dtype
                np.testing.assert_allclose(a, b, rtol=100 * np.finfo(dtype).eps, atol=100 * np.finfo(dtype).eps)


@pytest.mark.parametrize("wanted", [(False, True, True), (True, False, False), (False, False, True)])
@pytest.mark.parametrize("op", ["linear", "gelu", "layer_norm", "scaled_dot_product_attention"])
def test_what_is_not_wanted_is_none(op, wanted):
    _, inputs, options = next(case for case in CASES if case[0] == op and all(x is not None for x in case[1]))
    wanted = (*wanted, False)[: len(inputs)]
    y, saved = host.kernels[op].forward(np, *inputs, *options)
    everything = host.kernels[op].backward(np, y, saved, (True, True, True, False)[: len(inputs)], *options)
    for gx, want, complete in zip(
        host.kernels[op].backward(np, y, saved, wanted, *options), wanted, everything, strict=True
    ):
        assert np.array_equal(gx, complete) if want else gx is None


@pytest.mark.parametrize("orders", ["CC", "CF", "FC", "FF"])
def test_large_arrays_that_lie_in_any_order(orders):
    a, b = (np.asarray(rng.standard_normal((600, 700), np.float32), order=order) for order in orders)
    for y, expected in ((ops.add(a, b), a + b), (ops.multiply(a, 2), a * 2)):
        np.testing.assert_array_equal(y, expected)
        assert y.strides == a.strides


@pytest.mark.slow
@pytest.mark.parametrize("lead", [(), (1,), (1, 2)])
@pytest.mark.parametrize("other", [2.5, 3, (1,), (700,), (600, 1), (600, 700)])
@pytest.mark.parametrize("op", [np.add, np.subtract, np.multiply, np.divide])
def test_large_arrays_and_what_is_broadcast_to_them(op, other, lead):
    a = rng.random((*lead, 600, 700), np.float32) + 1
    b, ours = other if isinstance(other, (int, float)) else rng.random(other, np.float32) + 1, getattr(ops, op.__name__)
    for y, expected in (
        (ours(a, b), op(a, b)),
        (ours(b, a), op(b, a)),
        (ours(a, np.arange(1, 701)), op(a, np.arange(1, 701))),
    ):
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, expected.astype(np.float32))


def test_numpy_warns_of_large_arrays_as_of_small_ones():
    x = np.full((600, 700), 3e38, np.float32)
    with pytest.warns(RuntimeWarning, match="overflow"):
        ops.multiply(x, 3.0)
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        ops.divide(x, 0.0)


def test_empty_inputs():
    for shape in ((0, 4), (3, 0, 4)):
        x = np.zeros(shape, np.float32)
        for op, more, options in (
            ("linear", (np.ones((2, 4), np.float32), np.ones(2, np.float32)), ()),
            ("gelu", (np.ones(4, np.float32),), ("none",)),
            ("layer_norm", (None, None), (1e-5,)),
            ("softmax", (), (-1,)),
            ("dropout", (), (x > 0, 0.5)),
        ):
            y, _, gradients = run(host.kernels[op], (x, *more), options)
            assert y.shape[:-1] == shape[:-1] and gradients[0].shape == shape
            assert all(not gx.any() for gx in gradients if gx is not None)
    nothing = host.kernels["linear"].forward(np, np.ones((2, 0), np.float32), np.ones((3, 0), np.float32), None)[0]
    assert nothing.tolist() == [[0] * 3] * 2


def test_gelu_far_out_and_at_zero():
    x = np.zeros(3000, np.float32)
    x[:9] = [-math.inf, -1e18, -40, -1e-38, 0, 1e-38, 40, 1e18, math.inf]
    for how in ("none", "tanh"):
        y, _, (gx, _) = run(host.kernels["gelu"], (x, None), (how,), np.ones_like(x))
        assert np.isnan(y[0]) and y[1:9].tolist() == pytest.approx(
            [0, 0, 0, 0, 0, 40, 1e18, math.inf], rel=1e-6, abs=1e-38
        )
        np.testing.assert_allclose(gx[1:8], [0, 0, 0.5, 0.5, 0.5, 1, 1], atol=1e-6)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_and_its_slope_everywhere(approximate):
    x = np.concatenate([np.linspace(-12, 12, 20_001), [1e-30, -1e-30, 1e-10, 300, -300, 1e15, -1e15]]).astype(
        np.float32
    )
    y, _, (gx, _) = run(host.kernels["gelu"], (x, None), (approximate,), np.ones_like(x))
    with np.errstate(over="ignore", invalid="ignore"):
        expected, _, (slope, _) = run(
            shared.table["gelu"], (x.astype(np.float64), None), (approximate,), np.ones(x.shape)
        )
    fine = np.abs(x) < 100
    np.testing.assert_allclose(y[fine], expected[fine], atol=1e-6, rtol=1e-6)
    # x is up to 12 times a rounding
    np.testing.assert_allclose(gx[fine], slope[fine], atol=64 * np.finfo(np.float32).eps)
    assert np.isfinite(gx).all() and (gx[x > 100] == 1).all() and np.abs(gx[x < -100]).max() < 1e-6


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
@pytest.mark.parametrize("offset", [0, 30, 80, 1e4, -80, -1e4])
def test_softmax_wherever_the_scores_are(op, offset):
    x = (rng.standard_normal((500, 6)) * 5).astype(np.float32)
    x[::2] += offset
    x[3, 2] = -math.inf
    with np.errstate(all="raise"):
        y = host.kernels[op].forward(np, x, -1)[0]
    np.testing.assert_allclose(y, shared.table[op].forward(np, x.astype(np.float64), -1)[0], rtol=2e-6, atol=1e-6)
    assert np.isnan(host.kernels[op].forward(np, np.full((400, 3), math.nan, np.float32), -1)[0]).all()


def test_embedding_gradients_have_the_same_bits_every_time():
    ids, g = rng.integers(0, 5, 1000), rng.standard_normal((1000, 8)).astype(np.float32)
    expected = np.zeros((7, 8), np.float32)
    np.add.at(expected, ids, g)
    np.testing.assert_array_equal(host.kernels["embedding"].backward(np, g, (7, 8), (True,), ids)[0], expected)


@pytest.mark.parametrize("shape", [(7, 300), (7, 3, 100), (7,)])
@pytest.mark.parametrize("ids_shape", [(20,), (4, 5), (0,)])
def test_rows_taken_several_times_add_up(shape, ids_shape):
    for op in ("embedding", "take"):
        if op == "take" or len(shape) == 2:
            ids, x = (
                rng.integers(-7 if op == "take" else 0, 7, ids_shape),
                rng.standard_normal(shape).astype(np.float32),
            )
            kernel, g = host.kernels[op], rng.standard_normal((*ids_shape, *shape[1:])).astype(np.float32)
            y, saved = kernel.forward(np, x, ids)
            total, expected = x.copy(), np.zeros(shape)
            np.add.at(expected, ids, g)
            np.testing.assert_array_equal(y, x[ids])
            np.testing.assert_allclose(kernel.backward(np, g, saved, (True,), ids)[0], expected, rtol=1e-5, atol=1e-5)
            kernel.add(np, total, g, saved, ids)
            np.testing.assert_allclose(total, x + expected, rtol=1e-5, atol=1e-5)


def test_layer_norm_far_from_zero():
    x = (rng.standard_normal((40, 64)) + 1000).astype(np.float32)
    y = host.kernels["layer_norm"].forward(np, x, None, None, 0.0)[0]
    np.testing.assert_allclose(
        y, shared.table["layer_norm"].forward(np, x.astype(np.float64), None, None, 0.0)[0], atol=1e-3
    )


def test_erf():
    x = np.concatenate((np.linspace(-8, 8, 100_001), 10.0 ** np.arange(-37, 38))).astype(np.float32)
    exact = np.vectorize(math.erf)(x.astype(np.float64))
    y = erf(x)
    assert y.dtype == np.float32 and np.all(np.abs(y - exact) <= 0.6 * np.spacing(np.abs(exact).astype(np.float32)))
    assert erf(np.float32([math.inf, -math.inf, 0, math.nan])).tolist()[:3] == [1, -1, 0]
    assert np.array_equal(erf(x.astype(np.float64)), exact) and erf(np.zeros((2, 0), np.float32)).shape == (2, 0)
    assert erf(np.array(0.5, np.float32)).shape == () and erf(np.float16([0.5])).dtype == np.float16


@pytest.mark.parametrize(
    "op, arrays, options",
    [
        ("adam_step", 4, dict(lr=0.1, beta1=0.8, beta2=0.9, eps=1e-6, weight_decay=0.3, decoupled=True, step=2)),
        ("sgd_step", 3, dict(lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.2, nesterov=False, first=False)),
        ("sgd_step", 2, dict(lr=0.1, momentum=0.0, dampening=0.0, weight_decay=0.2, nesterov=False, first=True)),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_optimiser_steps(op, arrays, options, order, small_pieces):
    ours = [np.abs(rng.standard_normal((60, 50))).astype(np.float32, order=order) for _ in range(arrays)]
    theirs = [array.copy(order="K") for array in ours]
    given = [None] * (op == "sgd_step" and arrays == 2)
    host.kernels[op](np, [(*ours, *given)], **options)
    shared.table[op](np, [(*theirs, *given)], **options)
    rounding = 1e-6 if loops.available() and order == "C" else 0  # a loop rounds a product and a sum at once
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=rounding, atol=rounding)


def test_square_sum(small_pieces):
    x = rng.standard_normal((50, 70)).astype(np.float32)
    expected = [np.sum(a.astype(np.float64) ** 2) for a in (x, x[:1])]
    assert host.kernels["square_sums"](np, [x.T, x[:1]]) == pytest.approx(expected, rel=1e-6)
    assert host.kernels["square_sums"](np, [x[:0]]) == [0]
