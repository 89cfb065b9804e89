"""LoRA (Hu et al. 2021): trains a product B A of low rank beside a frozen weight W, y = W x + s B (A x).

With `use_dora` (Liu et al. 2024) each row of W + s B A is scaled to a trained norm.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from .. import backend, ops
from .. import functional as F
from ..errors import is_whole
from ..execution import recording
from ..functional.products import lora_linear
from ..nn import Conv1d, Conv2d, Conv3d, Dropout, Embedding, Linear, Module, Parameter, init
from ..tensor import Tensor
from .config import Hit, PeftConfig, check_expression, layer_numbers, number
from .layer import AdapterLayer, at_least_single, dropout, like
from .names import theirs
from .targets import found, named, stored_transposed

# The defaults of target_modules, by family.
TARGETS: dict[str, Any] = {
    **{family: ["query", "value"] for family in ("bert", "roberta", "xlm-roberta", "vit")},
    "distilbert": ["q_lin", "v_lin"],
    "gpt2": ["c_attn"],
    "t5": ["q", "v"],
    **{family: ["q_proj", "v_proj"] for family in ("llama", "qwen2", "qwen3")},
}
CHANGING = "pissa", "olora", "corda", "loftq", "lora_ga", "mica"  # initialisations that change the model's own weights


@dataclass
class LoraConfig(PeftConfig):
    """Options of LoRA, under the names of `peft`.

    Args:
        r: the rank.
        target_modules: the layers to adapt: the last steps of their paths, as in ["query", "value"], a regular
            expression that matches whole paths, "all-linear" for every Linear except the head, or None for the usual
            layers of the model's family.
        exclude_modules: names, or a regular expression, of layers that are not adapted.
        lora_alpha: B A is multiplied by s = lora_alpha / r.
        lora_dropout: the dropout probability of A's input, in training.
        fan_in_fan_out: whether the reference library stores the weights (in, out), as for GPT-2; set automatically.
        bias: the biases of the model that are trained: "none", "all", or "lora_only" for those of the targets.
        use_rslora: s = lora_alpha / √r (Kalajdzievski 2023).
        init_lora_weights: True draws A uniformly from ±1/√in and sets B to zero; "gaussian" draws A from the normal
            distribution with standard deviation 1/r; False draws B too.
        layers_to_transform: the numbers of the layers whose modules may be targets.
        layers_pattern: the name of the list of these layers, if the first number in a path is not the layer's.
        rank_pattern, alpha_pattern: other values of `r` and `lora_alpha`, by regular expressions for the ends of paths.
        use_dora: whether to train the norms of the rows too.
        lora_bias: whether B has a bias.
    """

    peft_type: ClassVar[str] = "LORA"

    r: int = 8
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    lora_alpha: float = 8
    lora_dropout: float = 0.0
    fan_in_fan_out: bool = False
    bias: str = "none"
    use_rslora: bool = False
    init_lora_weights: bool | str = True
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)
    use_dora: bool = False
    lora_bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("rank_pattern", "alpha_pattern"):
            patterns = getattr(self, option) or {}
            if not isinstance(patterns, dict):
                raise TypeError(f"{option} is {patterns!r:.80}; expected a dictionary, such as {{'query': 4}}")
            for pattern in patterns:
                check_expression(option, pattern)
            setattr(self, option, dict(patterns))
        whole, finite = "a whole number, 1 or more, such as r=8", "a number, such as 16"
        self.r = number("the rank r", self.r, whole, lambda r: r >= 1, is_whole)
        self.rank_pattern = {
            name: number(f"the rank {name}", r, whole, lambda r: r >= 1, is_whole)
            for name, r in self.rank_pattern.items()
        }
        self.lora_alpha = number("lora_alpha", self.lora_alpha, finite, math.isfinite)
        self.alpha_pattern = {
            name: number(f"lora_alpha of {name}", alpha, finite, math.isfinite)
            for name, alpha in self.alpha_pattern.items()
        }
        self.lora_dropout = number("lora_dropout", self.lora_dropout, "a probability below 1", lambda p: 0 <= p < 1)
        self.layers_to_transform = layer_numbers(self.layers_to_transform)
        if self.use_dora and self.lora_bias:
            raise ValueError("use_dora=True and lora_bias=True cannot be combined: leave out one of them")
        if self.bias not in ("none", "all", "lora_only"):
            raise ValueError(f"bias is {self.bias!r}; expected 'none', 'all' or 'lora_only'")
        first = self.init_lora_weights
        if isinstance(first, str) and first.startswith(CHANGING):
            raise ValueError(
                f"init_lora_weights is {first!r}, which changes the weights of the model itself and is not supported: "
                "save the adapter in peft with path_initial_model_for_weight_conversion, which makes it a plain LoRA"
            )
        if self.layers_pattern is not None and self.layers_to_transform is None:
            raise ValueError("layers_pattern says where the layers are: give layers_to_transform, which says which")

    def hits(self, model: Module, strict: bool) -> list[Hit]:
        """The layers to adapt.  Raises ValueError for a pattern that matches nothing; see `targets.found`."""
        hits = found(model, self, TARGETS, tuple(LAYERS), strict)
        for pattern in (*self.rank_pattern, *self.alpha_pattern) if strict else ():
            if not any(self._at({pattern: True}, model, hit.path, False) for hit in hits):
                raise ValueError(
                    f"rank_pattern or alpha_pattern has {pattern!r}, which matches the end of no target: these are "
                    f"{', '.join(hit.path for hit in hits[:3])}, …"
                )
        return hits

    def saved(self, model: Module, hits: list[Hit]) -> LoraConfig:
        """The configuration to write: see `PeftConfig.saved`."""
        config = replace(
            self,
            target_modules=named(self, model, hits, TARGETS),
            fan_in_fan_out=self.fan_in_fan_out or stored_transposed(model, hits),
        )
        if any(theirs(model, hit.path) != hit.path for hit in hits):
            ends = {hit.path: re.escape(theirs(model, hit.path)) for hit in hits}
            config.rank_pattern = {ends[path]: self._at(self.rank_pattern, model, path, self.r) for path in ends}
            config.alpha_pattern = {
                ends[path]: self._at(self.alpha_pattern, model, path, self.lora_alpha) for path in ends
            }
        return config

    def add(self, model: Module, hit: Hit, name: str, rng: np.random.Generator) -> None:
        """Add the adapter `name` to a layer."""
        r = self._at(self.rank_pattern, model, hit.path, self.r)
        alpha = self._at(self.alpha_pattern, model, hit.path, self.lora_alpha)
        kind = next(LAYERS[kind] for kind in LAYERS if isinstance(hit.module, kind))
        kind.of(hit.module).add(name, self, r, alpha / (math.sqrt(r) if self.use_rslora else r), rng)

    @staticmethod
    def _at(patterns: dict[str, Any], model: Module, path: str, default: Any) -> Any:
        """The value of the first pattern that matches the end of a path."""
        for pattern, value in patterns.items():
            if any(re.fullmatch(rf"(.*\.)?({pattern})", name) for name in (path, theirs(model, path))):
                return value
        return default


class LoRALayer(AdapterLayer):
    """A layer with products of low rank in addition to its weight."""

    parts = "lora_A", "lora_B", "lora_magnitude_vector", "lora_dropout", "scaling"
    lora_A: dict[str, Any]
    lora_B: dict[str, Any]
    lora_magnitude_vector: dict[str, Parameter]  # DoRA's norms, in a shape that broadcasts over outputs
    lora_dropout: dict[str, Dropout]
    scaling: dict[str, float]
    weight: Parameter
    bias: Parameter | None

    def add(self, name: str, config: LoraConfig, r: int, scaling: float, rng: Any) -> None:
        """Add an adapter of rank r, whose product is multiplied by `scaling`."""
        self.scaling[name] = scaling
        if config.lora_dropout:
            self.lora_dropout[name] = dropout(self, config.lora_dropout, rng)
        self.add_factors(name, r, config, rng)
        if config.use_dora:
            change = 0 if rng is init.LATER else self.change(name)
            lengths = self.row_lengths(at_least_single(self.weight.data) + change)
            self.lora_magnitude_vector[name] = like(self, lengths)

    def add_factors(self, name: str, r: int, config: LoraConfig, rng: Any) -> None:
        """Make A and B, layers without a bias unless `lora_bias` gives B one, and initialise them."""
        a, b = self.new_factors(r, config.lora_bias)
        for p in (a.weight, *b.parameters()):
            p.hold(like(self, p.data).data)
        self.lora_A[name], self.lora_B[name] = a, b
        if rng is not init.LATER:
            draw(a.weight, config.init_lora_weights, r, rng)
            if config.init_lora_weights is False:
                draw(b.weight, True, r, rng)
            else:
                init.zeros_(b.weight)
            if b.bias is not None:
                init.zeros_(b.bias)

    def new_factors(self, r: int, bias: bool) -> tuple[Any, Any]:
        """The layers A and B, with uninitialised weights."""
        raise NotImplementedError

    def factors(self, name: str) -> tuple[Parameter, Parameter]:
        """The weights of A and B."""
        return self.lora_A[name].weight, self.lora_B[name].weight

    def change(self, name: str) -> Any:
        """s B A as an array of the shape of the weight."""
        a, b = (at_least_single(part[name].weight.data) for part in (self.lora_A, self.lora_B))
        return (b.reshape(len(b), -1) @ a.reshape(len(a), -1)).reshape(self.weight.shape) * self.scaling[name]

    def lengths(self, name: str) -> Any:
        """DoRA's norms of the rows of W + s B A, in a shape that broadcasts over outputs."""
        base = self.weight if self.before_merge is None else self.before_merge.weight
        return self.row_lengths(at_least_single(base.data) + self.change(name))

    def row_lengths(self, weight: Any) -> Any:
        """The norm of the part of a weight that belongs to each output."""
        return backend.of(weight).xp.sqrt((weight * weight).sum(1))

    def over_weight(self, lengths: Any) -> Any:
        """A number for each output, in a shape that broadcasts over the weight."""
        return lengths[:, None]

    def over_outputs(self, bias: Any) -> Any:
        """The bias in a shape that broadcasts over outputs."""
        return bias

    def with_adapter(self, name, weight, bias):
        weight = weight + self.change(name)
        if (magnitude := self.lora_magnitude_vector.get(name)) is not None:
            weight = weight * self.over_weight(at_least_single(magnitude.data) / self.lengths(name))
        if (more := self.factor_bias(name)) is not None:
            bias = (0 if bias is None else bias) + at_least_single(more.data) * self.scaling[name]
        return weight, bias

    def factor_bias(self, name: str) -> Parameter | None:
        """The bias of B."""
        return self.lora_B[name].bias

    def forward(self, x: Any) -> Any:
        y = super().forward(x)
        dtype = y.dtype
        for name in self.acting:
            y = self.plus(name, x, y)
        return y if y.dtype == dtype else ops.astype(y, dtype)

    def plus(self, name: str, x: Any, y: Any) -> Any:
        """The layer's output y for x, plus the adapter's contribution."""
        drop = self.lora_dropout.get(name)
        read = drop(x) if drop is not None and drop.training else x
        more = self.product(name, read)
        if (magnitude := self.lora_magnitude_vector.get(name)) is None:
            return y + more
        scale = magnitude / Tensor(self.lengths(name))  # the norm is a constant for the gradient, as in section 4.3
        straight = y if read is x else super().forward(read)
        bias = getattr(self, "bias", None)
        straight = straight if bias is None else straight - self.over_outputs(bias)
        return y + (scale - 1) * straight + scale * more

    def product(self, name: str, x: Any) -> Any:
        """s B (A x)."""
        a, b, s = self.lora_A[name], self.lora_B[name], self.scaling[name]
        x = x if x.dtype == a.weight.dtype else ops.astype(x, a.weight.dtype)
        return b(a(x) * s) if b.bias is None else b(a(x)) * s


