"""What models return: records of Tensors.  What was not asked for, or what a family does not have, is None."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..tensor import Tensor


@dataclass
class BaseOutput:
    """Of a model without a head: a vector for each token, (B, T, hidden), and maybe one for the whole, (B, hidden)."""
    last_hidden_state: Tensor
    pooler_output: Tensor | None = None
    past_key_values: Any = None                 # decoders: the cache that was passed in, with these tokens in it
    encoder_last_hidden_state: Tensor | None = None


@dataclass
class ClassifierOutput:
    """Scores `logits`, (B, classes) or for each token (B, T, classes), and, if labels were given, the mean `loss`."""
    loss: Tensor | None
    logits: Tensor


@dataclass
class CausalLMOutput:
    """Scores `logits` (B, T, vocabulary) of the token that comes next."""
    loss: Tensor | None
    logits: Tensor
    past_key_values: Any = None


@dataclass
class QuestionAnsweringOutput:
    """Scores (B, T) of each token as the first and as the last of the answer."""
    loss: Tensor | None
    start_logits: Tensor
    end_logits: Tensor


@dataclass
class Seq2SeqOutput:
    """Scores `logits` (B, T, vocabulary) of the token that comes next, and what the encoder found, (B, S, hidden)."""
    loss: Tensor | None
    logits: Tensor
    past_key_values: Any = None
    encoder_last_hidden_state: Tensor | None = None
