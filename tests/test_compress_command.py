"""`minigrad quantize`: a directory in, a smaller one and a report out; and what it refuses."""

import json
import shutil

import pytest
import tiny_bert

from minigrad.cli import main
from minigrad.nn.quantized import QuantizedLinear
from minigrad.pretrained import AutoModel, AutoModelForSequenceClassification, BertForSequenceClassification
from minigrad.train import pipeline

pytestmark = pytest.mark.slow  # it trains models

pytest.importorskip("tokenizers")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A classifier that was not trained, with its tokenizer, and files of examples."""
    path = tmp_path_factory.mktemp("quantize")
    tiny_bert.save_model(path / "base")
    model = BertForSequenceClassification.from_pretrained(path / "base", id2label=list(tiny_bert.WORDS), rng=0)
    model.save_pretrained(path / "model")
    (path / "model/vocab.txt").write_bytes((path / "base/vocab.txt").read_bytes())
    examples = tiny_bert.examples()
    tiny_bert.save_csv(path / "train.csv", examples[:24])
    tiny_bert.save_csv(path / "test.csv", examples[24:])
    return path


def test_a_directory_is_quantised_scored_and_saved(directory, capsys):
    out = directory / "int4"
    options = ["--weights", "int4", "--eval", str(directory / "test.csv"), "--layers"]
    assert main(["quantize", str(directory / "model"), "--output", str(out), *options]) == 0
    told = capsys.readouterr().out
    assert "float32" in told and "int4" in told and "accuracy" in told and "bert.encoder.layer.0.output.dense" in told
    assert (out / "quantization.txt").read_text() in told + "\n"
    model = AutoModelForSequenceClassification.from_pretrained(out)
    assert isinstance(model.bert.encoder.layer[0].output.dense, QuantizedLinear)
    assert main(["evaluate", str(out), "--file", str(directory / "test.csv")]) == 0
    assert main(["predict", str(out), "oven flour"]) == 0


def test_static_activations_are_calibrated_on_a_file(directory, capsys):
    out = directory / "static"
    options = ["--activations", "static", "--calibrate", str(directory / "train.csv"), "--keep", "bert.embeddings.*"]
    options += ["--eval", str(directory / "test.csv"), "--layers"]
    assert main(["quantize", str(directory / "model"), "--output", str(out), *options]) == 0
    entries = json.loads((out / "config.json").read_text())["quantization_config"]
    assert entries["activations"] == "static" and entries["modules_to_not_convert"] == ["bert.embeddings.*"]
    model = AutoModelForSequenceClassification.from_pretrained(out)
    assert model.bert.encoder.layer[0].output.dense.input_scale.item() > 0


def test_a_model_for_no_task_is_quantised_without_scores(directory):
    assert main(["quantize", str(directory / "base"), "--output", str(directory / "base8")]) == 0
    assert AutoModel.from_pretrained(directory / "base8").quantization.weights == "int8"


def test_what_a_directory_says_of_its_answers_is_kept(directory):
    """How sentence-transformers pool, where they cut texts, and the template of a chat."""
    model, out = directory / "sentences", directory / "sentences8"
    shutil.copytree(directory / "base", model)
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (model / "modules.json").write_text('[{"type": "sentence_transformers.models.Pooling"}]')
    (model / "sentence_bert_config.json").write_text('{"max_seq_length": 4}')
    (model / "chat_template.json").write_text('{"chat_template": "{{ messages }}"}')
    assert main(["quantize", str(model), "--output", str(out)]) == 0
    task = pipeline("feature-extraction", out).task
    assert task.of_texts == {"pooling": "cls", "normalize": False} and task.max_length == 4
    assert (out / "chat_template.json").read_bytes() == (model / "chat_template.json").read_bytes()


def test_bad_input_is_refused_in_one_line(directory, capsys):
    model, test = str(directory / "model"), str(directory / "test.csv")
    main(["quantize", model, "--output", str(directory / "int8")])
    capsys.readouterr()
    for command, told in (
        (["quantize", model, "--output", model], "exists already"),
        (["quantize", model, "--output", f"{test}/x"], f"{test} is a file, so {test}/x cannot be created in it"),
        (["quantize", test, "--output", str(directory / "x")], f"{test} is a file: expected the directory that holds"),
        (["export", str(directory / "int8"), "--onnx", str(directory / "x")], "quantised to int8, which is not"),
        (["quantize", model, "--output", str(directory / "x"), "--activations", "static"], "--calibrate FILE"),
        (["quantize", model, "--output", str(directory / "x"), "--calibrate", test], "--calibrate FILE"),
        (["quantize", model, "--output", str(directory / "x"), "--layers"], "--eval FILE"),
        (["quantize", model, "--output", str(directory / "x"), "--keep", "bert.embeding.*"], "nearest names"),
        (["quantize", str(directory / "int8"), "--output", str(directory / "x")], "quantised to int8 already"),
        (["quantize", str(directory / "base"), "--output", str(directory / "x"), "--eval", test], "leave the file out"),
        (
            ["finetune", str(directory / "int8"), "--train", test, "--output", str(directory / "x")],
            "quantised to int8, whose weights are not trained",
        ),
    ):
        assert main(command) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert told in error and error.startswith("minigrad: error:"), error
    assert not (directory / "x").exists()


def test_adapters_on_a_quantised_model_are_fine_tuned_and_saved_with_floats(directory, capsys):
    main(["quantize", str(directory / "model"), "--output", str(directory / "eight")])
    out, files = directory / "lora", ["--train", str(directory / "train.csv"), "--eval", str(directory / "test.csv")]
    options = ["--lora", "4", "--epochs", "1", "--output", str(out)]
    assert main(["finetune", str(directory / "eight"), *files, *options]) == 0
    assert AutoModelForSequenceClassification.from_pretrained(out).quantization is None
    assert (out / "adapter_config.json").is_file()
