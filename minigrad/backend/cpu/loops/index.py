"""The gradient of an embedding, accumulated by rows; shared/index.py has it on whole arrays."""

from __future__ import annotations

from .compile import loop


@loop
def add_rows(total, ids, g):
    """total[id] += row for each id and row of g, in order, so that the result is deterministic."""
    for i in range(ids.shape[0]):
        row = ids[i]
        for j in range(total.shape[1]):
            total[row, j] += g[i, j]


table = {"add_rows": add_rows}
