"""What the checker misses, and what it refuses though right: a sample of what `minigrad.checking.curve` prints."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.checking import GradientError, curve, gradcheck
from minigrad.checking.compare import Finding, compare

DOUBLE, SINGLE = (
    [name for name, case in curve.CASES.items() if case.dtype == dtype] for dtype in ("float64", "float32")
)


def missed(name, planted, error, size, seeds=range(5)):
    case = curve.CASES[name]
    return curve.misses(lambda seed: curve.by_hand(case, planted, error, size, seeds[seed]), len(seeds))


@pytest.mark.parametrize(("size", "seeds"), [(100, 10), (1_000, 10), (10_000, 5), (100_000, 1)])
def test_nothing_is_missed_at_1e_5_and_one_in_ten_at_1e_6(size, seeds):
    for planted in curve.PLANTED:
        assert curve.misses(lambda seed, p=planted: curve.on_tape(p, 1e-5, size, seed), seeds) == 0
        assert curve.misses(lambda seed, p=planted: curve.on_tape(p, 1e-6, size, seed), seeds) <= seeds // 10


def test_a_million_entries():
    assert curve.misses(lambda seed: curve.on_tape("every entry", 1e-5, 1_000_000, seed), 1) == 0


@pytest.mark.parametrize("name", DOUBLE)
def test_of_other_functions_too(name):
    for size, seeds in ((100, range(5)), (5_000, range(2))):
        assert sum(missed(name, planted, 1e-5, size, seeds) for planted in curve.PLANTED) == 0
        assert sum(missed(name, planted, 1e-6, size, seeds) for planted in curve.PLANTED) <= len(seeds) * 4 // 10


@pytest.mark.parametrize("name", SINGLE)
def test_and_of_functions_in_float32_at_the_tolerance_that_is_stated(name):
    for size in (10, 1_000):
        assert missed(name, "every entry", 1e-2, size) == 0 and missed(name, "every entry", 3e-3, size) <= 1


def test_to_second_order():
    assert curve.misses(lambda seed: curve.on_tape("every entry", 1e-5, 5_000, seed, order=2), 4) == 0
    assert curve.misses(lambda seed: curve.on_tape("every entry", 1e-6, 1_000, seed, order=2), 10) <= 1


def test_right_gradients_pass():
    for name in curve.CASES:
        for size in (100, 3_000):
            assert missed(name, "every entry", 0.0, size) == 5, name
    checks, alarms = curve.false_alarms(seeds=1, every=7)
    assert checks > 20 and alarms == []


def test_to_detect_is_to_raise():
    """The curve does not locate the entries; gradcheck does, and must come to the same verdict."""
    rng = np.random.default_rng(0)
    for seed in range(5):
        x = rng.standard_normal(2_000)
        for error in (0.0, 1e-9, 1e-8, 1e-7, 1e-6):

            def vjp(g, x, error=error):
                return g * np.cos(x) * (1 + error)

            f = curve.ByHand(np.sin, None, vjp, [x], [("input 0", x)], "sin")
            found = isinstance(compare(f, np.random.default_rng(seed), locate=False), Finding)
            try:
                gradcheck(np.sin, x, vjp=vjp, seed=seed)
                raised = False
            except GradientError:
                raised = True
            assert found == raised == (error > 1e-9 or raised)


def test_the_table_is_printed(capsys, monkeypatch):
    monkeypatch.setattr(curve, "CASES", {name: curve.CASES[name] for name in ("relu", "sin in float32")})
    monkeypatch.setattr(curve, "COMMON", 1_000)
    assert curve.main(["--seeds", "1", "--largest", "100"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "missed",
        "of",
        "1,",
        "at",
        "an",
        "error",
        "of",
        "1e-08",
        "1e-07",
        "1e-06",
        "1e-05",
        "1e-04",
    ]
    assert lines[1].startswith("sin of 100") and all(line.split()[-1] == "0" for line in lines[1:] if "e-0" not in line)


@pytest.mark.parametrize("f", [mg.sin, mg.relu, lambda x: (x * x).sum()])
def test_a_million_inputs_take_few_evaluations(f):
    """relu takes the most of the three: there are kinks in reach of all but the shortest steps."""
    calls = []
    gradcheck(lambda x: calls.append(0) or f(x), np.random.default_rng(0).standard_normal(1_000_000))
    assert len(calls) <= 80
