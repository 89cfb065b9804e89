"""ViT by itself: its names and sizes, how it cuts pictures, and what it refuses; its numbers are compared in
tests/parity.
"""

import numpy as np
import pytest

from minigrad.data import MaskedPatches
from minigrad.pretrained import (
    AutoModel,
    AutoModelForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTForMaskedImageModeling,
    ViTModel,
)
from minigrad.train import Trainer, TrainingArguments, verify_resume

SIZES = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "image_size": 12,
    "patch_size": 4,
}
PICTURES = np.random.default_rng(0).standard_normal((2, 3, 12, 12)).astype(np.float32)


def test_the_published_size_and_names():
    model = ViTForImageClassification(ViTConfig(num_labels=1000), drawn=False)
    assert sum(p.size for p in model.parameters()) == 86_567_656
    state = model.state_dict()
    assert state["vit.embeddings.position_embeddings"].shape == (1, 197, 768)
    assert {
        "vit.embeddings.cls_token",
        "vit.embeddings.patch_embeddings.projection.bias",
        "vit.layernorm.weight",
        "vit.encoder.layer.11.attention.attention.query.weight",
        "vit.encoder.layer.0.attention.output.dense.bias",
        "vit.encoder.layer.0.layernorm_before.weight",
        "classifier.bias",
    } <= state.keys()


def test_patches_are_read_row_by_row():
    model = ViTModel(ViTConfig(**SIZES), rng=0).eval()
    first = model.embeddings(PICTURES).numpy()
    changed = PICTURES.copy()
    changed[:, :, 4:8, 8:12] += 1  # the third patch of the second row
    differ = np.abs(model.embeddings(changed).numpy() - first).max((0, 2)) > 0
    assert differ.nonzero()[0].tolist() == [1 + 5]


def test_a_directory_both_ways(tmp_path):
    model = ViTForImageClassification(ViTConfig(**SIZES), rng=0).eval()
    model.save_pretrained(tmp_path / "head")
    again = AutoModelForImageClassification.from_pretrained(tmp_path / "head")
    assert (again(PICTURES).logits.numpy() == model(PICTURES).logits.numpy()).all()
    base = AutoModel.from_pretrained(tmp_path / "head", rng=0)
    assert base.load_report.newly_initialised == ["pooler.dense.weight", "pooler.dense.bias"]
    assert base(PICTURES).pooler_output.shape == (2, 8)
    base.save_pretrained(tmp_path / "base")
    head = AutoModelForImageClassification.from_pretrained(tmp_path / "base", rng=0)
    assert head.load_report.newly_initialised == ["classifier.weight", "classifier.bias"]


def test_every_weight_learns_and_every_dropout_acts():
    model = ViTForImageClassification(ViTConfig(**SIZES, hidden_dropout_prob=0.0), rng=0).train()
    model(PICTURES, labels=[0, 1]).loss.backward()
    assert all(np.abs(p.grad.numpy()).max() > 0 for p in model.parameters())
    still, places = model(PICTURES).logits.numpy(), [m for m in model.modules() if hasattr(m, "p")]
    assert len(places) == 1 + 2 * 2
    for place in places:
        place.p = 0.5
        assert (model(PICTURES).logits.numpy() != still).any()
        place.p = 0.0


@pytest.mark.parametrize(
    ("pictures", "error", "told"),
    [
        (PICTURES[..., :8], ValueError, r"pixel_values must be \(N, 3, 12, 12\), these have shape \(2, 3, 12, 8\)"),
        (PICTURES[:, :1], ValueError, r"pixel_values must be \(N, 3, 12, 12\)"),
        (PICTURES.astype(int), TypeError, "pixel_values are int64"),
    ],
)
def test_bad_pictures_are_refused(pictures, error, told):
    with pytest.raises(error, match=told):
        ViTForImageClassification(ViTConfig(**SIZES), rng=0)(pictures)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"num_attention_heads": 3}, "hidden_size 8 is not a multiple of num_attention_heads 3"),
        ({"patch_size": 13}, "image_size 12 is less than patch_size 13"),
        ({"hidden_act": "maxout"}, "hidden_act 'maxout' is not known"),
        ({"pooler_act": "maxout"}, "pooler_act 'maxout' is not known"),
    ],
)
def test_a_configuration_this_vit_cannot_follow_is_refused(config, told):
    with pytest.raises(ValueError, match=told):
        ViTConfig(**SIZES | config)


