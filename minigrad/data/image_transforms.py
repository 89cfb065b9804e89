"""Image transforms with the names of torchvision.transforms, whose results on Pillow images they match bit for bit.

A picture is a Pillow image, or a uint8 array (H, W), (H, W, 1), (H, W, 3) or (3, H, W).  The result is a Pillow image
for a Pillow image, and an array (H, W) or (H, W, channels) for an array.  `Rescale` turns either into floats
(channels, H, W), for `Normalize` and for models.

Random transforms draw from the generator or seed that they are called with: `RandomCrop(32)(picture, 0)` is always the
same.  An `ImageDataset` gives each picture a generator of its own in each epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from ..errors import is_number, is_whole
from ..ops.random import generator
from .datasets import Dataset, at_epoch
from .pictures import from_array, pillow

INTERPOLATIONS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}  # Pillow's numbers

Size = int | Sequence[int]
Range = float | Sequence[float]


def on_pictures(function: Callable[..., Any]) -> Callable[..., Any]:
    """Extend a function of a Pillow image to arrays, for which it then returns an array."""

    @wraps(function)
    def wrapped(picture: Any, *args: Any, **options: Any) -> Any:
        if hasattr(picture, "convert"):
            return function(picture, *args, **options)
        array = np.array(function(from_array(picture), *args, **options))
        one = np.ndim(picture) == 3 and array.ndim == 2
        return array[..., None] if one else array

    return wrapped


# Functions, with every number given.


@on_pictures
def resize(picture: Any, size: Size, interpolation: str = "bilinear") -> Any:
    """The picture resized to (height, width) pixels, or so that its shorter edge has `size` pixels."""
    if isinstance(size, (int, np.integer)):
        short, long = sorted(picture.size)
        other = int(size * long / short)
        size = (other, size) if picture.width <= picture.height else (size, other)
    height, width = _pair("size", size)
    return picture.resize((width, height), _interpolation(interpolation))


@on_pictures
def crop(picture: Any, top: int, left: int, height: int, width: int) -> Any:
    """The rectangle whose upper left corner is at row `top` and column `left`; black outside the picture."""
    return picture.crop((left, top, left + width, top + height))


@on_pictures
def center_crop(picture: Any, size: Size) -> Any:
    """The central (height, width) pixels of a picture, or a central square; black where the picture is smaller."""
    height, width = _pair("size", size)
    top, left = _middle(picture.height, height), _middle(picture.width, width)
    return picture.crop((left, top, left + width, top + height))


def resized_crop(
    picture: Any, top: int, left: int, height: int, width: int, size: Size, interpolation: str = "bilinear"
) -> Any:
    """`crop`, then `resize` to (height, width) or a square."""
    return resize(crop(picture, top, left, height, width), _pair("size", size), interpolation)


@on_pictures
def pad(picture: Any, padding: Size, fill: Any = 0) -> Any:
    """The picture with a border of `padding` pixels.

    `padding` is one number, (left and right, top and bottom), or (left, top, right, bottom); `fill` a grey value or a
    colour.
    """
    edges = (padding,) * 2 if isinstance(padding, int) else tuple(padding)
    return pillow().ImageOps.expand(picture, edges if len(edges) == 4 else edges * 2, _fill(picture, fill))


@on_pictures
def hflip(picture: Any) -> Any:
    """The picture mirrored horizontally."""
    return pillow().ImageOps.mirror(picture)


@on_pictures
def vflip(picture: Any) -> Any:
    """The picture mirrored vertically."""
    return pillow().ImageOps.flip(picture)


@on_pictures
def rotate(picture: Any, angle: float, interpolation: str = "nearest", expand: bool = False, fill: Any = 0) -> Any:
    """The picture rotated counterclockwise by degrees about its centre; `expand` enlarges it so that nothing is cut."""
    return picture.rotate(angle, _interpolation(interpolation), expand, fillcolor=_fill(picture, fill))


@on_pictures
def affine(
    picture: Any,
    angle: float = 0.0,
    translate: Sequence[int] = (0, 0),
    scale: float = 1.0,
    shear: Range = 0.0,
    interpolation: str = "nearest",
    fill: Any = 0,
) -> Any:
    """The picture sheared, scaled and rotated about its centre, then translated.

    Args:
        angle: the rotation in degrees, clockwise.
        translate: the shift in pixels, to the right and down.
        scale: the factor of its size, above 1 to enlarge.
        shear: degrees along the rows, or along rows and columns.

    Raises:
        ValueError: the scale is not positive.
    """
    if scale <= 0:
        raise ValueError(f"scale is {scale}; expected a number above 0, such as 1.2 for a fifth larger")
    turn, (x, y) = math.radians(angle), map(math.radians, (shear, 0.0) if np.ndim(shear) == 0 else shear)  # type: ignore
    # The matrix is R(turn) · [[1, 0], [-tan y, 1]] · [[1, -tan x], [0, 1]], whose determinant is 1; Pillow takes the
    # inverse, which maps each pixel of the result to its source.
    a, c = math.cos(turn - y) / math.cos(y), math.sin(turn - y) / math.cos(y)
    b, d = -a * math.tan(x) - math.sin(turn), -c * math.tan(x) + math.cos(turn)
    center_x, center_y = picture.width * 0.5, picture.height * 0.5
    back_x, back_y = -center_x - translate[0], -center_y - translate[1]
    inverse = [d / scale, -b / scale, 0.0, -c / scale, a / scale, 0.0]
    inverse[2] = inverse[0] * back_x + inverse[1] * back_y + center_x
    inverse[5] = inverse[3] * back_x + inverse[4] * back_y + center_y
    AFFINE = pillow().Image.Transform.AFFINE
    return picture.transform(
        picture.size, AFFINE, inverse, _interpolation(interpolation), fillcolor=_fill(picture, fill)
    )


@on_pictures
def adjust_brightness(picture: Any, factor: float) -> Any:
    """The picture with its values multiplied by the factor: 0 gives black, 1 the picture itself."""
    return pillow().ImageEnhance.Brightness(picture).enhance(factor)


@on_pictures
def adjust_contrast(picture: Any, factor: float) -> Any:
    """The picture with differences from its mean grey multiplied by the factor: 0 gives grey, 1 the picture itself."""
    return pillow().ImageEnhance.Contrast(picture).enhance(factor)


@on_pictures
def adjust_saturation(picture: Any, factor: float) -> Any:
    """The picture with differences from its grey version multiplied by the factor: 0 gives grey, 1 the picture."""
    return pillow().ImageEnhance.Color(picture).enhance(factor)


@on_pictures
def adjust_hue(picture: Any, factor: float) -> Any:
    """The picture with its hues shifted by a fraction of the colour circle, -0.5 to 0.5; grey ones do not change."""
    if not -0.5 <= factor <= 0.5:
        raise ValueError(f"the hue's factor is {factor}; expected -0.5 to 0.5, a fraction of the colour circle")
    if picture.mode == "L":
        return picture
    hue, saturation, value = picture.convert("HSV").split()
    moved = np.asarray(hue) + np.int32(factor * 255).astype(np.uint8)  # uint8 wraps around
    hsv = pillow().Image.merge("HSV", (pillow().Image.fromarray(moved), saturation, value))
    return hsv.convert(picture.mode)


def mixup(first: Any, second: Any, lam: float) -> Any:
    """lam · first + (1 - lam) · second, for float pictures and for labels as vectors (Zhang et al., 2018)."""
    return np.float32(1.0 - lam) * second + np.float32(lam) * first


# Transform objects, most of them random.


class Transform:
    """A transform, called as `transform(picture, rng=None)`, with a generator or a seed for its random numbers.

    Without either it draws from the generator of `mg.seed`, or differently every time if that was not called.
    """

    def __call__(self, picture: Any, rng: np.random.Generator | int | None = None) -> Any:
        return self.transform(picture, generator(rng))

    def transform(self, picture: Any, rng: np.random.Generator) -> Any:
        """The transformed picture."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class Compose(Transform):
    """Applies one after the other: transforms, which share the generator, or functions of a picture alone."""

    def __init__(self, transforms: Sequence[Callable[..., Any]]):
        if not isinstance(transforms, Sequence) or not all(map(callable, transforms)):
            raise TypeError(f"transforms are {transforms!r:.80}; expected a list of transforms or functions")
        self.transforms = list(transforms)

    def transform(self, picture: Any, rng: np.random.Generator) -> Any:
        """The picture after all transforms."""
        for change in self.transforms:
            picture = change(picture, rng) if isinstance(change, Transform) else change(picture)
        return picture


