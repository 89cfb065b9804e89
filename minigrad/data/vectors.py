"""The nearest of many vectors, by their cosines."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import is_whole

BLOCK = 1 << 24  # products that are kept at a time


class VectorIndex:
    """Vectors (N, D) in which the nearest to others are found, each compared with all of them.

        index = VectorIndex(vectors)
        scores, ids = index.search(queries, 5)      # (queries, 5) each, the nearest first

    Raises:
        ValueError: the vectors are not (N, D) with N at least 1, or not finite.
    """

    def __init__(self, vectors: Any):
        self.vectors = _of_length_one("vectors", vectors)
        if not len(self.vectors):
            raise ValueError("there are no vectors to search in; expected at least one")

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: Any, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
        """For each of the queries (Q, D) the cosines (Q, k) of its k nearest vectors, and their numbers (Q, k).

        Of equal cosines the lower number comes first; there are fewer than k where there are fewer vectors.

        Raises:
            ValueError: the queries are of another size than the vectors, or k is less than 1.
        """
        queries = _of_length_one("queries", queries)
        if queries.shape[1] != self.vectors.shape[1]:
            raise ValueError(
                f"queries have shape {queries.shape} and the vectors {self.vectors.shape}; expected as many columns: "
                "embed both with one model"
            )
        if not is_whole(k, 1):
            raise ValueError(f"k is {k!r}; expected a whole number, 1 or more")
        many = max(1, BLOCK // len(self))
        found = [self._nearest(queries[i : i + many], min(k, len(self))) for i in range(0, max(1, len(queries)), many)]
        scores, ids = zip(*found, strict=True)
        return np.concatenate(scores), np.concatenate(ids)

    def _nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        cosines = queries @ self.vectors.T  # (Q, N)
        least = np.partition(cosines, len(self) - k, axis=1)[:, len(self) - k, None]
        rows = [np.flatnonzero(row >= low) for row, low in zip(cosines, least, strict=True)]
        ids = np.array([at[(-row[at]).argsort(kind="stable")[:k]] for row, at in zip(cosines, rows, strict=True)])
        ids = ids.reshape(len(queries), k).astype(np.int64)
        return np.take_along_axis(cosines, ids, 1), ids


def _of_length_one(name: str, vectors: Any) -> np.ndarray:
    x = np.asarray(vectors, np.float32)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise ValueError(f"{name} of shape {x.shape}: expected finite numbers (N, D), a row for each vector")
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1)
