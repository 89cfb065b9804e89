"""Reads pictures from files and arrays as Pillow images, and refuses those that are damaged, huge or programs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any

import numpy as np

# Formats that Pillow decodes without running a program, as EPS would.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF", "TGA", "ICO")
# Limits in pixels: of a side, and of a picture; a large file may have more, but only so many for each of its bytes.
MAX_SIDE, MAX_PIXELS, MAX_PER_BYTE = 1 << 17, 1 << 26, 32
ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND", "GIF": b";"}  # marks near the end of a complete file
TAIL = 64  # bytes at the end of a file in which to search for the mark


def pillow() -> Any:
    """The package PIL with the modules needed here.  Raises ImportError that says how to install it."""
    try:
        import PIL.Image
        import PIL.ImageEnhance
        import PIL.ImageOps
    except ImportError as error:
        raise ImportError(f'pictures need Pillow ({error}): pip install "minigrad-learn[vision]"') from None
    return PIL


def read_picture(path: str | os.PathLike | bytes) -> Any:
    """The picture in a file, or in the bytes of one, a Pillow image in RGB, rotated as its EXIF entry says.

    Raises:
        OSError, ValueError: the file is missing, damaged, not a picture, or declares a very large size.
        ImportError: Pillow is not installed.
    """
    with opened(path) as picture:
        picture.load()
        with suppress(Exception):  # a damaged EXIF entry does not damage the picture
            pillow().ImageOps.exif_transpose(picture, in_place=True)
        return rgb(picture)


def check_picture(path: str | os.PathLike) -> None:
    """Refuse a file that is not a picture, declares a very large size, or is truncated, without decoding it.

    A file without its format's end mark is decoded to decide, because other data may follow the picture.

    Raises:
        OSError, ValueError, ImportError: as `read_picture` does.
    """
    with opened(path) as picture:
        mark = ENDS.get(picture.format)
        if mark is not None:
            with open(path, "rb") as file:
                file.seek(max(0, os.stat(path).st_size - TAIL))
                if mark in file.read():
                    return
        picture.load()


@contextmanager
def opened(path: str | os.PathLike | bytes) -> Iterator[Any]:
    """The picture in a file, or in the bytes of one, not yet decoded; errors in the block get the name of the file."""
    PIL = pillow()
    source, size = (BytesIO(path), len(path)) if isinstance(path, bytes) else (path, None)
    path = "the file that was sent" if isinstance(path, bytes) else path
    try:
        size = os.stat(path).st_size if size is None else size
        with PIL.Image.open(source) as picture:
            if picture.format not in FORMATS:
                raise ValueError(f"it is in the format {picture.format}: expected a JPEG, a PNG or the like")
            width, height = picture.size
            if max(width, height) > MAX_SIDE or width * height > max(MAX_PIXELS, MAX_PER_BYTE * size):
                raise ValueError(
                    f"it declares {width} × {height} pixels in a file of {size} bytes: expected at most {MAX_SIDE} on "
                    f"a side, and {MAX_PIXELS} in all or {MAX_PER_BYTE} for each byte; scale it down"
                )
            yield picture
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except PIL.UnidentifiedImageError:
        raise ValueError(f"{path} is not a picture that Pillow can read: expected a JPEG, a PNG or the like") from None
    except Exception as error:  # Pillow's decoders may raise any exception for damaged bytes
        fault = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} was not read as a picture: {fault[:300]}; if it is damaged, copy it again") from None


def rgb(picture: Any) -> Any:
    """A Pillow image in RGB; 16-bit values keep their upper 8 bits, as Pillow does for colours."""
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PNG"):  # a PNG has 16 bits
        picture = pillow().Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):
        kind = "whole numbers" if picture.mode == "I" else "floats"
        raise ValueError(
            f"the picture has 32-bit {kind}, and its value for white is unknown: make it an array of uint8, 0 to 255"
        )
    return picture.convert("RGB")


def picture_of(image: Any) -> Any:
    """A path, the bytes of a file, an array or a Pillow image as a Pillow image in RGB."""
    pillow()
    if isinstance(image, (str, os.PathLike, bytes)):
        return read_picture(image)
    return rgb(image if hasattr(image, "convert") else from_array(image))


def from_array(image: Any) -> Any:
    """uint8 of shape (H, W), (H, W, 1), (H, W, 3) or (3, H, W) as a Pillow image, grey or RGB.

    Raises:
        TypeError: the array is not uint8.
        ValueError: it has another shape.
    """
    array = np.asarray(image.numpy() if hasattr(image, "numpy") else image)
    if array.dtype != np.uint8:
        raise TypeError(
            f"a picture's array must be uint8, 0 to 255, this one is {array.dtype}: for floats from 0 to 1 "
            "pass (x * 255).round().astype('uint8')"
        )
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)):
        raise ValueError(f"a picture is (H, W), (H, W, 3) or (3, H, W), this array has shape {array.shape}")
    return pillow().Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)