class Resize(Transform):
    """`resize` to (height, width), or to one number of pixels for the shorter edge."""

    def __init__(self, size: Size, interpolation: str = "bilinear"):
        self.size, self.interpolation = size, interpolation
        _interpolation(interpolation)

    def transform(self, picture: Any, rng: np.random.Generator) -> Any:
        """The resized picture."""
        return resize(picture, self.size, self.interpolation)


class CenterCrop(Transform):
    """`center_crop` to (height, width), or to a square."""

    def __init__(self, size: Size):
        self.size = _pair("size", size)

    def transform(self, picture: Any, rng: np.random.Generator) -> Any:
        """The centre of the picture."""
        return center_crop(picture, self.size)


class RandomCrop(Transform):
    """A crop of (height, width), or a square, at a random position, after adding a border of `padding` pixels.

    Raises:
        ValueError: from a picture that is smaller, unless `pad_if_needed`, which pads it on both sides.
    """

    def __init__(self, size: Size, padding: Size | None = None, pad_if_needed: bool = False, fill: Any = 0):
        self.size, self.padding, self.pad_if_needed, self.fill = _pair("size", size), padding, pad_if_needed, fill

    def transform(self, picture: Any, rng: np.random.Generator) -> Any:
        """The crop."""
        if self.padding is not None:
            picture = pad(picture, self.padding, self.fill)
        height, width = self.size
        if self.pad_if_needed:
            for across, lacking in enumerate((width - _size(picture)[1], height - _size(picture)[0])):
                if lacking > 0:
                    picture = pad(picture, (0, lacking) if across else (lacking, 0), self.fill)
        all_rows, all_columns = _size(picture)
        if height > all_rows or width > all_columns:
            raise ValueError(
                f"a crop of {height} × {width} pixels from a picture of {all_rows} × {all_columns}: expected a larger "
                "picture; put a Resize before it, or type pad_if_needed=True"
            )
        top, left = rng.integers(all_rows - height + 1), rng.integers(all_columns - width + 1)
        return crop(picture, int(top), int(left), height, width)