def draw(weight: Parameter, first: bool | str, r: int, rng: np.random.Generator) -> None:
    """Initialise A: uniform in ±1/√in, or normal with standard deviation 1/r.  Raises ValueError for another option."""
    if first == "gaussian":
        init.normal_(weight, std=1 / r, rng=rng)
    elif isinstance(first, bool):
        bound = 1 / math.sqrt(math.prod(weight.shape[1:]))
        init.uniform_(weight, -bound, bound, rng=rng)
    else:
        raise ValueError(f"init_lora_weights is {first!r}; expected True, False or 'gaussian'")


class LoRALinear(LoRALayer, Linear):
    """A Linear with adapters: `lora_A.<name>.weight` (r, in) and `lora_B.<name>.weight` (out, r)."""

    def new_factors(self, r, bias):
        outputs, inputs = self.weight.shape
        return Linear(inputs, r, False, rng=init.LATER), Linear(r, outputs, bias, rng=init.LATER)

    def forward(self, x):
        if (name := self.alone(x)) is None:
            return super().forward(x)
        return lora_linear(x, self.weight, self.bias, *self.factors(name), self.scaling[name])

    def alone(self, x: Any) -> str | None:
        """The active adapter, if it is the only one, without dropout, DoRA, a bias, hooks and mixed dtypes; else None.

        Under autocast, which casts the products one by one, it is None too.
        """
        if len(self.acting) != 1 or self.plain is not Linear or not isinstance(recording(), bool):
            return None
        [name] = self.acting
        a, b = self.lora_A[name], self.lora_B[name]
        drop = self.lora_dropout.get(name)
        is_plain = a.is_plain and b.is_plain and b.bias is None and (drop is None or not drop.training)
        same = getattr(x, "dtype", None) == self.weight.dtype == a.weight.dtype
        return name if is_plain and same and name not in self.lora_magnitude_vector else None


