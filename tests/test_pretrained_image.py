"""The image processor by itself: what counts as a picture, and what is refused; tests/parity compares it with
transformers'.
"""

import json
import struct
import zlib

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
    for form in (
        tmp_path / "photo.png",
        str(tmp_path / "photo.png"),
        Image.fromarray(PHOTO),
        PHOTO.transpose(2, 0, 1),
        Tensor(PHOTO),
        [PHOTO],
        PHOTO[None],
    ):
        np.testing.assert_array_equal(processor()(form)["pixel_values"], expected)
    for grey in (PHOTO[..., 0], PHOTO[..., :1], Image.fromarray(PHOTO[..., 0])):
        np.testing.assert_array_equal(
            processor()(grey)["pixel_values"], processor()(PHOTO[..., [0] * 3])["pixel_values"]
        )
    assert processor()([PHOTO, PHOTO[:9]])["pixel_values"].shape == (2, 3, 8, 8)


def test_each_step_by_hand():
    plain = {"do_resize": False, "do_normalize": False}
    np.testing.assert_array_equal(
        processor(**plain, do_rescale=False)(PHOTO)["pixel_values"][0], PHOTO.transpose(2, 0, 1)
    )
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
    ours.save_pretrained(tmp_path / "again")  # a processor alone is no reason to refuse the directory
    again = AutoImageProcessor.from_pretrained(tmp_path / "again")
    assert again.settings == ours.settings and again.settings["size"] == {"height": 12, "width": 12}
    np.testing.assert_array_equal(again(PHOTO)["pixel_values"], ours(PHOTO)["pixel_values"])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"image_processor_type": "CLIPImageProcessor"},
            "image processor 'CLIPImageProcessor' is not known: it is one of ViT, ",
        ),
        ({"size": "large"}, "size is 'large': expected a number"),
        ({"size": {"longest_edge": 3}}, "size is .* expected a number"),
        ({"crop_size": {"shortest_edge": 3}}, "crop_size is .* expected a number"),
        ({"image_mean": [0.5, 0.5]}, r"image_mean is \[0.5, 0.5\]: expected one number, or three"),
    ],
)
def test_settings_it_cannot_follow_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        processor(**settings)


@pytest.mark.parametrize(
    ("picture", "error", "told"),
    [
        (PHOTO / 255, TypeError, "a picture's array must be uint8, 0 to 255, this one is float64"),
        (
            PHOTO[..., :2],
            ValueError,
            r"a picture is \(H, W\), \(H, W, 3\) or \(3, H, W\), this array has shape \(20, 30, 2\)",
        ),
        ([], ValueError, "no pictures: expected at least one"),
        ("missing.png", FileNotFoundError, "missing.png"),
        (__file__, ValueError, "test_pretrained_image.py is not a picture that Pillow can read"),
    ],
)
def test_what_is_no_picture_is_refused(picture, error, told):
    with pytest.raises(error, match=told):
        processor()(picture)


def test_pictures_that_end_in_different_sizes_are_refused():
    with pytest.raises(
        ValueError, match=r"different sizes, such as \(8, 12\) and \(8, 26\): give the processor a \"height\""
    ):
        processor(size={"shortest_edge": 8})([PHOTO, PHOTO[:9]])


def test_a_directory_without_a_processor_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="preprocessor_config.json is missing"):
        AutoImageProcessor.from_pretrained(tmp_path)


def test_unknown_settings_are_refused(tmp_path):
    processor().save_pretrained(tmp_path)
    assert AutoImageProcessor.from_pretrained(tmp_path, size=9).settings["size"] == {"height": 9, "width": 9}
    with pytest.raises(TypeError, match="AutoImageProcessor has no setting 'sise': it has .*, size"):
        AutoImageProcessor.from_pretrained(tmp_path, sise=9)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "jpg", "tiff", "webp"])
def test_a_photograph_in_a_file_is_turned_as_its_exif_says(tmp_path, orientation, ending):
    turned = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.swapaxes(0, 1),
        6: lambda x: np.rot90(x, -1),
        7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
        8: lambda x: np.rot90(x),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    smooth = np.add.outer(np.arange(20) * 6, np.arange(30) * 4)[..., None].repeat(3, 2).astype(np.uint8)
    Image.fromarray(smooth).save(
        tmp_path / f"photo.{ending}", exif=exif, **({"lossless": True} if ending == "webp" else {})
    )
    whole = processor(do_resize=False, do_normalize=False, do_rescale=False)
    found = whole(tmp_path / f"photo.{ending}")["pixel_values"][0].transpose(1, 2, 0)
    assert found.shape == turned[orientation](smooth).shape
    np.testing.assert_allclose(found, turned[orientation](smooth), atol=8 if ending == "jpg" else 0)
    upright = Image.open(tmp_path / f"photo.{ending}")  # in the program's own hands it is what it is
    assert whole(upright)["pixel_values"].shape == (1, 3, upright.height, upright.width)


