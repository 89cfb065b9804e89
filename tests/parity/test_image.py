"""The image processor against transformers' on real photographs: the same numbers, bit for bit."""

import json

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")
datasets = pytest.importorskip("sklearn.datasets")
Image = pytest.importorskip("PIL.Image")

from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil  # noqa: E402
from transformers.models.mobilenet_v2.image_processing_pil_mobilenet_v2 import MobileNetV2ImageProcessorPil  # noqa: E402
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil  # noqa: E402

from minigrad.pretrained import AutoImageProcessor  # noqa: E402

PHOTOGRAPHS = [np.ascontiguousarray(photo) for photo in datasets.load_sample_images().images]  # uint8 (427, 640, 3)
PHOTOGRAPHS.append(PHOTOGRAPHS[0].transpose(1, 0, 2)[:301])  # higher than wide


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (ViTImageProcessorPil, {}),
        (ViTImageProcessorPil, {"size": {"height": 30, "width": 50}, "resample": 0, "rescale_factor": 1 / 100}),
        (ViTImageProcessorPil, {"do_normalize": False, "size": 32}),
        (ViTImageProcessorPil, {"do_rescale": False, "image_mean": 120.0, "image_std": [50.0, 60.0, 70.0]}),
        (
            ViTImageProcessorPil,
            {"do_resize": False, "do_center_crop": True, "crop_size": {"height": 500, "width": 301}},
        ),
        (MobileNetV2ImageProcessorPil, {}),
        (
            MobileNetV2ImageProcessorPil,
            {"size": {"shortest_edge": 40}, "crop_size": {"height": 51, "width": 36}, "resample": 1},
        ),
        (ConvNextImageProcessorPil, {}),
        (ConvNextImageProcessorPil, {"size": {"shortest_edge": 224}, "crop_pct": 0.875}),
        (ConvNextImageProcessorPil, {"size": {"shortest_edge": 37}, "crop_pct": 0.9, "resample": 2}),
    ],
)
def test_photographs(tmp_path, kind, settings):
    theirs = kind(**settings)
    theirs.save_pretrained(tmp_path)
    ours = AutoImageProcessor.from_pretrained(tmp_path)
    for photograph in PHOTOGRAPHS:
        expected = np.asarray(theirs(photograph)["pixel_values"])
        found = ours(photograph)["pixel_values"]
        assert found.dtype == expected.dtype == np.float32
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(
            ours([Image.fromarray(photograph)] * 2)["pixel_values"], np.concatenate([expected] * 2)
        )


def test_the_published_files_of_old(tmp_path):
    """One number for a size, and "feature extractors", as in the files of vit-base-patch16-224 and resnet-50."""
    old = {"do_normalize": True, "do_resize": True, "size": 224}
    for kind, more in (
        (ViTImageProcessorPil, {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}),
        (
            ConvNextImageProcessorPil,
            {
                "crop_pct": 0.875,
                "feature_extractor_type": "ConvNextFeatureExtractor",
                "resample": 3,
                "image_mean": [0.485, 0.456, 0.406],
                "image_std": [0.229, 0.224, 0.225],
            },
        ),
    ):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(old | more))
        expected = np.asarray(kind.from_pretrained(tmp_path)(PHOTOGRAPHS[1])["pixel_values"])
        np.testing.assert_array_equal(
            AutoImageProcessor.from_pretrained(tmp_path)(PHOTOGRAPHS[1])["pixel_values"], expected
        )


def test_transformers_reads_what_we_save(tmp_path):
    ours = AutoImageProcessor({"image_processor_type": "ConvNextImageProcessor", "size": 64, "crop_pct": 0.8})
    ours.save_pretrained(tmp_path)
    expected = np.asarray(ConvNextImageProcessorPil.from_pretrained(tmp_path)(PHOTOGRAPHS[0])["pixel_values"])
    np.testing.assert_array_equal(ours(PHOTOGRAPHS[0])["pixel_values"], expected)
