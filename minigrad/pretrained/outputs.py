"""What models return: records of Tensors.  What was not asked for, or what a family does not have, is None."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..tensor import Tensor


@dataclass(kw_only=True)
class Seen:
    """What every model returns besides, if output_hidden_states or output_attentions asks for it.

    `hidden_states` are those before, between and after the layers; `attentions` the weights (B, heads, T, S) of each
    layer.  An encoder–decoder has those of its two parts, and of the decoder's look at the encoder.
    """

    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    encoder_hidden_states: tuple[Tensor, ...] | None = None
    encoder_attentions: tuple[Tensor, ...] | None = None
    decoder_hidden_states: tuple[Tensor, ...] | None = None
    decoder_attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None


@dataclass
class BaseOutput(Seen):
    """Of a model without a head: a vector for each token, (B, T, hidden), and maybe one for the whole, (B, hidden)."""

    last_hidden_state: Tensor
    pooler_output: Tensor | None = None
    past_key_values: Any = None  # decoders: the cache that was passed in, with these tokens in it
    encoder_last_hidden_state: Tensor | None = None


@dataclass
class ClassifierOutput(Seen):
    """Scores `logits`, (B, classes) or for each token (B, T, classes), and, if labels were given, the mean `loss`."""

    loss: Tensor | None
    logits: Tensor


@dataclass
class CausalLMOutput(Seen):
    """Scores `logits` (B, T, vocabulary) of the token that comes next."""

    loss: Tensor | None
    logits: Tensor
    past_key_values: Any = None


@dataclass
class QuestionAnsweringOutput(Seen):
    """Scores (B, T) of each token as the first and as the last of the answer."""

    loss: Tensor | None
    start_logits: Tensor
    end_logits: Tensor


@dataclass
class MaskedImageModelingOutput(Seen):
    """Pictures `reconstruction` (N, channels, H, W), and the mean `loss` of their masked patches."""

    loss: Tensor | None
    reconstruction: Tensor


@dataclass
class Seq2SeqOutput(Seen):
    """Scores `logits` (B, T, vocabulary) of the token that comes next, and what the encoder found, (B, S, hidden)."""

    loss: Tensor | None
    logits: Tensor
    past_key_values: Any = None
    encoder_last_hidden_state: Tensor | None = None
