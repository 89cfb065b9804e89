"""Rules in symbols: whatever may stand on the tape has one for every input."""

import numpy as np
import pytest

import minigrad as mg
import minigrad.losses
import minigrad.nn  # noqa: F401  so that all ops are made
from minigrad import backend
from minigrad.insight.rules import rule
from minigrad.primitive import OPS, Primitive

mg.concatenate([mg.ones(1), mg.ones(1)])  # whose op is made when it is first used
ON_TAPE = [
    name for name, op in OPS.items() if (op.rules if isinstance(op, Primitive) else name in backend.host.kernels)
]


@pytest.mark.parametrize("name", sorted(ON_TAPE))
def test_every_op_that_makes_a_node_has_a_rule_for_every_input(name):
    op = OPS[name]
    assert set(op.rules if isinstance(op, Primitive) else op.inputs) <= set(op.symbols)


@pytest.mark.parametrize(
    "name", ["tanh", "sqrt", "exp", "sigmoid", "relu", "log1p", "expm1", "log", "sin", "cos", "erf"]
)
def test_what_is_written_is_what_is_computed(name):
    """The symbols, read as Python, give the gradient."""
    text = OPS[name].symbols["x"]
    for symbols, code in {
        "·": "*",
        "²": "**2",
        "2y": "(2*y)",
        "g where y > 0, else 0": "g*(y>0)",
        "2/√π": "2/np.pi**0.5",
        "cos x": "cos(x)",
        "sin x": "sin(x)",
    }.items():
        text = text.replace(symbols, code)
    x = mg.Tensor(np.array([0.3, 1.7]), requires_grad=True)
    y = OPS[name].front(x)
    names = {
        "g": 1.0,
        "x": x.data,
        "y": y.data,
        "np": np,
        "exp": np.exp,
        "sigmoid": mg.sigmoid,
        "sin": np.sin,
        "cos": np.cos,
    }
    assert np.allclose(eval(text, names), mg.grad(y.sum(), x).numpy())


def test_a_users_op_says_what_its_rule_is_made_of():
    @mg.primitive
    def cube(xp, x, /, scale=1.0):
        return scale * x**3

    cube.defvjp(x=lambda g, x, scale: g * 3 * scale * x * x)
    assert rule("cube", cube.op, "x") == "its own rule, of g, x, scale"
    x = mg.Tensor(np.ones(3), requires_grad=True)
    assert "its own rule" in str(mg.explain(cube(x).sum()))
    cube.in_symbols(x="g · 3 scale x²")
    assert "g · 3 scale x²" in str(mg.explain(cube(x).sum()))
