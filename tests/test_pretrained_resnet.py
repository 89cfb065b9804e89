"""ResNet by itself: its names and sizes, what it takes and refuses; tests/parity holds its numbers against
transformers.
"""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from minigrad.pretrained import AutoModel, AutoModelForImageClassification, ResNetConfig, ResNetForImageClassification
from minigrad.pretrained.convnet import conv_norm
from minigrad.pretrained.resnet import ResNetModel

reference = pytest.importorskip("safetensors.numpy")
load_file, save_file = reference.load_file, reference.save_file

SIZES = {"embedding_size": 4, "hidden_sizes": [8, 12, 16, 20], "depths": [2, 1, 1, 1]}
PICTURES = np.random.default_rng(0).standard_normal((2, 3, 40, 36)).astype(np.float32)


def classifier(rng=0, **config):
    return ResNetForImageClassification(ResNetConfig(**SIZES | config), rng)


@pytest.mark.parametrize(
    ("name", "entries", "parameters"),
    [
        ("resnet18", 122, 11_689_512),
        ("resnet34", 218, 21_797_672),
        ("resnet50", 320, 25_557_032),
        ("resnet101", 626, 44_549_160),
    ],
)
def test_torchvisions_models(name, entries, parameters):
    model = ResNetForImageClassification(ResNetConfig.torchvision(name), drawn=False)
    assert len(model.state_dict()) == entries and sum(p.size for p in model.parameters()) == parameters
    if name == "resnet50":
        state = model.state_dict()
        assert list(state)[:7] == [
            "conv1.weight",
            "bn1.weight",
            "bn1.bias",
            "bn1.running_mean",
            "bn1.running_var",
            "bn1.num_batches_tracked",
            "layer1.0.conv1.weight",
        ]
        assert state["layer3.0.downsample.0.weight"].shape == (1024, 512, 1, 1) and list(state)[-2:] == [
            "fc.weight",
            "fc.bias",
        ]
        assert model.layer2[0].conv2.stride == 2 and model.layer2[0].conv1.stride == 1


def test_first_values():
    model = classifier()
    assert model.layer4[0].conv2.weight.numpy().std() == pytest.approx((2 / (5 * 9)) ** 0.5, rel=0.1)
    assert (model.bn1.weight.numpy() == 1).all() and (model.bn1.running_var.numpy() == 1).all()
    assert not model.fc.bias.numpy().any()
    name = "layer2.0.conv1.weight"
    assert (model.state_dict()[name].numpy() == classifier(0).state_dict()[name].numpy()).all()
    assert (model.state_dict()[name].numpy() != classifier(1).state_dict()[name].numpy()).any()


def test_a_directory_is_in_hugging_faces_layout(tmp_path):
    model = classifier(num_labels=3).eval()
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert {
        "resnet.embedder.embedder.convolution.weight",
        "resnet.encoder.stages.0.layers.1.layer.2.normalization.running_var",
        "resnet.encoder.stages.3.layers.0.shortcut.convolution.weight",
        "classifier.1.bias",
    } <= stored.keys()
    again = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert again.load_report.verdict == "all 122 weights loaded"
    assert (again(PICTURES).logits.numpy() == model(PICTURES).logits.numpy()).all()
    base = AutoModel.from_pretrained(tmp_path)
    assert isinstance(base, ResNetModel) and base.load_report.verdict == "all 120 weights loaded"
    assert base(PICTURES).last_hidden_state.shape == (2, 20, 2, 2) and base(PICTURES).pooler_output.shape == (
        2,
        20,
        1,
        1,
    )


