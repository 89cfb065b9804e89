"""Pooling: windows that overlap, tie, reach over the edge or are larger than their part of the image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import functional as F
from minigrad.checking import gradcheck
from minigrad.checking.catalogue import window_rows as slow
from minigrad.tensor import Tensor

rng = np.random.default_rng(0)
sizes = st.tuples(st.integers(1, 6), st.integers(1, 6))


def R(*shape):
    return rng.standard_normal(shape)


def gradient(f, x):
    x = Tensor(np.asarray(x, float), requires_grad=True)
    f(x).sum().backward()
    return x.grad.numpy().tolist()


def test_of_equal_entries_the_first_takes_the_gradient():
    assert gradient(lambda x: F.max_pool1d(x, 2), [[1, 1, 0, 2, 3, 3]]) == [[1, 0, 0, 1, 1, 0]]
    assert gradient(lambda x: F.max_pool2d(x, 3, 1, 1), np.zeros((1, 2, 2))) == [[[4, 0], [0, 0]]]
    assert gradient(lambda x: F.adaptive_max_pool2d(x, 1), np.zeros((1, 2, 2))) == [[[1, 0], [0, 0]]]


def test_the_way_back_of_a_maximum_lets_infinities_pass():
    assert gradient(lambda x: F.max_pool1d(x, 2) * np.inf, [[1, 2, 4, 3]]) == [[0, np.inf, np.inf, 0]]
    assert F.max_pool1d(np.full((1, 3), -np.inf), 3, 1, 1).tolist() == [[-np.inf] * 3]


def test_a_window_over_the_edge_counts_what_is_inside():
    x = np.ones((1, 5))
    assert F.avg_pool1d(x, 2, ceil_mode=True).tolist() == [[1, 1, 1]]
    assert F.avg_pool1d(x, 3, 2, 1).tolist() == [[2 / 3, 1, 2 / 3]]
    assert F.avg_pool1d(x, 3, 2, 1, count_include_pad=False).tolist() == [[1, 1, 1]]
    assert F.avg_pool1d(x, 1, 3, ceil_mode=True).tolist() == [[1, 1]]  # a third would begin outside
    assert F.avg_pool2d(x[None], 1, divisor_override=4).tolist() == [[[0.25] * 5]]


@settings(max_examples=60)
@given(sizes, sizes, st.integers(0, 2))
def test_adaptive_parts_may_overlap_and_enlarge(size, parts, batch):
    x = R(batch, 2, *size)
    np.testing.assert_allclose(F.adaptive_avg_pool2d(x, parts), slow.adaptive(x, parts, np.mean), atol=1e-14)
    np.testing.assert_array_equal(F.adaptive_max_pool2d(x, parts), slow.adaptive(x, parts, np.max))


def test_vgg_enlarges_a_small_image():
    x = np.arange(6.0).reshape(1, 1, 3, 2)
    assert F.adaptive_avg_pool2d(x, 7)[0, 0, 0].tolist() == [0, 0, 0, 0.5, 1, 1, 1]


@pytest.mark.slow
@settings(max_examples=15)
@given(sizes, sizes)
def test_gradients_of_every_order(size, parts):
    x = rng.permuted(np.arange(2.0 * size[0] * size[1])).reshape(2, *size)  # nothing ties
    kernel = tuple(min(2, n) for n in size)
    for pool in (
        lambda x: F.max_pool2d(x, kernel, 1),
        lambda x: F.avg_pool2d(x, kernel, 1, 0, True),
        lambda x: F.adaptive_avg_pool2d(x, parts),
        lambda x: F.adaptive_max_pool2d(x, parts),
    ):
        gradcheck(lambda x, pool=pool: (pool(x) * 0.1) ** 3, [x], order=3)


def test_none_keeps_a_size():
    x = R(2, 3, 5, 6)
    assert F.adaptive_avg_pool2d(x, (None, 2)).shape == F.adaptive_max_pool2d(x, (None, 2)).shape == (2, 3, 5, 2)


def test_float32_stays_float32():
    x = Tensor(R(2, 2, 5, 5).astype("f4"), requires_grad=True)
    for y in (
        F.max_pool2d(x, 2),
        F.avg_pool2d(x, 2, padding=1),
        F.adaptive_avg_pool2d(x, 3),
        F.adaptive_max_pool2d(x, 3),
    ):
        y.sum().backward()
        assert y.dtype == x.grad.dtype == np.float32


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: F.max_pool2d(R(2, 3, 2, 2), 3), r"max_pool2d: a kernel \(3, 3\).*more than \(2, 3, 2, 2\)"),
        (lambda: F.max_pool2d(R(2, 3, 8, 8), 3, padding=2), "more than half of the kernel"),
        (lambda: F.avg_pool1d(R(3), 3), r"avg_pool1d takes \(N, C, L\) or \(C, L\), but x has shape \(3,\)"),
        (lambda: F.adaptive_avg_pool2d(R(3, 4, 4), (1, 2, 3)), r"output_size=\(1, 2, 3\) is not understood"),
        (lambda: F.avg_pool2d(R(3, 4, 4), 2, divisor_override=0), "divisor_override=0 is what every sum is divided by"),
        (
            lambda: F.avg_pool2d(R(3, 4, 4), 2, divisor_override="2"),
            "divisor_override='2' is what every sum is divided by",
        ),
        (lambda: F.adaptive_max_pool1d(R(3, 4), 0), r"output_size=\(0,\) is not understood"),
    ],
)
def test_bad_input_is_refused_with_the_fix(call, told):
    with pytest.raises(ValueError, match=told):
        call()
