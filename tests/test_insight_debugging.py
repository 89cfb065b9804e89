"""mg.debug: what NumPy did behind the tape's back, and where NaN and infinities begin."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.tensor import Tensor


def leaf(*values):
    return Tensor(np.array(values, float), requires_grad=True)


CHANGES = {
    "the array given": lambda a, w: a.__setitem__(slice(None), 5),
    "data": lambda a, w: w.data.__isub__(1),
    "numpy()": lambda a, w: w.numpy().__setitem__(0, 9),
    "a view": lambda a, w: w.data.reshape(3, 1).__imul__(2),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_array_that_was_changed_unseen_is_found(change):
    a, x = np.array([1.0, 2.0, 3.0]), leaf(1, 1, 1)
    w = Tensor(a, requires_grad=True)
    with mg.debug():
        loss = (x * w).sum()  # this line
        change(a, w)
        with pytest.raises(
            RuntimeError, match=r"b \(w\) of shape \(3,\), which multiply.*_debugging.py:\d+: .*this line.*since"
        ):
            loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match=r"copy_\(values\).*mg.tensor\(a\)"):
        loss.backward()  # outside, too


@pytest.mark.parametrize(
    "use",
    [
        lambda x, w: mg.exp(w) * x,
        lambda x, w: mg.softmax(x @ w),
        lambda x, w: mg.checkpoint(lambda x: mg.tanh(x * w), x),
        mg.functional.linear,
    ],
)
def test_outputs_kernels_and_checkpoints_are_watched(use):
    x, w = (Tensor(np.ones((3, 3)), requires_grad=True) for _ in range(2))
    with mg.debug():
        y = use(x, w)
        loss = (y * y).sum()
    w.data[:] = 3
    y.data[:] = 3
    with pytest.raises(RuntimeError, match="changed since"):
        loss.backward()


def test_an_optimisers_step_is_told_as_ever():
    w = leaf(1, 2)
    with mg.debug():
        loss = (w * w).sum()
        w.copy_(0)
        with pytest.raises(RuntimeError, match="written into after the forward pass"):
            loss.backward()


class Net(nn.Module):
    def __init__(self):
        self.first, self.rest = nn.Linear(3, 4, rng=0), nn.Sequential(nn.ReLU(), Risky())

    def forward(self, x):
        return self.rest(self.first(x))


class Risky(nn.Module):
    def forward(self, x):
        return mg.log(x - 10)  # of a negative number


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_first_nan_is_named_with_inputs_module_and_line():
    model, x = Net(), mg.ones((2, 3))
    for recorded in (mg.enable_grad, mg.no_grad):
        with mg.debug(), recorded(), pytest.raises(FloatingPointError) as error:
            model(x)
        told = str(error.value)
        assert told.startswith("log gives 8 NaN of 8 entries, in rest.1 (Risky), at test_insight_debugging.py:")
        assert (
            "return mg.log(x - 10)" in told
            and "x (2, 4) float32: min -10, max -" in told
            and "0 NaN, 0 infinite" in told
        )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("f", "text"),
    [
        (lambda x: x / (x - 1), r"divide gives 1 infinite of 2"),
        (lambda x: mg.exp(x * 1000), "exp gives 2 infinite"),
        (lambda x: x * np.inf - x * np.inf, "subtract gives 2 NaN"),
        (lambda x: mg.sqrt(-x), "sqrt gives 2 NaN"),
        (lambda x: x * np.array([np.nan, 1]), r"multiply gives 1 NaN of 2 (?s:.*)b \(2,\) float64: .*; 1 NaN"),
        (lambda x: mg.functional.softplus(x / 0.0), "divide gives 2 infinite"),
    ],
)
def test_the_op_is_the_first(f, text):
    with mg.debug(), pytest.raises(FloatingPointError, match=text):
        mg.exp(f(leaf(1.0, 2.0)))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("create_graph", [False, True])
def test_the_first_step_back_with_an_infinite_gradient_is_named(create_graph):
    x = leaf(0.0, 4.0)
    with mg.debug():
        y = mg.sqrt(x * 1)  # the root
        with pytest.raises(
            FloatingPointError,
            match="the backward pass of sqrt(?s:.*)1 infinite of 2.*# the root|"
            "the backward pass of sqrt.*# the root(?s:.*)1 infinite of 2",
        ):
            y.sum().backward(create_graph=create_graph)


def test_infinities_that_are_meant_pass():
    x = leaf(1.0, 2.0)
    with mg.debug():
        scores = mg.where(np.array([True, False]), x, -np.inf)
        mg.softmax(scores).sum().backward()
        (x + np.array([0, -np.inf])).max().backward()


def test_training_is_no_alarm_and_changes_nothing():
    x = np.random.default_rng(0).standard_normal((4, 5, 8)).astype("f4")
    found = []
    for mode in (mg.debug, mg.enable_grad):
        model = nn.Sequential(
            nn.TransformerEncoderLayer(8, 2, 16, rng=0), nn.LayerNorm(8), nn.Dropout(0.5, rng=1), nn.Linear(8, 2, rng=2)
        )
        optimizer = optim.AdamW(model.parameters(), lr=0.1)
        for _ in range(3):
            with mode():
                loss = (mg.checkpoint(model, mg.Tensor(x)) ** 2).mean()
                loss.backward()
            optim.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        found.append([p.numpy() for p in model.parameters()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_goes_with_recording_and_as_a_decorator():
    x = leaf(1.0, 2.0)
    with mg.insight.recording(), mg.debug():
        loss = (x * x).sum()
        assert "multiply" in str(mg.explain(loss))
        loss.backward()
    assert mg.debug()(lambda: (x * 2).sum().item())() == 6
