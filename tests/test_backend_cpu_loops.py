"""Compiled loops: the same numbers as the forms in shared/, whatever the input, its layout and the number of cores."""

import importlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_backend_shared_recurrent import CASES, inputs
from test_ops_window import problems

import minigrad as mg
from minigrad import functional as F
from minigrad.backend import host, shared
from minigrad.backend.cpu import cores, loops, select
from minigrad.nn.position import rotate
from minigrad.ops.pool import collect, max_pool
from minigrad.ops.window import Window
from minigrad.tensor import Tensor, grad

pytest.importorskip("numba")
rng = np.random.default_rng(0)
ROWS = {
    "gelu": [("none",), ("tanh",)],
    "softmax": [(-1,)],
    "log_softmax": [(-1,)],
    "layer_norm": [(1e-5,)],
    "cross_entropy": [(None, -100, 0.1, "mean"), (None, 1, 0.0, "none")],
}


@pytest.fixture(autouse=True)
def every_size(monkeypatch):
    monkeypatch.setattr(select, "MIN_SIZE", 0)


@pytest.fixture(params=[1, 2])
def on_cores(request, monkeypatch):
    monkeypatch.setattr(cores, "CORES", request.param)
    monkeypatch.setattr(cores, "MIN_SHARED", 1)


def operands(name, x):
    """The further inputs of an op, and its options."""
    vector = rng.standard_normal(x.shape[1]).astype(x.dtype)
    return {
        "gelu": [(None,), (vector,)],
        "layer_norm": [(None, None), (vector, vector[::-1])],
        "cross_entropy": [(rng.integers(0, x.shape[1], len(x)),)],
    }.get(name, [()])


def wide(x):
    return x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype == np.float32 else x


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 9), st.integers(8, 70), st.sampled_from([0, 30, -200, 1e4]), st.sampled_from(["C", "F", "part"]))
@pytest.mark.parametrize("name", ROWS)
def test_a_loop_computes_what_the_shared_form_does(name, m, n, offset, lies):
    x = (rng.standard_normal((2 * m, n)) * 3 + offset).astype(np.float32)
    x = {"C": x[:m].copy(), "F": np.asfortranarray(x[:m]), "part": x[::2]}[lies]
    slack = 4e-7 * max(1, abs(offset))  # what rounding the input to float32 is worth
    loop, meaning = loops.instead_of(shared.table)[name], shared.table[name]
    for more in operands(name, x):
        for options in ROWS[name]:
            given, wanted = (x, *more), (True,) * (1 + len(more))
            y, saved = loop.forward(np, *given, *options)
            expected, wide_saved = meaning.forward(np, *map(wide, given), *options)
            assert y.dtype == np.float32
            np.testing.assert_allclose(y, expected, rtol=3e-6, atol=3e-6 + (slack if "softmax" not in name else 1e-6))
            g, also = rng.standard_normal(np.shape(y)).astype(np.float32), options_of(name, given, options)
            ours = loop.backward(np, g, saved, wanted, *also)
            theirs = meaning.backward(np, wide(g), wide_saved, wanted, *also)
            for a, b in zip(ours, theirs):
                if b is not None and a is not None:
                    np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5 * max(1, np.abs(b).max()))


def options_of(name, given, options):
    """What `backward` is given besides: the labels of cross-entropy count as an option."""
    return (*given[1:], *options) if name == "cross_entropy" else options


@pytest.mark.parametrize("name", ["gelu", "softmax", "log_softmax", "layer_norm"])
@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_in_its_row(name, special, on_cores):
    x = rng.standard_normal((8, 300)).astype(np.float32)
    x[3, 5] = special
    more, options = operands(name, x)[0], ROWS[name][0]
    with np.errstate(all="ignore"):
        y = host.kernels[name].forward(np, x, *more, *options)[0]
        expected = shared.table[name].forward(np, wide(x), *map(wide, more), *options)[0]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("B, H", [(0, 3), (1, 1), (5, 8), (16, 64)])
