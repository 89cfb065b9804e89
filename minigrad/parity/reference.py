"""The reference side of a comparison: a torch module.

Only this file imports torch and transformers, and only on demand.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .sides import ADAMW, Side

try:
    import torch
except ImportError as error:
    raise ImportError(
        f'comparing with a torch model needs torch ({error}): pip install "minigrad-learn[parity]"'
    ) from None


class Exactly64(torch.overrides.TorchFunctionMode):
    """Turns casts to float32, which many models apply in norms and rotary angles, into casts to float64."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        def longer(x: Any) -> Any:
            return torch.float64 if x is torch.float32 else x

        if function is torch.Tensor.float:
            function = torch.Tensor.double
        return function(*map(longer, args), **{name: longer(x) for name, x in (kwargs or {}).items()})


class TorchSide(Side):
    """A torch module under comparison."""

    def copied(self, model: Any) -> Any:
        if not isinstance(model, torch.nn.Module):
            raise TypeError(f"the reference is a {type(model).__name__}: give a torch.nn.Module or a minigrad Module")
        return copy.deepcopy(model).cpu().to(getattr(torch, self.dtype))

    def named(self) -> dict[str, Any]:
        return {name: t for name, t in self.model.state_dict(keep_vars=True).items() if t.is_floating_point()}

    def tensor(self, value: np.ndarray) -> Any:
        return torch.from_numpy(value.copy())

    def write(self, weight: Any, value: np.ndarray) -> None:
        weight.data.copy_(torch.from_numpy(value))

    def turned(self) -> set[str]:
        return {f"{path}.weight" for path, m in self.model.named_modules() if type(m).__name__ == "Conv1D"}

    def optimiser(self) -> Any:
        return torch.optim.AdamW(self.model.parameters(), **ADAMW)

    def run(self) -> Any:
        try:
            return super().run()
        except Exception as error:
            raise ValueError(f"the reference fails on these inputs with {type(error).__name__}: {error}") from error

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Compute in float64 throughout if that is the dtype, and seed dropout: every run draws the same masks."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            if self.dtype == "float64":
                with Exactly64():
                    yield
            else:
                yield


def transformers() -> Any:
    """The library, or an error that says how to install it."""
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            f'a reference is made by transformers ({error}): pip install "minigrad-learn[parity]"'
        ) from None
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def made(prefix: str, head: str, entries: dict[str, Any], directory: str) -> torch.nn.Module:
    """Make a model with random weights, in evaluation mode, and save it in the directory.

    Noise is added to every weight, so that biases are not 0 and scales not 1, and each of them is tested.

    Raises:
        ValueError: transformers refuses these entries, with its reason.
    """
    library = transformers()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        try:
            kind, config = getattr(library, prefix + head, VGG), getattr(library, f"{prefix}Config", dict)
            model = kind(config(**entries))
        except Exception as error:
            raise ValueError(f"transformers cannot make a {prefix + head} from {entries}: {error}") from error
        for tensor in model.parameters():
            tensor += torch.randn_like(tensor) * 0.05
        for name, tensor in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                tensor += torch.rand_like(tensor) * 0.2
    model.eval().save_pretrained(directory)
    return model


def read(name: str, directory: str | os.PathLike) -> torch.nn.Module:
    """The model in the directory, as transformers reads it."""
    return getattr(transformers(), name).from_pretrained(directory, dtype=torch.float32).eval()


class VGG(torch.nn.Module):
    """VGG as torchvision publishes it: https://docs.pytorch.org/vision/stable/models/vgg.html."""

    def __init__(self, entries: dict[str, Any]):
        super().__init__()
        nn, layers, inputs, wide = torch.nn, [], 3, entries["intermediate_size"]
        for outputs, depth in zip(entries["hidden_sizes"], entries["depths"], strict=True):
            for _ in range(depth):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = outputs
            layers.append(nn.MaxPool2d(2, 2))
        self.features, self.avgpool = nn.Sequential(*layers), nn.AdaptiveAvgPool2d(entries["pooled_size"])
        self.classifier = nn.Sequential(
            nn.Linear(inputs * entries["pooled_size"] ** 2, wide),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(wide, wide),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(wide, entries["num_labels"]),
        )
        self.entries = entries

    def forward(self, pixel_values: Any, labels: Any = None) -> dict[str, Any]:
        logits = self.classifier(self.avgpool(self.features(pixel_values)).flatten(1))
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    def save_pretrained(self, directory: str | os.PathLike) -> None:
        """Write config.json and pytorch_model.bin, since torchvision has no model directories."""
        (Path(directory) / "config.json").write_text(json.dumps(self.entries | {"model_type": "vgg"}))
        torch.save(self.state_dict(), Path(directory) / "pytorch_model.bin")
