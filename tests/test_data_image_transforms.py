"""Transforms of pictures do what Pillow does, are functions of their seed, and take Pillow images and arrays alike."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.data import image_transforms as T

Image = pytest.importorskip("PIL.Image")
PHOTO = np.random.default_rng(0).integers(0, 256, (20, 31, 3), np.uint8)
GREY = PHOTO[..., 0]

RANDOM = [
    T.RandomCrop(16),
    T.RandomCrop(24, padding=(2, 4), fill=255),
    T.RandomCrop((40, 8), pad_if_needed=True),
    T.RandomResizedCrop(12),
    T.RandomHorizontalFlip(),
    T.RandomVerticalFlip(0.3),
    T.RandomRotation(30, "bilinear"),
    T.RandomRotation((90, 180), expand=True),
    T.RandomAffine(10, (0.1, 0.2), (0.8, 1.2), 15, "bilinear", fill=9),
    T.RandomAffine(0, shear=(-5, 5, 0, 10)),
    T.ColorJitter(0.4, 0.4, 0.4, 0.1),
    T.Compose([T.RandomCrop(18), T.RandomHorizontalFlip(), T.ColorJitter(brightness=(0.5, 2))]),
]


@pytest.mark.parametrize("transform", RANDOM, ids=repr)
def test_a_random_transform_is_a_function_of_its_seed(transform):
    first = [transform(PHOTO, seed) for seed in range(40)]
    again = [transform(PHOTO, np.random.default_rng(seed)) for seed in range(40)]
    assert all(map(np.array_equal, first, again))
    assert len({picture.tobytes() for picture in first}) > 1
    on_pillow = transform(Image.fromarray(PHOTO), 3)
    assert isinstance(on_pillow, Image.Image)
    np.testing.assert_array_equal(np.asarray(on_pillow), first[3])
    planes = transform(PHOTO.transpose(2, 0, 1), 3)
    np.testing.assert_array_equal(planes, first[3])
    assert transform(GREY, 0).ndim == 2 and transform(GREY[..., None], 0).shape[2] == 1


def test_without_a_seed_it_draws_from_that_of_the_package():
    def drawn():
        return [T.RandomCrop(5)(PHOTO).tobytes() for _ in range(9)]

    mg.seed(1)
    first = drawn()
    mg.seed(1)
    assert drawn() == first and len(set(first)) > 1
    mg.seed(None)
    assert drawn() != first


def test_resize_and_crops_are_pillows():
    image = Image.fromarray(PHOTO)
    for name, number in T.INTERPOLATIONS.items():
        expected = np.asarray(image.resize((9, 13), number))
        for kind in (name, number, Image.Resampling(number)):
            np.testing.assert_array_equal(T.Resize((13, 9), kind)(PHOTO), expected)
    assert T.Resize(10)(PHOTO).shape == (10, 15, 3) and T.Resize(10)(PHOTO.swapaxes(0, 1)).shape == (15, 10, 3)
    np.testing.assert_array_equal(T.CenterCrop((10, 11))(PHOTO), PHOTO[5:15, 10:21])
    wide = T.CenterCrop((25, 31))(PHOTO)
    np.testing.assert_array_equal(wide[2:22], PHOTO)
    assert not wide[:2].any() and not wide[22:].any()
    np.testing.assert_array_equal(T.crop(PHOTO, 3, 4, 5, 6), PHOTO[3:8, 4:10])
    np.testing.assert_array_equal(T.pad(GREY, (1, 2), 7)[2:-2, 1:-1], GREY)


def test_flips_and_turns():
    np.testing.assert_array_equal(T.hflip(PHOTO), PHOTO[:, ::-1])
    np.testing.assert_array_equal(T.vflip(PHOTO), PHOTO[::-1])
    np.testing.assert_array_equal(T.rotate(PHOTO, 90, expand=True), np.rot90(PHOTO))
    np.testing.assert_array_equal(T.affine(PHOTO, translate=(3, 2))[2:, 3:], PHOTO[:-2, :-3])
    square = PHOTO[:, :20]
    np.testing.assert_array_equal(T.affine(square, 90), np.rot90(square, -1))
    np.testing.assert_array_equal(T.affine(square, scale=2)[::2, ::2], square[5:15, 5:15])
    sheared = T.affine(np.full((21, 21), 255, np.uint8), shear=45)  # a row moves by its distance from the middle
    assert (sheared[0] > 0).sum() == 11 and (sheared[10] > 0).sum() == 21 and sheared[0, -1] and sheared[-1, 0]
    taller = T.affine(np.full((21, 21), 255, np.uint8), shear=(0, 45))
    np.testing.assert_array_equal(taller, sheared.T)


def test_a_share_of_pictures_is_flipped():
    flips = sum(np.array_equal(T.RandomHorizontalFlip(0.2)(PHOTO, seed), PHOTO[:, ::-1]) for seed in range(500))
    assert 70 < flips < 130


@settings(max_examples=50)
@given(height=st.integers(1, 300), width=st.integers(1, 300), seed=st.integers(0, 10))
def test_a_random_resized_crop_lies_within_the_picture(height, width, seed):
    top, left, h, w = T.RandomResizedCrop(9).box(height, width, np.random.default_rng(seed))
    assert 0 <= top <= top + h <= height and 0 <= left <= left + w <= width and h and w


def test_a_random_resized_crop_has_the_share_and_shape_asked_for():
    boxes = [T.RandomResizedCrop(9, (0.2, 0.5)).box(200, 300, np.random.default_rng(seed)) for seed in range(300)]
    shares, shapes = [h * w / 60_000 for *_, h, w in boxes], [w / h for *_, h, w in boxes]
    assert 0.19 < min(shares) < 0.22 and 0.48 < max(shares) < 0.51 and 0.33 < np.mean(shares) < 0.37
    assert 0.74 < min(shapes) < 0.77 and 1.3 < max(shapes) < 1.35
    assert T.RandomResizedCrop(9).box(10, 300, np.random.default_rng(0))[2:] == (10, 13)


def test_colours():
    np.testing.assert_array_equal(T.adjust_brightness(PHOTO, 0.5), PHOTO // 2)
    np.testing.assert_array_equal(
        T.adjust_hue(PHOTO, 0.0), np.asarray(Image.fromarray(PHOTO).convert("HSV").convert("RGB"))
    )
    red = np.array([[[255, 0, 0]]], np.uint8)
    assert T.adjust_hue(red, 1 / 3)[0, 0].argmax() == 1 and T.adjust_hue(red, -1 / 3)[0, 0].argmax() == 2
    assert np.ptp(T.adjust_saturation(PHOTO, 0), axis=-1).max() == 0 and np.ptp(T.adjust_contrast(PHOTO, 0)) == 0
    np.testing.assert_array_equal(T.adjust_hue(GREY, 0.3), GREY)
    np.testing.assert_array_equal(T.ColorJitter()(PHOTO, 0), PHOTO)


def test_rescale_and_normalize():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    floats = T.Rescale()(levels)
    assert floats.dtype == np.float32 and floats.shape == (1, 16, 16)
    np.testing.assert_array_equal(floats[0], levels.astype(np.float32) / np.float32(255))
    colours = T.Compose([T.Rescale(), T.Normalize((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))])(Image.fromarray(PHOTO))
    expected = (PHOTO.transpose(2, 0, 1) / 255 - np.reshape([0.5, 0.4, 0.3], (3, 1, 1))) / [[[0.1]], [[0.2]], [[0.3]]]
    np.testing.assert_allclose(colours, expected, rtol=2e-6, atol=2e-6)
    assert colours.dtype == np.float32


def test_a_function_may_stand_among_transforms():
    darker = T.Compose([lambda picture: picture // 2, T.RandomCrop(4)])
    np.testing.assert_array_equal(darker(PHOTO, 5), T.RandomCrop(4)(PHOTO // 2, 5))
    assert "RandomCrop(size=(4, 4)" in repr(darker)


class Pictures:
    def __init__(self, epoch=0):
        self.epoch = epoch

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {"pixel_values": np.full((1, 2, 2), index + 10 * self.epoch, np.float32), "label": index}

    def at_epoch(self, epoch):
        return Pictures(epoch)


def test_mixup():
    mixed = T.MixUp(Pictures(), 4, alpha=0.5, seed=3)
    items = [mixed[i] for i in range(4)]
    for i, item in enumerate(items):
        assert item["label"].sum() == pytest.approx(1) and item["label"].dtype == np.float32
        np.testing.assert_allclose(item["pixel_values"], item["label"] @ np.arange(4), rtol=1e-6)
        np.testing.assert_array_equal(mixed[i]["pixel_values"], item["pixel_values"])
    later = mixed.at_epoch(1)
    assert len(later) == 4 and all(later[i]["pixel_values"].min() >= 10 for i in range(4))
    assert not all(np.array_equal(later[i]["label"], items[i]["label"]) for i in range(4))
    shares = np.array([T.MixUp(Pictures(), 4, seed=seed)[1]["label"][1] for seed in range(2000)])
    assert abs(shares[shares < 1].mean() - 0.5) < 0.02  # a uniform part, and a quarter is mixed with itself
    assert 0.2 < (shares == 1).mean() < 0.3


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: T.Resize(8, "cubic"), ValueError, "interpolation is 'cubic'; expected one of nearest, lanczos"),
        (lambda: T.CenterCrop(0), ValueError, "size is 0; expected"),
        (lambda: T.RandomCrop(40)(PHOTO, 0), ValueError, "a crop of 40 × 40 pixels from a picture of 20 × 31"),
        (lambda: T.RandomHorizontalFlip(2), ValueError, "p is 2; expected a probability"),
        (lambda: T.RandomRotation(-3), ValueError, "degrees is -3"),
        (lambda: T.RandomAffine(0, scale=(0, 1)), ValueError, r"scale is \(0, 1\)"),
        (lambda: T.RandomAffine(0, translate=(2, 0)), ValueError, r"translate is \(2, 0\)"),
        (lambda: T.RandomResizedCrop(8, scale=(1, 0.1)), ValueError, "scale is"),
        (lambda: T.ColorJitter(-1), ValueError, "brightness is -1"),
        (lambda: T.ColorJitter(hue=0.7), ValueError, "hue is 0.7; expected .* from -0.5 to 0.5"),
        (lambda: T.adjust_hue(PHOTO, 0.6), ValueError, "the hue's factor is 0.6"),
        (lambda: T.affine(PHOTO, scale=0), ValueError, "scale is 0"),
        (lambda: T.hflip(PHOTO / 255), TypeError, "must be uint8"),
        (lambda: T.Normalize(0, 1)(PHOTO), TypeError, r"put Rescale\(\) before it"),
        (lambda: T.Normalize((0, 0), 1)(T.Rescale()(PHOTO)), ValueError, "2 and std 1 entries for 3 channels"),
        (lambda: T.Normalize(0, 0), ValueError, "std is 0"),
        (lambda: T.Normalize("a", 1), ValueError, "mean is 'a'; expected numbers"),
        (lambda: T.Normalize(0, None), ValueError, "std is None; expected numbers above 0"),
        (lambda: T.CenterCrop(1.5), ValueError, "size is 1.5; expected .*whole and above 0"),
        (lambda: T.RandomCrop((True, 2)), ValueError, "size is .True, 2.; expected .*whole and above 0"),
        (lambda: T.ColorJitter(None), ValueError, "brightness is None; expected a number of at least 0"),
        (lambda: T.RandomRotation("a"), ValueError, "degrees is 'a'; expected a number of at least 0"),
        (lambda: T.RandomHorizontalFlip("a"), ValueError, "p is 'a'; expected a probability"),
        (lambda: T.RandomAffine(1, translate=0.1), ValueError, "translate is 0.1; expected two fractions"),
        (lambda: T.RandomAffine(1, scale=(0, 1)), ValueError, "scale is .0, 1.; expected .least, most., both above"),
        (lambda: T.RandomResizedCrop(8, ratio=(1, 2, 3)), ValueError, "ratio is .1, 2, 3.; expected .least, most."),
        (lambda: T.Resize(8, ["nearest"]), ValueError, "interpolation is ..nearest..; expected one of"),
        (lambda: T.Rescale("255"), TypeError, "factor is '255'; expected a number"),
        (lambda: T.MixUp(Pictures(), 2)[3], ValueError, "the label is .; expected 0 to 1, by num_classes"),
        (lambda: T.MixUp([{"pixel_values": PHOTO, "label": 0}], 2)[0], TypeError, r"ends in Rescale\(\)"),
    ],
)
def test_what_makes_no_sense_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("wrong", [3, "x", [T.Rescale(), "x"], {T.Rescale()}])
def test_compose_takes_a_list_of_functions(wrong):
    with pytest.raises(TypeError, match="transforms are .*; expected a list of transforms or functions"):
        T.Compose(wrong)