def test_pictures_of_16_bits_keep_their_grey_levels(tmp_path):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    plain = processor(do_resize=False, do_normalize=False, do_rescale=False)
    for name, array in (("a.png", levels * 257), ("b.tiff", levels * 257), ("c.png", levels * 256 + 128)):
        Image.fromarray(array.astype(np.uint16)).save(tmp_path / name)
        np.testing.assert_array_equal(plain(tmp_path / name)["pixel_values"][0], np.stack([levels] * 3))
        np.testing.assert_array_equal(plain(Image.open(tmp_path / name))["pixel_values"][0], np.stack([levels] * 3))


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.arange(256, dtype=np.int32), "32-bit whole numbers"),
        (np.linspace(0, 1, 256, dtype=np.float32), "32-bit floats"),
    ],
)
def test_pictures_of_32_bits_are_refused(tmp_path, array, told):
    """Nothing says whether white is 1, 255, 65535 or 2**32 - 1: they were cut at 255."""
    Image.fromarray(array.reshape(16, 16)).save(tmp_path / "x.tiff")
    for picture in (tmp_path / "x.tiff", Image.open(tmp_path / "x.tiff")):
        with pytest.raises(ValueError, match=f"{told}, and its value for white is unknown"):
            processor()(picture)


@pytest.mark.parametrize("ending", ["png", "jpg", "tiff", "webp", "bmp", "gif"])
@pytest.mark.filterwarnings("ignore")  # Pillow's, of what is damaged
def test_damaged_pictures_name_their_file(tmp_path, ending):
    path = tmp_path / f"photo.{ending}"
    Image.fromarray(PHOTO).save(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for i in range(40):
        content = bytearray(whole[: rng.integers(1, len(whole))] if i % 2 else whole)
        for at in rng.integers(0, len(content), i % 5):
            content[at] = rng.integers(256)
        path.write_bytes(content)
        try:
            processor()(path)
        except ValueError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)


def png(width, height, body=b""):
    """A PNG's beginning that says how large it is."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", body)
    )


@pytest.mark.parametrize(
    "size", [(60_000, 60_000), (10_000, 10_000), (1 << 20, 1), (1, 1 << 20), (1 << 30, 1 << 30), (30_000, 3000)]
)
@pytest.mark.filterwarnings("ignore:Image size")
def test_a_small_file_that_says_it_is_large_is_refused(tmp_path, size):
    (tmp_path / "bomb.png").write_bytes(png(*size, zlib.compress(bytes(1000))))
    with pytest.raises(ValueError, match="bomb.png was not read as a picture: .*pixels"):
        processor()(tmp_path / "bomb.png")


@pytest.mark.parametrize("shape", [(1, 60_000, 3), (60_000, 1, 3)])
def test_a_strip_does_not_grow_into_gigabytes(tmp_path, shape):
    Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / "strip.png")
    for picture in (tmp_path / "strip.png", np.zeros(shape, np.uint8)):
        for settings in (
            {"size": {"shortest_edge": 256}},
            TORCHVISION,
            {"image_processor_type": "ConvNextImageProcessor"},
        ):
            if settings.get("image_processor_type", "").startswith("ConvNext"):
                settings = settings | {"size": {"shortest_edge": 224}}
            with pytest.raises(
                ValueError, match="a picture would become .* pixels: expected at most 33554432; crop"
            ) as caught:
                AutoImageProcessor(settings)(picture)
            assert str(caught.value).startswith(f"{picture}: ") == (not isinstance(picture, np.ndarray))
        assert processor()(picture)["pixel_values"].shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"crop_pct": 1e-300}, "crop_pct is 1e-300 in .*; expected a number, 0.1 or more and at most 1"),
        ({"crop_pct": "x"}, "crop_pct is 'x' in"),
        ({"image_mean": {}}, "image_mean is {} in"),
        ({"image_std": [0, 1, 1]}, "image_std is"),
        ({"image_mean": [float("nan")] * 3}, "image_mean is"),
        ({"resample": 9}, "resample is 9 in"),
        ({"do_resize": 1}, "do_resize is 1"),
        ({"rescale_factor": float("inf")}, "rescale_factor is inf"),
        ({"do_center_crop": True}, "do_center_crop is true, but there is no"),
        ({"size": 10**9}, "size is .*1000000000.*: expected a number"),
        ({"size": True}, "size is True: expected"),
        ({"size": {"height": 10**9, "width": 1}}, "from 1 to 16384"),
        ({"crop_size": 10**9}, "crop_size is"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_the_files_name(tmp_path, settings, told):
    with pytest.raises(ValueError, match=told):
        processor(**settings)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": 8} | settings))
    with pytest.raises(ValueError, match=f"preprocessor_config.json: .*{told}"):
        AutoImageProcessor.from_pretrained(tmp_path)


def test_a_null_means_the_default():
    nothing = dict.fromkeys(("crop_size", "do_resize", "resample", "image_mean", "crop_pct", "do_center_crop"))
    np.testing.assert_array_equal(processor(**nothing)(PHOTO)["pixel_values"], processor()(PHOTO)["pixel_values"])


def test_a_program_is_no_picture(tmp_path):
    """Pillow would run Ghostscript on it."""
    (tmp_path / "x.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(ValueError, match="x.eps was not read as a picture: it is in the format EPS: expected a JPEG"):
        processor()(tmp_path / "x.eps")
