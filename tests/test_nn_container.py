"""Modules that hold modules."""

import numpy as np
import pytest

from minigrad import functional as F
from minigrad.nn import Group, Linear, ReLU, Sequential


def test_sequential_runs_its_modules_in_order():
    first, last = Linear(3, 4, rng=0), Linear(4, 2, rng=1)
    model, x = Sequential(first, ReLU(), last), np.random.default_rng(0).standard_normal((5, 3), dtype=np.float32)
    assert (model(x).numpy() == last(F.relu(first(x))).numpy()).all()
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert model[0] is first and model[-1] is last and len(model) == 3 and [*model] == [first, model[1], last]
    assert Sequential()(x) is x


def test_a_replaced_module_runs_in_the_old_ones_place():
    model = Sequential(Linear(3, 4), ReLU(), Linear(4, 2))
    new = Linear(3, 4, bias=False)
    model.replace("0", new)
    assert model[0] is new and len(model) == 3
    assert list(model.state_dict()) == ["0.weight", "2.weight", "2.bias"]


@pytest.mark.parametrize("given", [F.relu, [Linear(2, 2)], None])
def test_sequential_refuses_what_it_would_have_to_skip(given):
    with pytest.raises(TypeError, match=f"Sequential holds modules, not a {type(given).__name__}"):
        Sequential(Linear(2, 2), given)


def test_a_group_is_a_step_in_a_name():
    group = Group(self=Linear(2, 2), output=Group(dense=Linear(2, 2, bias=False)))
    assert list(group.state_dict()) == ["self.weight", "self.bias", "output.dense.weight"]
    with pytest.raises(TypeError, match="Group has no forward"):
        group(1)
