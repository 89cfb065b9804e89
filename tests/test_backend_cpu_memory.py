"""Arrays in the order of their memory."""

import numpy as np
import pytest

from minigrad.backend.cpu import cores, memory

rng = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(64, 40), (3, 700), (700, 3), (17, 4, 5, 6), (40, 3, 2)])
@pytest.mark.parametrize(
    "turn",
    [
        lambda x: np.moveaxis(x, -1, 0),
        lambda x: np.moveaxis(x, 0, -1),
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
