"""VGG by itself: its names and sizes, files, and what it refuses; tests/parity holds its numbers against torch."""

import numpy as np
import pytest

from minigrad.pretrained import AutoModel, AutoModelForImageClassification, VGGConfig, VGGForImageClassification

reference = pytest.importorskip("safetensors.numpy")
save_file = reference.save_file

SIZES = {"hidden_sizes": [4, 6], "depths": [1, 2], "pooled_size": 3, "intermediate_size": 10, "num_labels": 3}
PICTURES = np.random.default_rng(0).standard_normal((2, 3, 9, 14)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "entries", "parameters"),
    [("vgg11", 22, 132_863_336), ("vgg16", 32, 138_357_544), ("vgg16_bn", 97, 138_365_992), ("vgg19", 38, 143_667_240)],
)
def test_torchvisions_models(name, entries, parameters):
    state = VGGForImageClassification(VGGConfig.torchvision(name), drawn=False).state_dict()
    assert len(state) == entries
    assert sum(t.size for name, t in state.items() if name.endswith(("weight", "bias"))) == parameters
    if name == "vgg16":
        assert state["features.28.weight"].shape == (512, 512, 3, 3) and state["classifier.0.weight"].shape == (
            4096,
            25088,
        )


def test_files_both_ways(tmp_path):
    model = VGGForImageClassification(VGGConfig(**SIZES, batch_norm=True), rng=0).eval()
    model.save_pretrained(tmp_path / "ours")
    save_file({name: t.numpy() for name, t in model.state_dict().items()}, tmp_path / "vgg.safetensors")
    for again in (
        AutoModelForImageClassification.from_pretrained(tmp_path / "ours"),
        VGGForImageClassification.from_pretrained(
            tmp_path / "vgg.safetensors", config=VGGConfig(**SIZES, batch_norm=True)
        ),
    ):
        assert (again(PICTURES).logits.numpy() == model(PICTURES).logits.numpy()).all()
    base = AutoModel.from_pretrained(tmp_path / "ours")
    assert base(PICTURES).last_hidden_state.shape == (2, 6, 2, 3) and not base.load_report.unused
    head = AutoModelForImageClassification.from_pretrained(
        tmp_path / "ours", num_labels=5, ignore_mismatched_sizes=True, rng=0
    )
    assert list(head.load_report.wrong_shape) == ["classifier.6.weight", "classifier.6.bias"]


def test_dropout_acts_in_training_and_follows_the_seed():
    def logits(seed, train):
        return VGGForImageClassification(VGGConfig(**SIZES), rng=seed).train(train)(PICTURES).logits.numpy()

    assert (logits(0, True) == logits(0, True)).all() and (logits(0, True) != logits(0, False)).any()


def test_what_it_cannot_follow_is_refused():
    with pytest.raises(ValueError, match="torchvision's 'vgg15' is not known: it is one of vgg11"):
        VGGConfig.torchvision("vgg15")
    with pytest.raises(ValueError, match="must be as many"):
        VGGConfig(depths=[1, 2])
    with pytest.raises(ValueError, match=r"pixel_values must be \(N, 3, H, W\)"):
        VGGForImageClassification(VGGConfig(**SIZES), rng=0)(PICTURES[:, :1])
