"""The rates are transformers' and torch's, and depend on nothing but the step's number."""

import inspect

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
    pairs = [
        (
            schedule.linear_schedule_with_warmup,
            transformers.get_linear_schedule_with_warmup,
            (warmup, total),
            total + 3,
        ),
        (schedule.constant_schedule_with_warmup, transformers.get_constant_schedule_with_warmup, (warmup,), total + 3),
        (schedule.cosine_schedule_with_warmup, transformers.get_cosine_schedule_with_warmup, (warmup, total), total),
        (
            schedule.cosine_schedule_with_warmup,
            transformers.get_cosine_schedule_with_warmup,
            (warmup, total, 2.25),
            total,
        ),
    ]
    for ours, theirs, arguments, steps in pairs:
        expected = reference_rates(theirs(reference([lr, lr / 10]), *arguments), steps)
        np.testing.assert_allclose(
            walked(ours(optimizer(lr, lr / 10), *arguments), steps), expected, rtol=1e-12, atol=1e-15 * lr
        )


def test_cosine_stays_down_after_the_end():
    scheduler = schedule.cosine_schedule_with_warmup(optimizer(1.0), 2, 10)
    assert [scheduler.lr_at(step)[0] for step in (2, 10, 11, 15, 18)] == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_lambda_is_that_of_torch_for_one_function_and_for_one_per_group():
    torch = pytest.importorskip("torch")
    for functions in (lambda step: 0.9**step, [lambda step: 0.5**step, lambda step: 1 / (1 + step)]):
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
    np.testing.assert_array_equal(
        walked(schedule.cosine_schedule_with_warmup(fresh, 3, 12, last_epoch=4), 7), whole[5:]
    )


def test_errors():
    with pytest.raises(TypeError, match=r"LambdaLR takes functions of the step, but got \[0.5\]"):
        schedule.LambdaLR(optimizer(0.1), 0.5)
    with pytest.raises(ValueError, match="2 functions for 1 parameter groups"):
        schedule.LambdaLR(optimizer(0.1), [lambda step: 1.0] * 2)
    with pytest.raises(ValueError, match="num_warmup_steps counts optimiser steps.*got 0.1; for a ratio"):
        schedule.linear_schedule_with_warmup(optimizer(0.1), 0.1, 100)
    with pytest.raises(ValueError, match="num_training_steps .*got -1"):
        schedule.linear_schedule_with_warmup(optimizer(0.1), 0, -1)
    with pytest.raises(ValueError, match="saved schedule is for 2 parameter groups, this one for 1"):
        schedule.constant_schedule_with_warmup(optimizer(0.1), 3).load_state_dict(
            {"last_epoch": 2, "base_lrs": [0.1, 0.2]}
        )


TORCHS = [
    ("StepLR", {"step_size": 7}),
    ("StepLR", {"step_size": 1, "gamma": 0.97}),
    ("MultiStepLR", {"milestones": [30, 5, 5, 80], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.95}),
    ("ExponentialLR", {"gamma": 1.01}),
    ("CosineAnnealingLR", {"T_max": 100}),
    ("CosineAnnealingLR", {"T_max": 13, "eta_min": 0.02}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.1, "end_factor": 0.7, "total_iters": 60}),
    ("PolynomialLR", {}),
    ("PolynomialLR", {"total_iters": 60, "power": 2.5}),
    ("OneCycleLR", {"max_lr": 0.8, "total_steps": 100}),
    ("OneCycleLR", {"max_lr": [0.8, 0.1], "epochs": 10, "steps_per_epoch": 10}),
    (
        "OneCycleLR",
        {"max_lr": 0.8, "total_steps": 100, "pct_start": 0.23, "anneal_strategy": "linear", "three_phase": True},
    ),
    (
        "OneCycleLR",
        {
            "max_lr": 0.8,
            "total_steps": 100,
            "three_phase": True,
            "base_momentum": 0.5,
            "max_momentum": 0.7,
            "div_factor": 3.0,
            "final_div_factor": 50.0,
        },
    ),
    ("OneCycleLR", {"max_lr": 0.8, "total_steps": 100, "pct_start": 0.0, "cycle_momentum": False}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.2, "total_iters": 40}),
    ("MultiplicativeLR", {"lr_lambda": lambda step: 0.9 + 0.01 * (step % 7)}),
    ("MultiplicativeLR", {"lr_lambda": [lambda step: 0.9, lambda step: 1.01]}),
    ("CosineAnnealingWarmRestarts", {"T_0": 9}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 3, "eta_min": 0.05}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 7}),
    ("CyclicLR", {"base_lr": [0.1, 0.2], "max_lr": [0.5, 0.4], "step_size_up": 7, "step_size_down": 3}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4, "mode": "triangular2", "base_momentum": 0.3}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4, "mode": "exp_range", "gamma": 0.97}),
    (
        "CyclicLR",
        {
            "base_lr": 0.1,
            "max_lr": 0.5,
            "step_size_up": 6,
            "scale_fn": lambda n: 1 / (1 + n),
            "scale_mode": "iterations",
            "cycle_momentum": False,
        },
    ),
]


