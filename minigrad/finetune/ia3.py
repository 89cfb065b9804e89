"""(IA)³ (Liu et al. 2022): multiplies the outputs of some layers, and the inputs of others, by trained vectors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from .. import ops
from ..nn import Conv1d, Conv2d, Conv3d, Linear, Module, Parameter, init
from .config import Hit, PeftConfig
from .layer import AdapterLayer, at_least_single, like
from .names import model_type, theirs
from .targets import found, full_match, is_named, named, stored_transposed

# The defaults by family: of target_modules, and of feedforward_modules, those targets whose input is multiplied.
TARGETS: dict[str, Any] = {
    **{family: ["key", "value", "output.dense"] for family in ("bert", "roberta", "xlm-roberta", "vit")},
    "distilbert": ["k_lin", "v_lin", "lin2"],
    "gpt2": ["c_attn", "mlp.c_proj"],
    "t5": ["k", "v", "wo"],
    "llama": ["k_proj", "v_proj", "down_proj"],
    **{family: ["q_proj", "v_proj", "down_proj"] for family in ("qwen2", "qwen3")},
}
FEEDFORWARD = "output.dense", "lin2", "mlp.c_proj", "wo", "down_proj"


@dataclass
class IA3Config(PeftConfig):
    """Options of (IA)³, under the names of `peft`.

    Args:
        target_modules: the layers to adapt, as for `LoraConfig`.
        exclude_modules: names, or a regular expression, of layers that are not adapted.
        feedforward_modules: those targets whose input is multiplied instead of their output; names or an expression.
        fan_in_fan_out: whether the reference library stores the weights (in, out), as for GPT-2; set automatically.
        init_ia3_weights: True initialises the vectors with ones, False with draws from the normal distribution.
    """

    peft_type: ClassVar[str] = "IA3"

    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    feedforward_modules: list[str] | str | None = None
    fan_in_fan_out: bool = False
    init_ia3_weights: bool = True

    def hits(self, model: Module, strict: bool) -> list[Hit]:
        """The layers to adapt.  Raises ValueError for a pattern that matches nothing; see `targets.found`."""
        hits = found(model, self, TARGETS, tuple(LAYERS), strict)
        feedforward = self._feedforward(model)
        missed = [
            pattern for pattern in feedforward if not any(self._reads(model, hit.path, [pattern]) for hit in hits)
        ]
        if missed and strict and self.feedforward_modules is not None:
            raise ValueError(
                f"feedforward_modules has {missed[0]!r}, which matches none of the target_modules: these are "
                f"{', '.join(hit.path for hit in hits[:3])}, …"
            )
        return hits

    def saved(self, model: Module, hits: list[Hit]) -> IA3Config:
        """The configuration to write: see `PeftConfig.saved`."""
        targets, feedforward = named(self, model, hits, TARGETS), self._feedforward(model)
        if isinstance(targets, list):  # of which feedforward_modules must be a part
            reads = {theirs(model, hit.path): self._reads(model, hit.path, feedforward) for hit in hits}
            of_name = {name: {reads[path] for path in reads if is_named(path, name)} for name in targets}
            if any(len(both) > 1 for both in of_name.values()):  # a name that matches layers of both kinds
                targets, of_name = [*reads], {path: {one} for path, one in reads.items()}
            feedforward = [name for name in targets if True in of_name[name]]
        elif isinstance(self.feedforward_modules, str):
            feedforward = self.feedforward_modules
        return replace(
            self,
            target_modules=targets,
            feedforward_modules=feedforward,
            fan_in_fan_out=self.fan_in_fan_out or stored_transposed(model, hits),
        )

    def add(self, model: Module, hit: Hit, name: str, rng: Any) -> None:
        """Add the adapter `name` to a layer."""
        kind = next(LAYERS[kind] for kind in LAYERS if isinstance(hit.module, kind))
        reads = self._reads(model, hit.path, self._feedforward(model))
        layer = kind.of(hit.module)
        layer.is_feedforward[name] = reads
        layer.ia3_l[name] = vector = like(layer, init.empty(*layer.vector_shape(reads)).data)
        if rng is not init.LATER:
            init.ones_(vector) if self.init_ia3_weights else init.normal_(vector, rng=rng)

    def _feedforward(self, model: Module) -> list[str]:
        names = self.feedforward_modules
        if names is None:
            return [name for name in TARGETS.get(model_type(model), ()) if name in FEEDFORWARD]
        return [names] if isinstance(names, str) else sorted(names)

    def _reads(self, model: Module, path: str, names: list[str]) -> bool:
        """Whether the input of the layer at a path is multiplied."""
        test = full_match(names[0], "feedforward_modules") if isinstance(self.feedforward_modules, str) else is_named
        return any(test(spelt, name) for name in names for spelt in (path, theirs(model, path)))


class IA3Layer(AdapterLayer):
    """A layer whose output, or input, is multiplied by vectors."""

    parts = "ia3_l", "is_feedforward"
    ia3_l: dict[str, Parameter]
    is_feedforward: dict[str, bool]
    weight: Parameter
    bias: Parameter | None

    def vector_shape(self, reads: bool) -> tuple[int, ...]:
        """The shape of a vector, with which it broadcasts over the weight."""
        outputs, inputs = self.weight.shape
        return (1, inputs) if reads else (outputs, 1)

    def over_values(self, vector: Any) -> Any:
        """The vector in a shape that broadcasts over inputs or outputs."""
        return ops.reshape(vector, (-1,))

    def over_weight(self, vector: Any, reads: bool) -> Any:
        """The array of a vector in a shape that broadcasts over the weight."""
        return vector

    def forward(self, x: Any) -> Any:
        acting = [(self.over_values(self.ia3_l[name]), self.is_feedforward[name]) for name in self.acting]
        for vector, reads in acting:
            x = _times(x, vector) if reads else x
        y = super().forward(x)
        for vector, reads in acting:
            y = y if reads else _times(y, vector)
        return y

    def with_adapter(self, name, weight, bias):
        vector, reads = at_least_single(self.ia3_l[name].data), self.is_feedforward[name]
        weight = weight * self.over_weight(vector, reads)
        return weight, bias if bias is None or reads else bias * vector.reshape(-1)


def _times(x: Any, vector: Any) -> Any:
    """x times a vector, in the dtype of x."""
    y = x * vector
    return y if y.dtype == x.dtype else ops.astype(y, x.dtype)


class IA3Linear(IA3Layer, Linear):
    """A Linear with vectors `ia3_l.<name>`: (out, 1) for its output, or (1, in) for its input."""


class IA3Conv(IA3Layer):
    """A convolution with vectors `ia3_l.<name>`, (1, channels, 1, …)."""

    def vector_shape(self, reads):
        layer: Any = self
        return (1, layer.in_channels if reads else layer.out_channels, *[1] * (self.weight.ndim - 2))

    def over_values(self, vector):
        return vector

    def over_weight(self, vector, reads):
        layer: Any = self
        if not reads:
            return vector.swapaxes(0, 1)
        if layer.groups == 1:
            return vector
        shape = self.weight.shape  # each group of outputs reads its own channels
        grouped = vector.reshape(layer.groups, 1, shape[1], *[1] * (len(shape) - 2))
        return grouped.repeat(shape[0] // layer.groups, 0).reshape(shape[0], shape[1], *[1] * (len(shape) - 2))


LAYERS: dict[type, type] = {Linear: IA3Linear, Conv1d: IA3Conv, Conv2d: IA3Conv, Conv3d: IA3Conv}