@pytest.mark.parametrize("name", CASES)
def test_a_recurrent_layer_takes_all_its_steps_in_one_loop(name, B, H, masked, monkeypatch):
    monkeypatch.setattr("minigrad.backend.cpu.loops.recurrent.MIN_SHARED_PRODUCT", 1)
    given = [(x / 4).astype(np.float32) for x in inputs(name, 11, B, H)]
    given[1] /= np.float32(H**0.5)  # or small errors grow
    mask = np.arange(11)[:, None] < rng.integers(1, 12, B) if masked else None
    more, wanted = CASES[name][1], (True,) * len(given)
    y, saved = host.kernels[name].forward(np, *given, mask, *more)
    expected, wide_saved = shared.table[name].forward(np, *map(wide, given), mask, *more)
    np.testing.assert_allclose(y, expected, atol=2e-6)
    g = rng.standard_normal(y.shape).astype(np.float32)
    ours = host.kernels[name].backward(np, g, saved, wanted, mask, *more)
    theirs = shared.table[name].backward(np, wide(g), wide_saved, wanted, mask, *more)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, atol=3e-6 * max(1, np.abs(b).max(initial=0)))


def with_and_without(call, *inputs):
    """Value and gradients of the inputs, by a loop, and in float64 by what the op means."""
    found = []
    for dtype in (np.float32, np.float64):
        xs = [Tensor(x.astype(dtype), requires_grad=True) for x in inputs]
        y = call(*xs)
        g = np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype)
        found.append([y.numpy(), *(a.numpy() for a in grad(y, xs, Tensor(g)))])
    return zip(*found, strict=True)


def images(*shape, beside=False):
    """Drawn images, or signals; `beside`, their samples are adjacent in memory."""
    x = rng.standard_normal(shape).astype(np.float32)
    return np.moveaxis(np.moveaxis(x, 0, -1).copy(), -1, 0) if beside else x


@pytest.mark.parametrize(
    "shape", [(3, 5, 4, 2), (4, 5, 3), (2, 5), (700, 5), (20, 5, 3, 3), (2, 5, 1, 1), (2, 5, 2, 3, 4)]
)
@pytest.mark.parametrize("beside", [False, True])
def test_normalisation_of_some_channels_on_each_core(shape, beside, on_cores):
    x, (weight, bias, mean, variance) = images(*shape, beside=beside) + 3, np.abs(images(4, 5)) + 0.1
    for call, *operands_ in (
        (lambda x, weight, bias: F.batch_norm(x, None, None, weight, bias, training=True), x, weight[::-1], bias),
        (lambda x: F.batch_norm(x, training=True), x),
        (lambda x, weight, bias: F.batch_norm(x, mean, variance, weight, bias), x, weight, bias),
        (lambda x: F.batch_norm(x, mean, variance), x[..., ::-1]),
        (lambda x, weight: F.group_norm(x, 5, weight), x, weight),
    ):
        for ours, meant in with_and_without(call, *operands_):
            np.testing.assert_allclose(ours, meant, rtol=1e-5, atol=2e-5 * max(1, np.abs(meant).max()))


@pytest.mark.parametrize("shape", [(37, 5), (6, 7, 24), (3, 600)])
def test_normalisation_by_the_root_mean_square(shape, on_cores):
    x, weight = images(*shape) * 3 + 2, images(shape[-1])
    for call, *operands_ in (
        (lambda x, w: F.rms_norm(x, shape[-1], w, 1e-3), x, weight),
        (lambda x, w: F.rms_norm(x, shape[-1], w), np.moveaxis(x, -1, 0).copy().T, weight[::-1]),
        (lambda x: F.rms_norm(x, shape[1:], eps=1e-6), x),
        (lambda x: F.rms_norm(x, shape[-1], weight.astype(x.dtype)), x),
    ):
        for ours, meant in with_and_without(call, *operands_):
            np.testing.assert_allclose(ours, meant, rtol=1e-5, atol=1e-6 * max(1, np.abs(meant).max()))


@pytest.mark.parametrize("tables", [(17, 8), (2, 1, 17, 8), (1, 8), (2, 3, 17, 8)])
def test_rotation_of_queries(tables, on_cores):
    """Of heads side by side in memory, and of one for all positions; the halves of the cosines need not be equal."""
    cos, sin = images(*tables), images(*tables[:-1], 16)[..., ::2]
    for x in (
        images(2, 17, 3, 8).swapaxes(1, 2),
        images(2, 3, 17, 8),
        np.broadcast_to(images(2, 3, 1, 8), (2, 3, 17, 8)),
    ):
        for ours, meant in with_and_without(rotate, x, cos, sin):
            np.testing.assert_allclose(ours, meant, rtol=1e-5, atol=1e-5 * max(1, np.abs(meant).max()))