def test_torchvisions_file(tmp_path):
    """An old one: without the counts of batches."""
    model = classifier(num_labels=3).eval()
    arrays = {name: t.numpy() for name, t in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file(arrays, tmp_path / "resnet.safetensors")
    config = ResNetConfig(**SIZES, num_labels=3)
    again = ResNetForImageClassification.from_pretrained(tmp_path / "resnet.safetensors", config=config)
    assert (
        again.load_report.verdict == "all 102 weights loaded"
        and again.bn1.num_batches_tracked.numpy().dtype == np.int64
    )
    assert (again(PICTURES).logits.numpy() == model(PICTURES).logits.numpy()).all()
    new = ResNetForImageClassification.from_pretrained(
        tmp_path / "resnet.safetensors", config=config, num_labels=7, ignore_mismatched_sizes=True, rng=0
    )
    assert new.fc.weight.shape == (7, 20) and list(new.load_report.wrong_shape) == ["fc.weight", "fc.bias"]
    with pytest.raises(ValueError, match="torchvision's 'resnet51' is not known: it is one of resnet18, "):
        ResNetConfig.torchvision("resnet51")


def test_evaluation_folds_the_normalisation_and_changes_no_weight():
    model = classifier().eval()
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            for t in (m.weight, m.bias, m.running_mean, m.running_var):
                t.copy_(t.data + np.random.default_rng(0).random(t.shape))
    before = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    x = nn.Sequential(model.conv1, model.bn1, nn.ReLU(), model.maxpool, model.layer1)(PICTURES)
    folded = model.layer1(model.maxpool(model.activation(conv_norm(PICTURES, model.conv1, model.bn1))))
    np.testing.assert_allclose(folded.numpy(), x.numpy(), rtol=1e-4, atol=1e-4)
    model(PICTURES)
    assert all((t.numpy() == before[name]).all() for name, t in model.state_dict().items())


@pytest.mark.parametrize("act", ["relu", "gelu"])
@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_a_block_in_evaluation_is_its_layers_one_by_one(kind, act):
    config = ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8, 8, 8], depths=[1, 1, 1, 1], layer_type=kind, hidden_act=act
    )
    block = ResNetModel(config, rng=0).eval().layer2[0]
    for m in block.modules():
        if isinstance(m, nn.BatchNorm2d):
            for t in (m.weight, m.bias, m.running_mean, m.running_var):
                t.copy_(t.data + np.random.default_rng(0).random(t.shape))

    def one_by_one(x):
        y = x
        for i in range(1, block.depth + 1):
            y = getattr(block, f"bn{i}")(getattr(block, f"conv{i}")(y))
            y = F.relu(y) if i < block.depth else y
        return block.activation(y + block.downsample(x))

    x, found = mg.Tensor(np.random.default_rng(1).standard_normal((2, 4, 6, 6)), requires_grad=True), []
    for way in (block, one_by_one):
        y = way(x)
        found.append([y, *mg.grad((y * y).sum(), [x, *block.parameters()])])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-4)


def test_a_frozen_base_keeps_its_statistics_while_a_new_head_learns():
    model = classifier().train()
    model.freeze()
    model.fc = nn.Linear(model.fc.in_features, 3, rng=0)
    before = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model(PICTURES, labels=[0, 2]).loss.backward()
    optimizer.step()
    assert {name for name, t in model.state_dict().items() if (t.numpy() != before[name]).any()} == {
        "fc.weight",
        "fc.bias",
    }


@pytest.mark.parametrize(
    ("pictures", "error", "told"),
    [
        (PICTURES[0], ValueError, r"pixel_values must be \(N, 3, H, W\), these have shape \(3, 40, 36\)"),
        (PICTURES.transpose(0, 2, 3, 1), ValueError, r"\(2, 40, 36, 3\): an AutoImageProcessor makes them so"),
        ((PICTURES * 10).astype(np.uint8), TypeError, "pixel_values are uint8, as in a file"),
    ],
)
def test_bad_pictures_are_refused(pictures, error, told):
    with pytest.raises(error, match=told):
        classifier()(pictures)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"layer_type": "wide"}, "layer_type 'wide' is not known: it is 'basic' or 'bottleneck'"),
        ({"depths": [1, 1, 1]}, r"hidden_sizes .* and depths \[1, 1, 1\] must be four numbers each"),
        ({"hidden_act": "maxout"}, "hidden_act 'maxout' is not known"),
        ({"depths": [1, 1, 1, 0]}, "depths is .* expected"),
    ],
)
def test_a_configuration_this_resnet_cannot_follow_is_refused(config, told):
    with pytest.raises(ValueError, match=told):
        ResNetConfig(**SIZES | config)
