"""The checker is checked: a sample of the mistakes in the catalogue, and the rule of which count."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import ops
from minigrad.checking import mutation
from minigrad.checking.catalogue.rows import Row
from minigrad.checking.mutation import MISTAKES, Mutant, outcome

X = np.random.default_rng(0).standard_normal((2, 3))
SAMPLE = list(mutation.mutants(every=31))


def test_there_are_twelve():
    rare = {"duplicates lost", "broadcast sum forgotten", "mean forgotten"}
    assert len(MISTAKES) == 12 and {mutant.mistake for mutant in SAMPLE} >= {*MISTAKES} - rare


def test_a_sample_is_caught_and_named():
    found = [outcome(mutant) for mutant in SAMPLE]
    assert sum(o.error is not None for o in found) >= 0.95 * len(found) and sum(o.named for o in found) >= 0.9 * len(
        found
    )
    assert all(o.blamed for o in found if o.error)


@pytest.mark.parametrize(
    ("call", "inputs", "mistake", "counts"),
    [
        (mg.exp, (X,), "sign", True),
        (mg.exp, (X[0],), "transposed", False),  # a vector has no transpose
        (mg.exp, (X,), "mean forgotten", False),
        (lambda x: mg.sum(x, 1), (X,), "mean forgotten", True),
        (ops.add, (X, X[0]), "broadcast sum forgotten", True),
        (ops.add, (X, X), "broadcast sum forgotten", False),
        (ops.add, (X, X + 1), "neighbour's gradient", False),  # they are the same
        (ops.multiply, (X, X + 1), "neighbour's gradient", True),
        (lambda x: x[np.array([0, 1])], (X,), "duplicates lost", False),
        (lambda x: x[np.array([0, 1, 0])], (X,), "duplicates lost", True),
    ],
)
def test_which_mistakes_count(call, inputs, mistake, counts):
    op = "take" if mistake == "duplicates lost" else "add"
    assert Mutant(Row(op, call, inputs, None), len(inputs) - 1, mistake).counts() == counts


def test_the_score_is_printed_and_decides(monkeypatch, capsys):
    chosen = [Mutant(Row("exp", mg.exp, (X,), None), 0, mistake, "exp") for mistake in ("sign", "gradient lost")]
    monkeypatch.setattr(mutation, "mutants", lambda: iter(chosen))
    assert mutation.main() == 0
    assert "all                              2  100.0%       100.0%    100.0%" in capsys.readouterr().out
    monkeypatch.setattr(mutation, "gradcheck", lambda *args, **kwargs: True)
    assert mutation.main() == 1
    assert "not caught: 2\n  exp, input 0: sign" in capsys.readouterr().out
