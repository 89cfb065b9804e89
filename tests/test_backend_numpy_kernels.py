"""The CPU's kernels at the edges of what they handle; that they equal the generic ones is asked in the catalogue."""
import math
import threading

import numpy as np
import pytest

from minigrad.backend import cpu, kernels, numpy_kernels

rng = np.random.default_rng(0)
exact_erf = np.vectorize(math.erf, [float])


def test_shared_work_comes_back_in_order_and_errors_come_out():
    assert numpy_kernels.share(lambda i: i * i, list(range(50))) == [i * i for i in range(50)]
    assert numpy_kernels.share(lambda i: i, []) == []

    def work(i):
        if i == 30:
            raise KeyError(i)
    with pytest.raises(KeyError):
        numpy_kernels.share(work, list(range(50)))
    assert numpy_kernels.share(lambda i: i, [1, 2]) == [1, 2]


def test_work_can_be_shared_from_several_threads_at_once():
    found = {}

    def run(k):
        found[k] = numpy_kernels.share(lambda i: i + k, list(range(200)))
    threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {k: [i + k for i in range(200)] for k in range(4)}


def test_pieces_cover_everything_once():
    x = np.zeros((numpy_kernels.PIECE // 8, 37), np.float32)

    def work(piece):
        piece += 1
    numpy_kernels.each_piece(work, x)
    assert (x == 1).all()


def test_erf():
    x = np.concatenate([np.linspace(-6, 6, 100_001), [0, 1e-30, -1e-30, 40, -40, np.inf, -np.inf]])
    single = cpu.erf(x.astype("f4"))
    assert single.dtype == np.float32 and np.abs(single - exact_erf(x.astype("f4").astype(float))).max() < 1.5e-7
    np.testing.assert_array_equal(cpu.erf(x), exact_erf(x))


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_and_its_slope_everywhere(approximate):
    x = np.concatenate([np.linspace(-12, 12, 20_001), [0, 1e-30, -1e-30, 1e-10, 300, -300, 1e15, -1e15]]).astype("f4")
    g, wide = np.ones_like(x), x.astype(float)
    y, saved = cpu.kernels["gelu"].forward(np, x, approximate)
    gx, = cpu.kernels["gelu"].backward(np, g, saved, (True,), approximate)
    with np.errstate(over="ignore", invalid="ignore"):
        expected, kept = kernels.table["gelu"].forward(np, wide, approximate)
        slope, = kernels.table["gelu"].backward(np, np.ones_like(wide), kept, (True,), approximate)
    fine = np.abs(wide) < 100
    np.testing.assert_allclose(y[fine], expected[fine], atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(gx[fine], slope[fine], atol=64 * np.finfo("f4").eps)        # x is up to 12 times a rounding
    assert np.isfinite(gx).all() and (gx[wide > 100] == 1).all() and np.abs(gx[wide < -100]).max() < 1e-6


def test_softmax_of_huge_and_of_forbidden_entries():
    x = rng.standard_normal((300, 64)).astype("f4") * 30
    x[0], x[1, 3], x[2, 1:] = 1e4, 3e38, -np.inf
    y, _ = cpu.kernels["softmax"].forward(np, x, -1)
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-5)
    assert y[1, 3] == 1 and y[2, 0] == 1 and (y[0] == np.float32(1 / 64)).all()


@pytest.mark.parametrize(("T", "S", "causal"), [(700, 700, True), (700, 700, False), (3, 900, False), (65, 130, True)])
def test_attention_in_blocks_is_attention_at_once(T, S, causal):
    q, k, v = (rng.standard_normal((2, n, 3, 8)).astype("f4").swapaxes(1, 2) for n in (T, S, S))
    mask = rng.random((2, 1, T, S)) < 0.7
    mask[0, 0, 1] = False                       # one query may attend to nothing
    keep = rng.random((2, 3, T, S)) < 0.9
    g = rng.standard_normal((2, 3, T, 8)).astype("f4")
    options = (mask, keep, 0.1, 8**-0.5, causal)
    found, expected = [], []
    for kernel, dtype, into in ((cpu.kernels, "f4", found), (kernels.table, "f8", expected)):
        kernel = kernel["scaled_dot_product_attention"]
        y, saved = kernel.forward(np, *(x.astype(dtype) for x in (q, k, v)), *options)
        into += [y, *kernel.backward(np, g.astype(dtype), saved, (True, True, True), *options)]
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, atol=3e-5)
    assert (found[0][0, :, 1] == 0).all() and (found[1][0, :, 1] == 0).all()
