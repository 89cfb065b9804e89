"""The rates are transformers' and torch's, and depend on nothing but the step's number."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import optim, schedule
from minigrad.tensor import Tensor


def optimizer(*rates):
    return optim.SGD([{"params": [Tensor(np.zeros(2), requires_grad=True)], "lr": lr} for lr in rates])


def walked(scheduler, steps):
    """The rates of `steps` steps, one row each, as the optimiser sees them."""
    rows = []
    for _ in range(steps):
        rows.append([group["lr"] for group in scheduler.optimizer.param_groups])
        assert scheduler.get_last_lr() == rows[-1]
        scheduler.step()
    return np.array(rows)


def reference(rates):
    torch = pytest.importorskip("torch")
    return torch.optim.SGD([{"params": [torch.zeros(2, requires_grad=True)], "lr": lr} for lr in rates])


def reference_rates(scheduler, steps):
    rows = []
    for _ in range(steps):
        rows.append(scheduler.get_last_lr())
        scheduler.optimizer.step()
        scheduler.step()
    return np.array(rows)


@settings(max_examples=20)
@given(warmup=st.integers(0, 8), rest=st.integers(1, 12), lr=st.floats(1e-6, 10))
def test_warmup_schedules_are_those_of_transformers(warmup, rest, lr):
    transformers = pytest.importorskip("transformers")
    total = warmup + rest
    pairs = [(schedule.linear_schedule_with_warmup, transformers.get_linear_schedule_with_warmup, (warmup, total), total + 3),
             (schedule.constant_schedule_with_warmup, transformers.get_constant_schedule_with_warmup, (warmup,), total + 3),
             (schedule.cosine_schedule_with_warmup, transformers.get_cosine_schedule_with_warmup, (warmup, total), total),
             (schedule.cosine_schedule_with_warmup, transformers.get_cosine_schedule_with_warmup, (warmup, total, 2.25), total)]
    for ours, theirs, arguments, steps in pairs:
        expected = reference_rates(theirs(reference([lr, lr / 10]), *arguments), steps)
        np.testing.assert_allclose(walked(ours(optimizer(lr, lr / 10), *arguments), steps), expected, rtol=1e-12, atol=1e-15 * lr)


def test_cosine_stays_down_after_the_end():
    scheduler = schedule.cosine_schedule_with_warmup(optimizer(1.0), 2, 10)
    assert [scheduler.lr_at(step)[0] for step in (2, 10, 11, 15, 18)] == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_lambda_is_that_of_torch_for_one_function_and_for_one_per_group():
    torch = pytest.importorskip("torch")
    for functions in (lambda step: 0.9 ** step, [lambda step: 0.5 ** step, lambda step: 1 / (1 + step)]):
        expected = reference_rates(torch.optim.lr_scheduler.LambdaLR(reference([0.3, 2.0]), functions), 7)
        np.testing.assert_array_equal(walked(schedule.LambdaLR(optimizer(0.3, 2.0), functions), 7), expected)


@given(steps=st.lists(st.integers(0, 30), max_size=5))
def test_looking_at_a_rate_changes_nothing(steps):
    scheduler = schedule.linear_schedule_with_warmup(optimizer(0.1), 3, 20)
    seen = [scheduler.lr_at(step) for step in steps]
    rates = walked(scheduler, 31)
    assert seen == [list(rates[step]) for step in steps]


def test_resuming_goes_on_where_the_run_stopped():
    whole = walked(schedule.cosine_schedule_with_warmup(optimizer(0.1, 0.2), 3, 12), 12)
    stopped = schedule.cosine_schedule_with_warmup(optimizer(0.1, 0.2), 3, 12)
    walked(stopped, 5)
    # by the schedule's own state, even on an optimiser which has not been told
    resumed = schedule.cosine_schedule_with_warmup(optimizer(0.1, 0.2), 3, 12)
    resumed.load_state_dict(stopped.state_dict())
    np.testing.assert_array_equal(walked(resumed, 7), whole[5:])
    # by the optimiser's state: its lr is no longer the one begun with, and is not taken for it
    fresh = optimizer(0.1, 0.2)
    fresh.load_state_dict(stopped.optimizer.state_dict())
    np.testing.assert_array_equal(walked(schedule.cosine_schedule_with_warmup(fresh, 3, 12, last_epoch=4), 7), whole[5:])


def test_errors():
    with pytest.raises(ValueError, match="2 functions for 1 parameter groups"):
        schedule.LambdaLR(optimizer(0.1), [lambda step: 1.0] * 2)
    with pytest.raises(ValueError, match="num_warmup_steps counts optimiser steps.*got 0.1; for a ratio"):
        schedule.linear_schedule_with_warmup(optimizer(0.1), 0.1, 100)
    with pytest.raises(ValueError, match="num_training_steps .*got -1"):
        schedule.linear_schedule_with_warmup(optimizer(0.1), 0, -1)
    with pytest.raises(ValueError, match="saved schedule is for 2 parameter groups, this one for 1"):
        schedule.constant_schedule_with_warmup(optimizer(0.1), 3).load_state_dict({"last_epoch": 2, "base_lrs": [0.1, 0.2]})