class LoRAConv(LoRALayer):
    """A convolution with adapters: A has its kernel, stride, padding and dilation; B has its groups and kernel 1."""

    def new_factors(self, r, bias):
        layer: Any = self
        kind, outputs, groups = self.plain, self.weight.shape[0], layer.groups
        if r % groups:
            raise ValueError(f"the rank is {r}; expected a multiple of {groups}, the groups of the convolution")
        options = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        mode = {"padding_mode": layer.padding_mode, "bias": False}
        a = kind(layer.in_channels, r, self.weight.shape[2:], **options, **mode, rng=init.LATER)
        return a, kind(r, outputs, 1, groups=groups, bias=bias, rng=init.LATER)

    def change(self, name):
        layer: Any = self
        if layer.groups > 1:
            raise ValueError(
                f"an adapter of a convolution with {layer.groups} groups is not a change of its weight: it cannot be "
                "merged, nor trained with use_dora"
            )
        return super().change(name)

    def row_lengths(self, weight):
        lengths = backend.of(weight).xp.sqrt((weight * weight).reshape(len(weight), -1).sum(1))
        return self.over_outputs(lengths)

    def over_weight(self, lengths):
        return lengths.reshape(-1, *[1] * (self.weight.ndim - 1))

    def over_outputs(self, bias):
        return bias.reshape(1, -1, *[1] * (self.weight.ndim - 2))


