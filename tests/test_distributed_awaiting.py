"""A gradient that is awaited is handed over as soon as it is complete, and not kept."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.distributed.awaiting import await_gradients


@pytest.fixture
def order():
    yield []
    await_gradients({})


def leaf(*values):
    return mg.Tensor(np.array(values), requires_grad=True)


def test_it_comes_before_what_was_computed_earlier(order):
    x, early, late, unused = leaf(1.0, 2.0), leaf(3.0, 4.0), leaf(3.0, 4.0), leaf(1.0, 1.0)
    hidden = x * early
    hidden.register_hook(lambda g: order.append("hidden"))
    x.register_hook(lambda g: order.append("x"))
    late.register_hook(lambda g: g * 2)
    await_gradients(
        {
            p: lambda g, name=name: order.append((name, g.tolist()))
            for name, p in (("early", early), ("late", late), ("unused", unused))
        }
    )
    (hidden * late * late).sum().backward()
    assert order == [("late", [36, 128]), "hidden", ("early", [9, 32]), "x"], "x, which nobody awaits, comes last"
    assert late.grad is early.grad is unused.grad is None and x.grad.numpy().tolist() == [27, 64]
    await_gradients({})
    (x * early).sum().backward()
    assert early.grad.numpy().tolist() == [1, 2] and len(order) == 5


def test_a_use_that_passes_no_gradient_on_does_not_hold_it_back_for_ever(order):
    w, x = leaf(2.0), leaf(3.0)
    kept = mg.where(np.array([True]), w * x, mg.checkpoint(lambda w: w * x, w).detach() * w)
    blocked = (w * 5).detach() + w * 0
    await_gradients({w: lambda g: order.append(g.tolist())})
    (kept + blocked).sum().backward()
    assert order == [[3.0]] and w.grad is None


def test_in_checkpoints_it_is_the_whole_that_is_handed_over(order):
    w, x = leaf(2.0, 3.0), leaf(1.0, 1.0)
    await_gradients({w: lambda g: order.append(g.tolist())})
    (mg.checkpoint(lambda x: x * w, x) + mg.checkpoint(lambda x: x * w * 3, x)).sum().backward()
    assert order == [[4, 4]] and x.grad.numpy().tolist() == [8, 12]
