"""The gradients of all ranks are summed, whatever came when."""

from concurrent.futures import Future

import ml_dtypes
import numpy as np

import minigrad as mg
from minigrad.distributed import Communicator, GradientReducer


class Twice(Communicator):
    """A rank beside another one that has the same gradients, and a list of the sums in the order they were begun."""

    size = 2

    def __init__(self):
        self.begun = []

    def start_all_reduce(self, array):
        array *= 2
        self.begun.append(array)
        done = Future()
        done.set_result(None)
        return done


def layers(dtype=np.float64, n=3):
    rng = np.random.default_rng(0)
    return [mg.Tensor(rng.standard_normal((2, 2)).astype(dtype), requires_grad=True) for _ in range(n)]


def test_sums_begin_while_gradients_still_come(monkeypatch):
    monkeypatch.setattr("minigrad.distributed.reducer.BUCKET_BYTES", 1)  # a bucket for each parameter
    params, world = layers(), Twice()
    reducer, begun = GradientReducer(params, world), []
    params[0].register_hook(lambda g: begun.append(len(world.begun)))
    x = mg.Tensor(np.ones((1, 2)))
    for p in params:
        x = x @ p
    reducer.expect()
    x.sum().backward()
    assert begun == [3], "the first layer's gradient comes last, and its hook after the reducer's"
    expected = [2 * p.grad.numpy() for p in params]
    reducer.finish()
    for p, g in zip(params, expected):
        np.testing.assert_allclose(p.grad.numpy(), g, rtol=1e-15)


def test_micro_batches_are_added_up_before_they_are_summed():
    params, world = layers(), Twice()
    reducer = GradientReducer(params, world)
    (params[0] * 3).sum().backward()  # the second has a gradient in the first backward pass alone
    (params[1] * 5).sum().backward()
    reducer.expect()
    (params[0] * 7).sum().backward()
    reducer.finish()
    assert params[0].grad.numpy().tolist() == [[20, 20], [20, 20]]
    assert params[1].grad.numpy().tolist() == [[10, 10], [10, 10]]
    assert params[2].grad is None, "no rank has a gradient of it"


def test_a_rank_without_items_takes_part():
    params = layers(n=2)
    reducer = GradientReducer(params, Twice())
    reducer.finish()
    assert all(p.grad is None for p in params)


def test_gradients_of_16_bits_are_summed_in_float32():
    params, world = layers(ml_dtypes.bfloat16, 1), Twice()
    reducer = GradientReducer(params, world)
    reducer.expect()
    (params[0] * 3).sum().backward()
    reducer.finish()
    assert params[0].grad.dtype == ml_dtypes.bfloat16 and params[0].grad.numpy().astype(float).tolist() == [[6, 6]] * 2
    assert world.begun[0].dtype == np.float32


def test_a_closed_reducer_leaves_gradients_alone():
    params, world = layers(n=1), Twice()
    reducer = GradientReducer(params, world)
    reducer.close()
    reducer.expect()
    params[0].sum().backward()
    assert not world.begun and params[0].grad.numpy().tolist() == [[1, 1], [1, 1]]
