"""Samplers draw the items that their names promise, in proportion, and say what does not fit."""

import numpy as np
import pytest

from minigrad.data import RandomSampler, WeightedRandomSampler


def test_random_sampler_gives_every_item_once_before_one_comes_again():
    drawn = RandomSampler(range(7), num_samples=17).indices(np.random.default_rng(0))
    assert len(drawn) == 17
    assert sorted(drawn[:7]) == sorted(drawn[7:14]) == list(range(7))
    assert len(RandomSampler(range(7))) == 7
    repeated = RandomSampler(range(7), replacement=True, num_samples=7000).indices(np.random.default_rng(0))
    assert np.abs(np.bincount(repeated) - 1000).max() < 150


def test_weighted_sampler_draws_in_proportion():
    drawn = WeightedRandomSampler([1, 2, 0, 5], 80_000).indices(np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(drawn) / 80_000, [1 / 8, 2 / 8, 0, 5 / 8], atol=0.005)
    once = WeightedRandomSampler([1, 2, 0, 5], 3, replacement=False).indices(np.random.default_rng(0))
    assert sorted(once) == [0, 1, 3]


def test_balanced_sampler_draws_every_class_equally_often():
    labels = np.array(["ham"] * 900 + ["spam"] * 90 + ["eggs"] * 10)
    sampler = WeightedRandomSampler.balanced(labels)
    assert len(sampler) == 1000 and len(WeightedRandomSampler.balanced(labels, 30_000)) == 30_000
    drawn = WeightedRandomSampler.balanced(labels, 30_000).indices(np.random.default_rng(1))
    _, counts = np.unique(labels[drawn], return_counts=True)
    assert np.abs(counts - 10_000).max() < 300


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: RandomSampler([]), "there are no items to draw from"),
        (lambda: RandomSampler("abc", num_samples=0), "num_samples is 0; expected a whole number of at least 1"),
        (lambda: WeightedRandomSampler([1, 1], 1.5), "num_samples is 1.5; expected a whole number"),
        (lambda: WeightedRandomSampler([1, -1], 2), "none negative"),
        (lambda: WeightedRandomSampler([0, 0], 2), "not all zero"),
        (lambda: WeightedRandomSampler([1, np.nan], 2), "one finite number per item"),
        (lambda: WeightedRandomSampler([[1, 2]], 2), r"weights of shape \(1, 2\)"),
        (lambda: WeightedRandomSampler([1, 0], 2, replacement=False), "1 weights are positive"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()
