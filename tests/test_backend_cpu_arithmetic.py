"""Arithmetic on large arrays, shared out over the cores: NumPy's values, dtypes, warnings and memory order."""

import operator

import numpy as np
import pytest

import minigrad as mg
from minigrad.backend import Value, host
from minigrad.backend.cpu import arithmetic

OPS = {
    "add": (mg.add, operator.add),
    "subtract": (mg.subtract, operator.sub),
    "multiply": (mg.multiply, operator.mul),
    "divide": (mg.divide, operator.truediv),
}
rng = np.random.default_rng(0)
X = rng.standard_normal((40, 50)).astype("f4")
by_op = pytest.mark.parametrize("name", OPS)


@by_op
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (X, X[::-1].copy()),
        (X, X[::-1]),
        (X, 0.5),
        (X, 3),
        (X, X[0]),
        (X, X[:, :1]),
        (X, X[:1, :1]),
        (X.T, X.T),
        (X[:, ::2], 2.0),
        (X[None], X[0]),
        (X, X.astype("f8")),
        (X.astype("f8"), X),
        (X.astype("i8"), 7),
        (X.astype("f2"), X.astype("f2")),
        (X[0], X),
    ],
    ids=lambda x: str(getattr(x, "shape", x)),
)
def test_values_are_numpys(name, a, b, small_pieces):
    op, plain = OPS[name]
    y = op(a, b)
    floats = [x.dtype for x in (a, b) if hasattr(x, "dtype") and x.dtype.kind == "f"]
    expected = plain(a, b).astype(np.result_type(*floats)) if floats else plain(a, b)
    assert y.dtype == (expected.dtype if floats or expected.dtype.kind == "i" else np.float32)
    np.testing.assert_allclose(y, expected, rtol=1e-3 if y.dtype == np.float16 else 1e-6, atol=1e-6)


@by_op
def test_small_arrays_are_not_shared_out(name, monkeypatch):
    """The op itself computes them: `least` is asked before the CPU's version is called."""
    kernel = host.kernels[name]
    assert isinstance(kernel, Value) and kernel.least == 1 << 18
    asked = []
    monkeypatch.setitem(host.kernels, name, Value(lambda xp, a, b: asked.append(a.shape) or a, least=2000))
    OPS[name][0](X[0], 2.0)
    OPS[name][0](2.0, X)  # a number has no entries
    assert asked == []
    OPS[name][0](X, 2.0)
    assert asked == [(40, 50)]


def test_numpys_warnings_are_those_of_the_calling_thread(small_pieces):
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        mg.divide(X, 0.0)
    with np.errstate(divide="ignore"):
        assert np.isinf(mg.divide(X, 0.0)).all()


def test_arrays_in_fortrans_order_stay_so(small_pieces):
    x = np.asfortranarray(rng.standard_normal((16, 3, 8, 8), np.float32))
    y = arithmetic.in_parts(np.multiply, x, np.arange(8, dtype=np.float32))
    assert y.strides == x.strides
    np.testing.assert_array_equal(y, x * np.arange(8, dtype=np.float32))
