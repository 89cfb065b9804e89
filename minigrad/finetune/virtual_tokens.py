"""Virtual tokens: prompt tuning (Lester et al. 2021) and prefix tuning (Li & Liang 2021).

Prompt tuning trains embeddings that are prepended to those of the tokens; prefix tuning trains keys and values that are
prepended in every layer.  The model is frozen.  Its outputs are those of the given tokens: the positions of virtual
tokens are removed.
"""

from __future__ import annotations

import inspect
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from .. import backend, ops
from ..errors import is_whole
from ..nn import KVCache, Module, Parameter, init
from ..pretrained.inputs import as_given, host_array, token_ids
from ..tensor import Tensor
from .config import Hit, PeftConfig, number
from .layer import AdapterLayer, like
from .names import PREFIXES
from .targets import paths_of

STARTS = "RANDOM", "SAMPLE_VOCAB", "TEXT"


@dataclass
class PromptLearningConfig(PeftConfig):
    """The options that both methods share.

    Args:
        num_virtual_tokens: the number of virtual tokens.
        token_dim, num_layers, num_attention_heads, num_transformer_submodules: the sizes of the model, which are taken
            from it if they are None.
    """

    num_virtual_tokens: int = 0
    token_dim: int | None = None
    num_transformer_submodules: int | None = None
    num_attention_heads: int | None = None
    num_layers: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        n, expected = self.num_virtual_tokens, "a whole number, 1 or more, such as 20"
        self.num_virtual_tokens = number("num_virtual_tokens", n, expected, lambda n: n >= 1, is_whole)

    def stored(self, path: str, part: str) -> str:
        return part

    def in_file(self, name: str) -> str:
        return name if name == Prompted.parts[0] else f"{PREFIXES[1]}{name}"

    def hits(self, model: Module, strict: bool) -> list[Hit]:
        """The part of the model whose inputs the virtual tokens precede.  Raises ValueError if there is none."""
        able = {path: m for path, m in paths_of(model).items() if isinstance(m, tuple(hosts(type(self))))}
        wanted = "encoder" if isinstance(self, PromptTuningConfig) else "decoder"  # of T5, which has both
        path = wanted if wanted in able else next((path for path in able if path not in PARTS), None)
        if path is None:
            raise ValueError(
                f"{type(self).__name__} needs a model of texts with a head and with {WITH[wanted]}, such as those of "
                f"AutoModelForCausalLM, not {type(model).__name__}: LoraConfig suits every model"
            )
        these = [path, *(["decoder"] if path == "encoder" and "decoder" in able else [])]
        return [Hit(f"{self.num_virtual_tokens} virtual tokens", path, able[path]) for path in these]

    def add(self, model: Module, hit: Hit, name: str, rng: Any) -> None:
        """Add the adapter `name` to the model, and the model's sizes to the configuration."""
        if hit.path == "decoder" and isinstance(self, PromptTuningConfig):
            PromptedSource.of(hit.module).virtual_tokens[name] = self.num_virtual_tokens
            return
        kind = next(layer for kind, layer in hosts(type(self)).items() if isinstance(hit.module, kind))
        host, c = kind.of(hit.module), vars(model)["config"]
        for entry, size in self.sizes(c).items():
            if getattr(self, entry) not in (None, size):
                raise ValueError(f"{entry} is {getattr(self, entry)} in the configuration; this model has {size}")
            setattr(self, entry, size)
        if isinstance(host, PromptedEncoder):
            host.reads_first[name] = isinstance(model, of_whole_texts())
        host.prompt_embeddings[name] = p = like(words_of(host), init.empty(*self.shape()).data)
        if rng is not init.LATER:
            self.draw(p, host, rng)

    def sizes(self, c: Any) -> dict[str, int]:
        """The sizes of the model by the names of the options."""
        heads = first_of(c, "num_attention_heads", "n_head", "num_heads", "n_heads")
        return {
            "token_dim": first_of(c, "hidden_size", "n_embd", "d_model", "dim"),
            "num_layers": first_of(c, "num_hidden_layers", "n_layer", "num_layers", "n_layers"),
            "num_attention_heads": heads,
            "num_transformer_submodules": 2 if c.model_type == "t5" else 1,
        }

    def shape(self) -> tuple[int, int]:
        """The shape of the trained array."""
        raise NotImplementedError

    def draw(self, p: Parameter, host: Any, rng: np.random.Generator) -> None:
        """Initialise the trained array."""
        init.normal_(p, rng=rng)


