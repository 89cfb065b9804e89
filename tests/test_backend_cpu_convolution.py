"""The CPU's convolution against its definition, whatever the pieces and the cores; and that what it lays down stays
small.
"""

import contextlib
import tracemalloc
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ops_window import POINT, TIGHT, R, problems

from minigrad.backend.cpu import convolution as kernels
from minigrad.backend.cpu import cores, im2col, memory
from minigrad.checking.catalogue import window_rows as slow


def on(whole, space, count=cores.CORES):
    """Pieces of so many entries on so many cores, and filters that are cut or not; 2 samples are many."""
    stack = contextlib.ExitStack()
    for thing, name, value in (
        (im2col, "MAX_COLUMNS", space),
        (kernels.depthwise, "MAX_GROUP", space),
        (cores, "CORES", count),
        (memory, "MIN_SAMPLES", 2),
        (im2col.Walk, "_at_once", lambda self: whole),
    ):
        stack.enter_context(mock.patch.object(thing, name, value))
    return stack


def lying(x, beside):
    """x, or a copy in which the samples of a pixel lie beside each other."""
    return memory.by_sample(np.ascontiguousarray(memory.by_pixel(x))) if beside else x


@settings(max_examples=300)
@given(problems(), st.sampled_from([1, 20, 1000]), st.integers(1, 3), st.booleans(), st.booleans())
def test_the_three_are_their_definitions_whatever_the_pieces(problem, space, count, whole, beside):
    x, weight, w, groups = problem
    x, y, bias = lying(x, beside), slow.conv(x, weight, None, w, groups), R(len(weight))
    g = lying(R(*y.shape), beside)
    with on(whole, space, count):
        found, saved = kernels.conv_forward(np, x, weight, bias, w, groups)
        np.testing.assert_allclose(found, y + bias.reshape(-1, *(1,) * len(w.kernel)), atol=1e-13)
        backward = kernels.conv_backward(np, g, saved, (True, True, True), w, groups)
    for a, b in zip(
        backward,
        (
            slow.conv_input_grad(g, weight, x.shape[2:], w, groups),
            slow.conv_weight_grad(x, g, w, groups),
            g.sum((0, *range(2, g.ndim))),
        ),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-13)