def test_warm_restarts_go_to_points_between_steps_as_in_torch():
    torch = pytest.importorskip("torch")
    ours, theirs = optimizer(0.3, 2.0), reference([0.3, 2.0])
    options = {"T_0": 3, "T_mult": 2, "eta_min": 0.01}
    mine = schedule.CosineAnnealingWarmRestarts(ours, **options)
    right = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(theirs, **options)
    theirs.step()
    for point in [0.0, 0.25, 1.5, 2.75, None, 3.0, 8.5, None, 9.0, 25.0]:
        mine.step(point)
        right.step(point)
        np.testing.assert_allclose(mine.get_last_lr(), right.get_last_lr(), 1e-12)
    with pytest.raises(ValueError, match="a point of at least 0"):
        mine.step(-1.0)


def test_a_chain_advances_all_its_schedules_and_resumes():
    torch = pytest.importorskip("torch")
    rates, o = torch.optim.lr_scheduler, reference([0.3, 2.0])
    expected = reference_rates(
        rates.ChainedScheduler([rates.LinearLR(o), rates.ExponentialLR(o, 0.9), rates.StepLR(o, 4)], o), 30
    )

    def chain():
        o = optimizer(0.3, 2.0)
        return schedule.ChainedScheduler(
            [schedule.LinearLR(o), schedule.ExponentialLR(o, 0.9), schedule.StepLR(o, 4)], o
        )

    whole, half = chain(), chain()
    np.testing.assert_allclose([whole.lr_at(t) for t in range(30)], expected, 1e-12)
    np.testing.assert_allclose(walked(half, 12), expected[:12], 1e-12)
    resumed = chain()
    resumed.load_state_dict(half.state_dict())
    np.testing.assert_allclose(walked(resumed, 18), expected[12:], 1e-12)
    with pytest.raises(ValueError, match="got no schedules"):
        schedule.ChainedScheduler([])
    with pytest.raises(ValueError, match="schedule 1, a StepLR, must be for this optimiser"):
        schedule.ChainedScheduler([whole.schedulers[0], schedule.StepLR(optimizer(0.1), 2)])


@pytest.mark.parametrize(("name", "options"), TORCHS, ids=lambda x: x if isinstance(x, str) else ",".join(x))
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_a_hundred_steps_of_torch(name, options, kind):
    torch = pytest.importorskip("torch")

    def momentum(group):
        return group.get("betas", group.get("momentum"))

    ours = getattr(optim, kind)([{"params": [Tensor([0.0], requires_grad=True)], "lr": lr} for lr in (0.3, 2.0)])
    theirs = getattr(torch.optim, kind)(
        [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (0.3, 2.0)]
    )
    scheduler, their_scheduler = (
        made(o, **options)
        for made, o in ((getattr(schedule, name), ours), (getattr(torch.optim.lr_scheduler, name), theirs))
    )
    expected = []
    for _ in range(100):
        expected.append(their_scheduler.get_last_lr())
        assert [group["lr"] for group in ours.param_groups] == scheduler.get_last_lr()
        np.testing.assert_allclose(scheduler.get_last_lr(), expected[-1], rtol=1e-10, atol=1e-15)
        for group, their_group in zip(ours.param_groups, theirs.param_groups):
            np.testing.assert_allclose(momentum(group), momentum(their_group), rtol=1e-10)
        theirs.step()
        their_scheduler.step()
        scheduler.step()
    np.testing.assert_allclose([scheduler.lr_at(step) for step in range(100)], expected, rtol=1e-10, atol=1e-15)


