"""Pictures: modules fold, names and shapes are on them, there are no cycles, and a BERT takes less than a second."""

from xml.etree import ElementTree

import numpy as np
import pytest
from work import work

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


@pytest.mark.parametrize(
    "depth, expected",
    [
        (0, ["BertForSequenceClassification"]),  # which computes its loss itself
        (1, ["bert", "classifier", "dropout", "cross_entropy"]),
        (3, ["bert.encoder.layer.0", "bert.encoder.layer.1"]),
        (5, ["bert.encoder.layer.0.attention.self"]),
    ],
)
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
    while waiting:  # take away what has no parents left, until nothing is left
        free = [key for key in waiting if all(a in order for a, b in drawn.edges if b == key)]
        assert free
        order.update(free)
        for key in free:
            del waiting[key]
    assert np.isfinite([float(v) for v in ElementTree.fromstring(drawn._repr_svg_()).get("viewBox").split()]).all()


def test_modules_are_guessed_from_the_names_of_parameters(bert):
    model, recorded = bert
    plain = model(IDS, labels=np.array([0, 1])).loss
    told, guessed = (
        {box.text[0]: box.steps for box in drawn.boxes.values()}
        for drawn in (mg.graph(recorded, depth=3), mg.graph(plain, model, depth=3))
    )
    assert all(guessed[f"bert.encoder.layer.{i}"] == told[f"bert.encoder.layer.{i}"] for i in range(2))
    assert {"bert.encoder.layer.0.attention.self.query", "classifier"} <= {
        Tape(plain, model).path(n) for n in Tape(plain).steps
    }


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


def test_the_cost_of_a_bert_grows_with_its_layers():
    def recorded(layers):
        model = BertForSequenceClassification(BertConfig(num_hidden_layers=layers, **CONFIG), rng=0)
        with mg.insight.recording():
            return model(IDS, labels=np.array([0, 1])).loss

    small, large = recorded(6), recorded(12)
    assert work(lambda: mg.graph(large, depth=1)._repr_svg_()) < 2.5 * work(
        lambda: mg.graph(small, depth=1)._repr_svg_()
    )
    drawn = mg.graph(large)
    svg = drawn._repr_svg_()
    assert len(drawn.boxes) <= 40 and len(svg) < 100_000
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
    assert x._repr_html_() is None and mg.ones(3)._repr_html_() is None  # and so a notebook shows the repr
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


def gan(z):
    """Two models of one kind and a loss that is a module, on one tape."""
    generator = nn.Sequential(nn.Linear(2, 3, rng=0), nn.ReLU())
    critic = nn.Sequential(nn.Linear(3, 3, rng=1), nn.Tanh(), nn.Linear(3, 1, rng=2))
    criterion = nn.BCEWithLogitsLoss()
    with mg.insight.recording():
        loss = criterion(critic(generator(z)), np.ones((4, 1), np.float32))
    drawn, told = mg.graph(loss, depth=0), mg.explain(loss)
    return drawn, told, mg.explain(criterion(critic(generator(z)), np.ones((4, 1), np.float32)), model=generator)


def test_each_of_several_models_is_told_by_its_root():
    drawn, told, plain = gan(np.ones((4, 2), np.float32))
    boxes = {
        box.text[0]: (box.text[1:], box.parameters) for box in drawn.boxes.values() if box.kind in ("module", "end")
    }
    assert boxes == {
        "generator": (["Sequential"], {"0.weight": (3, 2), "0.bias": (3,)}),
        "critic": (["Sequential"], {"0.weight": (3, 3), "0.bias": (3,), "2.weight": (1, 3), "2.bias": (1,)}),
        "criterion": (["BCEWithLogitsLoss"], {}),
    }
    assert {step.path for step in told.steps} == {
        "generator.0",
        "generator.1",
        "critic.0",
        "critic.1",
        "critic.2",
        "criterion",
    }
    assert {name for name, *_ in told.gradients} == {
        "generator.0.weight",
        "generator.0.bias",
        "critic.0.weight",
        "critic.0.bias",
        "critic.2.weight",
        "critic.2.bias",
    }
    assert {name for name, *_ in plain.gradients} == {  # the model that was given has the names it was given with
        "0.weight",
        "0.bias",
        "critic.0.weight",
        "critic.0.bias",
        "critic.2.weight",
        "critic.2.bias",
    }


