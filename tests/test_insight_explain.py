"""explain: the story is true (the norms are those of the gradients), says why sums appear, and disturbs nothing."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.insight.explain import walk
from minigrad.insight.tape import Tape

RNG = np.random.default_rng(0)


@pytest.fixture
def made():
    x = mg.Tensor(RNG.normal(size=(5, 3)))
    W, b = (mg.Tensor(RNG.normal(size=shape), requires_grad=True) for shape in ((3, 3), (3,)))
    h = mg.tanh(x @ W + b)
    return W, b, ((h @ W - 1) ** 2).mean()


def test_every_step_is_told_with_its_rule_and_its_norms(made):
    W, b, loss = made
    told = mg.explain(loss)
    assert [step.op for step in told.steps] == [
        "divide",
        "sum",
        "power_of",
        "subtract",
        "matmul",
        "tanh",
        "add",
        "matmul",
    ]
    assert [p.rule for p in told.steps[4].passed] == ["g bᵀ", "aᵀ g"]
    gradients = mg.grad(loss, [W, b])
    assert [(name, shape) for name, shape, _ in told.gradients] == [("b", (3,)), ("W", (3, 3))]
    assert np.allclose([norm for *_, norm in told.gradients], [np.linalg.norm(g.numpy()) for g in gradients[::-1]])


def test_a_sum_over_a_broadcast_axis_is_explained(made):
    W, b, loss = made
    (passed,) = [p for step in mg.explain(loss).steps for p in step.passed if p.name == "b"]
    assert passed.why == (
        "then summed from (5, 3) over axis 0: b (3,) was broadcast along it, so each entry was used many "
        "times, and gradients of many uses add up"
    )


def test_nothing_is_disturbed(made):
    W, b, loss = made
    before = W.version, b.version
    mg.explain(loss, wrt=W)
    str(mg.explain(loss))
    assert W.grad is None and b.grad is None and (W.version, b.version) == before
    loss.backward()
    assert W.grad is not None


def test_wrt_keeps_the_paths_and_tells_what_each_contributes(made):
    W, b, loss = made
    told = mg.explain(loss, wrt=W)
    assert {p.name for step in told.steps for p in step.passed}.isdisjoint({"b"})
    assert len(told.contributions) == 2 and "2 paths lead to W" in told.remark
    x = mg.explain(loss, wrt=b)
    ((path, norm),) = x.contributions
    assert path.endswith("add(b) ← b") and np.isclose(norm, np.linalg.norm(mg.grad(loss, b).numpy()))


@pytest.mark.parametrize("uses", [3, 30])
def test_contributions_add_up_to_the_gradient(uses):
    w = mg.Tensor(RNG.normal(size=4), requires_grad=True)
    y = w
    for _ in range(uses):
        y = y * w  # w is used once more in every step; the paths are uses + 1
    told = mg.explain(y.sum(), wrt=w)
    assert f"{uses + 1} paths lead to w" in told.remark
    assert float(told.remark.splitlines()[0].rpartition(" ")[2].rstrip(".")) < 1e-9
    assert len(told.contributions) == uses + 1


def test_very_many_paths_are_told_by_use():
    y = x = mg.Tensor(1.0, requires_grad=True)
    for _ in range(60):
        y = y + y  # 2⁶⁰ paths
    told = mg.explain(y, wrt=x)
    assert f"{2**60} paths lead to x, too many to follow each by itself, through 2 uses of it" in told.remark
    assert [norm for _, norm in told.contributions] == [2.0**59] * 2
    assert [use for use, _ in told.contributions] == ["step 60, add(a)", "step 60, add(b)"]


def test_a_recorded_tape_names_lines_and_modules():
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.GELU(), nn.Linear(4, 2, rng=1))
    with mg.insight.recording():
        logits = model(np.ones((5, 3), np.float32))
        loss = F.cross_entropy(logits, np.zeros(5, int))
    told = str(mg.explain(loss))
    assert (
        "loss = F.cross_entropy(logits, np.zeros(5, int))" in told
        and "linear  in 2" in told
        and "weight = 0.weight" in told
    )
    html = mg.explain(loss)._repr_html_()
    assert "<table>" in html and "0.weight" in html and "<lambda>" not in html


def test_without_a_recording_the_model_gives_the_names():
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.GELU(), nn.Linear(4, 2, rng=1))
    told = mg.explain(model(np.ones((5, 3), np.float32)).sum(), model=model)
    assert "2.bias" in [name for name, *_ in told.gradients] and told.remark.startswith("To see the lines")


def test_bad_input_is_refused(made):
    W, b, loss = made
    with pytest.raises(TypeError, match="expected a Tensor and its tape"):
        mg.explain(3.0)
    with pytest.raises(ValueError, match="has no tape"):
        mg.explain(loss.detach())
    with pytest.raises(ValueError, match="does not depend on wrt"):
        mg.explain(loss, wrt=mg.ones(3, requires_grad=True))
    W.copy_(W.data + 1)
    with pytest.raises(RuntimeError, match="modified in place after the forward pass"):
        mg.explain(loss)


def test_a_freed_tape_says_what_to_do(made):
    made[2].backward()
    with pytest.raises(RuntimeError, match="explain the loss before loss.backward"):
        mg.explain(made[2])


@pytest.mark.slow
def test_a_long_story_is_cut_short_and_says_what_to_type_for_more():
    x = y = mg.ones(3, requires_grad=True)
    for _ in range(1000):
        y = mg.tanh(y) + x
    told = mg.explain(y)
    assert len(told.steps) == 2000 and len(str(told)) < 25_000 and len(told._repr_html_()) < 60_000
    assert (
        "… 1,900 more steps: mg.explain with limit=None prints all" in str(told) and "1,900 more" in told._repr_html_()
    )
    lines = str(told).splitlines()
    assert any(line.startswith("  1 ") for line in lines) and any(line.startswith("2000 ") for line in lines)
    whole = str(mg.explain(y, limit=None))
    assert "more steps" not in whole and len(whole) > 100_000
    assert len(str(mg.explain(y, wrt=x))) < 40_000  # with 1,001 contributions


def test_many_leaves_are_cut_short_too():
    w = [mg.ones(2, requires_grad=True) for _ in range(300)]
    told = str(mg.explain(mg.stack(w).sum(), limit=10))
    assert "… 290 more leaves" in told and "w[0]" in told and "w[299]" in told


def test_the_repr_is_the_text(made):
    told = mg.explain(made[2])
    assert repr(told) == str(told) and repr(told).startswith("The gradient of")


@pytest.mark.parametrize("limit, error", [(1, ValueError), (-5, ValueError), ("all", TypeError), (2.5, TypeError)])
def test_a_limit_that_is_no_number_of_steps_is_refused(made, limit, error):
    with pytest.raises(error, match="give how many steps to print"):
        mg.explain(made[2], limit=limit)


def test_gradients_are_those_of_the_backward_pass_in_16_bits_too():
    """Where several meet they are added up in float32: 2048 + 1 + 1 is 2050, but 2048 in 16 bits."""
    x = mg.Tensor(np.ones(2, "f2"), requires_grad=True)
    loss = mg.sum(x * 2048) + mg.sum(x) + mg.sum(x)
    tape = Tape(loss)
    found = {node: g for node, g, _ in walk(tape, set(tape.nodes))}
    loss.backward()
    assert found[x.node].tolist() == x.grad.tolist() == [2050, 2050]
