"""The facts of the ops stand beside them, and every op of the package has them."""

from importlib import import_module
from pkgutil import walk_packages

import numpy as np
import pytest

import minigrad as mg
import minigrad.ops
from minigrad.builtin import FUNCTIONS, builtin
from minigrad.primitive import OPS, Primitive


@pytest.fixture(scope="module", autouse=True)
def all_modules():
    for package in (mg.ops, import_module("minigrad.nn"), import_module("minigrad.checking")):
        for module in walk_packages(package.__path__, package.__name__ + "."):
            import_module(module.name)
    import_module("minigrad.losses")
    mg.concatenate([mg.ones(1), mg.ones(1)])  # whose op is made when it is first used


@pytest.fixture
def ops_as_they_were(monkeypatch):
    monkeypatch.setattr("minigrad.builtin.OPS", dict(OPS))
    monkeypatch.setattr("minigrad.builtin.FUNCTIONS", dict(FUNCTIONS))


def test_every_op_has_its_facts():
    assert len(OPS) > 70
    for name, op in OPS.items():
        assert op.name == name and op.builtin, name
        assert op.autocast in (None, "half", "float32", "first input"), name
        if isinstance(op, Primitive):
            assert op.rules is not None, f"{name}: defvjp() says that it is constant"
            assert set(op.symbols) == set(op.rules), f"{name}: in_symbols(...) has a text for each of {list(op.rules)}"


def test_every_function_has_its_facts():
    assert {front.__name__ for front in FUNCTIONS.values()} == set(FUNCTIONS) and len(FUNCTIONS) > 20
    assert {front.autocast for front in FUNCTIONS.values()} == {None, "float32", "half"}


def test_a_users_op_is_taken_for_none_of_ours():
    @mg.primitive
    def softmax(xp, x, /):
        return 2 * x

    softmax.defvjp(x=lambda g: 2 * g)
    assert OPS["softmax"] is mg.softmax.op
    assert (softmax.op.builtin, softmax.op.autocast, softmax.op.symbols) == (False, None, {})
    with mg.autocast("float16"):
        assert softmax(mg.ones(2, dtype="float16")).dtype == "float16"
    assert softmax(mg.ones(2)).tolist() == [2, 2]  # the kernel of that name is not its own


def test_an_op_may_bear_another_name_than_its_function(ops_as_they_were):
    @builtin(name="cube")
    @mg.primitive
    def _cube(xp, x, /):
        return x**3

    _cube.defvjp(x=lambda g, x: 3 * g * x * x)
    x = mg.Tensor([2.0], requires_grad=True)
    assert _cube(x).node.step.name == "cube"
    assert "made by cube" in repr(_cube(x))


def test_what_is_computed_in_float32(ops_as_they_were):
    seen = []

    def op(**facts):
        def plus(xp, a, b, /):
            seen[:] = [str(getattr(x, "dtype", type(x).__name__)) for x in (a, b)]
            return a + b

        return builtin(**facts)(mg.primitive(plus))

    half, whole = np.ones(2, "f2"), np.ones(2, "i4")
    for facts, given, dtypes, result in [
        ({}, (half, half), ["float16", "float16"], "float16"),
        ({"in_float32": "halves"}, (half, half), ["float32", "float32"], "float16"),
        ({"in_float32": "halves"}, (whole, whole), ["int32", "int32"], "int32"),
        ({"in_float32": "halves and integers"}, (whole, whole), ["float32", "float32"], "float32"),
        ({"in_float32": "halves and integers"}, (half, whole), ["float32", "float32"], "float16"),
        ({"in_float32": "halves beside numbers"}, (half, half), ["float16", "float16"], "float16"),
        ({"in_float32": "halves beside numbers"}, (half, 0.1), ["float32", "float"], "float16"),
    ]:
        y = op(**facts)(*given)
        assert (seen, str(y.dtype)) == (dtypes, result), facts


def test_a_function_made_of_ops_has_facts_too(ops_as_they_were):
    @builtin(in_float32="halves and integers", leading=2, autocast="float32")
    def distance(x, y, scale=1.0):
        assert x.dtype == y.dtype == np.float32
        return mg.sum((x - y) * (x - y)) * scale

    assert distance(mg.ones(2, dtype="float16"), mg.zeros(2, dtype="float16")).dtype == np.float16
    assert distance([1, 2], mg.zeros(2)).tolist() == 5
    with mg.autocast("bfloat16"):
        assert distance(mg.ones(2, dtype="float16"), mg.zeros(2, dtype="float16")).dtype == np.float32


def test_in_symbols_refuses_what_is_no_input():
    @mg.primitive
    def plus(xp, a, b, /):
        return a + b

    plus.in_symbols("g", b="g too")
    assert plus.op.symbols == {"a": "g", "b": "g too"}
    with pytest.raises(TypeError, match=r"plus has no input 'c': its inputs are \['a', 'b'\]"):
        plus.in_symbols(c="g")