class RandomResizedCrop(Transform):
    """A crop with a random fraction of the area (`scale`) and a random aspect ratio (`ratio`, width / height), resized.

    This is the usual augmentation of ImageNet training (Szegedy et al., 2015, section 6).
    """

    def __init__(
        self,
        size: Size,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: str = "bilinear",
    ):
        self.size, self.scale, self.ratio = _pair("size", size), _between("scale", scale), _between("ratio", ratio)
        self.interpolation = interpolation
        _interpolation(interpolation)

    def box(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """The rectangle to crop: its first row and column, its height and width."""
        log_ratio = [math.log(shape) for shape in self.ratio]
        for _ in range(10):
            area = height * width * _drawn(rng, self.scale)
            shape = math.exp(_drawn(rng, log_ratio))
            w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if 0 < w <= width and 0 < h <= height:
                return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
        # No rectangle fits a picture this narrow: take the largest central one with an allowed ratio.
        low, high = self.ratio
        w, h = width, height
        if width / height < low:
            h = round(width / low)
        elif width / height > high:
            w = round(height * high)
        return (height - h) // 2, (width - w) // 2, h, w

    def transform(self, picture: Any, rng: np.random.Generator) -> Any:
        """The crop, resized."""
        return resized_crop(picture, *self.box(*_size(picture), rng), self.size, self.interpolation)


class _Flip(Transform):
    def __init__(self, p: float = 0.5):
        if not (is_number(p) and 0 <= p <= 1):
            raise ValueError(f"p is {p!r}; expected a probability, 0 to 1")
        self.p = p


class RandomHorizontalFlip(_Flip):
    """`hflip` with probability `p`."""

    def transform(self, picture: Any, rng: np.random.Generator) -> Any:
        """The picture or its mirror image."""
        return hflip(picture) if rng.random() < self.p else picture


class RandomVerticalFlip(_Flip):
    """`vflip` with probability `p`."""

    def transform(self, picture: Any, rng: np.random.Generator) -> Any:
        """The picture or its mirror image."""
        return vflip(picture) if rng.random() < self.p else picture


class RandomRotation(Transform):
    """`rotate` by a random angle: from -degrees to degrees, or between two numbers of degrees."""

    def __init__(self, degrees: Range, interpolation: str = "nearest", expand: bool = False, fill: Any = 0):
        self.degrees = _range("degrees", degrees)
        self.interpolation, self.expand, self.fill = interpolation, expand, fill
        _interpolation(interpolation)

    def transform(self, picture: Any, rng: np.random.Generator) -> Any:
        """The rotated picture."""
        return rotate(picture, _drawn(rng, self.degrees), self.interpolation, self.expand, self.fill)


class RandomAffine(Transform):
    """`affine` with a random rotation, translation, scale and shear.

    Args:
        degrees: the rotation, from -degrees to degrees, or between two numbers of degrees.
        translate: the largest horizontal and vertical shift, as fractions of width and height.
        scale: the smallest and the largest factor, such as (0.8, 1.2).
        shear: degrees along the rows, from -shear to shear or between two numbers; with four numbers the last two are
            for the columns.
    """

    def __init__(
        self,
        degrees: Range,
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: Range | None = None,
        interpolation: str = "nearest",
        fill: Any = 0,
    ):
        self.degrees = _range("degrees", degrees)
        self.translate = (0.0, 0.0) if translate is None else _numbers(translate)
        self.scale = (1.0, 1.0) if scale is None else _between("scale", scale)
        self.shear = (0.0, 0.0) if shear is None else _range("shear", shear)
        self.interpolation, self.fill = interpolation, fill
        _interpolation(interpolation)
        if len(self.translate) != 2 or not all(0 <= part <= 1 for part in self.translate):
            raise ValueError(
                f"translate is {translate!r}; expected two fractions of the picture, 0 to 1, such as (0.1, 0.1)"
            )

    def transform(self, picture: Any, rng: np.random.Generator) -> Any:
        """The sheared, scaled, rotated and translated picture."""
        angle = _drawn(rng, self.degrees)
        height, width = _size(picture)
        shift = [round(rng.uniform(-part * n, part * n)) for part, n in zip(self.translate, (width, height))]
        zoom = _drawn(rng, self.scale)
        shear = [_drawn(rng, self.shear[i : i + 2]) for i in range(0, len(self.shear), 2)]
        return affine(picture, angle, shift, zoom, (*shear, 0.0)[:2], self.interpolation, self.fill)


class ColorJitter(Transform):
    """Changes brightness, contrast, saturation and hue by random factors, in random order.

    Each argument is a number for factors from max(0, 1 - number) to 1 + number (for the hue from -number to number), or
    a pair of the smallest and the largest factor.
    """

    def __init__(self, brightness: Range = 0, contrast: Range = 0, saturation: Range = 0, hue: Range = 0):
        self.brightness, self.contrast = _factors("brightness", brightness), _factors("contrast", contrast)
        self.saturation, self.hue = _factors("saturation", saturation), _range("hue", hue, least=-0.5, most=0.5)

    def transform(self, picture: Any, rng: np.random.Generator) -> Any:
        """The picture in other colours."""
        changes = (
            (adjust_brightness, self.brightness, 1),
            (adjust_contrast, self.contrast, 1),
            (adjust_saturation, self.saturation, 1),
            (adjust_hue, self.hue, 0),
        )
        factors = [rng.uniform(low, high) for _, (low, high), _ in changes]
        for i in rng.permutation(len(changes)):
            change, (low, high), same = changes[i]
            if not low == high == same:
                picture = change(picture, factors[i])
        return picture


class Rescale(Transform):
    """The picture as float32 (channels, H, W), multiplied by `factor`; by default to 0 … 1, as ToTensor does."""

    def __init__(self, factor: float = 1 / 255):
        if not is_number(factor):
            raise TypeError(f"factor is {factor!r}; expected a number, such as 1 / 255")
        self.factor = factor

    def transform(self, picture: Any, rng: np.random.Generator) -> Any:
        """The picture as floats."""
        array = np.asarray(picture if hasattr(picture, "convert") else from_array(picture))
        planes = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
        return np.multiply(planes, self.factor, dtype=np.float64).astype(np.float32, order="C")


class Normalize(Transform):
    """(x - mean) / std for floats (channels, H, W); mean and std are one number, or one for each channel."""

    def __init__(self, mean: Range, std: Range):
        self.mean, self.std = mean, std
        for name, value, least in (("mean", mean, -math.inf), ("std", std, 0)):
            array = np.asarray(value)
            if array.dtype.kind not in "iuf" or not ((least < array) & (array < math.inf)).all():
                raise ValueError(f"{name} is {value!r}; expected {'numbers' if name == 'mean' else 'numbers above 0'}")

    def transform(self, picture: Any, rng: np.random.Generator) -> Any:
        """The normalised floats."""
        array = np.asarray(picture)
        if array.ndim != 3 or array.dtype.kind != "f":
            raise TypeError(
                f"Normalize was given {array.dtype} of shape {array.shape}; expected floats (channels, H, W): put "
                "Rescale() before it"
            )
        mean, std = (np.asarray(value, array.dtype).reshape(-1, 1, 1) for value in (self.mean, self.std))
        if not {len(mean), len(std)} <= {1, len(array)}:
            raise ValueError(
                f"mean has {len(mean)} and std {len(std)} entries for {len(array)} channels; expected 1 or {len(array)}"
            )
        return (array - mean) / std


class MixUp:
    """A dataset that mixes each picture, and its label as a vector, with a randomly drawn other one.

    Each item is a dict with `pixel_values` (floats) and `label` (num_classes,).  The weight of the first picture is
    drawn from Beta(alpha, alpha), which is uniform for alpha = 1 (Zhang et al., 2018).  The random numbers are a
    function of seed, epoch and index.  Mix training data only, and set the model's problem_type to
    "single_label_classification", since float labels otherwise mean several labels per picture.

    Raises:
        ValueError: alpha is not positive, or a label is not below `num_classes`.
        TypeError: the pictures are not floats.
    """

    def __init__(self, dataset: Dataset, num_classes: int, alpha: float = 1.0, seed: int = 0, epoch: int = 0):
        if alpha <= 0:
            raise ValueError(f"alpha is {alpha}; expected a number above 0, such as 0.2")
        self.dataset, self.num_classes, self.alpha, self.seed, self.epoch = dataset, num_classes, alpha, seed, epoch

    def __len__(self) -> int:
        return len(self.dataset)

    def at_epoch(self, epoch: int) -> MixUp:
        """The dataset with the mixtures of that epoch."""
        return MixUp(at_epoch(self.dataset, epoch), self.num_classes, self.alpha, self.seed, epoch)

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, self.epoch, index])
        lam, other = rng.beta(self.alpha, self.alpha), int(rng.integers(len(self.dataset)))
        first, second = self.dataset[index], self.dataset[other]
        for item in (first, second):
            if np.asarray(item["pixel_values"]).dtype.kind != "f":
                raise TypeError(
                    "MixUp mixes floats, but the pictures are not: give the dataset a transform that ends in Rescale()"
                )
            if not 0 <= item["label"] < self.num_classes:
                raise ValueError(f"the label is {item['label']}; expected 0 to {self.num_classes - 1}, by num_classes")
        labels = np.eye(self.num_classes, dtype=np.float32)
        return {
            **first,
            "pixel_values": mixup(first["pixel_values"], second["pixel_values"], lam),
            "label": mixup(labels[first["label"]], labels[second["label"]], lam),
        }


