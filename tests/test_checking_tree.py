"""Trees come apart into floating leaves, with paths one could type, and go back together."""

from typing import NamedTuple

import numpy as np

from minigrad import nn
from minigrad.checking.tree import leaves, prepared, rebuilt
from minigrad.tensor import Tensor


class Pair(NamedTuple):
    a: np.ndarray
    b: int


def test_floating_leaves_are_found_and_the_rest_is_passed_on():
    tree = {
        "w": [np.ones(2, "f4"), Tensor([1.0, 2.0])],
        "ids": np.arange(3),
        "pair": Pair(np.zeros(()), 3),
        "scale": 0.5,
        "mode": "sum",
    }
    found = list(leaves(tree))
    assert [path for path, _ in found] == ["input['w'][0]", "input['w'][1]", "input['pair'][0]", "input['scale']"]
    assert all(a.dtype == np.float64 for _, a in found)
    back = rebuilt(tree, iter("abcd"))
    assert back == {"w": ["a", "b"], "ids": tree["ids"], "pair": Pair("c", 3), "scale": "d", "mode": "sum"}
    assert type(back["pair"]) is Pair and list(leaves([])) == [] and rebuilt((), iter([])) == ()


def test_a_module_is_copied_and_its_parameters_take_over_value_and_node():
    model = nn.Linear(3, 2, rng=0)
    (copy,) = prepared([model])
    assert copy is not model and copy.weight.dtype == np.float64 and model.weight.dtype == np.float32
    assert [(path, a.shape) for path, a in leaves(copy, "model")] == [("model.weight", (2, 3)), ("model.bias", (2,))]
    weight = Tensor(np.ones((2, 3)), requires_grad=True)
    rebuilt(copy, iter([weight, Tensor(np.zeros(2))]))
    copy(Tensor(np.ones((1, 3)))).sum().backward()
    assert (weight.grad.numpy() == 1).all()