@settings(max_examples=60)
@given(
    metrics=st.lists(
        st.sampled_from([-1.0, 0.0, 0.3, 0.299, 1.0, float("nan")]) | st.floats(-2, 2), min_size=1, max_size=100
    ),
    mode=st.sampled_from(["min", "max"]),
    threshold_mode=st.sampled_from(["rel", "abs"]),
    threshold=st.sampled_from([0.0, 1e-4, 0.1]),
    patience=st.integers(0, 3),
    cooldown=st.integers(0, 3),
    min_lr=st.sampled_from([0.0, 0.01, [0.2, 1e-3]]),
)
def test_plateau_is_that_of_torch_and_a_function_of_its_metrics(metrics, **options):
    torch = pytest.importorskip("torch")
    options |= {"factor": 0.5, "eps": 1e-3}
    ours = schedule.ReduceLROnPlateau(optimizer(0.3, 2.0), **options)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(reference([0.3, 2.0]), **options)
    expected = [[0.3, 2.0]]
    for metric in metrics:
        theirs.step(metric)
        ours.step(metric)
        expected.append(theirs.get_last_lr())
        assert ours.get_last_lr() == [group["lr"] for group in ours.optimizer.param_groups] == expected[-1]
    assert [ours.lr_at(step) for step in range(len(metrics) + 1)] == expected
    resumed = schedule.ReduceLROnPlateau(optimizer(0.3, 2.0), **options)
    resumed.load_state_dict(ours.state_dict())
    assert [group["lr"] for group in resumed.optimizer.param_groups] == expected[-1]


def sequence(room, o):
    parts = [room.LinearLR(o, 0.1, total_iters=10), room.ExponentialLR(o, 0.9), room.CosineAnnealingLR(o, 17)]
    return room.SequentialLR(o, parts, [10, 40])


