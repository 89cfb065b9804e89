"""Pictures: modules fold, names and shapes are on them, there are no cycles, and a BERT takes less than a second."""
import time
from xml.etree import ElementTree

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.insight.tape import Tape
from minigrad.pretrained.bert import BertConfig, BertForSequenceClassification

CONFIG = dict(vocab_size=30, hidden_size=8, num_attention_heads=2, intermediate_size=12, max_position_embeddings=8)
IDS = np.arange(6).reshape(2, 3)


@pytest.fixture(scope="module")
def bert():
    model = BertForSequenceClassification(BertConfig(num_hidden_layers=2, **CONFIG), rng=0)
    with mg.insight.recording():
        loss = model(IDS, labels=np.array([0, 1])).loss
    return model, loss


def titles(graph):
    return [box.text[0] for box in graph.boxes.values()]


def texts(svg):
    return [node.text for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_a_small_expression():
    x, W, b = mg.ones((5, 3)), mg.ones((3, 3), requires_grad=True), mg.zeros(3, requires_grad=True)
    with mg.insight.recording():
        y = mg.tanh(x @ W + b).sum()
    drawn = mg.graph(y)
    assert sorted(titles(drawn)) == ["W", "add", "b", "matmul", "sum", "tanh", "x"]
    assert {"W", "(3, 3)", "(5, 3)", "tanh"} <= set(texts(drawn._repr_svg_()))
    assert len(drawn.edges) == 6


@pytest.mark.parametrize("depth, expected", [
    (0, ["BertForSequenceClassification"]),     # which computes its loss itself
    (1, ["bert", "classifier", "dropout", "cross_entropy"]),
    (4, ["bert.encoder.layer.0", "bert.encoder.layer.1"]),
    (6, ["bert.encoder.layer.0.attention.self"])])
def test_modules_fold_at_a_depth(bert, depth, expected):
    found = titles(mg.graph(bert[1], depth=depth))
    assert set(expected) <= set(found) and (depth > 1 or len(found) == len(expected))


@pytest.mark.parametrize("depth", range(8))
def test_every_parameter_is_somewhere_and_there_are_no_cycles(bert, depth):
    model, loss = bert
    drawn = mg.graph(loss, depth=depth)
    inside = sum(len(box.parameters) for box in drawn.boxes.values())
    leaves = sum(box.kind == "leaf" for box in drawn.boxes.values())
    assert inside + leaves == len(model.parameters())
    order, waiting = set(), dict.fromkeys(drawn.boxes)
    while waiting:                              # take away what has no parents left, until nothing is left
        free = [key for key in waiting if all(a in order for a, b in drawn.edges if b == key)]
        assert free
        order.update(free)
        for key in free:
            del waiting[key]
    assert np.isfinite([float(v) for v in ElementTree.fromstring(drawn._repr_svg_()).get("viewBox").split()]).all()


def test_modules_are_guessed_from_the_names_of_parameters(bert):
    model, recorded = bert
    plain = model(IDS, labels=np.array([0, 1])).loss
    told, guessed = ({box.text[0]: box.steps for box in drawn.boxes.values()}
                     for drawn in (mg.graph(recorded, depth=4), mg.graph(plain, model, depth=4)))
    assert all(guessed[f"bert.encoder.layer.{i}"] == told[f"bert.encoder.layer.{i}"] for i in range(2))
    assert {"bert.encoder.layer.0.attention.self.query", "classifier"} <= {Tape(plain, model).path(n) for n in Tape(plain).steps}


def test_a_module_used_twice_with_something_between_makes_two_boxes():
    layer = nn.Sequential(nn.Linear(3, 3, rng=0))

    class Twice(nn.Module):
        def __init__(self):
            self.layer = layer

        def forward(self, x):
            return self.layer(mg.relu(self.layer(x)))
    with mg.insight.recording():
        y = Twice()(np.ones((1, 3), np.float32)).sum()
    assert titles(mg.graph(y, depth=1)).count("layer") == 2


def test_a_bert_of_twelve_layers_takes_less_than_a_second():
    model = BertForSequenceClassification(BertConfig(num_hidden_layers=12, **CONFIG), rng=0)
    with mg.insight.recording():
        loss = model(IDS, labels=np.array([0, 1])).loss
    start = time.perf_counter()
    drawn = mg.graph(loss)
    svg = drawn._repr_svg_()
    assert time.perf_counter() - start < 1 and len(drawn.boxes) <= 40 and len(svg) < 100_000
    assert titles(drawn).count("bert.encoder.layer.11") == 1


def test_it_is_saved_as_svg(bert, tmp_path):
    mg.graph(bert[1], depth=1).save(tmp_path / "bert.svg")
    assert "classifier" in texts((tmp_path / "bert.svg").read_text("utf-8"))
    with pytest.raises(ValueError, match="end in .svg"):
        mg.graph(bert[1]).save("bert.png")


def test_a_notebook_shows_values_and_picture():
    x = mg.ones(3, requires_grad=True)
    shown = (x * 2)._repr_html_()
    assert shown.startswith("<pre>Tensor([2., 2., 2.]") and "<svg" in shown
    assert x._repr_html_() is None and mg.ones(3)._repr_html_() is None        # and so a notebook shows the repr
    y = x
    for _ in range(60):
        y = y * 1.5
    assert "<svg" not in y._repr_html_() and "61 steps and leaves" in y._repr_html_()


def test_bad_input_is_refused(bert):
    with pytest.raises(ValueError, match="depth=-1"):
        mg.graph(bert[1], depth=-1)
    with pytest.raises(TypeError, match="give its .loss"):
        mg.graph(bert[0](IDS, labels=np.array([0, 1])))
    with pytest.raises(TypeError, match="model must be a Module"):
        mg.graph(bert[1], 3)
