"""The arithmetic of jumping; the masks themselves are drawn in tests/on_cupy."""

import numpy as np
import pytest

from minigrad.backend.cuda import random


@pytest.mark.parametrize("steps", [0, 1, 2, 1000, 2**64 + 3])
def test_many_steps_are_one(steps):
    ours, numpys = np.random.PCG64(3), np.random.PCG64(3)
    state = ours.state["state"]
    a, c = random.leap(steps, state["inc"])
    assert (a * state["state"] + c) % 2**128 == numpys.advance(steps).state["state"]["state"]