def test_sequential_is_that_of_torch_and_resumes():
    torch = pytest.importorskip("torch")
    expected = reference_rates(sequence(torch.optim.lr_scheduler, reference([0.3, 2.0])), 100)
    ours = sequence(schedule, optimizer(0.3, 2.0))
    np.testing.assert_allclose([ours.lr_at(step) for step in range(100)], expected, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(walked(ours, 45), expected[:45], rtol=1e-10)
    resumed = sequence(schedule, optimizer(0.3, 2.0))
    resumed.load_state_dict(ours.state_dict())
    np.testing.assert_allclose(walked(resumed, 55), expected[45:], rtol=1e-10, atol=1e-15)


def test_one_cycle_stays_down_after_the_end_and_may_be_one_step_up():
    scheduler = schedule.OneCycleLR(optimizer(1.0), 1.0, 10, pct_start=0.1)
    assert scheduler.lr_at(0) == [1.0] and scheduler.lr_at(9) == scheduler.lr_at(50) == [1 / 25 / 1e4]
    assert scheduler.optimizer.param_groups[0]["momentum"] == 0.85


@settings(max_examples=20)
@given(
    warmup=st.integers(0, 8), rest=st.integers(1, 90), power=st.sampled_from([0.5, 1.0, 2.0]), lr_end=st.floats(0, 1e-3)
)
def test_polynomial_decay_is_that_of_transformers(warmup, rest, power, lr_end):
    transformers = pytest.importorskip("transformers")
    theirs = reference([0.01, 0.1])
    theirs.defaults["lr"] = 0.01
    ours = optimizer(0.01, 0.1)
    ours.defaults["lr"] = 0.01
    arguments = warmup, warmup + rest, lr_end, power
    expected = reference_rates(transformers.get_polynomial_decay_schedule_with_warmup(theirs, *arguments), 100)
    rates = walked(schedule.polynomial_decay_schedule_with_warmup(ours, *arguments), 100)
    np.testing.assert_allclose(rates, expected, 1e-10, 1e-15)
    with pytest.raises(ValueError, match="lr_end=0.01 must be below the optimiser's lr, 0.01"):
        schedule.polynomial_decay_schedule_with_warmup(ours, 1, 2, 0.01)


@pytest.mark.parametrize(
    "name",
    [
        "StepLR",
        "MultiStepLR",
        "ExponentialLR",
        "CosineAnnealingLR",
        "LinearLR",
        "PolynomialLR",
        "OneCycleLR",
        "ReduceLROnPlateau",
        "SequentialLR",
        "LambdaLR",
        "ConstantLR",
        "MultiplicativeLR",
        "CosineAnnealingWarmRestarts",
        "CyclicLR",
        "ChainedScheduler",
    ],
)
def test_arguments_and_defaults_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    ours, theirs = (
        inspect.signature(getattr(room, name)).parameters.values() for room in (schedule, torch.optim.lr_scheduler)
    )
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


CHAINED = [
    ("StepLR", {"step_size": 3}),
    ("MultiStepLR", {"milestones": [2, 5], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.02}),
    ("CosineAnnealingLR", {"T_max": 4}),
    ("LinearLR", {}),
    ("PolynomialLR", {"total_iters": 6}),
    ("LambdaLR", {"lr_lambda": lambda step: 1 / (1 + step)}),
    ("ReduceLROnPlateau", {"patience": 1, "factor": 0.5}),
    ("ConstantLR", {"total_iters": 3}),
    ("MultiplicativeLR", {"lr_lambda": lambda step: 0.9 + 0.01 * step}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3}),
]


@settings(max_examples=100)
@given(
    parts=st.lists(st.sampled_from(CHAINED), min_size=1, max_size=3),
    moves=st.lists(st.integers(0, 2) | st.floats(0.01, 1.0), min_size=1, max_size=25),
)
def test_several_schedules_and_rates_set_by_hand_compose_as_in_torch(parts, moves):
    """Each move is a step of one of the schedules, or a rate that the user sets."""
    torch = pytest.importorskip("torch")
    ours, theirs = optimizer(0.3, 2.0), reference([0.3, 2.0])
    both = [
        [getattr(room, name)(o, **options) for room, o in ((schedule, ours), (torch.optim.lr_scheduler, theirs))]
        for name, options in parts
    ]
    theirs.step()
    for move in moves:
        if isinstance(move, float):
            for o in (ours, theirs):
                o.param_groups[1]["lr"] = move
        else:
            for scheduler in both[move % len(both)]:
                scheduler.step(*[1.0] * (type(scheduler).__name__ == "ReduceLROnPlateau"))
        rates = [[group["lr"] for group in o.param_groups] for o in (ours, theirs)]
        np.testing.assert_allclose(*rates, rtol=1e-9, atol=1e-15)


def test_a_rate_set_by_hand_survives_the_next_step():
    o = optimizer(1.0)
    scheduler = schedule.StepLR(o, 2, gamma=0.5)
    o.param_groups[0]["lr"] = 0.3
    scheduler.step()
    assert o.param_groups[0]["lr"] == 0.3
    scheduler.step()
    assert o.param_groups[0]["lr"] == 0.15 == scheduler.get_last_lr()[0]
    resumed = schedule.StepLR(optimizer(1.0), 2, gamma=0.5)
    resumed.load_state_dict(scheduler.state_dict())
    assert resumed.get_last_lr() == [0.15]