PARTS = "encoder", "decoder"
WITH = {"encoder": "an encoder or a decoder", "decoder": "a decoder, BERT or RoBERTa"}


@dataclass
class PromptTuningConfig(PromptLearningConfig):
    """Options of prompt tuning, under the names of `peft`.

    Args:
        prompt_tuning_init: the initial embeddings: "RANDOM" from the normal distribution, "SAMPLE_VOCAB" those of
            tokens drawn from the vocabulary, "TEXT" those of `prompt_tuning_init_text`, repeated or truncated.
        tokenizer_name_or_path: the directory of the tokenizer for that text.
    """

    peft_type: ClassVar[str] = "PROMPT_TUNING"

    prompt_tuning_init: str = "RANDOM"
    prompt_tuning_init_text: str | None = None
    tokenizer_name_or_path: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.prompt_tuning_init = str(getattr(self.prompt_tuning_init, "value", self.prompt_tuning_init))
        if self.prompt_tuning_init not in STARTS:
            raise ValueError(
                f"prompt_tuning_init is {self.prompt_tuning_init!r}; expected one of {', '.join(map(repr, STARTS))}"
            )
        if self.prompt_tuning_init == "TEXT" and not (self.prompt_tuning_init_text and self.tokenizer_name_or_path):
            raise ValueError('prompt_tuning_init="TEXT" needs prompt_tuning_init_text and tokenizer_name_or_path')

    def shape(self):
        return self.num_virtual_tokens * (self.num_transformer_submodules or 1), self.token_dim or 0

    def draw(self, p, host, rng):
        words = words_of(host).weight
        if self.prompt_tuning_init == "RANDOM":
            init.normal_(p, rng=rng)
            return
        if self.prompt_tuning_init == "SAMPLE_VOCAB":
            ids = rng.integers(0, len(words), len(p))
        else:
            from ..pretrained import AutoTokenizer

            source: Any = self.tokenizer_name_or_path
            text: Any = self.prompt_tuning_init_text
            ids = np.resize(AutoTokenizer.from_pretrained(source)(text, add_special_tokens=False)["input_ids"], len(p))
        p.copy_(words.data[backend.of(words.data).xp.asarray(ids)])


@dataclass
class PrefixTuningConfig(PromptLearningConfig):
    """Options of prefix tuning, under the names of `peft`.

    Args:
        init_weights: "zero" initialises with zeros, None from the normal distribution.
    """

    peft_type: ClassVar[str] = "PREFIX_TUNING"

    init_weights: str | None = None
    encoder_hidden_size: int | None = None
    prefix_projection: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.init_weights not in (None, "zero"):
            raise ValueError(f"init_weights is {self.init_weights!r}; expected None or 'zero'")

    def hits(self, model: Module, strict: bool) -> list[Hit]:
        """The decoder.  Raises ValueError if the model has none, or if prefix_projection is set."""
        if strict and self.prefix_projection:
            raise ValueError("prefix_projection=True is not supported: leave it out, to train the prefix itself")
        return super().hits(model, strict)

    def sizes(self, c):
        sizes = super().sizes(c)
        if hasattr(c, "kv_heads"):  # grouped-query attention has fewer heads of keys
            sizes |= {"num_attention_heads": c.kv_heads, "token_dim": c.kv_heads * c.size_of_head}
        return sizes

    def shape(self):
        return self.num_virtual_tokens, 2 * (self.num_layers or 0) * (self.token_dim or 0)

    def draw(self, p, host, rng):
        init.zeros_(p) if self.init_weights == "zero" else init.normal_(p, rng=rng)


def first_of(c: Any, *names: str) -> int:
    """The value of the first of these entries that a configuration has."""
    return next(getattr(c, name) for name in names if hasattr(c, name))


def words_of(host: Any) -> Any:
    """The layer that embeds the tokens of a host."""
    holder = getattr(host, "embeddings", host)
    return next(getattr(holder, name) for name in ("word_embeddings", "wte", "embed_tokens") if hasattr(holder, name))


