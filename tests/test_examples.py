"""The examples run, with small settings, and learn something; each is the same program with published sizes and
weights.
"""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import tiny_bert

from minigrad.pretrained import (
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    MobileNetV2Config,
    ResNetConfig,
    VGGConfig,
)

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def example(monkeypatch, tmp_path):
    """A function that loads an example by its name; it writes under a new directory."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.chdir(tmp_path)
    yield import_module
    for name in ("common", *(path.stem for path in EXAMPLES.glob("*.py"))):
        sys.modules.pop(name, None)


@pytest.fixture
def pictures():
    pytest.importorskip("sklearn")
    pytest.importorskip("PIL")


@pytest.mark.usefixtures("pictures")
def test_frozen_mobilenet_v2(example):
    accuracy = example("frozen_mobilenet_v2").main(
        size=32, images=200, epochs=8, config=MobileNetV2Config(depth_multiplier=0.35)
    )
    assert accuracy > 0.2  # chance is 0.1


@pytest.mark.usefixtures("pictures")
def test_frozen_vgg16(example):
    config = VGGConfig(hidden_sizes=[8, 16, 16, 32, 32], num_labels=7)
    assert example("frozen_vgg16").main(size=32, images=200, epochs=20, config=config) > 0.2


@pytest.mark.usefixtures("pictures")
def test_resnet50_new_fc(example):
    config = ResNetConfig(embedding_size=8, hidden_sizes=[16, 32, 32, 64], depths=[1, 1, 1, 1], num_labels=7)
    assert example("resnet50_new_fc").main(size=32, images=200, epochs=8, config=config) > 0.6  # chance is a half
    saved = AutoModelForImageClassification.from_pretrained("outputs/resnet50-new-fc")
    assert saved.fc.weight.shape == (2, 64) and saved.config.id2label == {0: "temple", 1: "flower"}


@pytest.mark.parametrize("name", ["bert_trainer", "bert_with_head"])
def test_bert(example, name, tmp_path):
    pytest.importorskip("tokenizers")
    accuracy = example(name).main(
        tiny_bert.save_model(tmp_path / "bert"), epochs=12, rate=1e-2, examples=tiny_bert.examples()
    )
    assert accuracy > 0.5  # chance is a third
    if name == "bert_trainer":
        assert (
            AutoModelForSequenceClassification.from_pretrained("outputs/bert-trainer").config.id2label[2] == "sailing"
        )


@pytest.mark.slow
def test_smaller_minilm(example, tmp_path, capsys):
    pytest.importorskip("tokenizers")
    source = tiny_bert.save_model(tmp_path / "bert", layers=2)
    found = example("smaller_minilm").main(
        source, epochs=8, rate=1e-2, batch=4, examples=tiny_bert.examples(), output="out"
    )
    assert found["teacher"] > 0.5 and len(found) == 8  # chance is a third
    told = capsys.readouterr().out
    assert "half of the layers, distilled, int8" in told and "changed alone" in told
    directories = ["teacher", "zeros", "fewer", "labels", "taught"]
    names = [AutoModelForSequenceClassification.from_pretrained(f"out/{name}").config for name in directories]
    assert [config.num_hidden_layers for config in names] == [2, 2, 2, 1, 1]
    assert [config.intermediate_size for config in names] == [16, 16, 8, 16, 16]
    assert [sorted(config.rest.keys() & {"pruned_heads", "pruning_config"}) for config in names[1:3]] == [
        ["pruning_config"],
        ["pruned_heads"],
    ]


def test_encoder_decoder(example, capsys):
    module = example("encoder_decoder")
    module.main(steps=100, batch=16, d_model=32)
    told = capsys.readouterr().out
    assert told.count(" -> ") == 3 and float(told.partition("loss ")[2].split()[0]) < 1.5  # log(47) = 3.9 knows nothing
    source, target = (
        ["".join(module.ALPHABET[i] for i in row).strip("\0\2\3") for row in part]
        for part in module.dates(module.np.random.default_rng(0), 20)
    )
    assert all(day[:4] in read and str(int(day[8:])) in read for read, day in zip(source, target, strict=True))


@pytest.mark.parametrize(
    "name",
    ["bert_trainer", "bert_with_head", "frozen_vgg16", "frozen_mobilenet_v2", "resnet50_new_fc", "smaller_minilm"],
)
def test_a_model_that_is_not_there_is_an_error_of_one_line(name, tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", "--model", "nowhere"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
    )
    if "sklearn" in done.stderr:
        pytest.skip("this example needs scikit-learn")
    assert done.returncode == 2 and "Traceback" not in done.stderr and "nowhere" in done.stderr, done.stderr


@pytest.mark.slow
def test_quantized_gpt(example):
    pytest.importorskip("tokenizers")
    found = example("quantized_gpt").main(width=64, layers=1, words=400, epochs=1, count=20, length=32)
    assert list(found) == ["float32", "int8", "int4"]
    assert found["int8"] == pytest.approx(found["float32"], rel=0.005)
    assert found["int4"] == pytest.approx(found["float32"], rel=0.04)
    assert Path("outputs/int4/quantization.txt").read_text().count("transformer.h.0") == 4
