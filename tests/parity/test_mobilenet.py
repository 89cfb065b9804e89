"""MobileNetV2 against transformers: both paddings, outputs, loss, every gradient, and what training remembers."""

import numpy as np
import pytest

torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

from compare import compare_pretrained  # noqa: E402
from vision import PICTURES, compare_training, renamed, scramble_statistics  # noqa: E402

from minigrad.pretrained import AutoModel, AutoModelForImageClassification, MobileNetV2ForImageClassification  # noqa: E402

TINY = {"depth_multiplier": 0.25, "num_labels": 5}
LABELLED = {"pixel_values": PICTURES, "labels": np.array([3, 0, 4])}
NAMED = renamed(MobileNetV2ForImageClassification)


def reference(kind=transformers.MobileNetV2ForImageClassification, **config):
    torch.manual_seed(0)
    return scramble_statistics(kind(transformers.MobileNetV2Config(**TINY | config)))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"tf_padding": False},
        {"output_stride": 8, "layer_norm_eps": 1e-2},
        {"finegrained_output": False, "expand_ratio": 3.0},
    ],
)
def test_outputs_loss_every_gradient_and_back(tmp_path, config):
    compare_pretrained(AutoModelForImageClassification, reference(**config), LABELLED, tmp_path, named=NAMED)


def test_the_base_model(tmp_path):
    compare_pretrained(
        AutoModel, reference(transformers.MobileNetV2Model), {"pixel_values": PICTURES}, tmp_path, named=NAMED
    )


def test_training_and_what_it_remembers(tmp_path):
    compare_training(MobileNetV2ForImageClassification, reference(classifier_dropout_prob=0.0), LABELLED, tmp_path)


@pytest.mark.parametrize(
    "config",
    [{"depth_multiplier": m} for m in (0.1, 0.27, 0.455, 0.7, 1.1)]
    + [
        {"depth_multiplier": 0.3, "depth_divisible_by": 4, "min_depth": 6},
        {"depth_multiplier": 0.5, "min_depth": 40, "expand_ratio": 1.7},
        {"output_stride": 16},
        {"output_stride": 8, "tf_padding": False},
        {"output_stride": 4},
        {"output_stride": 2},
    ],
    ids=str,
)
def test_widths_and_strides(tmp_path, config):
    theirs = reference(**config)
    theirs.save_pretrained(tmp_path)
    ours = AutoModelForImageClassification.from_pretrained(tmp_path)
    expected = theirs(torch.tensor(PICTURES)).logits.detach().numpy()
    np.testing.assert_allclose(ours(PICTURES).logits.numpy(), expected, atol=2e-4 * np.abs(expected).max())
