"""Bottleneck adapters (Houlsby et al. 2019; Pfeiffer et al. 2021): small networks behind the layers of a frozen model.

The output y of a layer becomes y + s · up(activation(down(y))), with few features between `down` and `up`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, ClassVar

from .. import ops
from ..errors import is_whole
from ..nn import Dropout, Linear, Module, init
from ..pretrained.layers import activation
from .config import Hit, PeftConfig, number
from .layer import AdapterLayer, dropout, like
from .targets import found

ENCODER = r".*layer\.\d+\.output\.dense"
# The defaults of target_modules, by style and family: the last Linear of a sublayer, before the residual addition.
TARGETS: dict[str, dict[str, Any]] = {
    "houlsby": {
        **{family: ["output.dense"] for family in ("bert", "roberta", "xlm-roberta", "vit")},
        "distilbert": ["out_lin", "lin2"],
        "gpt2": ["c_proj"],
        "t5": ["o", "wo"],
        **{family: ["o_proj", "down_proj"] for family in ("llama", "qwen2", "qwen3")},
    },
    "pfeiffer": {
        **{family: ENCODER for family in ("bert", "roberta", "xlm-roberta", "vit")},
        "distilbert": ["lin2"],
        "gpt2": ["mlp.c_proj"],
        "t5": ["wo"],
        **{family: ["down_proj"] for family in ("llama", "qwen2", "qwen3")},
    },
}


@dataclass
class BottleneckConfig(PeftConfig):
    """Options of bottleneck adapters.  `peft` does not have them, so it cannot read their files.

    Args:
        style: "houlsby" adapts both sublayers of each layer, attention and feed-forward; "pfeiffer" only the second.
        target_modules: the Linears to adapt instead, as for `LoraConfig`.
        exclude_modules: names, or a regular expression, of layers that are not adapted.
        reduction_factor: the number of features divided by that in the bottleneck, unless `bottleneck_size` is given.
        bottleneck_size: the number of features in the bottleneck.
        non_linearity: an activation by its published name.
        scaling: the factor s.
        dropout: the dropout probability of the features in the bottleneck, in training.
    """

    peft_type: ClassVar[str] = "BOTTLENECK"

    style: str = "houlsby"
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    reduction_factor: float = 16
    bottleneck_size: int | None = None
    non_linearity: str = "relu"
    scaling: float = 1.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.style not in TARGETS:
            raise ValueError(f"style is {self.style!r}; expected 'houlsby' or 'pfeiffer'")
        above = "a number above 0, such as 16"
        self.reduction_factor = number("reduction_factor", self.reduction_factor, above, lambda n: 0 < n < inf)
        if self.bottleneck_size is not None:
            size = number("bottleneck_size", self.bottleneck_size, f"None or {above}", lambda n: n > 0, is_whole)
            self.bottleneck_size = size
        self.scaling = number("scaling", self.scaling, "a number, such as 1.0", isfinite)
        self.dropout = number("dropout", self.dropout, "a probability below 1", lambda p: 0 <= p < 1)
        activation(self.non_linearity, "non_linearity")

    def hits(self, model: Module, strict: bool) -> list[Hit]:
        """The layers to adapt.  Raises ValueError for a pattern that matches nothing; see `targets.found`."""
        return found(model, self, TARGETS[self.style], (Linear,), strict)

    def add(self, model: Module, hit: Hit, name: str, rng: Any) -> None:
        """Add the adapter `name` to a layer; it changes nothing at first, because `up` is initialised with zeros."""
        layer = BottleneckLinear.of(hit.module)
        features = layer.weight.shape[0]
        size = self.bottleneck_size or max(1, round(features / self.reduction_factor))
        down, up = Linear(features, size, rng=rng), Linear(size, features, rng=init.LATER)
        for p in (*down.parameters(), *up.parameters()):
            p.hold(like(layer, p.data).data)
        if rng is not init.LATER:
            for p in up.parameters():
                init.zeros_(p)
        layer.adapter_down[name], layer.adapter_up[name] = down, up
        layer.between[name] = activation(self.non_linearity), self.scaling
        if self.dropout:
            layer.adapter_dropout[name] = dropout(layer, self.dropout, rng)


class BottleneckLinear(AdapterLayer, Linear):
    """A Linear followed by small networks, each of two Linears, `adapter_down.<name>` and `adapter_up.<name>`."""

    parts = "adapter_down", "adapter_up", "adapter_dropout", "between"
    adapter_down: dict[str, Linear]
    adapter_up: dict[str, Linear]
    adapter_dropout: dict[str, Dropout]
    between: dict[str, tuple[Any, float]]  # the activation and s

    def forward(self, x: Any) -> Any:
        y = super().forward(x)
        dtype = y.dtype
        for name in self.acting:
            (act, scaling), down = self.between[name], self.adapter_down[name]
            read = y if y.dtype == down.weight.dtype else ops.astype(y, down.weight.dtype)
            inner = act(down(read))
            inner = self.adapter_dropout[name](inner) if name in self.adapter_dropout else inner
            more = self.adapter_up[name](inner)
            y = y + (more if scaling == 1 else more * scaling)
        return y if y.dtype == dtype else ops.astype(y, dtype)

    def with_adapter(self, name, weight, bias):
        raise ValueError("a bottleneck adapter is not linear, so it cannot be merged into a weight")
