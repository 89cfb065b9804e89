"""Pictures as input: the checks of a model, and the processor that prepares photographs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from ..data.pictures import picture_of
from ..tensor import Tensor
from .checkpoint.files import model_directory, output_directory, read_json, replacing
from .values import check, found_in, shown

FILE = "preprocessor_config.json"
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALVES = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
BILINEAR, BICUBIC = 2, 3  # in Pillow's numbers

# The defaults of each kind of processor; a size that is a single number in a file has the keys of the default size.
KINDS: dict[str, dict[str, Any]] = {
    "ViT": {"size": {"height": 224, "width": 224}, "resample": BILINEAR, **HALVES},
    "MobileNetV2": {
        "size": {"shortest_edge": 256},
        "resample": BILINEAR,
        "do_center_crop": True,
        "crop_size": 224,
        **HALVES,
    },
    "ConvNext": {"size": {"shortest_edge": 384}, "resample": BICUBIC, "crop_pct": 224 / 256, **IMAGENET},
}
TORCHVISION = {"image_processor_type": "MobileNetV2ImageProcessor", **IMAGENET}
ENTRIES = {
    **dict.fromkeys(("do_resize", "do_center_crop", "do_rescale", "do_normalize"), "bool"),
    "resample": "int",
    "rescale_factor": "float",
    "crop_pct": "float | None",
    "image_mean": "float | list[float]",
    "image_std": "float | list[float]",
}
MAX_EDGE, MAX_PIXELS = 1 << 14, 1 << 25  # of a processed picture, which takes up to 400 MB as floats
ALWAYS = {
    "do_resize": True,
    "do_center_crop": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
}


def pixels(given: Any, channels: int, size: tuple[int, int] | None = None, *, like: Tensor) -> Tensor:
    """The pixels given to a model as a Tensor (N, channels, H, W) with the dtype and on the device of `like`.

    Raises:
        TypeError: the pixels are integers, as in a file, and were not processed.
        ValueError: the number of axes or channels is wrong, or height and width differ from `size`.
    """
    x = given if isinstance(given, Tensor) else np.asarray(given)
    if x.dtype.kind in "iub":
        raise TypeError(
            f"pixel_values are {x.dtype}, as in a file; expected normalised floats, which an AutoImageProcessor makes "
            "from pictures"
        )
    if len(x.shape) != 4 or x.shape[1] != channels or x.shape[2:] != (size or x.shape[2:]):
        wanted = f"(N, {channels}, {', '.join(map(str, size or ('H', 'W')))})"
        raise ValueError(
            f"pixel_values must be {wanted}, these have shape {tuple(x.shape)}: an AutoImageProcessor makes them so"
        )
    return x if isinstance(x, Tensor) else Tensor(x.astype(like.dtype), device=like.device)


class AutoImageProcessor:
    """Turns pictures into `pixel_values` as in the model's training, by the settings of preprocessor_config.json.

    Pictures are resized (`size`, `resample`), center-cropped (`crop_size`; for ResNet, `crop_pct` first enlarges the
    picture accordingly), scaled to 0 … 1 (`rescale_factor`) and normalised (`image_mean`, `image_std`); a `do_…` that
    is false skips its step.

        processor = AutoImageProcessor.from_pretrained("resnet-50")
        model(**processor(["cat.jpg", "dog.jpg"]))

    Torchvision's files have no settings; their models were evaluated with `AutoImageProcessor(TORCHVISION)`.
    """

    def __init__(self, settings: dict[str, Any]):
        settings = {name: value for name, value in settings.items() if value is not None}  # a null means the default
        named = str(settings.get("image_processor_type") or settings.get("feature_extractor_type") or "ViT")
        kind = named.removesuffix("Fast").removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
        if kind not in KINDS:
            raise ValueError(f"image processor {shown(named)} is not known: it is one of {', '.join(KINDS)}")
        self.settings = {**ALWAYS, **KINDS[kind], **settings, "image_processor_type": f"{kind}ImageProcessor"}
        for entry, kinds in ENTRIES.items():
            if entry in self.settings:
                check(entry, self.settings[entry], kinds, "the image processor's settings")
        self.settings["size"] = _edges("size", self.settings["size"], KINDS[kind]["size"])
        if "crop_size" in self.settings:
            self.settings["crop_size"] = _edges("crop_size", self.settings["crop_size"], ("height", "width"))
        if self.settings["do_center_crop"] and "crop_size" not in self.settings:
            raise ValueError(
                "do_center_crop is true, but there is no crop_size: give one, such as 224, or do_center_crop=False"
            )
        for name in ("image_mean", "image_std"):
            if np.shape(self.settings[name]) not in ((), (3,)):
                raise ValueError(
                    f"{name} is {shown(self.settings[name])}: expected one number, or three, for red, green and blue"
                )

    @classmethod
    def from_pretrained(
        cls, source: str | os.PathLike, *, revision: str | None = None, local_files_only: bool = False, **changes: Any
    ) -> AutoImageProcessor:
        """The processor of a model directory, or of a model on the Hub; `changes` override the settings of its file.

        Raises FileNotFoundError if there is none, ValueError if it is of an unknown kind, TypeError for an unknown
        setting.
        """
        path = model_directory(source, revision=revision, local_files_only=local_files_only) / FILE
        settings = read_json(path)
        known = {*settings, *ALWAYS, *(name for kind in KINDS.values() for name in kind)}
        if unknown := changes.keys() - known:
            raise TypeError(f"AutoImageProcessor has no setting {min(unknown)!r}: it has {', '.join(sorted(known))}")
        with found_in(path):
            return cls(settings | changes)

    def save_pretrained(self, directory: str | os.PathLike) -> None:
        """Write preprocessor_config.json into a model directory."""
        with replacing(output_directory(directory) / FILE) as (part,):
            part.write_text(json.dumps(self.settings, indent=2) + "\n", encoding="utf-8")

    def __call__(self, images: Any) -> dict[str, np.ndarray]:
        """`pixel_values`, float32 (N, 3, H, W), of one picture or a list of them.

        A picture is a path, the bytes of a file, a Pillow image, or a uint8 array (H, W), (H, W, 3) or (3, H, W).  Grey
        pictures become RGB, and 16-bit ones 8-bit.  A picture in a file is rotated as its EXIF entry says; a Pillow
        image is not.

        Raises:
            FileNotFoundError, ValueError: a file is missing, damaged, not a picture, or declares a very large size; an
                array has another shape; the pictures differ in size and are not resized to the same, or would become
                very large; or one has 32 bits, so that the value of white is unknown.
            TypeError: an array is not uint8.
            ImportError: Pillow is not installed.
        """
        rows = []
        for image in _listed(images):
            with found_in(image) if isinstance(image, (str, os.PathLike)) else nullcontext():
                rows.append(self._process(image))
        if len({row.shape for row in rows}) > 1:
            raise ValueError(
                f"the processed pictures have different sizes, such as {rows[0].shape[1:]} and "
                f'{rows[-1].shape[1:]}: give the processor a "height" and a "width" of size, or '
                "do_center_crop and a crop_size"
            )
        return {"pixel_values": np.stack(rows)}

    def _process(self, image):
        s, picture = self.settings, picture_of(image)
        if s["do_resize"]:
            picture = self._resize(picture)
        if s["do_center_crop"]:
            picture = _center_crop(picture, **s["crop_size"])
        _check_pixels(*picture.size)
        x = np.empty((3, picture.height, picture.width), np.float32)
        for channel, plane in zip(x, picture.split(), strict=True):
            channel[:] = np.asarray(plane) * np.float64(s["rescale_factor"]) if s["do_rescale"] else plane
        if s["do_normalize"]:
            mean, std = (np.asarray(s[name], np.float32).reshape(-1, 1, 1) for name in ("image_mean", "image_std"))
            x = (x - mean) / std
        return np.ascontiguousarray(x)

    def _resize(self, picture):
        width, height = self._new_size(picture)
        _check_pixels(width, height)
        picture = picture.resize((width, height), self.settings["resample"])
        edge = self.settings["size"].get("shortest_edge")
        return _center_crop(picture, edge, edge) if edge and self.settings.get("crop_pct") else picture

    def _new_size(self, picture):
        """The width and height to which to resize."""
        size, share = self.settings["size"], self.settings.get("crop_pct")
        if "shortest_edge" not in size:
            return size["width"], size["height"]
        edge = size["shortest_edge"]
        # ConvNeXt's rule: from 384 pixels on, pictures are resized to a square and not cropped
        if share and edge >= 384:
            return edge, edge
        short = int(edge / share) if share else edge
        long = int(short * max(picture.size) / min(picture.size))
        return (short, long) if picture.width <= picture.height else (long, short)


def _check_pixels(width, height):
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"a picture would become {width} × {height} pixels: expected at most {MAX_PIXELS}; crop it "
            'first, or give the processor a "height" and a "width" of size'
        )


def _center_crop(picture, height, width):
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))  # black outside the picture


def _edges(name: str, size: Any, usual: Iterable[str]) -> dict[str, int]:
    """A size as {"shortest_edge": n} or {"height": n, "width": n}; one number has the keys in `usual`."""
    size = dict.fromkeys(usual, size) if type(size) is int else size
    known = ({"height", "width"}, {"shortest_edge"})[: 1 + (name == "size")]
    if (
        not isinstance(size, dict)
        or size.keys() not in known
        or not all(type(n) is int and 0 < n <= MAX_EDGE for n in size.values())
    ):
        named = " or of ".join(" and ".join(sorted(edges)) for edges in known)
        raise ValueError(
            f"{name} is {shown(size)}: expected a number, or one for each of {named}, from 1 to {MAX_EDGE}"
        )
    return size


def _listed(images: Any) -> Sequence:
    """A list of pictures; a single picture becomes a list of one."""
    single = (
        isinstance(images, (str, os.PathLike, bytes)) or getattr(images, "ndim", 4) < 4 or hasattr(images, "convert")
    )
    images = [images] if single else images
    if not len(images):
        raise ValueError("no pictures: expected at least one")
    return images
