"""Layout: edges run downwards, boxes do not overlap, and positions are the nearest to what was wished."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minigrad.insight.layout import ACROSS, _apart, layered


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 12))
    sizes = {i: (draw(st.floats(5, 80)), draw(st.floats(5, 40))) for i in range(n)}
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda p: p[0] < p[1])
    return sizes, draw(st.lists(pairs, unique=True, max_size=20)) if n > 1 else []


@given(graphs())
def test_edges_run_down_and_boxes_keep_apart(graph):
    sizes, edges = graph
    place = layered(sizes, edges)
    boxes = [(place.centres[i], sizes[i]) for i in sizes]
    for (a, b), route in zip(edges, place.routes, strict=True):
        assert place.centres[a][1] + sizes[a][1] / 2 < place.centres[b][1] - sizes[b][1] / 2
        assert all(upper[1] < lower[1] for upper, lower in zip(route, route[1:]))
    for i, ((x, y), (w, h)) in enumerate(boxes):
        assert w / 2 <= x <= place.width - w / 2 and h / 2 <= y <= place.height - h / 2
        for (u, v), (s, t) in boxes[:i]:
            assert abs(x - u) >= (w + s) / 2 + ACROSS - 1e-6 or abs(y - v) >= (h + t) / 2


def test_a_diamond_is_drawn_symmetrically():
    place = layered(dict.fromkeys("abcd", (20.0, 10.0)), [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])
    x = {name: place.centres[name][0] for name in "abcd"}
    assert np.isclose(x["a"], x["d"]) and np.isclose((x["b"] + x["c"]) / 2, x["a"], atol=1)


def test_a_crossing_that_can_be_avoided_is():
    place = layered(dict.fromkeys("abcd", (20.0, 10.0)), [("a", "d"), ("b", "c")])
    assert (place.centres["a"][0] < place.centres["b"][0]) == (place.centres["d"][0] < place.centres["c"][0])


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=8))
def test_positions_are_the_nearest_that_keep_apart(wishes):
    got = _apart(wishes, [10.0] * len(wishes))
    assert all(b - a >= 10 + ACROSS - 1e-6 for a, b in zip(got, got[1:]))
    rng = np.random.default_rng(0)
    best = np.sum(np.subtract(got, wishes) ** 2)
    for _ in range(20):  # no allowed position is nearer
        other = _apart(list(np.add(wishes, rng.normal(size=len(wishes)))), [10.0] * len(wishes))
        assert np.sum(np.subtract(other, wishes) ** 2) >= best - 1e-6