class MaskedPatches:
    """A dataset of pictures some of whose patches are not to be shown, as `ViTForMaskedImageModeling` learns from.

    Items are dicts with `pixel_values`, and get `bool_masked_pos` (patches,), true for the part `ratio` of them; labels
    are left out.  What is drawn is a function of seed, epoch and index.
    """

    def __init__(self, dataset: Dataset, patches: int, ratio: float = 0.5, seed: int = 0, epoch: int = 0):
        if not 0 < round(patches * ratio) < patches:
            raise ValueError(f"ratio is {ratio} of {patches} patches; expected a part that leaves one, such as 0.5")
        self.dataset, self.patches, self.ratio, self.seed, self.epoch = dataset, patches, ratio, seed, epoch

    def __len__(self) -> int:
        return len(self.dataset)

    def at_epoch(self, epoch: int) -> MaskedPatches:
        """The dataset as it is masked in that epoch."""
        return MaskedPatches(at_epoch(self.dataset, epoch), self.patches, self.ratio, self.seed, epoch)

    def __getitem__(self, index: int) -> dict[str, Any]:
        order = np.random.default_rng([self.seed, self.epoch, index]).permutation(self.patches)
        item = {name: value for name, value in self.dataset[index].items() if name not in ("label", "labels")}
        return {**item, "bool_masked_pos": order < round(self.patches * self.ratio)}


