"""Perplexity and bits per byte of a model that guesses evenly."""

import math

import pytest

from minigrad import metrics


def test_a_model_that_guesses_evenly():
    assert metrics.perplexity(math.log(50)) == pytest.approx(50)
    assert metrics.bits_per_byte(math.log(256), tokens=10, bytes=10) == pytest.approx(8)
    assert metrics.bits_per_byte(math.log(256), tokens=10, bytes=20) == pytest.approx(4)
    assert metrics.perplexity(1e6) == math.inf
    assert metrics.perplexity(705) == math.exp(705) and math.isnan(metrics.perplexity(math.nan))
    with pytest.raises(ValueError, match="0 tokens and 3 bytes"):
        metrics.bits_per_byte(1.0, 0, 3)
