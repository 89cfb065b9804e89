"""Matrix products on a CPU equal NumPy's, whatever their size, memory order and number of cores."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import ops
from minigrad.backend.cpu import cores, mkl, products

rng = np.random.default_rng(1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "rows, inputs, outputs", [(64, 5, 1), (64, 1, 8), (64, 1, 1), (1, 5, 3), (1, 1, 1), (5000, 300, 1), (2, 3, 0)]
)
@pytest.mark.parametrize("turned", [False, True])
def test_linear_of_one_row_or_column_or_none(rows, inputs, outputs, bias, turned):
    """Matrices that lie in order and transposed at once."""
    x, weight, g = (
        rng.standard_normal(shape, np.float32) for shape in ((rows, inputs), (outputs, inputs), (rows, outputs))
    )
    x, b = np.asfortranarray(x) if turned else x, rng.standard_normal(outputs, np.float32) if bias else None
    y, saved = products.linear_forward(np, x, weight, b)
    gradients = products.linear_backward(np, g, saved, (True, True, bias))
    for a, e in zip(
        (y, *gradients), (x @ weight.T + (b if bias else 0), g @ weight, g.T @ x, g.sum(0) if bias else None)
    ):
        if e is not None:
            np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-4 * np.abs(e).max(initial=0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("turned, core_count", [(False, 1), (False, 3), (True, 2)])
@pytest.mark.parametrize(
    "one, other",
    [
        ((70, 80), (80, 90)),
        ((5, 60, 80), (80, 90)),
        ((2, 5, 60, 80), (80, 30)),
        ((60, 80), (4, 80, 90)),
        ((3, 1, 64, 50), (5, 50, 64)),
        ((1, 100, 80), (1, 80, 90)),
        ((1, 12, 40, 32), (1, 12, 32, 50)),
        ((2, 30, 20, 16), (2, 30, 16, 20)),
        ((2, 1, 600), (600, 500)),
    ],
)
def test_products_of_large_stacks_and_their_gradients(one, other, turned, core_count, dtype, monkeypatch):
    monkeypatch.setattr(cores, "CORES", core_count)
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in (one, other))
    if turned:
        a, b = (np.ascontiguousarray(x.mT).mT for x in (a, b))
    x, w = (mg.Tensor(array, requires_grad=True) for array in (a, b))
    y = x @ w
    g = rng.standard_normal(y.shape).astype(dtype)
    y.backward(mg.Tensor(g))
    expected = np.matmul(a, b), ops.sum_to(np.matmul(g, b.mT), one), ops.sum_to(np.matmul(a.mT, g), other)
    for found, e in zip((y.data, x.grad.data, w.grad.data), expected, strict=True):
        assert found.dtype == dtype and found.shape == e.shape
        np.testing.assert_allclose(found, e, rtol=1e-4, atol=1e-5 * np.abs(e).max())


@pytest.mark.parametrize(
    "one, other",
    [
        ((600, 700), (700,)),
        ((600,), (600, 700)),
        ((600,), (600,)),
        ((20_000,), (20_000,)),
        ((3, 300, 700), (700,)),
        ((300,), (3, 300, 700)),
        ((0, 3), (3,)),
        ((0,), (0,)),
        ((0,), (0, 3)),
    ],
)
@pytest.mark.parametrize("summed", [True, False])
def test_products_with_vectors_and_their_gradients(one, other, summed):
    a, b = (rng.standard_normal(shape, np.float32) for shape in (one, other))
    x, w = (mg.Tensor(array, requires_grad=True) for array in (a, b))
    y = x @ w
    g = np.ones(y.shape, np.float32) if summed else rng.standard_normal(y.shape, np.float32)
    (y.sum() if summed else (y * g).sum()).backward()
    left, right = a if a.ndim > 1 else a[None], b if b.ndim > 1 else b[:, None]
    g = g.reshape(*np.broadcast_shapes(left.shape[:-2], right.shape[:-2]), left.shape[-2], right.shape[-1])
    expected = (
        a @ b,
        ops.sum_to(g @ right.mT, left.shape).reshape(one),
        ops.sum_to(left.mT @ g, right.shape).reshape(other),
    )
    for found, e in zip((y.data, x.grad.data, w.grad.data), expected, strict=True):
        assert found.dtype == np.float32 and found.shape == e.shape
        np.testing.assert_allclose(found, e, rtol=1e-4, atol=1e-4 * np.abs(e).max(initial=0))


@pytest.mark.parametrize(
    "one, other", [((3, 4, 0), (0, 5)), ((3, 4, 6), (6, 0)), ((0, 4, 6), (6, 5)), ((0, 4, 6), (0, 6, 5))]
)
def test_products_of_nothing_have_gradients(one, other):
    x, w = (mg.ones(shape, requires_grad=True) for shape in (one, other))
    y = x @ w
    y.sum().backward()
    assert (
        y.shape == np.matmul(x.data, w.data).shape
        and x.grad.shape == one
        and w.grad.shape == other
        and not w.grad.data.any()
    )


def test_products_that_do_not_fit_are_refused():
    for rows in 2, 100:  # small ones, and large
        with pytest.raises(ValueError, match="the last axis of a"):
            mg.ones((3, rows, 80)) @ mg.ones((3, rows, 80))
        with pytest.raises(ValueError, match=r"the stacks' axes \(3,\) and \(2,\) do not broadcast"):
            mg.ones((3, rows, 80)) @ mg.ones((2, 80, rows))


@pytest.mark.parametrize("tbb", [True, False])
@pytest.mark.parametrize("texts", [1, 4, 5])
def test_linear_of_a_token_at_a_time(texts, tbb, monkeypatch):
    if not tbb:
        monkeypatch.setattr(mkl, "tbb", lambda: None)
    x, weight, bias = (rng.standard_normal(shape, np.float32) for shape in ((texts, 1, 96), (70, 96), 70))
    for b in (None, bias):
        y, _ = products.linear_forward(np, x, weight, b)
        np.testing.assert_allclose(y, x @ weight.T + (0 if b is None else b), rtol=1e-4, atol=1e-4)