class Prompted(AdapterLayer):
    """A part of a model that prepends vectors to its inputs."""

    parts = ("prompt_embeddings",)
    prompt_embeddings: dict[str, Parameter]  # (virtual tokens, features)

    def merge(self, names: tuple[str, ...]) -> None:
        if any(self.has(name) for name in names):
            raise ValueError("virtual tokens are not a change of a weight: they cannot be merged")

    @property
    def prompts(self) -> Any:
        """The vectors of the active adapters, (virtual tokens, features); None if there are none."""
        acting = [self.prompt_embeddings[name] for name in self.acting]
        return ops.concatenate(acting, 0) if len(acting) > 1 else acting[0] if acting else None

    def before(self, prompts: Any) -> Any:
        """A context in which the prompts replace the embeddings of the first tokens."""
        return words_of(self).register_forward_hook(lambda module, args, y: in_front(prompts, y[:, len(prompts) :]))


def in_front(vectors: Any, y: Any) -> Any:
    """Prepend the same vectors (n, D) to those of each text, (B, T, D)."""
    return ops.concatenate([ops.broadcast_to(ops.astype(vectors, y.dtype), (len(y), *vectors.shape)), y], 1)


def check_room(host: Any, n: int, ids: Any, caches: Any = None) -> None:
    """Raise ValueError if the tokens, those in caches and n virtual ones are more than the model reads."""
    cached = caches[0].length if caches else 0
    given, longest = as_given(ids).shape[1] + cached, getattr(host.config, "longest", None)
    if longest is not None and given + n > longest:
        raise ValueError(
            f"{given} tokens with {n} virtual ones before them are {given + n}, but this model reads at most "
            f"{longest}: call the tokenizer with max_length={longest - n}, or write fewer tokens"
        )


def longer(n: int, given: Any, value: int) -> Any:
    """An array (B, T) as (B, n + T), with `value` in the new columns; None stays None."""
    if given is None:
        return None
    given = as_given(given)
    xp = backend.of(given).xp
    return xp.concatenate([xp.full((len(given), n), value, given.dtype), given], 1)


def later(n: int, positions: Any, is_first: bool) -> Any:
    """Positions (B, T) shifted by n, and preceded by 0 … n - 1 in the first call; None stays None."""
    if positions is None:
        return None
    positions = host_array(positions) + n
    if not is_first:
        return positions
    return np.concatenate([np.broadcast_to(np.arange(n), (len(positions), n)), positions], 1)


def no_padding(host: Any) -> int:
    """An id other than that of padding, for tokens whose embeddings are replaced."""
    return 1 if getattr(host.config, "pad_token_id", None) == 0 else 0


class PromptedEncoder(Prompted):
    """An encoder such as BERT's with prepended embeddings; its pooled output is that of the first position.

    A head that scores whole texts reads the first position, so virtual tokens are not removed from its inputs; other
    heads score each token.
    """

    parts = "prompt_embeddings", "reads_first"
    reads_first: dict[str, bool]

    def forward(self, input_ids: Any, attention_mask: Any = None, *more: Any, **named: Any) -> Any:
        if (prompts := self.prompts) is None:
            return super().forward(input_ids, attention_mask, *more, **named)
        n = len(prompts)
        check_room(self, n, token_ids(input_ids))
        named |= dict(zip([*inspect.signature(self.plain.forward).parameters][3:], more))
        if named.get("token_type_ids") is not None:
            named["token_type_ids"] = longer(n, named["token_type_ids"], 0)
        if named.get("position_ids") is not None:
            named["position_ids"] = later(n, named["position_ids"], True)
        ids = longer(n, token_ids(input_ids), no_padding(self))
        with self.before(prompts):
            out = super().forward(ids, longer(n, attention_mask, 1), **named)
        if not any(self.reads_first[name] for name in self.acting):
            out.last_hidden_state = out.last_hidden_state[:, n:]
        return out


