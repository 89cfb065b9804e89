"""`minigrad gradcheck`: the catalogue as a table, a user's function, and what is said to bad input."""

import pytest

from minigrad import cli
from minigrad.checking import catalogue, command
from minigrad.primitive import OPS

MODULE = """
import numpy as np
import minigrad as mg
@mg.primitive
def cube(xp, x, /):
    return x ** 3
cube.defvjp(x=lambda g, x: g * x ** 2)
def rows(x, ids): return x[ids] * mg.relu(x[0])
rows.example_inputs = lambda: [np.array([[1.0, 0.0], [2.0, 3.0]]), np.array([0, 1, 1])]
dot = lambda a, b: (a * b).sum()
def fails(x): return 1 / 0
def numpy(x): return np.sin(x)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "functions_of_mine.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return "functions_of_mine"


def test_the_table(monkeypatch, capsys):
    rows = [row for row in catalogue.ROWS if row.op in ("sin", "argmax", "max")]
    monkeypatch.setattr(catalogue, "ROWS", rows)
    assert cli.main(["gradcheck"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["op", "sin", "max", "argmax", "4"] and lines[1].endswith("right")
    assert 0 < float(lines[1].split()[2]) < 1 and "no gradient" in lines[3]
    monkeypatch.setitem(OPS["sin"].rules, "x", (lambda g, x: -g, ["x"]))
    OPS["sin"].plans.clear()
    try:
        assert command.check_catalogue() == 1
    finally:
        OPS["sin"].plans.clear()  # the rule itself is put back by monkeypatch
    assert "WRONG at order 1" in capsys.readouterr().out


def test_a_function_of_the_users(mine, capsys):
    assert cli.main(["gradcheck", f"{mine}:dot", "--inputs", "2,3 3"]) == 0
    assert "<lambda>: right to order 2" in capsys.readouterr().out
    assert cli.main(["gradcheck", f"{mine}:rows"]) == 0
    assert "a kink at input 0 at [0, 1]" in capsys.readouterr().out
    assert cli.main(["gradcheck", f"{mine}:cube", "--inputs", "2,3"]) == 1
    out = capsys.readouterr().out
    assert "WRONG at order 1" in out and "1/3 times" in out and "origin: the rule of cube for its input 'x'" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no_such_module:f"], "No module named"),
        (["{}.py"], "type package.module:function"),
        (["{}:no"], "no attribute 'no'"),
        (["{}:dot"], "on which inputs"),
        (["{}:dot", "--inputs", "2,x"], "type shapes"),
        (["{}:np", "--inputs", "2"], "not a func"),
        (
            ["{}:fails", "--inputs", "2"],
            "fails could not be checked: ZeroDivisionError: division by zero (functions_of_mine.py:11)",
        ),
        (["{}:numpy", "--inputs", "2"], "mg.sin, not np.sin"),
        (["{}:dot", "--inputs", "2,3"], "cannot be called with 1 inputs: missing a required argument: 'b'"),
    ],
)
def test_bad_input_gets_one_line(mine, capsys, words, said):
    assert cli.main(["gradcheck", *(word.format(mine) for word in words)]) == 2
    out, err = capsys.readouterr()
    assert said in err and err.count("\n") == 1 and not out
