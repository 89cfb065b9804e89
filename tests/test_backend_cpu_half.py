"""Floats of 16 bits on a CPU: what the kernels for float32 give for the same numbers, rounded once."""

import numpy as np
import pytest
from test_catalogue import NAMED, cast, tensors

import minigrad as mg
from minigrad import backend
from minigrad import functional as F

bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
both = pytest.mark.parametrize("dtype", [np.dtype(np.float16), np.dtype(bfloat16)], ids=str)
rng = np.random.default_rng(0)


@both
@pytest.mark.parametrize("row", [row for row in NAMED if row.values[0].op in backend.host.half_kernels])
def test_a_kernel_is_that_of_float32_rounded_once(row, dtype):
    given = cast(row.inputs, dtype)
    y, exact = row.call(*tensors(given)), row.call(*tensors(cast(given, np.float32)))
    one_kernel = y.node.step.name == row.op  # and not several ops, each of which rounds
    np.testing.assert_allclose(
        *(t.numpy().astype(dtype).astype("f4") for t in (y, exact)), rtol=0 if one_kernel else 2.0**-6
    )


@both
def test_a_product_of_many_terms(dtype):
    a, b = (mg.Tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True) for shape in ((7, 3000), (3000, 2)))
    wide_a, wide_b = (x.data.astype("f4") for x in (a, b))
    for y in (a @ b, F.linear(a, b.T)):
        np.testing.assert_array_equal(y.data, (wide_a @ wide_b).astype(dtype))
    g = rng.standard_normal((7, 2)).astype(dtype)
    (a @ b).backward(g)
    for x, gradient in ((a, g.astype("f4") @ wide_b.T), (b, wide_a.T @ g.astype("f4"))):
        assert x.grad.dtype == dtype
        np.testing.assert_array_equal(x.grad.data, gradient.astype(dtype))


def test_the_sum_of_many_rows_does_not_stagnate():
    """The gradient of a bias adds up 5000 ones, and float16 cannot count beyond 2048."""
    bias = mg.zeros(2, dtype="float16", requires_grad=True)
    y = F.linear(mg.ones((5000, 3), dtype="float16"), mg.ones((2, 3), dtype="float16"), bias)
    y.backward(np.ones(y.shape, "f2"))
    assert bias.grad.tolist() == [5000, 5000]


def test_numbers_of_32_bits_and_whole_ones_have_the_kernels_they_had():
    for name, kernel in backend.host.kernels.items():
        assert backend.host.kernel(name, np.dtype("f8")) is kernel and backend.host.kernel(name, np.dtype("i2")) is None
    assert (mg.ones(2, dtype="int16") @ mg.ones(2, dtype="int16")).dtype == np.int64