OF_ROWS = {
    "rms_norm": lambda x: F.rms_norm(x, 64, np.linspace(0, 1, 64, dtype="f4")),
    "rotate": lambda x: rotate(x, np.linspace(0, 1, 64, dtype="f4"), np.linspace(-1, 0, 64, dtype="f4")),
    "batch_norm": lambda x: F.batch_norm(x, training=True),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.3),
    "elu": F.elu,
    "erf": mg.erf,
    "silu": F.silu,
}


@pytest.mark.parametrize("name", OF_ROWS)
def test_special_values_are_those_of_the_meaning(name, monkeypatch):
    """In float32 as well: the square of 1e25 is infinite."""
    x = rng.standard_normal((30, 64)).astype("f4")
    x[3, 5], x[5, 6], x[7, 8], x[9, 9], x[11], x[13] = math.nan, math.inf, -math.inf, 1e25, 0, 1e-25
    g, found = rng.standard_normal(x.shape).astype("f4"), []
    for least in (0, 1 << 30):
        monkeypatch.setattr(select, "MIN_SIZE", least)
        given = mg.Tensor(x, requires_grad=True)
        with np.errstate(all="ignore"):
            y = OF_ROWS[name](given)
            y.backward(mg.Tensor(g))
        found.append((y.numpy(), given.grad.numpy()))
    for ours, meant in zip(*found):
        np.testing.assert_allclose(ours, meant, rtol=1e-5, atol=1e-6)


def test_running_statistics_by_a_loop():
    x, found = images(16, 5, 6, 7) * 3 + 2, []
    for dtype in (np.float32, np.float64):
        mean, variance = Tensor(np.zeros(5, dtype)), Tensor(np.ones(5, dtype))
        F.batch_norm(Tensor(x.astype(dtype)), mean, variance, training=True)
        found.append((mean.numpy(), variance.numpy()))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_a_precise_variance_far_from_zero():
    x = (rng.standard_normal((8, 2, 50, 50)) + 1000).astype(np.float32)
    y = F.batch_norm(Tensor(x), training=True).numpy()
    wide = x.astype(np.float64)
    exact = (wide - wide.mean((0, 2, 3), keepdims=True)) / np.sqrt(wide.var((0, 2, 3), keepdims=True) + 1e-5)
    assert np.abs(y - exact).max() < 1e-3


@pytest.mark.parametrize("beside", [False, True])
def test_many_entries_of_a_channel_are_summed_up_well(beside):
    """147 456 of them, in float32, one after the other, would leave 2e-4 of the variance to chance."""
    x, g = images(64, 4, 48, 48, beside=beside), images(64, 4, 48, 48, beside=beside)
    np.maximum(x, 0, out=x)
    statistics, kernel = np.empty((2, 4), np.float32), host.kernels["batch_norm"]
    assert kernel.fits(x)
    y, saved = kernel.forward(np, x, None, None, statistics, 1e-5)
    wide = x.astype(np.float64)
    mean, variance = wide.mean((0, 2, 3)), wide.var((0, 2, 3))
    np.testing.assert_allclose(statistics, [mean, variance], rtol=1e-5)
    _, gw, gb = kernel.backward(np, g, saved, (True,) * 3, statistics, 1e-5)
    unit = (wide - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None]
    for found, exact in ((gw, (unit * g).sum((0, 2, 3))), (gb, g.astype(np.float64).sum((0, 2, 3)))):
        np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-2)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 3), st.sampled_from([False, True]), st.data())
