"""Chance comes from the generator that was given, and from nowhere else."""

import numpy as np

from minigrad import ops
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