def test_plateau_takes_as_long_for_the_last_step_as_for_the_first():
    scheduler = schedule.ReduceLROnPlateau(optimizer(1.0), patience=0, factor=0.5)
    for _ in range(20_000):  # minutes, if each step were to look at all metrics again
        scheduler.step(1.0)
    assert scheduler.get_last_lr()[0] < 2e-8 and len(scheduler.state_dict()["metrics"]) == 20_000


def test_a_group_added_later_is_told():
    o = optimizer(0.1)
    scheduler = schedule.StepLR(o, 2)
    o.add_param_group({"params": [Tensor([0.0], requires_grad=True)]})
    with pytest.raises(
        ValueError, match="for 1 parameter groups, but the optimiser has 2 by now: call add_param_group"
    ):
        scheduler.step()


WITHOUT_MOMENTUM = optim.Adagrad([Tensor([0.0], requires_grad=True)])
OTHER = schedule.LinearLR(optimizer(1.0))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda o: schedule.OneCycleLR(o, 0.1), "OneCycleLR needs total_steps, or epochs and steps_per_epoch"),
        (lambda o: schedule.OneCycleLR(o, 0.1, epochs=3), "needs total_steps"),
        (
            lambda o: schedule.OneCycleLR(o, 0.1, 10, anneal_strategy="cosine"),
            "anneal_strategy='cosine' is not known: type \"cos\"",
        ),
        (lambda o: schedule.OneCycleLR(o, [0.1, 0.2], 10), "got 2 rates max_lr for 1 parameter groups"),
        (
            lambda o: schedule.OneCycleLR(WITHOUT_MOMENTUM, 0.1, 10),
            "Adagrad has neither momentum nor betas: give .*=False",
        ),
        (lambda o: schedule.StepLR(o, 3, last_epoch=7), "resumes a run, but parameter group 0 has no 'initial_lr'"),
        (lambda o: schedule.StepLR(o, 0), "StepLR: step_size must be a whole number, 1 or more, but got 0"),
        (lambda o: schedule.StepLR(o, 2.5), "step_size must be a whole number, 1 or more, but got 2.5"),
        (
            lambda o: schedule.CosineAnnealingLR(o, 0),
            "CosineAnnealingLR: T_max must be a whole number, 1 or more, but got 0",
        ),
        (lambda o: schedule.LinearLR(o, total_iters=0), "LinearLR: total_iters must be a whole number, 1 or more"),
        (lambda o: schedule.LinearLR(o, start_factor=0), "start_factor=0 must be above 0 and at most 1"),
        (lambda o: schedule.PolynomialLR(o, -1), "PolynomialLR: total_iters must be a whole number"),
        (
            lambda o: schedule.MultiStepLR(o, [3, 0.5]),
            "MultiStepLR: milestones must be a whole number, 0 or more, but got 0.5",
        ),
        (
            lambda o: schedule.OneCycleLR(o, 0.1, 0),
            "OneCycleLR: total_steps must be a whole number, 1 or more, but got 0",
        ),
        (lambda o: schedule.OneCycleLR(o, 0.1, 10, pct_start=3), "pct_start=3 is the share of the steps"),
        (lambda o: schedule.ReduceLROnPlateau(o, "most"), 'mode=\'most\' must be "min" or "max"'),
        (lambda o: schedule.ReduceLROnPlateau(o, factor=2), "factor=2 must be below 1"),
        (lambda o: schedule.ReduceLROnPlateau(o, min_lr=[0.1, 0.2]), "got 2 rates min_lr for 1 parameter groups"),
        (
            lambda o: schedule.SequentialLR(o, [schedule.LinearLR(o)], [3]),
            "a milestone between each two of them, but got 1",
        ),
        (
            lambda o: schedule.SequentialLR(o, [schedule.LinearLR(o), OTHER], [3]),
            "schedule 1, a LinearLR, must be for this",
        ),
        (
            lambda o: schedule.SequentialLR(o, [schedule.ReduceLROnPlateau(o), OTHER], [3]),
            "schedule 0, a ReduceLROnPlateau",
        ),
    ],
)
def test_what_a_schedule_refuses(make, text):
    with pytest.raises(ValueError, match=text):
        make(optimizer(0.1))
