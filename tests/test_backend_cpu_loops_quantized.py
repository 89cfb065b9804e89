"""Loops over weights of 8 and 4 bits: the numbers of the definition, whatever the sizes and the number of cores."""

import numpy as np
import pytest

from minigrad import functional as F
from minigrad.backend import host
from minigrad.backend.cpu import cores, loops
from minigrad.tensor import Tensor, grad

pytest.importorskip("numba")
quantized = pytest.importorskip("minigrad.backend.cpu.loops.quantized")
pytestmark = pytest.mark.slow  # of each loop, the first call compiles it
rng = np.random.default_rng(0)
SIZES = [(1, 4, 64), (1, 7, 50), (3, 1, 1), (2, 9, 16), (8, 13, 129), (17, 13, 129), (40, 70, 200)]


@pytest.fixture(params=[1, 2])
def on_cores(request, monkeypatch):
    monkeypatch.setattr(cores, "CORES", request.param)
    monkeypatch.setattr(quantized, "MIN_SHARED", 0)
    monkeypatch.setattr(quantized, "BLOCK", 512)


@pytest.mark.parametrize("kind", ["int8", "int4"])
@pytest.mark.parametrize(("m", "n", "features"), SIZES)
@pytest.mark.parametrize("with_bias", [False, True])
def test_a_product_and_its_gradients(kind, m, n, features, with_bias, on_cores):
    numbers, scales = F.quantize(rng.standard_normal((n, features)).astype("f4"), kind)
    x = Tensor(rng.standard_normal((m, features)).astype("f4"), True)
    s, b = Tensor(scales, True), Tensor(rng.standard_normal(n).astype("f4"), True) if with_bias else None
    g = Tensor(rng.standard_normal((m, n)).astype("f4"))
    assert host.kernels["quantized_linear"].fits(x.data, s.data, None if b is None else b.data, numbers)
    leaves = [x, s] + [b] * with_bias
    y = F.quantized_linear(x, numbers, s, b)
    found = [y.data, *(one.data for one in grad(y, leaves, g))]
    weight = F.dequantize(numbers, scales.astype("f8"), features)
    whole = (
        np.divide(weight, np.repeat(scales[:, None] if kind == "int8" else scales, 64, 1)[:, :features])
        if (kind == "int4")
        else numbers
    )
    products = (g.data.T.astype("f8") @ x.data) * np.rint(whole)
    of_scale = products.sum(1) if kind == "int8" else np.add.reduceat(products, range(0, features, 64), 1)
    expected = [x.data @ weight.T + (0 if b is None else b.data), g.data @ weight, of_scale, g.data.sum(0)]
    for one, two in zip(found, expected):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4 * max(1, abs(two).max()))


@pytest.mark.parametrize("kind", ["int8", "int4"])
@pytest.mark.parametrize("rows", [1, 20])
def test_what_is_not_finite_stays_in_its_row(kind, rows):
    numbers, scales = F.quantize(rng.standard_normal((6, 70)).astype("f4"), kind)
    x = rng.standard_normal((rows, 70)).astype("f4")
    x[0, 3] = np.nan
    y = F.quantized_linear(x, numbers, scales)
    assert np.isnan(y[0]).all() and np.isfinite(y[1:]).all()


def test_without_numba_the_definition_answers(monkeypatch):
    numbers, scales = F.quantize(rng.standard_normal((6, 70)).astype("f4"), "int4")
    x = rng.standard_normal((2, 70)).astype("f4")
    by_loop = F.quantized_linear(x, numbers, scales)
    monkeypatch.setattr(loops, "available", lambda: False)
    np.testing.assert_allclose(F.quantized_linear(x, numbers, scales), by_loop, rtol=1e-5, atol=1e-6)


def test_extreme_numbers_of_both_kinds():
    """Each number that a byte can hold, beside one that shows its place."""
    x = np.eye(64, dtype="f4")
    every = np.arange(256, dtype=np.uint8).reshape(8, 32)
    y = F.quantized_linear(x, every, np.ones((8, 1), "f4"))
    np.testing.assert_array_equal(y.T, F.dequantize(every, np.ones((8, 1), "f4"), 64))
    assert y.min() == -8 and y.max() == 7
    every = np.arange(-128, 128).astype(np.int8).reshape(4, 64)
    np.testing.assert_array_equal(F.quantized_linear(x[:5], every, np.ones(4, "f4")), every.T[:5])


def test_of_frozen_scales_the_input_is_not_kept():
    numbers, scales = F.quantize(rng.standard_normal((6, 70)).astype("f4"))
    x = Tensor(rng.standard_normal((2, 70)).astype("f4"), True)
    y = F.quantized_linear(x, Tensor(numbers), Tensor(scales))
    kept = [one for part in y.node.saved if isinstance(part, tuple) for one in part]
    assert not any(one is x.data for one in kept)
