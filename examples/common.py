"""What the examples share: real pictures from scikit-learn, and stand-ins for weights that cannot be downloaded."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits, load_sample_images

from minigrad import Tensor, losses, metrics, no_grad
from minigrad.data import DataLoader
from minigrad.nn import BatchNorm2d
from minigrad.pretrained import AutoImageProcessor
from minigrad.pretrained.image import TORCHVISION


def stand_in(model_class: type, config) -> Path:
    """A directory in the published format and of the published size, with random weights instead of downloaded ones.

    The running statistics of batch norms are those of noise, and residual blocks add little (Goyal et al. 2017), so
    that signals keep their scale through the network.
    """
    model = model_class(config, rng=0).train()
    for path, module in model.named_modules():
        if isinstance(module, BatchNorm2d):
            module.momentum = 1.0
            module.weight.copy_(0.2 if path.endswith("bn3") else 1.0)
    with no_grad():
        model(np.random.default_rng(0).standard_normal((8, 3, 64, 64), np.float32))
    directory = Path("outputs") / "stand-ins" / config.model_type
    model.save_pretrained(directory)
    return directory


def processor(size: int) -> AutoImageProcessor:
    """A processor for pictures of `size` × `size` pixels, which normalises as torchvision does."""
    return AutoImageProcessor(TORCHVISION | {"size": {"height": size, "width": size}, "do_center_crop": False})


def digits(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` handwritten digits (UCI) as pictures (count, 3, size, size), and their classes (count,)."""
    pictures, labels = load_digits(return_X_y=True)
    pictures = (pictures[:count].reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)
    return processor(size)(list(pictures))["pixel_values"], labels[:count]


def patches(size: int, count: int, edge: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Patches of two photographs, as pictures (count, 3, size, size), and their classes, temple (0) or flower (1)."""
    found = [
        (photo[y : y + edge, x : x + edge], label)
        for label, photo in enumerate(load_sample_images().images)
        for y in range(0, photo.shape[0] - edge, edge)
        for x in range(0, photo.shape[1] - edge, edge)
    ]
    chosen = [found[i] for i in np.random.default_rng(0).permutation(len(found))[:count]]
    return processor(size)([patch for patch, _ in chosen])["pixel_values"], np.array([label for _, label in chosen])


def fit(scores: Callable[[np.ndarray], Tensor], optimizer, x: np.ndarray, labels: np.ndarray, epochs: int) -> None:
    """The training loop: batches of 16 in random order, cross-entropy, a step for each."""
    batches = DataLoader(range(len(x)), 16, shuffle=True)
    for epoch in range(1, epochs + 1):
        total = 0.0
        for batch in batches:
            loss = losses.cross_entropy(scores(x[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() / len(batches)
        print(f"epoch {epoch}: loss {total:.3f}", flush=True)


def in_batches(f: Callable[[np.ndarray], Tensor], x: np.ndarray, size: int = 32) -> np.ndarray:
    """f(x), computed in batches without recording."""
    with no_grad():
        return np.concatenate([f(x[i : i + size]).numpy() for i in range(0, len(x), size)])


def test(scores: Callable[[np.ndarray], Tensor], x: np.ndarray, labels: np.ndarray) -> float:
    """The accuracy on x."""
    accuracy = metrics.accuracy(labels, in_batches(scores, x).argmax(-1))
    print(f"test accuracy {accuracy:.3f}")
    return accuracy
