"""Transforms of pictures beside those of torchvision, on Pillow images, bit for bit."""

import numpy as np
import pytest

from minigrad.data import image_transforms as T

Image = pytest.importorskip("PIL.Image")
torch = pytest.importorskip("torch")
F = pytest.importorskip("torchvision.transforms.functional")
from torchvision.transforms import InterpolationMode  # noqa: E402

RNG = np.random.default_rng(0)
SMOOTH = Image.fromarray(RNG.integers(0, 256, (9, 12, 3), np.uint8)).resize((47, 30), Image.Resampling.BICUBIC)
PICTURES = {"colour": SMOOTH, "grey": SMOOTH.convert("L"), "tall": SMOOTH.rotate(90, expand=True)}


def same(ours, theirs):
    assert ours.mode == theirs.mode
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_geometry(picture, mode):
    theirs = InterpolationMode(mode)
    for size in (17, 60, (20, 50), (64, 8)):
        same(T.resize(picture, size, mode), F.resize(picture, size, theirs))
    same(T.resized_crop(picture, 3, 2, 11, 13, 24, mode), F.resized_crop(picture, 3, 2, 11, 13, [24, 24], theirs))
    for angle in RNG.uniform(-180, 180, 5):
        for expand in (False, True):
            same(T.rotate(picture, angle, mode, expand, 33), F.rotate(picture, angle, theirs, expand, fill=33))
        shift, zoom, shear = RNG.integers(-9, 9, 2).tolist(), RNG.uniform(0.4, 2), RNG.uniform(-40, 40, 2).tolist()
        same(
            T.affine(picture, angle, shift, zoom, shear, mode, 7),
            F.affine(picture, angle, shift, zoom, shear, theirs, fill=7),
        )


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_crops_flips_borders_and_colours(picture):
    for size in (10, 11, (9, 20), 48, (12, 60), (61, 13)):
        same(T.center_crop(picture, size), F.center_crop(picture, size))
    same(T.crop(picture, -3, 5, 40, 20), F.crop(picture, -3, 5, 40, 20))
    same(T.hflip(picture), F.hflip(picture))
    same(T.vflip(picture), F.vflip(picture))
    for padding in (3, [1, 4], [1, 2, 3, 4]):
        same(T.pad(picture, padding, 5), F.pad(picture, padding, 5))
    for factor in (0, 0.3, 1, 1.7):
        same(T.adjust_brightness(picture, factor), F.adjust_brightness(picture, factor))
        same(T.adjust_contrast(picture, factor), F.adjust_contrast(picture, factor))
        same(T.adjust_saturation(picture, factor), F.adjust_saturation(picture, factor))
    for factor in (-0.5, -0.11, 0, 0.2, 0.5):
        same(T.adjust_hue(picture, factor), F.adjust_hue(picture, factor))
    floats = F.to_tensor(picture)
    np.testing.assert_array_equal(T.Rescale()(picture), floats.numpy())
    mean, std = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]) if picture.mode == "RGB" else ([0.5], [0.2])
    np.testing.assert_array_equal(T.Normalize(mean, std)(T.Rescale()(picture)), F.normalize(floats, mean, std).numpy())


def test_mixup_of_a_batch():
    images = torch.rand(4, 3, 5, 5)
    lam = 0.3
    theirs = images.roll(1, 0).mul_(1.0 - lam).add_(images.mul(lam))  # torchvision.transforms.v2.MixUp
    ours = T.mixup(images.numpy(), np.roll(images.numpy(), 1, 0), lam)
    np.testing.assert_array_equal(ours, theirs.numpy())
