"""What the strategies draw is what they promise, and good enough to check gradients on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.checking import gradcheck, strategies


@given(strategies.broadcastable(3))
def test_shapes_broadcast(shapes):
    assert len(shapes) == 3 and np.broadcast_shapes(*shapes) is not None


@given(
    strategies.arrays(
        strategies.shapes(max_dims=2), strategies.dtypes(floating_only=True), away_from=(0, 1), distinct=True
    )
)
def test_arrays_keep_away_from_kinks_and_ties(x):
    assert x.dtype.kind == "f" and abs(x).max(initial=0) <= 3
    assert (abs(x) >= 1 / 8).all() and (abs(x - 1) >= 1 / 8).all() and len(np.unique(x)) == x.size


@given(strategies.indices(3, (2, 4)), strategies.indices(5, negative=False))
def test_indices_are_in_range(either, front):
    assert either.shape == (2, 4) and -3 <= either.min() and either.max() < 3
    assert front.min(initial=0) >= 0 and front.max(initial=0) < 5


@given(st.data(), strategies.broadcastable(2, max_dims=2, max_side=3))
def test_gradients_on_what_is_drawn(data, shapes):
    a, b = (data.draw(strategies.arrays(shape, away_from=(0,))) for shape in shapes)
    gradcheck(lambda a, b: mg.relu(a) * b / abs(b), [a, b])


@given(strategies.arrays((2, 3), distinct=True), strategies.indices(3, 4))
def test_no_ties(x, ids):
    gradcheck(lambda x: mg.max(x, 1) + mg.sum(x[:, ids], 1), x)


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        (strategies.arrays((2,), "int64"), "use indices"),
        (strategies.indices(0), "nothing to index"),
        (strategies.arrays((9,), low=0, high=0.1, distinct=True), "widen the range"),
    ],
)
def test_what_cannot_be_drawn_is_refused(strategy, said):
    @given(strategy)
    def draw(x):
        pass

    with pytest.raises(ValueError, match=said):
        draw()