def test_pooling(axes, beside, data):
    kernel, stride, dilation = (tuple(data.draw(st.integers(1, most)) for _ in range(axes)) for most in (3, 3, 2))
    padding = tuple((data.draw(st.integers(0, k // 2)), data.draw(st.integers(0, k // 2))) for k in kernel)
    window = Window(kernel, stride, padding, dilation)
    size = [data.draw(st.integers(span, span + 4)) for span in window.spans()]
    x = np.round(images(17 if beside else 2, 3, *size, beside=beside))  # many are equal: the first takes the gradient
    for op in (lambda x: max_pool(x, window), lambda x: collect(x, None, window)):
        for ours, meant in with_and_without(op, x):
            np.testing.assert_allclose(ours, meant, atol=1e-5)


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("pool", [F.max_pool2d, F.avg_pool2d])
def test_pooling_of_what_is_not_finite(pool, special):
    x = images(1, 2, 40, 40)
    x[0, 0, 7, 9] = special
    (ours, meant), _ = with_and_without(lambda x: pool(x, 3, 2, 1), x)
    np.testing.assert_allclose(ours, meant, rtol=1e-5, atol=1e-6)


def test_without_numba_the_other_form_answers(monkeypatch):
    monkeypatch.setattr(loops, "available", lambda: False)
    saved = loops.instead_of(shared.table)["softmax"].forward(np, np.ones((2, 3), np.float32), -1)[1]
    assert saved[0] is shared.table["softmax"]


def larger(problem):
    """The problem with up to 40 more places along each axis and up to 12 times as many outputs, in float32."""
    x, weight, w, groups = problem
    size = [n + int(rng.integers(0, 40)) for n in x.shape[2:]]
    x = rng.standard_normal((*x.shape[:2], *size)).astype(np.float32)
    outputs = len(weight) * int(rng.integers(1, 12))
    return x, rng.standard_normal((outputs, *weight.shape[1:])).astype(np.float32), w, groups


def convolution_and_gradients(x, weight, g, w, groups):
    """y, or with a `g` the gradients of x and the weight, as sums over the entries of the kernel, in float64."""
    x, weight = wide(x), wide(weight)
    k, q = "ab"[: len(w.kernel)], "ij"[: len(w.kernel)]
    padded = w.pad(np, x)
    seen = w.over(np, padded)
    seen = seen.reshape(len(x), groups, -1, *seen.shape[2:])
    filters = weight.reshape(groups, -1, *weight.shape[1:])
    if g is None:
        y = np.einsum(f"ngc{k}{q},goc{k}->ngo{q}", seen, filters)
        return y.reshape(len(x), -1, *y.shape[3:])
    g = wide(g).reshape(len(g), groups, -1, *g.shape[2:])
    gx, by_entry = np.zeros_like(padded), np.einsum(f"ngo{q},goc{k}->ngc{k}{q}", g, filters)
    by_entry = by_entry.reshape(*x.shape[:2], *by_entry.shape[3:])
    for at in w.entries():
        w.over(np, gx)[at] += by_entry[at]
    return w.crop(gx), np.einsum(f"ngc{k}{q},ngo{q}->goc{k}", seen, g).reshape(weight.shape)


def check_convolution(x, weight, w, groups, is_relu=False):
    ops, y = loops_table("convolution"), convolution_and_gradients(x, weight, None, w, groups)
    scale, shift, more, g = (rng.standard_normal(n).astype("f4") for n in (len(weight), len(weight), y.shape, y.shape))
    column, terms = (-1, *(1,) * len(w.kernel)), weight[0].size

    def near(found, expected, terms=terms):
        assert found.dtype == np.float32
        slack = 4e-7 * (4 + terms**0.5) * max(1, np.abs(expected).max(initial=0))  # of so many rounded terms
        np.testing.assert_allclose(found, expected, rtol=0, atol=slack)

    for_x, for_weight = convolution_and_gradients(x, weight, g, w, groups)
    near(ops["conv"].compute(np, x, weight, shift, w, groups), y + shift.reshape(column))
    near(ops["conv_input_grad"].compute(np, g, weight, x.shape[2:], w, groups), for_x)
    near(ops["conv_weight_grad"].compute(np, x, g, w, groups), for_weight, g.size // len(weight))
    y = y * scale.reshape(column) + shift.reshape(column) + more
    found = ops["conv_norm"].compute(np, x, weight, scale, shift, more, w, groups, is_relu)
    near(found, np.maximum(y, 0) if is_relu else y)


def loops_table(file):
    return importlib.import_module(f"minigrad.backend.cpu.loops.{file}").table


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(problems(), st.booleans())
def test_convolution_is_its_definition(on_cores, problem, is_relu):
    assume(problem[0].size)
    x, weight, w, groups = larger(problem)
    check_convolution(x, weight, w, groups, is_relu)


KINDS = [  # samples, channels, outputs, side, kernel, stride, groups
    (2, 80, 20, 14, 3, 1, 1),  # filters that are multiplied in parts
    (3, 16, 70, 7, 7, 2, 1),
    (1, 600, 24, 7, 1, 1, 1),
    (2, 6, 64, 56, 3, 1, 1),  # columns that are multiplied where they lie
    (2, 1, 9, 28, 3, 1, 1),
    (5, 24, 24, 7, 3, 1, 24),  # depthwise
    (2, 8, 16, 15, 5, 2, 8),
    (2, 64, 64, 9, 3, 1, 4),
    (3, 5, 7, 1, 1, 1, 1),  # a place in each image
]


def check_kind(samples, channels, outputs, side, kernel, stride, groups):
    w = Window((kernel,) * 2, (stride,) * 2, ((kernel // 2,) * 2,) * 2, (1, 1))
    x = rng.standard_normal((samples, channels, side, side)).astype(np.float32)
    check_convolution(x, rng.standard_normal((outputs, channels // groups, kernel, kernel)).astype("f4"), w, groups)


@pytest.mark.parametrize("case", KINDS)
def test_convolution_of_every_kind(on_cores, case):
    check_kind(*case)


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf, 1e15])
@pytest.mark.parametrize("groups", [1, 6])
def test_what_is_not_finite_is_seen_where_a_filter_lies_on_it(groups, special):
    """A large entry, likewise, leaves no rounding where no filter lies on it."""
    w = Window((3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    x, weight = rng.standard_normal((2, 6, 9, 20)).astype("f4"), rng.random((6, 6 // groups, 3, 3)).astype("f4") + 1
    x[1, 2, 4, 7] = special
    ops, g = loops_table("convolution"), rng.standard_normal(x.shape).astype("f4")
    with np.errstate(all="ignore"):
        y, gx, gw = (
            convolution_and_gradients(x, weight, None, w, groups),
            convolution_and_gradients(g, weight, x, w, groups)[0],
            convolution_and_gradients(x, weight, g, w, groups)[1],
        )
    np.testing.assert_allclose(ops["conv"].compute(np, x, weight, None, w, groups), y, rtol=2e-6, atol=2e-5)
    found = ops["conv_norm"].compute(np, x, weight, np.ones(6, "f4"), np.zeros(6, "f4"), None, w, groups, True)
    np.testing.assert_allclose(found, np.maximum(y, 0), rtol=2e-6, atol=2e-5)
    found = ops["conv_input_grad"].compute(np, x, weight, x.shape[2:], w, groups)
    np.testing.assert_allclose(found, gx, rtol=2e-6, atol=2e-5)
    found = ops["conv_weight_grad"].compute(np, x, g, w, groups)
    np.testing.assert_allclose(found, gw, rtol=2e-5, atol=2e-4)


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(1, 100) | st.integers(250, 450)] * 3), st.tuples(*[st.booleans()] * 3))
def test_a_product_of_matrices_that_lie_either_way(sizes, ways):
    check_product(*sizes, *ways)


def check_product(m, n, k, a_turned, b_turned, add):
    """Into a part of an array, of which the rest stays as it was."""
    a, b = (
        (rng.standard_normal(size[::-1] if t else size, "f4"), t)
        for size, t in (((m, k), a_turned), ((k, n), b_turned))
    )
    whole = rng.standard_normal((m, n + 5), "f4")
    before, out = whole.copy(), whole[:, 2:-3]
    (a, *a_at), (b, *b_at) = ((x.T if t else x, 1 if t else x.shape[1], x.shape[1] if t else 1) for x, t in (a, b))
    into = out.ctypes.data, n + 5, int(add)
    loops_products().product(m, n, k, a.ctypes.data, *a_at, b.ctypes.data, *b_at, *into)
    expected = wide(a) @ wide(b) + (before[:, 2:-3] if add else 0)
    np.testing.assert_allclose(out, expected, rtol=0, atol=4e-7 * (4 + k**0.5) * max(1, np.abs(expected).max()))
    out[...] = before[:, 2:-3]
    np.testing.assert_array_equal(whole, before)


def loops_products():
    return importlib.import_module("minigrad.backend.cpu.loops.products")


def test_a_product_keeps_what_is_not_finite_where_it_is():
    a, b = rng.standard_normal((40, 50), "f4"), rng.standard_normal((50, 60), "f4")
    a[3, 7], b[9, 11], b[10, 12] = math.nan, math.inf, -math.inf
    out = np.empty((40, 60), "f4")
    loops_products().product(40, 60, 50, a.ctypes.data, 50, 1, b.ctypes.data, 60, 1, out.ctypes.data, 60, 0)
    np.testing.assert_allclose(out, wide(a) @ wide(b), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("features", [{"avx2": True}, {}])
def test_with_the_vectors_of_other_processors(features, tmp_path):
    """Of 256 and of 128 bits, with half as many registers; what several loops call is compiled once for all of them."""
    code = f"""if True:
        from llvmlite import binding
        binding.get_host_cpu_features = lambda: binding.targets.FeatureMap({features})
        import test_backend_cpu_loops as here
        from minigrad.backend.cpu.loops import registers
        assert registers.LANES == {8 if features else 4}
        for k in range(8):
            here.check_product(30, 51, 400, k & 1, k & 2, k & 4)
        for case in here.KINDS:
            here.check_kind(*case)
        assert [len(f.signatures) for f in (registers.multiply, registers.turn, registers.copy)] == [1, 1, 1]"""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent, env=environment)


FUNCTIONS = {
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.3),
    "elu": F.elu,
    "elu, steep": lambda x: F.elu(x, 3.0),
    "erf": mg.erf,
    "sigmoid": F.sigmoid,
    "silu": F.silu,
    "softplus": F.softplus,
    "softplus, steep": lambda x: F.softplus(x, 3.0, 5.0),
    "logsigmoid": F.logsigmoid,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_one_number(name, on_cores):
    """The values and slopes of its meaning in float64, also where they are very small, and where x is not finite."""
    special = [0, 6, -6, 1e-30, 89, -89, 1e4, -1e4, math.inf, -math.inf, math.nan]
    x = np.concatenate([special, np.linspace(-20, 20, 2990), np.linspace(-87, 87, 99)]).astype("f4").reshape(31, 100)
    for lies in (x, np.asfortranarray(x), x[:, ::3]):
        g, found = rng.standard_normal(lies.shape).astype("f4"), []
        for dtype in (np.float32, np.float64):
            given = mg.Tensor(lies.astype(dtype), requires_grad=True)
            y = FUNCTIONS[name](given)
            y.backward(mg.Tensor(g.astype(dtype)))
            assert y.dtype == dtype and given.grad.dtype == dtype
            found += [y.numpy(), given.grad.numpy()]
        value, slope, expected, expected_slope = found
        steep = 3 if "steep" in name else 1  # the exponent is rounded
        np.testing.assert_allclose(value, expected, rtol=steep * 2e-6, atol=1e-37)
        np.testing.assert_allclose(slope, expected_slope, rtol=steep * 4e-6, atol=2e-7 if name == "silu" else 1e-37)
    if "relu" not in name:  # of which the second derivative is 0
        again = mg.Tensor(x[2:9], requires_grad=True)
        (second,) = mg.grad((mg.grad(FUNCTIONS[name](again).sum(), [again], create_graph=True)[0] ** 2).sum(), [again])
        assert np.isfinite(second.numpy()).all() and second.dtype == np.float32


def test_an_infinite_gradient_reaches_relu_as_the_rule_has_it():
    x = mg.Tensor(np.repeat([-1, 0, 1, 7], 600).astype("f4"), requires_grad=True)
    for f, expected in (
        (F.relu, [math.nan, math.nan, math.inf, math.inf]),
        (F.relu6, [math.nan, math.nan, math.inf, 0]),
    ):
        x.grad = None
        with np.errstate(all="ignore"):
            f(x).backward(mg.Tensor(np.full(2400, math.inf, "f4")))
        np.testing.assert_array_equal(x.grad.numpy(), np.repeat(expected, 600))
