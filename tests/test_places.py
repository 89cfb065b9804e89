"""Places: errors say which line led to them and what the values are called there."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, places
from minigrad.pretrained.bert import BertConfig, BertModel


class Net(nn.Module):
    def __init__(self):
        self.first, self.second = nn.Linear(8, 16, rng=0), nn.Linear(8, 4, rng=0)

    def forward(self, x):
        hidden = self.first(x)
        return self.second(hidden)


def notes(call, kind=ValueError):
    with pytest.raises(kind) as caught:
        call()
    return caught.value.__notes__


def test_an_error_of_an_op_names_the_variables_and_the_line():
    h, weights = mg.zeros((3, 4)), mg.zeros((8, 4))
    (note,) = notes(lambda: h @ weights)
    assert note.startswith("a is h, b is weights; at test_places.py:") and note.endswith("h @ weights)")


def test_an_error_in_a_model_names_the_users_own_line_and_the_module():
    line, module = notes(lambda: Net()(mg.zeros((3, 8))))
    assert line.startswith("x is hidden") and line.endswith("return self.second(hidden)")
    assert module == "in second (Linear)"


def test_an_error_deep_in_a_published_model_names_the_path_and_the_line_that_called_it():
    config = BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=8,
    )
    model = BertModel(config, rng=0)
    model.replace("encoder.layer.1.attention.output.dense", nn.Linear(3, 8, rng=0))
    line, module = notes(lambda: model([[1, 2]]))
    assert line.endswith("notes(lambda: model([[1, 2]]))")
    assert module == "in encoder.layer.1.attention.output.dense (Linear)"


def test_checks_outside_of_ops_are_told_too():
    line, module = notes(lambda: nn.Sequential(nn.LayerNorm(9))(mg.zeros((3, 8))))
    assert "test_places.py" in line and module == "in 0 (LayerNorm)"


def test_the_users_own_errors_are_left_alone():
    class Broken(nn.Module):
        def forward(self, x):
            return {}["x"]

    assert notes(lambda: Broken()(1), KeyError) == ["in the model (Broken)"]


def test_numbers_have_no_names():
    size, x = 3, mg.zeros((2, 4))
    (note,) = notes(lambda: F.softmax(x, axis=size), IndexError)
    assert note.startswith("at test_places.py")


def test_code_without_a_module_is_the_users():
    source = "def f(h):\n    return h @ h\n"
    space = {}
    exec(compile(source, "made_up.py", "exec"), space)
    (note,) = notes(lambda: space["f"](mg.zeros((3, 4))))
    assert note.startswith("a is h, b is h; at made_up.py:2")


def test_names_prefer_the_users():
    image = mg.Tensor(np.ones(3), requires_grad=True)
    frame = next(places.frames())
    assert places.names([image, mg.ones(3), 3], frame) == ["image", None, None]
    assert places.room(frame) is None
    assert places.line(frame).text.startswith("assert places.line(frame).text")


def test_a_warning_is_of_the_users_line():
    space = {"__name__": "minigrad.data.made_up", "warn": places.warn}
    exec("def inner():\n    warn('beware')\ndef outer():\n    inner()\n", space)
    with pytest.warns(UserWarning, match="beware") as told:
        space["outer"]()
    assert told[0].filename == __file__