@settings(max_examples=200)
@given(problems(), st.sampled_from([1, 1000]), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_a_block_in_one_go(problem, space, is_relu, with_more, whole, beside):
    x, weight, w, groups = problem
    x = lying(x, beside)
    column = (-1, *(1,) * len(w.kernel))
    scale, shift, y = R(len(weight)), R(len(weight)), slow.conv(x, weight, None, w, groups)
    g, more, scaled = R(*y.shape), R(*y.shape) if with_more else None, scale.reshape(*column, 1)
    expected = y * scale.reshape(column) + shift.reshape(column) + (more if with_more else 0)
    with on(whole, space):
        found, saved = kernels.conv_norm_forward(np, x, weight, scale, shift, more, w, groups, is_relu)
        backward = kernels.conv_norm_backward(np, g, saved, (True,) * 5, w, groups, is_relu)
    np.testing.assert_allclose(found, np.maximum(expected, 0) if is_relu else expected, atol=1e-13)
    h = g * (expected > 0) if is_relu else g
    filters = slow.conv_weight_grad(x, h, w, groups)
    gradients = (
        slow.conv_input_grad(h, weight * scaled, x.shape[2:], w, groups),
        filters * scaled,
        (filters * weight).reshape(len(weight), -1).sum(1),
        h.sum((0, *range(2, g.ndim))),
        h,
    )
    for a, b in zip(backward, gradients, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@settings(max_examples=50)
@given(problems())
def test_the_way_back_and_its_gradients(problem):
    x, weight, w, groups = problem
    g = R(*slow.conv(x, weight, None, w, groups).shape)
    found, saved = kernels.transposed_forward(np, g, weight, x.shape[2:], w, groups)
    np.testing.assert_allclose(found, slow.conv_input_grad(g, weight, x.shape[2:], w, groups), atol=1e-13)
    backward = kernels.transposed_backward(np, x, saved, (True, True), x.shape[2:], w, groups)
    np.testing.assert_allclose(backward[0], slow.conv(x, weight, None, w, groups), atol=1e-13)
    np.testing.assert_allclose(backward[1], slow.conv_weight_grad(x, g, w, groups), atol=1e-13)


def test_a_gradient_that_does_not_lie_in_order():
    x, weight, g = R(4, 3, 6, 7), R(5, 3, 3, 3), R(4, 6, 7, 5).transpose(0, 3, 1, 2)
    for found, expected in zip(
        kernels.conv_backward(np, g, (x, weight), (True, True, False), TIGHT, 1),
        kernels.conv_backward(np, g.copy(), (x, weight), (True, True, False), TIGHT, 1),
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("samples", [1, 5])
def test_a_kernel_of_one_is_not_copied(monkeypatch, samples, count):
    monkeypatch.setattr(cores, "CORES", count)
    x, weight, shared, multiply = R(samples, 3, 12, 11), R(4, 3, 1, 1), [], np.matmul
    monkeypatch.setattr(
        np, "matmul", lambda a, b, **out: shared.append(np.shares_memory(b, x)) or multiply(a, b, **out)
    )
    kernels.conv_forward(np, x, weight, None, POINT, 1)
    assert shared and all(shared)


def test_what_is_laid_down_at_a_time_stays_small(monkeypatch):
    """However many samples there are, beside the result only what each core works on is made."""
    x, weight = np.zeros((64, 8, 32, 32), "f4"), np.zeros((8, 8, 3, 3), "f4")
    monkeypatch.setattr(im2col, "MAX_COLUMNS", 1 << 14)
    for run, size in (
        (lambda: kernels.forward(np, x, weight, None, TIGHT, 1), x.nbytes),
        (lambda: kernels.input_grad(np, x, weight, (32, 32), TIGHT, 1), x.nbytes),
        (lambda: kernels.weight_grad(np, x, x, TIGHT, 1), 0),
    ):
        tracemalloc.start()
        run()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < size + cores.CORES * 4 * 5 * (4 << 14)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_dtype_stays(dtype):
    x, weight = R(2, 4, 5, 5).astype(dtype), R(4, 1, 3, 3).astype(dtype)
    y, saved = kernels.conv_forward(np, x, weight, None, TIGHT, 4)
    assert {a.dtype for a in (y, *kernels.conv_backward(np, y, saved, (True,) * 3, TIGHT, 4))} == {np.dtype(dtype)}


@pytest.mark.parametrize(
    "samples, side, groups, dtype, by_mkl",
    [
        (1, 6, 1, "f4", True),
        (2, 6, 1, "f4", False),
        (1, 40, 1, "f4", False),
        (1, 6, 2, "f4", False),
        (1, 6, 1, "f8", False),
    ],
)
def test_of_one_small_image_mkl_shares_out_the_products(samples, side, groups, dtype, by_mkl, monkeypatch):
    monkeypatch.setattr(cores, "CORES", 3)
    monkeypatch.setattr(kernels.mkl, "tbb", lambda: "there")
    x, weight = R(samples, 4, side, side).astype(dtype), R(6, 4 // groups, 1, 1).astype(dtype)
    used, gemm = set(), kernels.gemm

    def noted(*matrices, add, threads):
        used.add(threads)
        gemm(*matrices, add=add)

    monkeypatch.setattr(kernels, "gemm", noted)
    found, _ = kernels.conv_forward(np, x, weight, None, POINT, groups)
    assert used == {3 if by_mkl else 1}
    np.testing.assert_allclose(found, slow.conv(x, weight, None, POINT, groups), rtol=1e-4, atol=1e-5)
