"""ResNet against transformers and torchvision's layout: outputs, loss, every gradient, and running statistics."""

import numpy as np
import pytest

torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

from compare import agrees, compare_pretrained, scramble  # noqa: E402
from vision import PICTURES, compare_training, renamed, scramble_statistics  # noqa: E402

from minigrad.pretrained import (  # noqa: E402
    AutoModel,
    AutoModelForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
)

TINY = {"embedding_size": 8, "hidden_sizes": [16, 24, 32, 40], "depths": [2, 1, 2, 1], "num_labels": 5}
LABELLED = {"pixel_values": PICTURES, "labels": np.array([3, 0, 4])}
NAMED = renamed(ResNetForImageClassification)


def reference(kind=transformers.ResNetForImageClassification, **config):
    torch.manual_seed(0)
    return scramble_statistics(kind(transformers.ResNetConfig(**TINY | config)))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"layer_type": "basic"},
        {"downsample_in_bottleneck": True},
        {"downsample_in_first_stage": True},
        {"hidden_act": "gelu"},
    ],
)
def test_outputs_loss_every_gradient_and_back(tmp_path, config):
    compare_pretrained(AutoModelForImageClassification, reference(**config), LABELLED, tmp_path, named=NAMED)


def test_the_base_model(tmp_path):
    compare_pretrained(
        AutoModel, reference(transformers.ResNetModel), {"pixel_values": PICTURES}, tmp_path, named=NAMED
    )


def test_training_and_what_it_remembers(tmp_path):
    compare_training(ResNetForImageClassification, reference(), LABELLED, tmp_path)


def test_the_head_of_another_task_begins_anew(tmp_path):
    reference().save_pretrained(tmp_path)
    model = AutoModelForImageClassification.from_pretrained(tmp_path, num_labels=2, ignore_mismatched_sizes=True, rng=0)
    assert set(model.load_report.wrong_shape) == {"fc.weight", "fc.bias"} and model.fc.weight.shape == (2, 40)
    model.save_pretrained(tmp_path / "ours")
    assert transformers.ResNetForImageClassification.from_pretrained(tmp_path / "ours").config.num_labels == 2


@pytest.mark.parametrize("zipped", [True, False])  # what torch writes, and what it wrote before 1.6
def test_torchvisions_file(tmp_path, zipped):
    theirs = scramble(reference())
    state = {
        NAMED(name): t for name, t in theirs.state_dict().items() if zipped or not name.endswith("num_batches_tracked")
    }
    assert {"conv1.weight", "layer1.0.downsample.1.running_var", "layer3.1.bn2.bias", "fc.weight"} <= state.keys()
    torch.save(state, tmp_path / "resnet.pth", _use_new_zipfile_serialization=zipped)
    ours = ResNetForImageClassification.from_pretrained(tmp_path / "resnet.pth", config=ResNetConfig(**TINY))
    assert ours.load_report.verdict.startswith("all ")
    agrees(ours, theirs, LABELLED, named=NAMED)
