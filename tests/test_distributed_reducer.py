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
        self.begun, self.owners = [], []

    def start_all_reduce(self, array):
        array *= 2
        self.begun.append(array)
        done = Future()
        done.set_result(None)
        return done

    def start_reduce(self, array, dst):
        self.owners.append(dst)
        return self.start_all_reduce(array)


def layers(dtype=np.float64, n=3):
    rng = np.random.default_rng(0)
    return [mg.Tensor(rng.standard_normal((2, 2)).astype(dtype), requires_grad=True) for _ in range(n)]


def test_sums_begin_while_gradients_still_come(monkeypatch):
    monkeypatch.setattr("minigrad.distributed.reducer.BUCKET_BYTES", 1)  # a bucket for each parameter
    params, world = layers(), Twice()
    reducer, begun = GradientReducer(params, world), []
    params[0].register_hook(lambda g: begun.append(len(world.begun)))
    x = first = mg.Tensor(np.ones((1, 2))) @ params[0]
    first.register_hook(lambda g: begun.append(len(world.begun)))
    for p in params[1:]:
        x = x @ p
    expected = [2 * g.numpy() for g in mg.grad(x.sum(), params, retain_graph=True)]
    begun.clear()
    reducer.expect()
    x.sum().backward()
    assert begun == [2, 2], "before the first layer's gradient is computed; and its hook comes before its own sum"
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


def test_sums_that_belong_to_another_rank_are_not_kept_and_those_of_several_passes_add_up(monkeypatch):
    monkeypatch.setattr("minigrad.distributed.reducer.BUCKET_BYTES", 1)
    params, world = layers(), Twice()
    reducer = GradientReducer(params, world, {id(params[0]): 1, id(params[1]): 0, id(params[2]): 1})
    for factor in (3, 4):
        reducer.expect()
        sum((p * factor).sum() for p in params[:2]).backward()
        reducer.finish()
        assert all(bucket.flat is None for bucket in reducer.buckets)
    assert world.owners == [1, 0, 1] * 2, "the last parameter first, though it has no gradient"
    assert params[0].grad is None and params[2].grad is None
    assert params[1].grad.numpy().tolist() == [[14, 14], [14, 14]]


def test_a_gradient_that_is_summed_has_no_second_copy():
    params, world = layers(n=2), Twice()
    reducer = GradientReducer(params, world)
    reducer.expect()
    (params[0] @ params[1]).sum().backward()
    reducer.finish()
    assert all(p.grad.data.base is not None and p.grad.data.base.base is None for p in params)
    assert {id(p.grad.data.base) for p in params} == {id(world.begun[0])}
