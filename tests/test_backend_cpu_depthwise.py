"""Depthwise convolution against what it means: each channel convolved by itself, with the filter that is its own."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import functional as F
from minigrad.tensor import Tensor

numbers = st.integers(1, 3)
pairs = st.tuples(numbers, numbers)


@settings(max_examples=60)
@given(st.integers(0, 3), numbers, pairs, pairs, st.integers(0, 2), pairs, st.integers(5, 9), st.integers(0, 99))
def test_each_channel_by_itself(samples, channels, kernel, stride, padding, dilation, size, seed):
    rng = np.random.default_rng(seed)
    size = [size + i + d * (k - 1) for i, (k, d) in enumerate(zip(kernel, dilation))]
    x, w = (
        Tensor(rng.standard_normal(shape), requires_grad=True)
        for shape in ((samples, channels, *size), (channels, 1, *kernel))
    )
    y = F.conv2d(x, w, None, stride, padding, dilation, groups=channels)
    alone = mg.concatenate(
        [F.conv2d(x[:, i : i + 1], w[i : i + 1], None, stride, padding, dilation) for i in range(channels)], 1
    )
    g = rng.standard_normal(y.shape)
    for a, b in zip((y, *mg.grad(y, [x, w], g)), (alone, *mg.grad(alone, [x, w], g)), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-12)


def test_many_planes_are_worked_through_in_groups():
    x = np.random.default_rng(0).standard_normal((40, 8, 30, 30)).astype("f4")
    w = np.ones((8, 1, 3, 3), "f4")
    y = F.conv2d(x, w, padding=1, groups=8)
    seen = sum(x[:, :, i : i + 28, j : j + 28] for i in range(3) for j in range(3))
    np.testing.assert_allclose(y[:, :, 1:-1, 1:-1], seen, atol=1e-5)