class PromptedDecoder(Prompted):
    """A decoder with prepended embeddings; a cache holds the tokens and, apart, the keys and values of virtual ones."""

    def forward(
        self, input_ids: Any, attention_mask: Any = None, past_key_values: Any = None, position_ids: Any = None
    ) -> Any:
        if (prompts := self.prompts) is None:
            return super().forward(input_ids, attention_mask, past_key_values, position_ids)
        n, ids, mask = len(prompts), token_ids(input_ids), longer(len(prompts), attention_mask, 1)
        check_room(self, n, ids, past_key_values)
        if past_key_values and past_key_values[0].length:
            caches = [PrefixedCache(cache, *cache.before) for cache in past_key_values]
            out = super().forward(ids, mask, caches, later(n, position_ids, False))
        else:
            caches = past_key_values and [NewCache(cache, n) for cache in past_key_values]
            with self.before(prompts):
                out = super().forward(longer(n, ids, no_padding(self)), mask, caches, later(n, position_ids, True))
            out.last_hidden_state = out.last_hidden_state[:, n:]
        out.past_key_values = past_key_values
        return out


class PromptedStack(Prompted):
    """The encoder of T5 with prepended embeddings, which the decoder attends to as well."""

    def forward(self, ids: Any, mask: Any, *more: Any, **named: Any) -> Any:
        if (prompts := self.prompts) is None:
            return super().forward(ids, mask, *more, **named)
        prompts = prompts[: len(prompts) // 2]  # the other half is for a decoder, and unused, as in `peft`
        n = len(prompts)
        with self.before(prompts):
            return super().forward(longer(n, ids, 1), longer(n, mask, 1), *more, **named)


class PromptedSource(AdapterLayer):
    """The decoder of T5, whose mask of the source is extended by the virtual tokens."""

    parts = ("virtual_tokens",)
    virtual_tokens: dict[str, int]

    def forward(self, ids: Any, mask: Any, source: Any = None, source_mask: Any = None, caches: Any = None) -> Any:
        n = sum(self.virtual_tokens[name] for name in self.acting)
        return super().forward(ids, mask, source, longer(n, source_mask, 1), caches)


class Prefixed(Prompted):
    """A model with prepended keys and values in every layer, trained as (virtual tokens, 2 · layers · size)."""

    def keys_and_values(self, prompts: Any, layers: int, heads: int, step: int) -> list[tuple[Any, Any]]:
        """The keys and values of each layer, (1, heads, virtual tokens, size): parts `step` · i and `step` · i + 1."""
        parts = ops.transpose(ops.reshape(prompts, (len(prompts), 2 * layers, heads, -1)), (1, 2, 0, 3))
        at = [step * i % (2 * layers) for i in range(layers)]
        return [(parts[i : i + 1], parts[i + 1 : i + 2]) for i in at]


class PrefixedDecoder(Prefixed):
    """A decoder with a prefix."""

    def forward(
        self, input_ids: Any, attention_mask: Any = None, past_key_values: Any = None, position_ids: Any = None
    ) -> Any:
        if (prompts := self.prompts) is None:
            return super().forward(input_ids, attention_mask, past_key_values, position_ids)
        host: Any = self
        n, layers, c = len(prompts), len(host.stack), host.config
        check_room(host, n, token_ids(input_ids), past_key_values)
        heads = getattr(c, "kv_heads", None) or first_of(c, "num_attention_heads", "n_head")
        pairs = self.keys_and_values(prompts, layers, heads, 2)
        caches = [PrefixedCache(cache, *pair) for cache, pair in zip(past_key_values or [None] * layers, pairs)]
        out = super().forward(input_ids, longer(n, attention_mask, 1), caches, later(n, position_ids, False))
        out.past_key_values = past_key_values
        return out


class PrefixedEncoder(Prefixed):
    """BERT or RoBERTa with a prefix in every layer; the positions of the tokens start after it."""

    def forward(self, input_ids: Any, attention_mask: Any = None, *more: Any, **named: Any) -> Any:
        if (prompts := self.prompts) is None:
            return super().forward(input_ids, attention_mask, *more, **named)
        host: Any = self
        n, layers, ids = len(prompts), host.encoder.layer, token_ids(input_ids)
        check_room(host, n, ids)
        named |= dict(zip([*inspect.signature(self.plain.forward).parameters][3:], more))
        given = named.get("position_ids")
        named["position_ids"] = host.positions(ids) + n if given is None else later(n, given, False)
        parts = ops.reshape(prompts, (n, 2 * len(layers), -1))
        with ExitStack() as hooks:
            for i, layer in enumerate(layers):
                attention = layer.attention.self
                hooks.enter_context(attention.register_forward_pre_hook(partial(all_seen, n)))
                for at, part in enumerate((attention.key, attention.value), 2 * i):
                    put = partial(lambda vectors, module, args, y: in_front(vectors, y), parts[:, at])
                    hooks.enter_context(part.register_forward_hook(put))
            return super().forward(ids, attention_mask, **named)


def all_seen(n: int, module: Any, args: tuple) -> tuple:
    """The arguments of an attention: x, and the mask (B, 1, 1, T) extended by n prepended keys that all attend to."""
    x, mask = args
    if mask is None:
        return args
    xp = backend.of(mask).xp
    return x, xp.concatenate([xp.ones((*mask.shape[:-1], n), bool), mask], -1)


class PrefixedStack(Prefixed):
    """The decoder of T5 with a prefix for its self-attention."""

    def forward(self, ids: Any, mask: Any, source: Any = None, source_mask: Any = None, caches: Any = None) -> Any:
        if (prompts := self.prompts) is None:
            return super().forward(ids, mask, source, source_mask, caches)
        host: Any = self
        n, layers = len(prompts), len(host.block)
        # `peft` has four parts for each layer, of which the two for cross-attention are unused.
        pairs = self.keys_and_values(prompts, layers, host.block[0].layer[0].SelfAttention.heads, 4)
        caches = list(caches or [None] * 2 * layers)
        caches[::2] = [PrefixedCache(cache, *pair) for cache, pair in zip(caches[::2], pairs)]
        return super().forward(ids, longer(n, mask, 1), source, source_mask, caches)


class PrefixedCache:
    """A cache for one layer, whose keys and values follow a prefix (1, heads, n, d)."""

    def __init__(self, cache: KVCache | None, keys: Any, values: Any):
        self.cache, self.keys, self.values = cache, keys, values
        self.max_len = cache.max_len if cache else 0

    @property
    def length(self) -> int:
        """The number of keys."""
        return self.keys.shape[2] + (self.cache.length if self.cache else 0)

    def extend(self, k: Any, v: Any) -> tuple[Any, Any]:
        """As of a KVCache."""
        if self.cache is not None:
            k, v = self.cache.extend(k, v)
        return self.joined(self.keys, k), self.joined(self.values, v)

    @staticmethod
    def joined(first: Any, x: Any) -> Any:
        """Both, concatenated along the tokens."""
        first = first if isinstance(first, Tensor) else Tensor(first)
        shape = (*x.shape[:2], *first.shape[2:])
        return ops.concatenate([ops.broadcast_to(ops.astype(first, x.dtype), shape), x], 2)


class NewCache:
    """An empty cache for one layer, which stores the first n keys and values, those of virtual tokens, apart."""

    length = 0

    def __init__(self, cache: KVCache, n: int):
        self.cache, self.n = cache, n

    def extend(self, k: Any, v: Any) -> tuple[Any, Any]:
        """As of a KVCache."""
        cache: Any = self.cache
        cache.before = tuple(x.data[:1, :, : self.n].copy() for x in (k, v))  # equal for every text
        cache.extend(k[:, :, self.n :], v[:, :, self.n :])
        return k, v


def hosts(kind: type) -> dict[type, type]:
    """The parts of models that can have virtual tokens or, for PrefixTuningConfig, a prefix, and their new classes."""
    from ..pretrained.bert import BertModel
    from ..pretrained.decoder import Decoder
    from ..pretrained.distilbert import DistilBertModel
    from ..pretrained.t5 import Stack

    if kind is PrefixTuningConfig:
        return {BertModel: PrefixedEncoder, Decoder: PrefixedDecoder, Stack: PrefixedStack}
    return {
        BertModel: PromptedEncoder,
        DistilBertModel: PromptedEncoder,
        Decoder: PromptedDecoder,
        Stack: PromptedStack,
    }


def of_whole_texts() -> tuple[type, ...]:
    """The models whose head reads the first position of an encoder."""
    from ..pretrained.bert import BertForSequenceClassification
    from ..pretrained.distilbert import DistilBertForSequenceClassification
    from ..pretrained.roberta import RobertaForSequenceClassification

    return BertForSequenceClassification, DistilBertForSequenceClassification, RobertaForSequenceClassification