def painter(**changes):
    return ViTForMaskedImageModeling(ViTConfig(**SIZES | {"encoder_stride": 4} | changes), rng=0).eval()


MASKED = np.arange(9) % 2 == np.array([[0], [1]])


def test_what_is_masked_is_not_seen():
    model, changed = painter(), PICTURES.copy()
    changed[0, :, :4, :4] += 1  # the first patch, masked in the first picture alone
    same, other = (model(x, MASKED).reconstruction.numpy() for x in (PICTURES, changed))
    np.testing.assert_array_equal(same, other)
    assert same.shape == PICTURES.shape
    assert not np.array_equal(model(PICTURES).reconstruction.numpy(), model(changed).reconstruction.numpy())


def test_the_loss_is_the_error_of_the_masked_patches():
    out = painter()(PICTURES, MASKED)
    hidden = np.kron(MASKED.reshape(2, 1, 3, 3), np.ones((4, 4))).astype(bool).repeat(3, 1)
    assert out.loss.item() == pytest.approx(np.abs(out.reconstruction.numpy() - PICTURES)[hidden].mean(), rel=1e-5)
    assert painter()(PICTURES).loss is None


def test_a_painter_both_ways(tmp_path):
    model = painter()
    model.save_pretrained(tmp_path)
    again = ViTForMaskedImageModeling.from_pretrained(tmp_path)
    assert (again(PICTURES, MASKED).loss.numpy() == model(PICTURES, MASKED).loss.numpy()).all()
    base = ViTModel.from_pretrained(tmp_path, rng=0)  # goes on without the mask token and the decoder
    assert "embeddings.mask_token" not in base.state_dict()
    assert base.load_report.newly_initialised == ["pooler.dense.weight", "pooler.dense.bias"]


def test_what_a_painter_refuses():
    with pytest.raises(ValueError, match="encoder_stride 16; expected the same"):
        painter(encoder_stride=16)
    with pytest.raises(ValueError, match=r"bool_masked_pos has shape \(2, 8\); expected \(2, 9\)"):
        painter()(PICTURES, MASKED[:, :8])
    with pytest.raises(ValueError, match="use_mask_token=True"):
        ViTModel(ViTConfig(**SIZES), rng=0)(PICTURES, MASKED)


def test_patches_are_masked_anew_in_each_epoch():
    items = [{"pixel_values": picture, "label": 1} for picture in PICTURES]
    dataset = MaskedPatches(items, 9, 0.5, seed=3)
    drawn = [dataset.at_epoch(epoch)[i]["bool_masked_pos"] for epoch in range(2) for i in range(2)]
    assert [mask.sum() for mask in drawn] == [4] * 4 and len({mask.tobytes() for mask in drawn}) == 4
    assert dataset[0].keys() == {"pixel_values", "bool_masked_pos"}
    assert (MaskedPatches(items, 9, 0.5, seed=3).at_epoch(1)[1]["bool_masked_pos"] == drawn[3]).all()
    for ratio in (0, 0.01, 1):
        with pytest.raises(ValueError, match="a part that leaves one"):
            MaskedPatches(items, 9, ratio)


@pytest.mark.slow
def test_painting_is_learnt_and_resumes_exactly(tmp_path):
    rng = np.random.default_rng(0)
    plain = [{"pixel_values": np.full((3, 12, 12), sign, np.float32)} for sign in rng.choice([-1, 1], 32)]

    def make(output, **options):
        args = TrainingArguments(output, learning_rate=1e-2, disable_tqdm=True, logging_steps=1, **options)
        return Trainer(painter(), args, MaskedPatches(plain, 9))

    trainer = make(str(tmp_path), num_train_epochs=15, save_strategy="no")
    trainer.train()
    found = [record["loss"] for record in trainer.history if "loss" in record]
    assert np.mean(found[-4:]) < 0.5 * np.mean(found[:4])
    assert verify_resume(make, 3) == []
