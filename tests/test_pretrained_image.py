"""The image processor by itself: what counts as a picture, and what is refused; tests/parity compares it with transformers'."""
import json

import numpy as np
import pytest

from minigrad.pretrained import AutoImageProcessor
from minigrad.pretrained.image import TORCHVISION
from minigrad.tensor import Tensor

Image = pytest.importorskip("PIL.Image")
PHOTO = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def processor(**settings):
    return AutoImageProcessor({"size": 8, **settings})


def test_every_form_of_a_picture(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    expected = processor()(PHOTO)["pixel_values"]
    assert expected.shape == (1, 3, 8, 8) and expected.dtype == np.float32
    for form in (tmp_path / "photo.png", str(tmp_path / "photo.png"), Image.fromarray(PHOTO), PHOTO.transpose(2, 0, 1),
                 Tensor(PHOTO), [PHOTO], PHOTO[None]):
        np.testing.assert_array_equal(processor()(form)["pixel_values"], expected)
    for grey in (PHOTO[..., 0], PHOTO[..., :1], Image.fromarray(PHOTO[..., 0])):
        np.testing.assert_array_equal(processor()(grey)["pixel_values"], processor()(PHOTO[..., [0] * 3])["pixel_values"])
    assert processor()([PHOTO, PHOTO[:9]])["pixel_values"].shape == (2, 3, 8, 8)


def test_each_step_by_hand():
    plain = {"do_resize": False, "do_normalize": False}
    np.testing.assert_array_equal(processor(**plain, do_rescale=False)(PHOTO)["pixel_values"][0], PHOTO.transpose(2, 0, 1))
    np.testing.assert_allclose(processor(**plain)(PHOTO)["pixel_values"][0], PHOTO.transpose(2, 0, 1) / 255, rtol=1e-6)
    cut = processor(**plain, do_center_crop=True, crop_size={"height": 10, "width": 40})(PHOTO)["pixel_values"][0]
    np.testing.assert_allclose(cut[:, :, 5:35], PHOTO[5:15].transpose(2, 0, 1) / 255, rtol=1e-6)
    assert not cut[:, :, :5].any() and not cut[:, :, 35:].any()
    normalised = processor(do_resize=False, image_mean=[0.1, 0.2, 0.3], image_std=0.5)(PHOTO)["pixel_values"][0]
    np.testing.assert_allclose(normalised[2], (PHOTO[..., 2] / 255 - 0.3) / 0.5, atol=1e-6)


def test_sizes():
    assert processor(size={"shortest_edge": 10})(PHOTO)["pixel_values"].shape == (1, 3, 10, 15)
    assert processor(size={"height": 5, "width": 7})(PHOTO)["pixel_values"].shape == (1, 3, 5, 7)
    assert AutoImageProcessor(TORCHVISION)(PHOTO)["pixel_values"].shape == (1, 3, 224, 224)
    convnext = {"image_processor_type": "ConvNextImageProcessor"}
    assert processor(**convnext, size=400)(PHOTO)["pixel_values"].shape == (1, 3, 400, 400)


def test_settings_travel(tmp_path):
    settings = {"size": 12, "resample": 3, "image_processor_type": "ViTImageProcessorFast"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    ours = AutoImageProcessor.from_pretrained(tmp_path, image_mean=0.25)
    ours.save_pretrained(tmp_path / "again")
    ours.save_pretrained(tmp_path / "again")    # a processor alone is no reason to refuse the directory
    again = AutoImageProcessor.from_pretrained(tmp_path / "again")
    assert again.settings == ours.settings and again.settings["size"] == {"height": 12, "width": 12}
    np.testing.assert_array_equal(again(PHOTO)["pixel_values"], ours(PHOTO)["pixel_values"])


@pytest.mark.parametrize(("settings", "told"), [
    ({"image_processor_type": "CLIPImageProcessor"}, "image processor 'CLIPImageProcessor' is not known: it is one of ViT, "),
    ({"size": "large"}, "size is 'large': expected a number"),
    ({"size": {"longest_edge": 3}}, "size is .* expected a number"),
    ({"crop_size": {"shortest_edge": 3}}, "crop_size is .* expected a number"),
    ({"image_mean": [0.5, 0.5]}, r"image_mean is \[0.5, 0.5\]: expected one number, or three"),
])
def test_settings_it_cannot_follow_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        processor(**settings)


@pytest.mark.parametrize(("picture", "error", "told"), [
    (PHOTO / 255, TypeError, "a picture's array must be uint8, 0 to 255, this one is float64"),
    (PHOTO[..., :2], ValueError, r"a picture is \(H, W\), \(H, W, 3\) or \(3, H, W\), this array has shape \(20, 30, 2\)"),
    ([], ValueError, "no pictures: expected at least one"),
    ("missing.png", FileNotFoundError, "missing.png"),
    (__file__, ValueError, "test_pretrained_image.py is not a picture that Pillow can read"),
])
def test_what_is_no_picture_is_refused(picture, error, told):
    with pytest.raises(error, match=told):
        processor()(picture)


def test_pictures_that_end_in_different_sizes_are_refused():
    with pytest.raises(ValueError, match=r"different sizes, such as \(8, 12\) and \(8, 26\): give the processor a \"height\""):
        processor(size={"shortest_edge": 8})([PHOTO, PHOTO[:9]])


def test_a_directory_without_a_processor_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="preprocessor_config.json is missing"):
        AutoImageProcessor.from_pretrained(tmp_path)


def test_unknown_settings_are_refused(tmp_path):
    processor().save_pretrained(tmp_path)
    assert AutoImageProcessor.from_pretrained(tmp_path, size=9).settings["size"] == {"height": 9, "width": 9}
    with pytest.raises(TypeError, match="AutoImageProcessor has no setting 'sise': it has .*, size"):
        AutoImageProcessor.from_pretrained(tmp_path, sise=9)
