"""The tape: nodes are in the order they were made in, point at their parents only, and keep what their steps need."""

import gc
import weakref

import numpy as np
import pytest

import minigrad as mg
from minigrad.tape import FREED, Step, new_node
from minigrad.tensor import Tensor, wrap


def test_a_newer_node_has_a_smaller_number():
    nodes = [new_node((), np.dtype("f4")) for _ in range(5)]
    assert sorted(nodes, key=lambda node: node.order) == nodes[::-1]
    x = Tensor([1.0], requires_grad=True)
    y = x * 2
    assert y.node.order < x.node.order and y.node.parents == [x.node]


def test_a_leaf_has_no_step_and_keeps_its_gradient():
    x = Tensor([1.0, 2.0], requires_grad=True)
    assert (x.node.step, x.node.grad, x.node.hooks, tuple(x.node.parents)) == (None, None, None, ())
    assert (x.node.shape, x.node.dtype) == ((2,), np.float32)
    (x * x).sum().backward()
    assert x.node.grad.tolist() == [2, 4]


def test_a_node_points_at_no_tensor():
    x = Tensor([1.0], requires_grad=True)
    y = x * 2
    node, gone = y.node, weakref.ref(y)
    gc.disable()
    del y
    gc.enable()
    assert gone() is None and node.step.name == "multiply"


def test_what_a_backward_pass_is_done_with_is_freed():
    x = Tensor([1.0], requires_grad=True)
    y = mg.exp(x)
    z = y * y
    z.backward(retain_graph=True)
    assert FREED not in (y.node.saved, z.node.saved)
    z.backward()
    assert y.node.saved is z.node.saved is FREED


def test_a_step_of_ones_own():
    class Halved(Step):
        name = "halved"

        def pull(self, node, saved, g, again):
            return (g / 2,)

    x = Tensor([2.0, 4.0], requires_grad=True)
    y = wrap(x.data, new_node(x.shape, x.dtype, (x.node,), Halved()))
    mg.sum(y).backward()
    assert x.grad.tolist() == [0.5, 0.5]
    assert Step().add((), None, None) is False and not Step.fresh
    with pytest.raises(NotImplementedError):
        Step().pull(y.node, (), None, False)
