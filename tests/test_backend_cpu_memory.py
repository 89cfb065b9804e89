"""Two ways for images to lie in memory, which nobody notices but the clock."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes

from minigrad.backend.cpu import cores, memory

rng = np.random.default_rng(0)


@given(array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=5))
def test_there_and_back(shape):
    x = rng.standard_normal(shape)
    assert memory.by_pixel(x).shape == (*shape[1:], shape[0])
    np.testing.assert_array_equal(memory.by_sample(memory.by_pixel(x)), x)
    for beside in (False, True):
        y = memory.new(shape, x.dtype, beside)
        y[...] = x
        assert y.shape == shape and (memory.by_pixel(y) if beside else y).flags.c_contiguous
        planes, other = memory.planes(y, x)
        assert planes.flags.c_contiguous and np.shares_memory(planes, y) and planes.shape[1] == shape[1]
        np.testing.assert_array_equal(memory.from_planes(planes, y), x)
        np.testing.assert_array_equal(other, planes)
        assert np.shares_memory(memory.from_planes(planes, y), y)


def test_many_samples_beside_each_other():
    x = memory.new((16, 3, 4, 5), np.float32, beside=True)
    assert memory.beside(x) and memory.lies_by_pixel(x)
    assert memory.beside(x[:, :, ::2, 1:]) and not memory.lies_by_pixel(x[:, :, ::2, 1:])
    assert (
        not memory.beside(x[:15]) and not memory.beside(np.ascontiguousarray(x)) and not memory.lies_by_pixel(x.copy())
    )


@pytest.mark.parametrize("shape", [(64, 40), (3, 700), (700, 3), (17, 4, 5, 6), (40, 3, 2)])
@pytest.mark.parametrize(
    "turn",
    [
        memory.by_sample,
        memory.by_pixel,
        lambda x: x,
        np.transpose,
        lambda x: x[::-1],
        lambda x: x[..., ::2],
        lambda x: x[:, 1:],
        lambda x: x.swapaxes(0, 1)[::2],
    ],
)
def test_in_order(shape, turn, monkeypatch):
    monkeypatch.setattr(cores, "MIN_SHARED", 16)
    monkeypatch.setattr(cores, "MAX_PIECE", 50)
    x = turn(rng.standard_normal(shape))
    y = memory.in_order(x)
    assert y.flags.c_contiguous
    np.testing.assert_array_equal(y, x)
