"""Chance comes from the generator that was given, and from nowhere else."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, ops
from minigrad.tensor import Tensor, grad


def test_generators():
    given = np.random.default_rng(3)
    assert ops.generator(given) is given
    assert ops.generator(3).random() == ops.generator(3).random() == np.random.default_rng(3).random()
    assert ops.generator(None).random() != ops.generator(None).random()


def test_nothing_touches_numpys_global_state():
    before = np.random.get_state()[1].copy()
    ops.generator(None).random(), ops.generator(0).random()
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_what_was_dropped_gets_no_gradient():
    x, keep = Tensor(np.ones(4), requires_grad=True), np.array([True, False, True, False])
    y = ops.dropout(x, keep, 0.2)
    assert y.tolist() == grad(y, x, np.ones(4)).tolist() == [1.25, 0, 1.25, 0]


@pytest.fixture
def unseeded():
    yield
    mg.seed(None)


def drawn():
    """Numbers of everything that draws when it is given no rng."""
    layer = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.LSTM(4, 2)).train()
    x = Tensor(np.ones((2, 5, 3), "float32"))
    return [
        *(p.numpy() for p in layer.parameters()),
        layer[:2](x).numpy(),
        F.dropout(x, 0.3).numpy(),
        nn.init.orthogonal_(Tensor(np.empty((3, 3), "float32"))).numpy(),
        F.scaled_dot_product_attention(x, x, x, dropout_p=0.4).numpy(),
    ]


def test_a_seed_counts_for_all_that_is_given_no_rng(unseeded):
    fresh = drawn()
    mg.seed(5)
    first, second = drawn(), drawn()
    mg.manual_seed(5)
    for a, b, again, other in zip(first, second, drawn(), fresh, strict=True):
        np.testing.assert_array_equal(a, again)
        assert (a != b).any() and (a != other).any()  # the stream goes on; and without a seed it is another
    mg.seed(5)
    np.testing.assert_array_equal(F.dropout(np.ones(99), 0.5, rng=7), F.dropout(np.ones(99), 0.5, rng=7))
    np.testing.assert_array_equal(drawn()[0], first[0])  # what was given an rng has taken nothing from the stream
    mg.seed(None)
    assert (drawn()[0] != drawn()[0]).any()


def test_a_checkpoint_draws_again_what_it_drew_and_the_stream_goes_on_after_it(unseeded):
    x = Tensor(np.ones(50), requires_grad=True)
    mg.seed(1)
    y = mg.checkpoint(lambda x: F.dropout(x, 0.5) * x, x)
    later = ops.generator(None).random()
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2 * y.numpy())
    assert ops.generator(None).random() != later  # the backward pass has put nothing back
    mg.seed(1)
    F.dropout(x, 0.5)
    assert ops.generator(None).random() == later


def test_a_seed_is_a_whole_number_and_touches_no_other_generator(unseeded):
    before = np.random.get_state()[1].copy()
    mg.seed(np.int64(3))
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    for bad in (-1, 1.5, "0", True):
        with pytest.raises(TypeError, match="a seed is a whole number of at least 0, or None"):
            mg.seed(bad)