def test_a_loss_that_is_a_module_does_not_rename_the_model():
    model, criterion = nn.Sequential(nn.Linear(2, 3, rng=0)), nn.CrossEntropyLoss()
    with mg.insight.recording():
        loss = criterion(model(np.ones((4, 2), np.float32)), [0, 1, 2, 0])
    assert titles(mg.graph(loss, depth=0))[:2] == ["Sequential", "criterion"]
    assert {name for name, *_ in mg.explain(loss).gradients} == {"0.weight", "0.bias"}


def test_one_model_used_twice_is_one_root():
    tower = nn.Sequential(nn.Linear(2, 2, rng=0))
    with mg.insight.recording():
        loss = (tower(np.ones((1, 2), np.float32)) - tower(np.zeros((1, 2), np.float32))).sum()
    assert titles(mg.graph(loss, depth=0))[:3] == ["Sequential", "subtract", "sum"]


def test_leaves_and_data_have_names_without_a_recording():
    parameters, scales = {"W": mg.ones((2, 3), requires_grad=True)}, [mg.ones(3, requires_grad=True)]
    data = mg.ones((4, 2))
    y = ((data @ parameters["W"]) * scales[0]).sum()
    assert {"parameters['W']", "scales[0]", "data"} <= set(titles(mg.graph(y)))
    model = nn.Sequential(nn.Linear(2, 3, rng=0))
    assert {"data", "0.weight", "0.bias"} <= set(titles(mg.graph(model(data))))


def repeated(x):
    y = x
    for _ in range(1000):
        y = mg.tanh(y) + x
    return y


def diamonds(x):
    for _ in range(500):
        x = mg.tanh(x) + mg.sin(x)
    return x


def summands(x):
    return sum((mg.tanh(mg.ones(3, requires_grad=True)) for _ in range(500)), x)


def stacked(x):
    return mg.stack([x, *(mg.ones(3, requires_grad=True) for _ in range(500))]).sum()


@pytest.mark.parametrize("depth, most", [(None, 40), (50, 150)])
@pytest.mark.parametrize("make", [repeated, diamonds, summands, stacked])
def test_a_long_tape_makes_a_small_picture_that_says_what_was_folded(make, depth, most):
    y = make(mg.ones(3, requires_grad=True))
    drawn = mg.graph(y, depth=depth)
    svg = drawn._repr_svg_()
    assert len(svg) < 500_000
    assert len(drawn.boxes) <= most + 5 and drawn.folded > 100
    assert "others folded" in repr(drawn) and any("folded" in line or "leaves" in line for line in texts(svg) if line)


def test_the_tape_of_an_lstm_is_drawn():
    model = nn.LSTM(3, 4, num_layers=4, rng=0)
    out, _ = model(mg.ones((2, 5, 3)))
    assert "<svg" in out._repr_html_()
    with mg.insight.recording(kernels=False):
        out, _ = model(mg.ones((2, 5, 3)))
    assert "<svg" in out._repr_html_() and {"LSTM", "16 parameters, 624 numbers"} <= set(
        texts(mg.graph(out)._repr_svg_())
    )


@pytest.mark.parametrize("depth", ["1", 1.5, True])
def test_a_depth_that_is_no_number_of_levels_is_refused(bert, depth):
    with pytest.raises((TypeError, ValueError), match=f"depth={depth!r}"):
        mg.graph(bert[1], depth=depth)


def test_depth_counts_modules_as_summary_does(bert):
    model, loss = bert
    for depth in range(1, 6):
        paths = {row.path for row in mg.summary(model).rows if row.level == depth}
        drawn = {box.text[0] for box in mg.graph(loss, depth=depth).boxes.values() if box.kind == "module"}
        assert drawn and drawn <= paths
