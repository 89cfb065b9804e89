import json
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad import cli, nn, pretrained
from minigrad.onnx import check, files
from minigrad.onnx.graph import Graph
from minigrad.onnx.steps import Recording
from minigrad.parity.families import FAMILIES
from minigrad.pretrained import BertConfig, BertModel

EXPORTED = {name: family for name, family in FAMILIES.items() if name in files.FAMILIES}


def made(family, head):
    kind = getattr(pretrained, family.prefix + head)
    return kind(kind.config_class.from_dict(family.size), rng=0).eval()


def tiny(**changes):
    return BertModel(BertConfig.from_dict(FAMILIES["bert"].size | changes), rng=0).eval()


@pytest.fixture
def path(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("name", EXPORTED)
def test_every_head_computes_the_same_in_any_batch(name, path):
    for head in EXPORTED[name].heads:
        model = made(EXPORTED[name], head)
        mg.onnx.export(model, path)
        rows = list(mg.onnx.compared(model, path))
        assert len(rows) >= 2 and all(row.difference < 1e-5 for row in rows), rows


@pytest.mark.parametrize("act", pretrained.layers.ACTIVATIONS)
def test_every_activation(act, path):
    model = tiny(hidden_act=act, num_hidden_layers=1)
    mg.onnx.export(model, path)
    assert max(row.difference for row in mg.onnx.compared(model, path)) < 1e-5


def test_names_axes_and_labels(path):
    import onnx

    kind = pretrained.BertForSequenceClassification
    config = BertConfig.from_dict(FAMILIES["bert"].size, id2label={0: "nein", 1: "ja", 2: "vielleicht é"})
    model = kind(config, rng=0).eval()
    mg.onnx.export(model, path)
    found = onnx.load(path)
    axes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*found.graph.input, *found.graph.output)
    }
    ids = dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), ["batch", "length"])
    assert axes == {**ids, "logits": ["batch", 3]}
    metadata = {entry.key: entry.value for entry in found.metadata_props}
    assert json.loads(metadata["id2label"]) == {"0": "nein", "1": "ja", "2": "vielleicht é"}
    stored = {tensor.name for tensor in found.graph.initializer}
    assert {"classifier.weight", "bert.encoder.layer.1.attention.self.query.weight"} <= stored


def test_tied_weights_are_stored_once(path):
    import onnx

    model = made(EXPORTED["bert"], "ForMaskedLM")
    mg.onnx.export(model, path)
    vocabulary = [t for t in onnx.load(path).graph.initializer if model.config.vocab_size in t.dims and len(t.dims) > 1]
    assert len(vocabulary) == 1


def test_texts_without_a_token_type_and_rows_of_padding(path):
    import onnxruntime

    model = made(EXPORTED["roberta"], "Model")
    mg.onnx.export(model, path)
    ids = np.array([[5, 6, 7, 1, 1], [1, 1, 1, 1, 1]])
    inputs = {"input_ids": ids, "attention_mask": (ids != 1).astype(np.int64)}
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (theirs, _), ours = session.run(None, inputs), model(**inputs).last_hidden_state
    np.testing.assert_allclose(theirs, ours.numpy(), atol=1e-5)


def test_xlm_roberta(path):
    config = pretrained.XLMRobertaConfig.from_dict(FAMILIES["roberta"].size)
    model = pretrained.XLMRobertaForSequenceClassification(config, rng=0).eval()
    mg.onnx.export(model, path)
    assert max(row.difference for row in mg.onnx.compared(model, path)) < 1e-5


