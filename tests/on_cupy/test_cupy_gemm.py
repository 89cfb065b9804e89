"""Products of matrices by cuBLAS: all layouts and dtypes, without a copy wherever one can be done without."""

import os

import ml_dtypes
import numpy as np
import pytest

import minigrad as mg
from minigrad import backend
from minigrad import functional as F
from minigrad.backend.cuda import gemm as cuda_gemm
from minigrad.backend.cuda.gemm import gemm
from minigrad.tensor import Tensor

xp = backend.get("cuda").xp
rng = np.random.default_rng(0)
SHAPES = [
    ((5, 7), (7, 4)),
    ((3, 5, 7), (3, 7, 4)),
    ((3, 5, 7), (7, 4)),
    ((5, 7), (3, 7, 4)),
    ((2, 3, 5, 7), (2, 3, 7, 4)),
    ((2, 1, 5, 7), (1, 3, 7, 4)),
    ((2, 3, 5, 7), (3, 7, 4)),
    ((3, 1, 7), (3, 7, 1)),
    ((1, 7), (7, 1)),
    ((5, 1), (1, 4)),
    ((0, 7), (7, 4)),
    ((5, 0), (0, 4)),
    ((0, 5, 7), (7, 4)),
    ((2, 0, 5, 7), (1, 7, 4)),
    ((130, 300), (300, 70)),
]
TOLERANCE = {
    np.dtype(t): tolerance for t, tolerance in (("f8", 1e-14), ("f4", 1e-6), ("f2", 1e-3), (ml_dtypes.bfloat16, 8e-3))
}


def array(shape, dtype="f4", turned=False):
    """Of that shape; turned, it lies transposed in memory."""
    x = rng.standard_normal((*shape[:-2], shape[-1], shape[-2]) if turned else shape)
    x = xp.asarray(x.astype(dtype))
    return x.swapaxes(-1, -2) if turned else x


def product(a, b):
    return a.get().astype("f8") @ b.get().astype("f8")


def assert_near(found, expected):
    assert found.shape == expected.shape
    bound = TOLERANCE[found.dtype] * abs(expected).max(initial=1)
    np.testing.assert_allclose(found.get().astype("f8"), expected, rtol=0, atol=bound)


def launches():
    if os.environ.get("MINIGRAD_GPU"):
        pytest.skip("a real GPU does not count")
    import cupy_sim

    return cupy_sim.count("launches")


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("a", "b"), SHAPES, ids=str)
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_every_layout(dtype, a, b, turned):
    a, b = array(a, dtype, turned[0]), array(b, dtype, turned[1])
    assert_near(gemm(a, b), product(a, b))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_adding_to_what_is_there(dtype):
    a, b, out = array((3, 5, 7), dtype), array((3, 4, 7), dtype).swapaxes(1, 2), array((3, 5, 4), dtype)
    before = out.get().astype("f8")
    assert gemm(a, b, out, alpha=0.5, beta=1) is out
    assert_near(out, 0.5 * product(a, b) + before)
    out[...] = np.nan
    assert_near(gemm(a, b, out), product(a, b))  # beta = 0: whatever was there


def test_into_part_of_an_array():
    a, b, whole = array((2, 5, 7)), array((2, 7, 4)), xp.zeros((2, 9, 6), "f4")
    gemm(a, b, whole[:, 2:7, 1:5])
    assert_near(whole[:, 2:7, 1:5], product(a, b))
    whole[:, 2:7, 1:5] = 0
    assert not whole.any()


def test_nothing_is_copied():
    """Heads split from (B, T, H·d), transposed or not, one matrix for all of a stack, every second row."""
    q, k = (array((1, 6, 3, 8)).transpose(0, 2, 1, 3) for _ in range(2))
    one = array((8, 5))
    pairs = [
        (q, k.swapaxes(-1, -2)),
        (q, one),
        (array((4, 6, 8)), one),
        (array((12, 8))[::2], one),
        (array((8, 4)).T, one),
        (array((5, 8)), array((3, 8, 4))),
        (array((4, 2, 6, 8)), array((8, 5), turned=True)),
    ]
    for a, b in pairs:
        expected, before = product(a, b), launches()
        y = gemm(a, b)
        assert launches() == before, (a.shape, a.strides, b.shape, b.strides)
        assert_near(y, expected)


def test_what_lies_unevenly_is_copied():
    pieces = array((4, 2, 6, 16))
    for a in (
        pieces[:, :, :, ::2],
        pieces[:, :, ::-1, :8],
        pieces.transpose(1, 2, 0, 3)[..., :8],
        pieces[:, :1, :, :8],
        xp.broadcast_to(pieces[..., :1], (4, 2, 6, 8)),
        pieces.swapaxes(0, 1)[..., :8],
    ):
        b = array((*a.shape[:-2], 8, 5))
        assert_near(gemm(a, b), product(a, b))


@pytest.mark.parametrize(
    ("a", "b", "out", "message"),
    [
        (((5, 7), "f4"), ((6, 4), "f4"), None, r"gemm: float32 \(5, 7\) times float32 \(6, 4\)"),
        (((5, 7), "f4"), ((7, 4), "f2"), None, "float32 .* times float16"),
        (((5, 7), "f4"), ((7, 4), "f4"), ((5, 5), "f4"), r"into float32 \(5, 5\)"),
        (((5, 7), "f4"), ((7, 4), "f4"), ((5, 4), "f2"), r"into float16 \(5, 4\)"),
        (((5, 7), "f4"), ((7, 4), "f4"), ((5, 4), "f4", True), "the rows of out .* are not in order"),
    ],
)
def test_what_does_not_fit(a, b, out, message):
    with pytest.raises(ValueError, match=message):
        gemm(array(*a), array(*b), out and array(*out))


@pytest.mark.parametrize("on", [False, True])
def test_tf32_is_asked_for(monkeypatch, on):
    asked, real = [], cuda_gemm._cublas()

    class Listening:
        def __getattr__(self, name):
            return getattr(real, name)

        def cublasGemmStridedBatchedEx(self, *arguments):
            asked.append(arguments[-2])
            return real.cublasGemmStridedBatchedEx(*arguments)

    monkeypatch.setattr(cuda_gemm, "_cublas", Listening)
    monkeypatch.setattr(cuda_gemm, "tf32", on)
    for dtype in TOLERANCE:
        gemm(array((3, 3), dtype), array((3, 3), dtype))
    assert asked == [
        cuda_gemm.SUM_IN_64,
        cuda_gemm.SUM_IN_TF32 if on else cuda_gemm.SUM_IN_32,
        *[cuda_gemm.SUM_IN_32] * 2,
    ]


@pytest.mark.parametrize(
    "op",
    [lambda x, y: x @ y, lambda x, y: F.linear(x, y[0]), lambda x, y: mg.einsum("bij,bjk->bik", x, y)],
    ids=["matmul", "linear", "einsum"],
)
@pytest.mark.parametrize("dtype", ["f4", "f2", "bfloat16"])
def test_every_product_of_the_package_goes_through_it(op, dtype, monkeypatch):
    """Also where CuPy's own would fail: stacks of bfloat16."""
    calls = []
    monkeypatch.setattr(cuda_gemm, "gemm", lambda *a, **k: calls.append(a) or gemm(*a, **k))
    x, y = (Tensor(rng.standard_normal((2, 3, 3)), True, dtype=dtype, device="cuda") for _ in range(2))
    op(x, y).sum().backward()
    assert len(calls) == 3 and x.grad.dtype == x.dtype
