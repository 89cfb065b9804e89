"""ViT against transformers: outputs, loss, every gradient and training steps, within measured float32 noise."""

import numpy as np
import pytest

torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

from compare import compare_pretrained  # noqa: E402

from minigrad.pretrained import AutoModel, AutoModelForImageClassification  # noqa: E402

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 12,
    "patch_size": 4,
    "num_labels": 5,
}
rng = np.random.default_rng(0)
PICTURES = rng.standard_normal((3, 3, 12, 12)).astype(np.float32)
LABELLED = {"pixel_values": PICTURES, "labels": np.array([3, 0, 4])}


def theirs_to_ours(name):
    """transformers 5 renamed its modules, but writes and reads the files' names, which are ours."""
    for new, old in (
        ("layers.", "encoder.layer."),
        ("mlp.fc1", "intermediate.dense"),
        ("mlp.fc2", "output.dense"),
        ("attention.o_proj", "attention.output.dense"),
        *((f"attention.{x[0]}_proj", f"attention.attention.{x}") for x in ("query", "key", "value")),
    ):
        name = name.replace(new, old)
    return name


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"hidden_act": "gelu_new", "layer_norm_eps": 1e-3},
        {"qkv_bias": False},
        {"patch_size": 5},
        {"num_channels": 1},
    ],
)
def test_outputs_loss_every_gradient_and_back(tmp_path, config):
    torch.manual_seed(0)
    theirs = transformers.ViTForImageClassification(transformers.ViTConfig(**TINY | config))
    batch = LABELLED | {"pixel_values": PICTURES[:, : config.get("num_channels", 3)]}
    compare_pretrained(AutoModelForImageClassification, theirs, batch, tmp_path, named=theirs_to_ours)


def test_three_adamw_steps(tmp_path):
    torch.manual_seed(0)
    theirs = transformers.ViTForImageClassification(transformers.ViTConfig(**TINY))
    compare_pretrained(AutoModelForImageClassification, theirs, LABELLED, tmp_path, steps=3, named=theirs_to_ours)


@pytest.mark.parametrize("config", [{}, {"pooler_output_size": 7, "pooler_act": "relu"}])
def test_the_base_model(tmp_path, config):
    torch.manual_seed(0)
    theirs = transformers.ViTModel(transformers.ViTConfig(**TINY | config))
    compare_pretrained(AutoModel, theirs, {"pixel_values": PICTURES}, tmp_path, named=theirs_to_ours)


def test_a_picture_that_is_not_square(tmp_path):
    torch.manual_seed(0)
    config = TINY | {"image_size": [12, 8], "patch_size": [4, 2]}
    theirs = transformers.ViTForImageClassification(transformers.ViTConfig(**config))
    compare_pretrained(
        AutoModelForImageClassification,
        theirs,
        LABELLED | {"pixel_values": PICTURES[..., :8]},
        tmp_path,
        named=theirs_to_ours,
    )
