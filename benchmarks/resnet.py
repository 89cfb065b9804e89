"""A forward pass of ResNet-50 over four pictures of 224 × 224, beside transformers' with the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

from .pairing import Row, sides
from .training import main, multiplying, paired

SIZES = {"pictures": 4, "side": 224}


def with_minigrad(directory: str, pictures: int, side: int) -> Iterator[Any]:
    from minigrad import Tensor, no_grad
    from minigrad.pretrained import ResNetForImageClassification

    with no_grad():
        yield from work(ResNetForImageClassification.from_pretrained(directory), Tensor, pictures, side)


def with_torch(directory: str, pictures: int, side: int) -> Iterator[Any]:
    import torch
    from transformers import ResNetForImageClassification

    with torch.no_grad():
        yield from work(
            ResNetForImageClassification.from_pretrained(directory).eval(), torch.from_numpy, pictures, side
        )


def work(model: Any, tensor: Any, pictures: int, side: int) -> Iterator[Any]:
    import numpy as np

    x = tensor(np.random.default_rng(0).standard_normal((pictures, 3, side, side), np.float32))
    yield
    logits = model(x).logits.numpy()
    yield (logits / np.abs(logits).max()).ravel().tolist()
    while True:
        model(x)
        yield


def products_alone(directory: str, pictures: int, side: int) -> Iterator[None]:
    """A convolution is, for each picture, a matrix product with one column per output position."""
    from minigrad.pretrained import ResNetConfig
    from minigrad.pretrained.checkpoint.files import read_config

    c, N = ResNetConfig.from_dict(read_config(directory)), pictures
    products, inputs, side = [(N, c.embedding_size, 49 * 3, (side // 2) ** 2)], c.embedding_size, side // 4
    for stage, (outputs, depth) in enumerate(zip(c.hidden_sizes, c.depths)):
        before, side = side, side // 2 if stage else side
        inner, places = outputs // 4, side**2
        products += [(N, outputs, inputs, places)]  # the shortcut
        for i in range(depth):
            products += [
                (N, inner, outputs if i else inputs, places if i else before**2),
                (N, inner, 9 * inner, places),
                (N, outputs, inner, places),
            ]
        inputs = outputs
    return multiplying(products)


def run(rounds: int = 15, **sizes: int) -> list[Row]:
    from minigrad.pretrained import ResNetConfig, ResNetForImageClassification

    pictures, side = (SIZES | sizes).values()
    with TemporaryDirectory() as directory:
        ResNetForImageClassification(ResNetConfig(num_labels=1000), rng=0).save_pretrained(directory)
        with sides(
            with_minigrad, with_torch, products_alone, given=(directory, pictures, side), tolerance=1e-3
        ) as works:
            return [paired(f"ResNet-50 forward, {pictures} × {side} × {side}", works, rounds)]


if __name__ == "__main__":
    main("resnet")
