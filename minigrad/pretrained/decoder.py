"""What decoders share: positions and masks of what is read, the forward pass, and the heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..backend import Array
from ..nn import KVCache
from ..tensor import Tensor
from .heads import causal_loss, classification_loss
from .inputs import as_given, host_array, padding_mask, token_ids
from .layers import linear
from .model import PretrainedModel
from .outputs import BaseOutput, CausalLMOutput, ClassifierOutput
from .text.generation import Generates


class Reading(NamedTuple):
    """The input of one forward pass, with what every layer needs to know about it."""

    ids: Array  # (B, T)
    positions: np.ndarray  # (B, T), or (1, T) if they are the same for all texts
    mask: Array | None  # True where attention is allowed, broadcastable to (B, 1, T, S); None: everywhere
    is_causal: bool  # besides, token t attends to tokens 0 … t only
    caches: Sequence[KVCache | None]  # one for each layer

    @classmethod
    def of(
        cls,
        input_ids: Any,
        attention_mask: Any,
        position_ids: Any,
        past: Sequence[KVCache] | None,
        layers: int,
        longest: int | None,
    ) -> Reading:
        """A reading from the arguments of `forward`; with the cached tokens before them, the ids are S tokens.

        Args:
            input_ids: (B, T).   attention_mask: (B, S), 1 for a token and 0 for padding.
            position_ids: (B, T); by default they continue those in the caches, padding included.

        Raises:
            ValueError: a shape is wrong, or there are more than `longest` tokens.
        """
        ids = token_ids(input_ids, longest)
        (B, T), before = ids.shape, past[0].length if past else 0
        mask = padding_mask(attention_mask, (B, before + T))
        if before and T > 1:  # the causal triangle starts after the cached tokens
            allowed = backend.of(mask).xp.tri(T, before + T, before, dtype=bool)
            mask = allowed if mask is None else mask & allowed
        positions = np.arange(before, before + T)[None] if position_ids is None else host_array(position_ids)
        return cls(ids, positions, mask, T > 1 and not before, past or [None] * layers)

    def within(self, window: int | None) -> Reading:
        """The same, but a token attends to the last `window` tokens only, itself included."""
        cache, T = self.caches[0] if self.caches else None, self.ids.shape[1]
        before = cache.length if cache else 0
        if window is None or before + T <= window:
            return self
        distance = np.arange(before, before + T)[:, None] - np.arange(before + T)
        allowed = backend.of(self.ids).xp.asarray((distance >= 0) & (distance < window))
        return self._replace(mask=allowed if self.mask is None else self.mask & allowed, is_causal=False)


class Decoder(PretrainedModel):
    """Token ids in, a vector for each token out, computed from the tokens up to it; families add `stack` and `read`."""

    stack: Any  # the layers, in order

    def read(self, reading: Reading) -> Tensor:
        """The vectors (B, T, D) of the tokens."""
        raise NotImplementedError(f"{type(self).__name__} has no read")

    def forward(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        past_key_values: Sequence[KVCache] | None = None,
        position_ids: Any = None,
    ) -> BaseOutput:
        """Read a batch.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, S), 1 for a token and 0 for padding, S = T + the cached tokens; all ones by default.
            past_key_values: a KVCache for each layer, with the tokens read before; these tokens are added to it.
            position_ids: (B, T); by default they continue the cached ones.

        Raises:
            ValueError: a shape is wrong, or T is more than the model reads.
            IndexError: an id is not in the vocabulary, or a learnt position is beyond the last.
        """
        reading = Reading.of(
            input_ids, attention_mask, position_ids, past_key_values, len(self.stack), self.config.longest
        )
        return BaseOutput(self.read(reading), past_key_values=past_key_values)


class CausalLM(Generates):
    """A decoder with a linear layer that scores, for each token, the next one.

    A family sets `decoder_class` and, in `tied`, the name of the weight that embeds the tokens; the decoder has the
    name that checkpoints give it, `layout.base`.
    """

    decoder_class: type[PretrainedModel]

    def build(self, c: Any, rng: np.random.Generator) -> None:
        setattr(self, self.layout.base, self.decoder_class(c, rng, drawn=False))
        words: Any = self.state_dict()[self.tied["lm_head.weight"]]  # a Parameter
        self.lm_head = linear(*reversed(words.shape), bias=False)
        if c.tie_word_embeddings:
            self.lm_head.weight = words

    def new_cache(self, max_len: int) -> list[KVCache]:
        """An empty cache for each layer, with room for `max_len` tokens."""
        return [KVCache(max_len) for _ in self.base_model.stack]

    def forward(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        labels: Any = None,
        past_key_values: Sequence[KVCache] | None = None,
        position_ids: Any = None,
        logits_to_keep: int = 0,
    ) -> CausalLMOutput:
        """Score the next tokens of a batch; arguments as for the decoder, and `labels`.

        Args:
            labels: (B, T), the input ids themselves, or -100 where the loss ignores one; they are shifted here.
            logits_to_keep: score this many tokens, the last ones; 0 means all.
        """
        x = self.base_model(input_ids, attention_mask, past_key_values, position_ids).last_hidden_state
        logits = self.token_logits(x[:, -logits_to_keep:])
        return CausalLMOutput(causal_loss(logits, labels), logits, past_key_values)

    def token_logits(self, x: Tensor) -> Tensor:
        """The scores (…, vocabulary) of each next token after tokens with the vectors x, (…, D)."""
        return self.lm_head(x)


class DecoderForSequenceClassification(PretrainedModel):
    """A decoder with a linear layer on the last token of each text that scores `config.num_labels` classes."""

    decoder_class: type[PretrainedModel]
    heads, label_layer = ("score.**",), "score"

    def build(self, c: Any, rng: np.random.Generator) -> None:
        setattr(self, self.layout.base, self.decoder_class(c, rng, drawn=False))
        words = next(iter(self.state_dict().values()))
        self.score = linear(words.shape[1], c.label_count, bias=False)

    def forward(
        self, input_ids: Any, attention_mask: Any = None, labels: Any = None, position_ids: Any = None
    ) -> ClassifierOutput:
        """Score a batch; the arguments are the decoder's, and `labels` (B,), class numbers or floats for regression."""
        x = self.base_model(input_ids, attention_mask, position_ids=position_ids).last_hidden_state
        logits = self.score(last_token(x, as_given(input_ids), self.config.pad_token_id))
        return ClassifierOutput(classification_loss(logits, labels, self.config), logits)


def last_token(vectors: Tensor, ids: Array, pad_token_id: int | None) -> Tensor:
    """The vector (B, D) of each text's last token that is not padding, among vectors (B, T, D).

    Raises:
        ValueError: there are several texts, and no padding token shows where they end.
    """
    if pad_token_id is None and len(ids) > 1:
        raise ValueError(
            "without a pad_token_id in the configuration nothing tells where the texts of a batch end: "
            "load the model with pad_token_id=tokenizer.pad_token_id"
        )
    if pad_token_id is None:
        return vectors[:, -1]
    xp = backend.of(ids).xp
    return vectors[xp.arange(len(ids)), (xp.arange(ids.shape[1]) * (ids != pad_token_id)).argmax(1)]
