"""What models that read from left to right share: where tokens stand, what each may see, and which one sums up a text."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..backend import Array
from ..nn import KVCache, init
from ..tensor import Tensor
from .heads import causal_loss, classification_loss
from .inputs import as_given, host_array, padding_mask, token_ids
from .layers import linear
from .model import Config, PretrainedModel
from .outputs import CausalLMOutput, ClassifierOutput
from .text.generation import Generates


class Reading(NamedTuple):
    """What is read in one pass, and what every layer is told about it."""
    ids: Array                                  # (B, T)
    positions: np.ndarray                       # (B, T), or (1, T) if they are the same for all texts
    mask: Array | None                          # True where a token may be seen, broadcastable to (B, 1, T, S); None: all may
    is_causal: bool                             # besides, token t sees tokens 0 … t only
    caches: Sequence[KVCache | None]            # one for each layer

    @classmethod
    def of(cls, input_ids: Any, attention_mask: Any, position_ids: Any, past: Sequence[KVCache] | None, layers: int,
           longest: int | None) -> Reading:
        """From what users pass to `forward`; the ids continue what the caches hold, S tokens with them.

        Args:
            input_ids: (B, T).   attention_mask: (B, S), 1 for a token and 0 for padding.
            position_ids: (B, T); by default they count on from what the caches hold, paddings included.

        Raises:
            ValueError: a shape is wrong, or there are more than `longest` tokens.
        """
        ids = token_ids(input_ids, longest)
        (B, T), before = ids.shape, past[0].length if past else 0
        mask = padding_mask(attention_mask, (B, before + T))
        if before and T > 1:                    # several tokens after others: the triangle does not start in the corner
            allowed = backend.of(mask).xp.tri(T, before + T, before, dtype=bool)
            mask = allowed if mask is None else mask & allowed
        positions = np.arange(before, before + T)[None] if position_ids is None else host_array(position_ids)
        return cls(ids, positions, mask, T > 1 and not before, past or [None] * layers)


    def within(self, window: int | None) -> Reading:
        """The same, but that a token sees the last `window` alone, itself among them."""
        before, T = (self.caches[0].length if self.caches and self.caches[0] else 0), self.ids.shape[1]
        if window is None or before + T <= window:
            return self
        distance = np.arange(before, before + T)[:, None] - np.arange(before + T)
        allowed = backend.of(self.ids).xp.asarray((distance >= 0) & (distance < window))
        return self._replace(mask=allowed if self.mask is None else self.mask & allowed, is_causal=False)


class CausalLM(Generates, PretrainedModel):
    """A decoder with a linear layer that scores, for each token, what comes next.

    A family says what its `decoder_class` is and, in `tied`, which of its weights embeds the words; the decoder has the name
    that checkpoints give it, `layout.base`.
    """
    decoder_class: type[PretrainedModel]

    def __init__(self, config: Config, rng: init.Rng = None, drawn: bool = True):
        rng = init.generator(rng)
        self.config = config
        setattr(self, self.layout.base, self.decoder_class(config, rng, drawn=False))
        words = self.state_dict()[self.tied["lm_head.weight"]]
        self.lm_head = linear(*reversed(words.shape), bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = words
        if drawn:
            self.draw(list(self.state_dict()), rng)

    def forward(self, input_ids: Any, attention_mask: Any = None, labels: Any = None,
                past_key_values: Sequence[KVCache] | None = None, position_ids: Any = None,
                logits_to_keep: int = 0) -> CausalLMOutput:
        """Score the next tokens of a batch; the arguments are the decoder's, and:

        Args:
            labels: (B, T), the input ids themselves, -100 where none is to be learnt; they are shifted here.
            logits_to_keep: score the last so many tokens only; 0 means all.
        """
        decoder = getattr(self, self.layout.base)
        x = decoder(input_ids, attention_mask, past_key_values, position_ids).last_hidden_state
        logits = self.lm_head(x[:, -logits_to_keep:])
        return CausalLMOutput(causal_loss(logits, labels), logits, past_key_values)


class DecoderForSequenceClassification(PretrainedModel):
    """A decoder with a linear layer on the last token of each text that scores `config.num_labels` classes."""
    decoder_class: type[PretrainedModel]
    heads, label_layer = ("score.**",), "score"

    def __init__(self, config: Config, rng: init.Rng = None, drawn: bool = True):
        rng = init.generator(rng)
        self.config = config
        setattr(self, self.layout.base, self.decoder_class(config, rng, drawn=False))
        words = next(iter(self.state_dict().values()))
        self.score = linear(words.shape[1], config.num_labels, bias=False)
        if drawn:
            self.draw(list(self.state_dict()), rng)

    def forward(self, input_ids: Any, attention_mask: Any = None, labels: Any = None,
                position_ids: Any = None) -> ClassifierOutput:
        """Score a batch; the arguments are the decoder's, and `labels` (B,) of class numbers (floats for regression)."""
        decoder = getattr(self, self.layout.base)
        x = decoder(input_ids, attention_mask, position_ids=position_ids).last_hidden_state
        logits = self.score(last_token(x, as_given(input_ids), self.config.pad_token_id))
        return ClassifierOutput(classification_loss(logits, labels, self.config), logits)


def last_token(vectors: Tensor, ids: Array, pad_token_id: int | None) -> Tensor:
    """The vector (B, D) of the last token of each text that is no padding, of vectors (B, T, D).

    Raises:
        ValueError: a batch of several texts, and no padding token to tell where they end.
    """
    if pad_token_id is None and len(ids) > 1:
        raise ValueError("without a pad_token_id in the configuration nothing tells where the texts of a batch end: load the "
                         "model with pad_token_id=tokenizer.pad_token_id")
    if pad_token_id is None:
        return vectors[:, -1]
    xp = backend.of(ids).xp
    return vectors[xp.arange(len(ids)), (xp.arange(ids.shape[1]) * (ids != pad_token_id)).argmax(1)]
