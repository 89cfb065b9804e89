"""Numbers of 16 bits on CuPy: whatever is added up of them is added up in float32, and rounded once."""

import ml_dtypes
import numpy as np
import pytest
from two_backends import NAMED, run

from minigrad.checking.catalogue.rows import is_float


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


# Their CUDA kernels add up in float32, but keep some results between in 16 bits: test_cupy_catalogue.py says how near
# they are.  So does gelu with a bias (gelu-2), whose gradient sums that of x as it was rounded.
PARTLY = {
    "conv",
    "conv_input_grad",
    "conv_weight_grad",
    "gru",
    "lstm",
    "matmul",
    "rnn",
    "scaled_dot_product_attention",
    "softmax",
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("row", [p for p in NAMED if p.values[0].op not in PARTLY and p.id != "gelu-2"])
def test_the_catalogue_in_16_bits(row, dtype):
    """Values and gradients are the CPU's, to a step of the dtype."""
    eps = float(ml_dtypes.finfo(dtype).eps)
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    for a, b in zip(*([y.numpy() for y in run(row, kind, device)] for device in ("cuda", "cpu")), strict=True):
        if is_float(b):
            assert a.dtype == b.dtype
            a, b = (x.astype(np.float64) for x in (a, b))
            np.testing.assert_allclose(
                a, b, rtol=1.01 * eps, atol=1e-3 * eps * abs(b[np.isfinite(b)]).max(initial=0) + 1e-7
            )