def test_large_weights_go_into_a_file_of_their_own(path, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    model = tiny()
    for _ in range(2):  # the second time does not add to the first
        mg.onnx.export(model, path)
    weights = sum(t.data.nbytes for t in model.parameters())
    data = path.with_name("model.onnx.data")
    assert path.stat().st_size < weights / 2 < weights / 1.1 < data.stat().st_size < 1.3 * weights
    assert max(row.difference for row in mg.onnx.compared(model, path)) < 1e-5


def test_pictures_of_another_size(path):
    model = made(EXPORTED["resnet"], "ForImageClassification")
    mg.onnx.export(model, path, image_size=(48, 32))
    inputs = files.noise(model, 3, (48, 32))
    assert mg.onnx.difference(model, path, inputs)[0] < 1e-5


def test_the_command(tmp_path, path, capsys):
    tiny().save_pretrained(tmp_path / "model")
    assert cli.main(["export", str(tmp_path / "model"), "--onnx", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"BertModel was written to {path}" and len(lines) == 5
    assert cli.main(["export", str(tmp_path / "model"), "--onnx", str(path)]) == 2  # it exists
    assert "exists already and was not overwritten: pass another name to --onnx" in capsys.readouterr().err


def test_a_difference_is_found(path):
    model = tiny()
    mg.onnx.export(model, path)
    model.pooler.dense.bias.copy_(model.pooler.dense.bias + 0.001)
    assert not any(row.ok for row in mg.onnx.compared(model, path))


def test_nan_is_a_difference(path):
    model = tiny()
    mg.onnx.export(model, path)
    model.pooler.dense.bias.copy_(np.nan)
    assert not any(row.ok for row in mg.onnx.compared(model, path))


def test_the_command_needs_both_or_neither(tmp_path, capsys):
    assert cli.main(["export", str(tmp_path)]) == 2
    assert "minigrad export DIR --onnx FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    "model, error, says",
    [
        (lambda: tiny().train(), ValueError, "type model.eval()"),
        (lambda: tiny().to("float64"), ValueError, 'type model.to("float32")'),
        (lambda: nn.Linear(2, 2), TypeError, "a model of minigrad.pretrained"),
        (lambda: made(FAMILIES["gpt2"], "Model"), ValueError, "family gpt2 cannot be exported; expected one of bert"),
        (lambda: tiny(max_position_embeddings=7), ValueError, "more than 7"),
    ],
)
def test_what_cannot_be_exported_is_refused(model, error, says, tmp_path):
    with pytest.raises(error, match="(?s)" + says.replace("(", r"\(").replace(")", r"\)")):
        files.examples(model())


def graph_of(function, first, second, axes=(0,)):
    recordings = [Recording({"x": x}) for x in (first, second)]
    outputs = [recording.run(function) for recording in recordings]
    graph = Graph(*recordings, axes, {})
    graph.both(*(recording.seen(y) for recording, y in zip(recordings, outputs, strict=True)), "y")
    return graph


BATCHES = np.ones((2, 4), np.float32), np.ones((3, 4), np.float32)


def test_an_op_without_a_rule_is_named():
    with pytest.raises(NotImplementedError, match=r'the op expm1 has no rule.*@minigrad.onnx.rule\("expm1"\)'):
        graph_of(lambda x: mg.expm1(x), *BATCHES)


def test_a_rule_of_ones_own():
    @mg.onnx.rule("expm1")
    def expm1(graph, step):
        return graph.add("Sub", graph.add("Exp", graph.of(step.inputs[0])), graph.of(1, step.dtype))

    try:
        assert [node.kind for node in graph_of(lambda x: mg.expm1(x), *BATCHES).nodes] == ["Exp", "Sub"]
    finally:
        del mg.onnx.rules.RULES["expm1"]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + x.data.max(1, keepdims=True) * np.arange(1, len(x.data) + 1, dtype=np.float32)[:, None],
        lambda x: x * (1.0 / x.shape[0]),
        lambda x: x + np.ones((x.shape[0], 1), np.float32),
    ],
    ids=["numbers computed by NumPy", "a float made of the batch", "a constant for each text"],
)
def test_what_depends_on_the_batch_unseen_is_refused(function):
    with pytest.raises(NotImplementedError, match="depend"):
        graph_of(function, *BATCHES)


def test_other_steps_for_another_size_are_refused():
    with pytest.raises(NotImplementedError, match="other steps|the same steps"):
        graph_of(lambda x: x + 1 if len(x) == 2 else x * 2, *BATCHES)


def test_sizes_are_products_of_batch_and_length():
    first, second = np.ones((2, 7, 3), np.float32), np.ones((3, 512, 3), np.float32)
    graph = graph_of(lambda x: x.reshape(x.shape[0] * x.shape[1], 3), first, second, (0, 1))
    assert [graph.open(*pair) for pair in ((2, 3), (7, 512), (14, 1536), (8, 12))] == [
        files.Size((0,), 1),
        files.Size((1,), 1),
        files.Size((0, 1), 1),
        files.Size((0,), 4),
    ]
    assert graph.open(8, 13) is None


def test_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'pip install "minigrad-learn\[onnx\]"'):
        mg.onnx.export(tiny(), tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r'pip install "minigrad-learn\[onnx\]"'):
        check.difference(tiny(), tmp_path / "model.onnx", {})
