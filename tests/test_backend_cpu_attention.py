"""Attention on a CPU, by blocks: what it is at once, in float64."""

import math

import numpy as np
import pytest
from test_backend_cpu_layers import CASES, agrees

rng = np.random.default_rng(1)


@pytest.mark.parametrize("offset", [30, 1e4, -1e4])
def test_attention_wherever_the_scores_are(offset, small_pieces):
    op, (q, k, v, _), options = next(case for case in CASES if case[0] == "scaled_dot_product_attention")
    mask = np.zeros((80, 80), np.float32)
    mask[::3] = offset
    mask[5] = -math.inf
    agrees(op, (q, k, v, mask), options, atol=1e-3 if abs(offset) > 100 else 1e-4)


@pytest.mark.parametrize(
    ("T", "S", "is_causal"),
    [(700, 700, True), (600, 700, False), (3, 900, False), (65, 130, True), (130, 65, True), (513, 200, False)],
)
def test_attention_in_blocks_is_attention_at_once(T, S, is_causal):
    q, k, v = (rng.standard_normal((2, n, 3, 8)).astype(np.float32).swapaxes(1, 2) for n in (T, S, S))
    mask = rng.random((2, 1, T, S)) < 0.7
    mask[0, 0, 1] = False  # a query that may attend to nothing
    keep = rng.random((2, 3, T, S)) < 0.9
    learned = rng.standard_normal((3, 1, S)).astype(np.float32)
    agrees("scaled_dot_product_attention", (q, k, v, mask), (keep, 0.1, 8**-0.5, is_causal))
    agrees("scaled_dot_product_attention", (q, k, v, learned), (keep, 0.1, 8**-0.5, is_causal))
    agrees("scaled_dot_product_attention", (q, k, v, None), (None, 0.0, 8**-0.5, is_causal))
