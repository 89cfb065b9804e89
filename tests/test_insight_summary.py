"""summary: counts, shapes and formulas are those of the model, which is left as it was."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.insight.formulas import formula, value
from minigrad.nn.module import Parameter

LAYERS = [
    (nn.Linear(3, 4, rng=0), "in · out + out = 3 · 4 + 4"),
    (nn.Linear(3, 4, bias=False, rng=0), "in · out = 3 · 4"),
    (nn.Embedding(5, 3, rng=0), "rows · size = 5 · 3"),
    (nn.LayerNorm(4), "weight + bias = 4 + 4"),
    (nn.Conv1d(4, 6, 3, rng=0), "3 · in · out + out = 3 · 4 · 6 + 6"),
    (nn.Conv2d(4, 6, (3, 5), groups=2, bias=False, rng=0), "3 · 5 · in/groups · out = 3 · 5 · 4/2 · 6"),
    (nn.ConvTranspose2d(4, 6, 2, groups=2, rng=0), "2 · 2 · in/groups · out + out = 2 · 2 · 4/2 · 6 + 6"),
    (nn.LSTM(3, 4, rng=0), "4 · h · (in + h + 2) = 4 · 4 · (3 + 4 + 2)"),
    (nn.LSTM(3, 4, 3, bidirectional=True, rng=0), None),
    (nn.GRU(3, 4, 2, bias=False, rng=0), None),
    (nn.RNN(3, 4, 2, rng=0), None),
    (nn.GRUCell(3, 4, rng=0), "3 · h · (in + h + 2) = 3 · 4 · (3 + 4 + 2)"),
    (nn.MultiheadAttention(8, 2, rng=0), "3 · d · d + 3 · d = 3 · 8 · 8 + 3 · 8"),
    (nn.BatchNorm2d(5), "weight + bias = 5 + 5"),
]


@pytest.mark.parametrize("layer, expected", LAYERS, ids=[type(layer).__name__ for layer, _ in LAYERS])
def test_formulas_come_to_the_number_of_parameters(layer, expected):
    own = {name: p for name, p in vars(layer).items() if isinstance(p, Parameter)}
    told = formula(layer, own)
    assert expected is None or told == expected
    assert value(told.rpartition("= ")[2]) == sum(p.size for p in own.values())


def test_a_subclass_with_more_parameters_is_told_by_their_shapes():
    class Scaled(nn.Linear):
        def __init__(self):
            super().__init__(3, 4, rng=0)
            self.scale = Parameter(np.ones(4))

    (row,) = mg.summary(Scaled()).rows
    assert row.formula == "weight + bias + scale = 4 · 3 + 4 + 4"


class Net(nn.Module):
    def __init__(self):
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.BatchNorm2d(2), nn.Dropout(0.5, rng=0), nn.Flatten())
        self.unused, self.head = nn.ReLU(), nn.Linear(8, 3, rng=0)

    def forward(self, x, twice=False):
        y = self.head(self.body(x))
        return (y, y) if twice else y


def test_the_table():
    model = Net()
    model.freeze("body.**")
    told = mg.summary(model, np.ones((5, 1, 4, 4), np.float32))
    rows = {row.path: row for row in told.rows}
    assert rows[""].output == "(5, 3)" and rows["body.0"].output == "(5, 2, 2, 2)" and rows["unused"].output == ""
    assert (told.total, told.trainable, told.frozen) == (20 + 4 + 27, 27, 24)
    assert (
        told.memory["parameters"] == 51 * 4
        and told.memory["gradients"] == 27 * 4
        and told.memory["buffers"] == 4 * 4 + 8
    )
    assert told.by_kind == {"Linear": 27, "Conv2d": 20, "BatchNorm2d": 4}
    lines = str(told).splitlines()
    assert lines[3].split() == ["body:", "Sequential", "(5,", "8)", "24", "47.1%", "24"]
    assert "51 parameters: 27 trainable, 24 frozen" in lines and "<table>" in told._repr_html_()


def test_the_model_is_left_as_it_was():
    model = Net()
    model.body.eval()
    before = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    state = model.body[2].rng.bit_generator.state
    mg.summary(model, np.ones((5, 1, 4, 4), np.float32), twice=True)
    assert [m.training for m in model.modules()] == [True, False, False, False, False, False, True, True]
    assert all(np.array_equal(t.numpy(), before[name]) for name, t in model.state_dict().items())
    assert model.body[2].rng.bit_generator.state == state and "forward" not in vars(model.head)
    with pytest.raises(ValueError):
        mg.summary(model, np.ones((5, 2, 4, 4), np.float32))
    assert "forward" not in vars(model.head) and "training" not in vars(model)


def test_without_inputs_and_with_a_depth():
    told = mg.summary(Net(), depth=1)
    assert [row.path for row in told.rows] == ["", "body", "unused", "head"] and told.rows[1].total == 24
    assert told.by_kind == {"Linear": 27, "Conv2d": 20, "BatchNorm2d": 4}
    assert "output" not in str(told).splitlines()[0]


def test_a_tied_parameter_counts_once():
    class Tied(nn.Module):
        def __init__(self):
            self.a, self.b = nn.Linear(3, 3, rng=0), nn.Linear(3, 3, rng=0)
            self.b.weight = self.a.weight

    assert mg.summary(Tied()).total == 9 + 3 + 3 and mg.summary(Tied()).by_kind == {"Linear": 15}


class Held(nn.Module):
    def __init__(self):
        self.scales = [Parameter(np.ones(3)), Parameter(np.ones((2, 2)))]
        self.tables = {"a": Parameter(np.ones(5)), "deep": ({"b": Parameter(np.ones(1))},)}
        self.layers = [nn.Linear(2, 2, rng=0)]


def test_parameters_in_lists_and_dictionaries_are_counted():
    told = mg.summary(Held())
    assert told.total == 3 + 4 + 5 + 1 + 6 and told.by_kind == {"Held": 13, "Linear": 6}
    assert told.rows[0].formula == "scales.0 + scales.1 + tables.a + tables.deep.0.b = 3 + 2 · 2 + 5 + 1"


def test_the_repr_is_the_table():
    told = mg.summary(Net())
    assert repr(told) == str(told)


@pytest.mark.parametrize("depth", ["1", 1.5, True])
def test_a_depth_that_is_no_number_of_levels_is_refused(depth):
    with pytest.raises((TypeError, ValueError), match=f"depth={depth!r}: give how many levels"):
        mg.summary(Net(), depth=depth)


def test_bad_input_is_refused():
    with pytest.raises(TypeError, match="summary takes a Module"):
        mg.summary(np.ones(3))
    with pytest.raises(ValueError, match="depth=-1"):
        mg.summary(Net(), depth=-1)
    with pytest.raises(ValueError, match="not a formula"):
        value("__import__('os')")
