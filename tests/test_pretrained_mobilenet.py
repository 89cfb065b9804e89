"""MobileNetV2 by itself: its names and sizes, both layouts, and what it refuses; its numbers are compared in
tests/parity.
"""

import numpy as np
import pytest

from minigrad.pretrained import (
    AutoModel,
    AutoModelForImageClassification,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
)
from minigrad.pretrained.mobilenet import CHANNELS, STRIDES
from minigrad.tensor import Tensor

reference = pytest.importorskip("safetensors.numpy")
load_file, save_file = reference.load_file, reference.save_file

SIZES = {"depth_multiplier": 0.25, "num_labels": 3}
PICTURES = np.random.default_rng(0).standard_normal((2, 3, 40, 36)).astype(np.float32)


def test_torchvisions_model():
    model = MobileNetV2ForImageClassification(MobileNetV2Config.torchvision(), drawn=False)
    state = model.state_dict()
    assert len(state) == 314 and sum(p.size for p in model.parameters()) == 3_504_872
    assert list(state)[-2:] == ["classifier.1.weight", "classifier.1.bias"]
    assert [state[f"features.{name}.weight"].shape for name in ("1.conv.1", "17.conv.1.0", "18.0")] == [
        (16, 32, 1, 1),
        (960, 1, 3, 3),
        (1280, 320, 1, 1),
    ]
    norm = model.features[0][1]
    assert (norm.eps, norm.momentum, model.classifier[0].p) == (1e-5, 0.1, 0.2)


@pytest.mark.parametrize(
    ("multiplier", "widths"), [(1.4, (48, 24, 448, 1792)), (0.35, (16, 8, 112, 1280)), (0.5, (16, 8, 160, 1280))]
)
def test_widths_are_multiples_of_eight(multiplier, widths):
    state = MobileNetV2ForImageClassification(MobileNetV2Config(depth_multiplier=multiplier), drawn=False).state_dict()
    names = "features.0.0", "features.1.conv.1", "features.17.conv.2", "features.18.0"
    assert tuple(state[f"{name}.weight"].shape[0] for name in names) == widths


def test_a_directory_is_in_hugging_faces_layout(tmp_path):
    model = MobileNetV2ForImageClassification(MobileNetV2Config(**SIZES), rng=0).eval()
    model.save_pretrained(tmp_path)
    assert {
        "mobilenet_v2.conv_stem.first_conv.convolution.weight",
        "mobilenet_v2.conv_stem.reduce_1x1.normalization.running_var",
        "mobilenet_v2.layer.15.expand_1x1.convolution.weight",
        "mobilenet_v2.conv_1x1.normalization.weight",
        "classifier.bias",
    } <= load_file(tmp_path / "model.safetensors").keys()
    again = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert again.load_report.verdict == "all 314 weights loaded"
    assert (again(PICTURES).logits.numpy() == model(PICTURES).logits.numpy()).all()
    base = AutoModel.from_pretrained(tmp_path)
    assert base(PICTURES).pooler_output.shape == (2, 1280) and base.load_report.verdict == "all 312 weights loaded"


def test_torchvisions_file(tmp_path):
    model = MobileNetV2ForImageClassification(MobileNetV2Config.torchvision(**SIZES), rng=0).eval()
    save_file({name: t.numpy() for name, t in model.state_dict().items()}, tmp_path / "mobilenet.safetensors")
    again = MobileNetV2ForImageClassification.from_pretrained(
        tmp_path / "mobilenet.safetensors", config=MobileNetV2Config.torchvision(**SIZES)
    )
    assert again.load_report.verdict == "all 314 weights loaded" and not again.load_report.renamed
    assert (again(PICTURES).logits.numpy() == model(PICTURES).logits.numpy()).all()
    again.save_pretrained(tmp_path / "directory")  # which says that it is torchvision's
    third = AutoModelForImageClassification.from_pretrained(tmp_path / "directory")
    assert (third(PICTURES).logits.numpy() == model(PICTURES).logits.numpy()).all() and third.features[0][
        1
    ].momentum == 0.1


def test_what_it_cannot_follow_is_refused():
    for entry in ({"hidden_act": "relu"}, {"first_layer_is_expansion": False}):
        with pytest.raises(
            ValueError, match=f"{next(iter(entry))} .* is not supported: this MobileNetV2 knows .* alone"
        ):
            MobileNetV2Config.from_dict(entry)
    with pytest.raises(ValueError, match="depth_multiplier is 'wide' in the configuration"):
        MobileNetV2Config(depth_multiplier="wide")


def torchvisions_widths(multiplier, divisor=8):
    """torchvision's rules, computed here: channels out of each of the 19 layers, and inside each block."""

    def divisible(v):
        new = max(divisor, int(v + divisor / 2) // divisor * divisor)
        return new + divisor if new < 0.9 * v else new

    outputs = [
        divisible(32 * multiplier),
        *(divisible(n * multiplier) for n in CHANNELS),
        divisible(1280 * max(1.0, multiplier)),
    ]
    return outputs, [round(n * (6 if i else 1)) for i, n in enumerate(outputs[:-2])]


@pytest.mark.parametrize("multiplier", [0.1, 0.27, 0.28, 0.35, 0.455, 0.6, 0.75, 1.0, 1.3])
@pytest.mark.parametrize("divisor", [8, 4, 1])
def test_torchvisions_widths_and_residuals(multiplier, divisor):
    config = MobileNetV2Config.torchvision(depth_multiplier=multiplier, depth_divisible_by=divisor, num_labels=2)
    model = MobileNetV2ForImageClassification(config, drawn=False)
    outputs, inside = torchvisions_widths(multiplier, divisor)
    blocks = model.features[1:-1]
    assert [
        model.features[0][0].weight.shape[0],
        *(block.conv[-1].weight.shape[0] for block in blocks),
        model.features[-1][0].weight.shape[0],
    ] == outputs
    assert [block.conv[-2].weight.shape[1] for block in blocks] == inside
    adds = [stride == 1 and a == b for stride, a, b in zip(STRIDES, outputs[:-2], outputs[1:-1], strict=True)]
    assert [block.adds for block in blocks] == adds


def test_the_first_block_of_a_narrow_torchvision_model_adds_its_input():
    x = Tensor(np.random.default_rng(0).standard_normal((1, 8, 5, 5)).astype(np.float32))
    for make, adds in ((MobileNetV2Config.torchvision, True), (MobileNetV2Config, False)):
        config = make(depth_multiplier=0.25)  # the first block is given 8 channels, and has as many
        block = MobileNetV2ForImageClassification(config, rng=0).eval().features[1]
        y = x
        for part in block.conv:
            y = part(y)
        np.testing.assert_allclose(block(x).numpy(), (x + y if adds else y).numpy(), atol=1e-5)