def _drawn(rng: np.random.Generator, between: Sequence[float]) -> float:
    """A random number between two numbers."""
    return rng.uniform(between[0], between[1])


def _size(picture: Any) -> tuple[int, int]:
    """The height and width of a picture."""
    if hasattr(picture, "convert"):
        return picture.height, picture.width
    shape = np.shape(picture)
    planes = len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3)
    return shape[1:] if planes else shape[:2]


def _middle(size: int, part: int) -> int:
    """Where a central part begins, rounded as by torchvision."""
    return round((size - part) / 2) if part <= size else -((part - size) // 2)


def _interpolation(name: Any) -> int:
    """Pillow's number for an interpolation, given as a name, as that number, or as an enum of either."""
    name = getattr(name, "value", name)
    if is_whole(name) and name in INTERPOLATIONS.values():
        return int(name)
    if not isinstance(name, str) or name not in INTERPOLATIONS:
        raise ValueError(f"interpolation is {name!r}; expected one of {', '.join(INTERPOLATIONS)}")
    return INTERPOLATIONS[name]


def _fill(picture: Any, fill: Any) -> Any:
    """A grey value or a colour as Pillow takes it for a picture."""
    bands = len(picture.getbands())
    return fill if bands == 1 or not np.isscalar(fill) else (fill,) * bands


def _pair(name: str, size: Size) -> tuple[int, int]:
    """(height, width), from a pair or from one number for both.  Raises ValueError for anything else."""
    pair: Any = tuple(size) if np.iterable(size) else (size, size)
    if len(pair) != 2 or not all(is_whole(n, 1) for n in pair):
        raise ValueError(f"{name} is {size!r}; expected (height, width) or one number, whole and above 0")
    return pair


def _numbers(values: Any) -> tuple[float, ...]:
    """A list of numbers as a tuple; () for anything else."""
    return tuple(values) if np.iterable(values) and all(map(is_number, values)) else ()


def _between(name: str, values: Any) -> tuple[float, ...]:
    """(least, most), both above 0.  Raises ValueError for anything else."""
    pair = _numbers(values)
    if len(pair) != 2 or not 0 < pair[0] <= pair[1]:
        raise ValueError(f"{name} is {values!r}; expected (least, most), both above 0, such as (0.8, 1.2)")
    return pair


def _range(name: str, value: Range, least: float = -math.inf, most: float = math.inf) -> tuple[float, ...]:
    """(-value, value), or the given pairs.  Raises ValueError for numbers out of range."""
    pairs = (-value, value) if is_number(value) else _numbers(value)
    if len(pairs) not in (2, 4) or not all(least <= low <= high <= most for low, high in zip(pairs[::2], pairs[1::2])):
        within = "" if math.isinf(most) else f", from {least} to {most}"
        raise ValueError(f"{name} is {value!r}; expected a number of at least 0, or (least, most){within}")
    return pairs


def _factors(name: str, value: Range) -> tuple[float, ...]:
    """(1 - value, 1 + value), at least 0, or the given pair.  Raises ValueError for numbers below 0."""
    if not np.iterable(value):
        if not is_number(value) or value < 0:
            raise ValueError(f"{name} is {value!r}; expected a number of at least 0, or (least, most)")
        value = max(0.0, 1 - value), 1 + value
    return _range(name, value, least=0)
