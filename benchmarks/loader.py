"""The time that training waits for pictures: `python -m benchmarks.loader` feeds ResNet-50 from folders of photographs.

JPEG files of 500 × 375 are written into class folders of a temporary directory; each is read, cropped and resized to
224 × 224, flipped, jittered in colour and normalised, in the loader's threads, while ResNet-50 takes training steps on
earlier batches.  The wait for the first batch is not counted.  The goal is to wait at most 5 % of the time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from .pairing import cores, fix_threads

GOAL = 0.05


def write_photographs(directory: Path, number: int, classes: int = 4) -> None:
    """Write artificial photographs, smooth shapes with noise, as JPEGs in a folder for each class."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(number):
        folder = directory / f"class-{i % classes}"
        folder.mkdir(exist_ok=True)
        shapes = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize(
            (500, 375), Image.Resampling.BICUBIC
        )
        noisy = np.asarray(shapes) + rng.normal(0, 6, (375, 500, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.jpg", quality=90)


def measure(pictures: int, batch_size: int, workers: int) -> tuple[float, float, float]:
    """Seconds of waiting, of all steps, and of preparing one picture by itself."""
    from minigrad.data import DataCollatorWithPadding, DataLoader, read_images
    from minigrad.data import image_transforms as T
    from minigrad.optim import SGD
    from minigrad.pretrained import ResNetConfig, ResNetForImageClassification

    augmentation = T.Compose(
        [
            T.RandomResizedCrop(224),
            T.RandomHorizontalFlip(),
            T.ColorJitter(0.4, 0.4, 0.4),
            T.Rescale(),
            T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    model = ResNetForImageClassification(ResNetConfig.torchvision("resnet50", num_labels=4), rng=0)
    model.train()
    optimizer = SGD(model.parameters(), lr=0.01, momentum=0.9)
    with tempfile.TemporaryDirectory() as directory:
        write_photographs(Path(directory), pictures)
        data = read_images(directory, transform=augmentation)
        begun = time.perf_counter()
        for i in range(8):
            data[i]
        alone = (time.perf_counter() - begun) / 8
        loader = DataLoader(data, batch_size, shuffle=True, collate=DataCollatorWithPadding(), num_workers=workers)
        waited = total = 0.0
        batches = iter(loader)
        batch = next(batches)
        while batch is not None:
            begun = time.perf_counter()
            optimizer.zero_grad()
            model(**batch).loss.backward()
            optimizer.step()
            asked = time.perf_counter()
            batch = next(batches, None)
            now = time.perf_counter()
            waited, total = waited + now - asked, total + now - begun
    return waited, total, alone


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.loader", description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    fix_threads(cores())
    for workers in dict.fromkeys((0, asked.workers)):
        waited, total, alone = measure(asked.pictures, asked.batch_size, workers)
        share = waited / total
        print(
            f"{workers} workers: {asked.pictures} pictures in {total:.1f} s, of which {waited:.2f} s waiting "
            f"({share:.1%}; the goal is {GOAL:.0%}); one picture by itself takes {1000 * alone:.1f} ms"
        )


if __name__ == "__main__":
    main()