class LoRAEmbedding(LoRALayer, Embedding):
    """An Embedding with adapters: `lora_embedding_A.<name>` (r, ids) and `lora_embedding_B.<name>` (size, r)."""

    parts = "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "lora_dropout", "scaling"
    lora_embedding_A: dict[str, Parameter]
    lora_embedding_B: dict[str, Parameter]

    def add(self, name, config, r, scaling, rng):
        if config.lora_bias:
            raise ValueError("lora_bias is for layers with a bias; an Embedding has none")
        super().add(name, replace(config, lora_dropout=0.0), r, scaling, rng)  # ids cannot be dropped

    def add_factors(self, name, r, config, rng):
        ids, size = self.weight.shape
        a, b = like(self, np.zeros((r, ids))), like(self, np.zeros((size, r)))
        self.lora_embedding_A[name], self.lora_embedding_B[name] = a, b
        if rng is not init.LATER:
            init.normal_(b, rng=rng)
            if config.init_lora_weights is False:
                init.normal_(a, rng=rng)

    def factors(self, name):
        return self.lora_embedding_A[name], self.lora_embedding_B[name]

    def change(self, name):
        a, b = (at_least_single(part[name].data) for part in (self.lora_embedding_A, self.lora_embedding_B))
        return (b @ a).T * self.scaling[name]

    def row_lengths(self, weight):
        return backend.of(weight).xp.sqrt((weight * weight).sum(0))

    def over_weight(self, lengths):
        return lengths

    def factor_bias(self, name):
        return None

    def product(self, name, x):
        a, b = self.lora_embedding_A[name], self.lora_embedding_B[name]
        return F.linear(F.embedding(x, ops.transpose(a), self.padding_idx) * self.scaling[name], b)


