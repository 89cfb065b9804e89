"""Recurrent kernels; that they equal the step-by-step definitions, padded or not, is tested in the catalogue."""

import numpy as np
import pytest

from minigrad.backend.shared import recurrent

rng = np.random.default_rng(0)
WEIGHTS_AND_STATES = {"lstm": (1, 2), "gru": (2, 1), "rnn": (1, 1)}  # how many of each come after the gates
CASES = {"lstm": (4, ()), "gru": (3, ()), "rnn": (1, ("tanh",))}  # gates, further options


def inputs(name, T, B, H):
    """Gates, weights and first states."""
    gates, (weights, states) = CASES[name][0] * H, WEIGHTS_AND_STATES[name]
    shapes = (T, B, gates), *((gates, H), (gates,))[:weights], *[(B, H)] * states
    return [rng.standard_normal(shape) for shape in shapes]


@pytest.mark.parametrize("name", CASES)
def test_steps_that_are_padding_leave_the_state_and_pass_the_gradient_through(name):
    more, kernel, given = CASES[name][1], recurrent.table[name], inputs(name, 4, 2, 5)
    weights, states = WEIGHTS_AND_STATES[name]
    mask = np.zeros((4, 2), bool)  # nothing is real
    y, saved = kernel.forward(np, *given, mask, *more)
    h, *c = given[-states:]
    np.testing.assert_array_equal(y, [*[h] * 4, *c])
    g = rng.standard_normal(y.shape)
    gradients = kernel.backward(np, g, saved, (True,) * len(given), mask, *more)
    assert not any(d.any() for d in gradients[: 1 + weights])
    d_first = gradients[1 + weights :]
    np.testing.assert_allclose(d_first, [g[:4].sum(0), *g[4:]])


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_wanted_is_not_computed(name):
    given, kernel, more = inputs(name, 3, 2, 4), recurrent.table[name], CASES[name][1]
    weights = WEIGHTS_AND_STATES[name][0]
    y, saved = kernel.forward(np, *given, None, *more)
    wanted = (True, *[False] * weights, *[True] * (len(given) - 1 - weights))
    assert set(kernel.backward(np, np.ones_like(y), saved, wanted, None, *more)[1 : 1 + weights]) == {None}
