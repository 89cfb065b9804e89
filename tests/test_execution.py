"""When the tape runs: in blocks, functions, generators and coroutines, each of which is as it was told."""

import asyncio

import numpy as np
import pytest

import minigrad as mg
from minigrad.tensor import Tensor


def leaf(shape=(4, 3), dtype=np.float32, seed=0):
    return Tensor(np.random.default_rng(seed).uniform(0.5, 1.5, shape).astype(dtype), requires_grad=True)


def test_whether_gradients_are_possible_is_told():
    assert mg.is_grad_enabled() is True
    with mg.no_grad():
        assert mg.is_grad_enabled() is False
        with mg.enable_grad(), mg.autocast("bfloat16"):
            assert mg.is_grad_enabled() is True


def test_a_generator_records_as_it_was_told_and_its_caller_as_it_likes():
    x = leaf()

    @mg.no_grad()
    def batches(n):
        """What it says."""
        for _ in range(n):
            assert not (x * 2).requires_grad
            got = yield (x * 2).requires_grad
            assert got == "sent" and not (x * 2).requires_grad
        return "done"

    def outer():
        return (yield from batches(2))

    steps = outer()
    assert next(steps) is False and (x * 2).requires_grad
    assert steps.send("sent") is False and (x * 2).requires_grad
    with pytest.raises(StopIteration, match="done"):
        steps.send("sent")
    assert (x * 2).requires_grad and batches.__doc__ == "What it says."
    unfinished = batches(2)
    next(unfinished)
    unfinished.close()
    assert (x * 2).requires_grad


def test_a_coroutine_records_as_it_was_told():
    x, seen = leaf(), []

    @mg.no_grad()
    async def evaluate():
        seen.append((x * 2).requires_grad)
        await asyncio.sleep(0)
        seen.append((x * 2).requires_grad)
        return 3

    @mg.no_grad()
    async def stream():
        for _ in range(2):
            await asyncio.sleep(0)
            yield (x * 2).requires_grad

    async def main():
        task = asyncio.ensure_future(evaluate())
        await asyncio.sleep(0)
        seen.append((x * 2).requires_grad)
        async for recorded in stream():
            seen.extend([recorded, (x * 2).requires_grad])
        return await task

    assert asyncio.run(main()) == 3
    assert seen == [False, True, False, False, True, False, True] and (x * 2).requires_grad


def test_other_modes_are_decorators_of_generators_too():
    x = leaf((2, 2))

    @mg.autocast("float16")
    def products():
        yield (x @ x).dtype

    assert list(products()) == [np.float16] and (x @ x).dtype == np.float32


def test_one_object_may_be_entered_again_and_within_itself():
    x, off = leaf(), mg.no_grad()
    for _ in range(2):
        with off:
            with off, mg.enable_grad():
                assert (x * 2).requires_grad
            assert not (x * 2).requires_grad
        assert (x * 2).requires_grad

    @off
    def recursive(n):
        return (x * 2).requires_grad or n > 0 and recursive(n - 1)

    assert recursive(3) is False and (x * 2).requires_grad


def test_a_generator_that_is_closed_late_disturbs_nobody():
    x = leaf()

    def inside():
        with mg.no_grad():
            yield

    steps = inside()
    next(steps)
    assert not (x * 2).requires_grad  # Python's generators do so; the decorator does not
    with mg.enable_grad():
        steps.close()
        assert (x * 2).requires_grad
    assert (x * 2).requires_grad