def weighted(
    model: Any, configs: list[Any], names: list[str], weights: list[float], kind: str, svd_rank: int | None
) -> tuple[tuple[LoraConfig, list[Hit]], list[tuple[Any, Any, Any]]]:
    """The configuration and the targets of a weighted sum of adapters, and the arrays A and B for each layer."""
    if len(names) != len(weights) or not names:
        raise ValueError(f"there are {len(names)} adapters and {len(weights)} weights: give each adapter one")
    if kind not in ("svd", "linear", "cat"):
        raise ValueError(f"combination_type is {kind!r}; expected 'svd', 'linear' or 'cat'")
    if not all(isinstance(config, LoraConfig) and not config.use_dora and not config.lora_bias for config in configs):
        raise ValueError("only adapters of LoRA, without use_dora and lora_bias, can be added to each other")
    layers = {hit.path: hit for name in names for hit in model.peft.hits[name]}
    ranks = [max(len(hit.module.factors(name)[0]) for hit in model.peft.hits[name]) for name in names]
    for weight in weights:
        number("a weight", weight, "a number, such as 0.5", math.isfinite)
    if svd_rank is not None:
        number("svd_rank", svd_rank, "a whole number, 1 or more", lambda r: r >= 1, is_whole)
    r = sum(ranks) if kind == "cat" else svd_rank or max(ranks) if kind == "svd" else max(ranks)
    found = []
    for hit in layers.values():
        layer: Any = hit.module
        terms = [
            (*(at_least_single(p.data).reshape(len(p), -1) for p in layer.factors(name)), weight * layer.scaling[name])
            for name, weight in zip(names, weights)
            if layer.has(name)
        ]
        if getattr(layer, "groups", 1) > 1:
            raise ValueError(f"{hit.path} is a convolution with {layer.groups} groups, whose adapters cannot be added")
        if kind == "linear" and len({len(a) for a, _, _ in terms}) > 1:
            raise ValueError(
                f"the ranks of {', '.join(names)} at {hit.path} are {[len(a) for a, _, _ in terms]}; 'linear' can add "
                "only equal ranks: type 'svd' or 'cat'"
            )
        found.append((layer, *padded(*COMBINED[kind](backend.of(layer.weight.data).xp, terms), r)))
    hits = [Hit("weighted sum", path, hit.module) for path, hit in layers.items()]
    more = {"rank_pattern": {}, "alpha_pattern": {}, "use_rslora": False, "bias": "none"}
    config = replace(configs[0], r=r, lora_alpha=r, target_modules=sorted(layers), exclude_modules=None, **more)
    return (replace(config, layers_to_transform=None, layers_pattern=None), hits), found


def padded(a: Any, b: Any, r: int) -> tuple[Any, Any]:
    """A (r, in) and B (out, r), padded with zeros if their rank is lower."""
    xp = backend.of(a).xp
    return xp.pad(a[:r], ((0, r - len(a[:r])), (0, 0))), xp.pad(b[:, :r], ((0, 0), (0, r - len(a[:r]))))


def concatenated(xp: Any, terms: list) -> tuple[Any, Any]:
    """The exact sum of w B A, by concatenating the factors."""
    return xp.concatenate([a * w for a, _, w in terms]), xp.concatenate([b for _, b, _ in terms], 1)


def decomposed(xp: Any, terms: list) -> tuple[Any, Any]:
    """The sum of w B A as factors from its singular value decomposition, in descending order."""
    u, s, v = xp.linalg.svd(sum(b @ a * w for a, b, w in terms), full_matrices=False)
    return v, u * s


def added(xp: Any, terms: list) -> tuple[Any, Any]:
    """The sums of √|w| A and of √|w| B, as `peft` computes them."""
    signs = [(math.sqrt(abs(w)) * (1 if w >= 0 else -1), math.sqrt(abs(w))) for _, _, w in terms]
    return (
        sum(a * one for (a, _, _), (one, _) in zip(terms, signs)),
        sum(b * two for (_, b, _), (_, two) in zip(terms, signs)),
    )


COMBINED = {"cat": concatenated, "svd": decomposed, "linear": added}
LAYERS: dict[type, type] = {
    Linear: LoRALinear,
    Embedding: LoRAEmbedding,
    **dict.fromkeys((Conv1d, Conv2d, Conv3d), LoRAConv),
}
