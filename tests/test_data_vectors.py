import numpy as np
import pytest

from minigrad.data import VectorIndex


def by_hand(vectors, query, k):
    cosines = [v @ query / (np.linalg.norm(v) * np.linalg.norm(query)) for v in vectors]
    return sorted(range(len(vectors)), key=lambda i: -cosines[i])[:k], sorted(cosines, reverse=True)[:k]


def test_the_nearest_are_those_of_the_greatest_cosine():
    rng = np.random.default_rng(0)
    vectors, queries = rng.standard_normal((40, 5)), 3 * rng.standard_normal((7, 5))
    scores, ids = VectorIndex(vectors).search(queries, 4)
    for query, row, found in zip(queries, scores, ids, strict=True):
        nearest, cosines = by_hand(vectors, query, 4)
        assert found.tolist() == nearest and row == pytest.approx(cosines, abs=1e-6)


def test_queries_are_searched_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    index, queries = VectorIndex(rng.standard_normal((40, 5))), rng.standard_normal((7, 5))
    whole = index.search(queries, 3)
    monkeypatch.setattr("minigrad.data.vectors.BLOCK", 90)
    np.testing.assert_array_equal(index.search(queries, 3)[1], whole[1])


def test_equals_come_in_order_and_zeros_last():
    vectors = np.array([[0, 0], [0, 2], [1, 0], [3, 0], [2, 0], [-1, 0]])
    scores, ids = VectorIndex(vectors).search([[1, 0]], 9)
    assert ids.tolist() == [[2, 3, 4, 0, 1, 5]] and scores.tolist() == [[1, 1, 1, 0, 0, -1]]
    assert VectorIndex(vectors).search([[1, 0]], 2)[1].tolist() == [[2, 3]]


def test_no_queries():
    scores, ids = VectorIndex(np.eye(3)).search(np.empty((0, 3)), 2)
    assert scores.shape == ids.shape == (0, 2)


@pytest.mark.parametrize(
    "vectors, queries, k, says",
    [
        (np.eye(3), np.eye(2), 1, "as many columns"),
        (np.eye(3), np.eye(3), 0, "k is 0"),
        (np.eye(3), [1, 0, 0], 1, "a row for each"),
        (np.empty((0, 3)), np.eye(3), 1, "at least one"),
        ([[np.nan, 0]], [[1, 0]], 1, "finite"),
    ],
)
def test_what_does_not_fit_is_refused(vectors, queries, k, says):
    with pytest.raises(ValueError, match=says):
        VectorIndex(vectors).search(queries, k)
