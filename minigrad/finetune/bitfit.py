"""BitFit (Ben Zaken et al. 2022): trains only the biases of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..nn import Module
from .config import Hit, PeftConfig, layer_numbers
from .targets import check_layers, is_in_layer


@dataclass
class BitFitConfig(PeftConfig):
    """Trains every bias, including those of norms.  `peft` cannot read its files; it has LoraConfig(bias="all").

    Args:
        layers_to_transform: the numbers of the layers whose biases are trained; None trains all biases of the model.
    """

    peft_type: ClassVar[str] = "BITFIT"

    layers_to_transform: list[int] | int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.layers_to_transform = layer_numbers(self.layers_to_transform)

    def hits(self, model: Module, strict: bool) -> list[Hit]:
        """An empty list, since no layer is adapted.  Raises ValueError if there is no bias to train."""
        if not any(self.trains(path, []) for path, _ in model.named_parameters()):
            where = "" if self.layers_to_transform is None else f" in layers {self.layers_to_transform}"
            raise ValueError(f"{type(model).__name__} has no bias to train{where}: use LoraConfig or IA3Config")
        check_layers(self, [path for path, _ in model.named_parameters() if path.rpartition(".")[2] == "bias"])
        return []

    def trains(self, path: str, hits: list[Hit]) -> bool:
        return path.rpartition(".")[2] == "bias" and is_in_layer(path, self)
