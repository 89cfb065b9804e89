"""Kernels between convolutions, held to what their ops mean, on shapes that are worked on in several pieces."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import backend
from minigrad import functional as F
from minigrad.backend.cpu import cores, memory, norm_pool
from minigrad.ops.pool import max_pool
from minigrad.ops.window import Window
from minigrad.tensor import Tensor, grad

rng = np.random.default_rng(0)


def R(*shape):
    return rng.standard_normal(shape)


def with_and_without(call, *inputs):
    """Value and gradients of the inputs, by the kernels and by what the ops are made of."""
    found = []
    for table in (norm_pool.table, {}):
        installed = dict(backend.host.kernels)
        backend.host.kernels.clear()
        backend.host.kernels.update(table)
        try:
            xs = [Tensor(x, requires_grad=True) for x in inputs]
            y = call(*xs)
            found.append(
                [y.numpy(), *(g.numpy() for g in grad(y, xs, Tensor(np.cos(np.arange(y.size)).reshape(y.shape))))]
            )
        finally:
            backend.host.kernels.clear()
            backend.host.kernels.update(installed)
    return zip(*found, strict=True)


@pytest.fixture(params=[12, 1 << 17])
def piece(request, monkeypatch):
    monkeypatch.setattr(cores, "MAX_PIECE", request.param)
    monkeypatch.setattr(cores, "MIN_SHARED", request.param)


@pytest.mark.usefixtures("piece")
@pytest.mark.parametrize("shape", [(3, 5, 4, 2), (4, 5, 3), (6, 5), (2, 5, 1, 1)])
def test_normalisation_of_some_channels_at_a_time(shape):
    x, weight, bias, mean, variance = R(*shape) + 3, R(5), R(5), R(5), R(5) ** 2
    for call, *inputs in (
        (lambda x, weight, bias: F.batch_norm(x, None, None, weight, bias, training=True), x, weight, bias),
        (lambda x: F.batch_norm(x, training=True), x),
        (lambda x, weight, bias: F.batch_norm(x, mean, variance, weight, bias), x, weight, bias),
    ):
        for ours, meant in with_and_without(call, *inputs):
            np.testing.assert_allclose(ours, meant, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("piece")
@pytest.mark.parametrize("op", [F.relu, F.relu6])
def test_relu(op):
    x = np.round(R(7, 9) * 8)  # zeros and sixes among them
    for ours, meant in with_and_without(op, x):
        np.testing.assert_array_equal(ours, meant)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 2), st.data())
def test_max_pooling_axis_by_axis(axes, data):
    kernel, stride, dilation = (tuple(data.draw(st.integers(1, most)) for _ in range(axes)) for most in (3, 3, 2))
    padding = tuple((data.draw(st.integers(0, k // 2)), data.draw(st.integers(0, k // 2))) for k in kernel)
    window = Window(kernel, stride, padding, dilation)
    size = [data.draw(st.integers(span, span + 4)) for span in window.spans()]
    x = rng.integers(0, 3, (2, 3, *size)).astype(float)  # many are equal: the first takes the gradient
    for ours, meant in with_and_without(lambda x: max_pool(x, window), x):
        np.testing.assert_allclose(ours, meant, atol=1e-12)


def test_a_precise_variance_far_from_zero():
    x = (R(8, 2, 50, 50) + 1000).astype(np.float32)
    y = F.batch_norm(Tensor(x), training=True).numpy()
    wide = x.astype(np.float64)
    exact = (wide - wide.mean((0, 2, 3), keepdims=True)) / np.sqrt(wide.var((0, 2, 3), keepdims=True) + 1e-5)
    assert np.abs(y - exact).max() < 1e-3


@pytest.mark.parametrize("beside", [False, True])
def test_many_entries_of_a_channel_are_summed_up_well(beside):
    """147 456 of them, in float32, one after the other, would leave 2e-4 of the variance to chance."""
    x, g = (memory.new((64, 4, 48, 48), np.float32, beside) for _ in range(2))
    x[...], g[...] = np.maximum(R(*x.shape), 0), R(*x.shape)
    statistics = np.empty((2, 4), np.float32)
    y, saved = norm_pool.batch_norm_forward(np, x, None, None, statistics, 1e-5)
    wide = x.astype(np.float64)
    mean, variance = wide.mean((0, 2, 3)), wide.var((0, 2, 3))
    np.testing.assert_allclose(statistics, [mean, variance], rtol=1e-5)
    _, gw, gb = norm_pool.batch_norm_backward(np, g, saved, (True,) * 3, statistics, 1e-5)
    unit = (wide - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None]
    for found, exact in ((gw, (unit * g).sum((0, 2, 3))), (gb, g.astype(np.float64).sum((0, 2, 3)))):
        np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-2)


def test_no_samples_at_all():
    x = Tensor(np.zeros((0, 3, 4, 4), np.float32), requires_grad=True)
    weight = Tensor(np.ones(3, np.float32), requires_grad=True)
    F.batch_norm(x, np.zeros(3, np.float32), np.ones(3, np.float32), weight).sum().backward()
    np.testing.assert_array_equal(weight.grad, 0)


def test_what_is_not_wanted_is_not_computed():
    x, weight, g = R(2, 3, 4), R(3), R(2, 3, 4)
    for name, options in (("batch_norm", (np.empty((2, 3)), 1e-5)), ("per_channel", ())):
        kernel = norm_pool.table[name]
        _, saved = kernel.forward(np, x, weight, weight, *options)
        for wanted in product((True, False), repeat=3):
            found = kernel.backward(np, g, saved, wanted, *options)
            assert tuple(a is not None for a in found) == wanted
