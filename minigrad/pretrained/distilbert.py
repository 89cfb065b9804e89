"""DistilBERT (Sanh et al. 2019): half of BERT's layers, without token types and pooler, under names of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backend
from .. import functional as F
from ..nn import Dropout, Group, LayerNorm, Module
from ..nn.attention import merge_heads, split_heads
from ..nn.layers import activated
from ..tensor import Tensor
from . import seen
from .blocks import Blocks
from .checkpoint.layout import Layout
from .config import Config
from .heads import answer_span, classification_loss, token_loss
from .inputs import padding_mask, token_ids
from .layers import activation, embedding, linear
from .model import PretrainedModel
from .outputs import BaseOutput, ClassifierOutput, QuestionAnsweringOutput

EPS = 1e-12  # of every LayerNorm; not in the configuration


@dataclass
class DistilBertConfig(Config):
    """DistilBERT's sizes, under their names in config.json."""

    model_type = "distilbert"
    vocab_size: int = 30522
    dim: int = 768
    n_layers: int = 6
    n_heads: int = 12
    hidden_dim: int = 3072
    max_position_embeddings: int = 512
    pad_token_id: int | None = 0
    activation: str = "gelu"
    initializer_range: float = 0.02
    dropout: float = 0.1
    attention_dropout: float = 0.1
    qa_dropout: float = 0.1
    seq_classif_dropout: float = 0.2
    tie_word_embeddings: bool = True

    def __post_init__(self):
        super().__post_init__()
        if self.dim % self.n_heads:
            raise ValueError(f"dim {self.dim} is not a multiple of n_heads {self.n_heads}")
        activation(self.activation, "activation")

    @property
    def longest(self) -> int:
        return self.max_position_embeddings


class Embeddings(Module):
    """Word and position embeddings, added and normalised: (B, T, D)."""

    def __init__(self, c: DistilBertConfig, rng: np.random.Generator):
        self.word_embeddings = embedding(c.vocab_size, c.dim, c.pad_token_id)
        self.position_embeddings = embedding(c.max_position_embeddings, c.dim)
        self.LayerNorm, self.dropout = LayerNorm(c.dim, EPS), Dropout(c.dropout, rng=rng)

    def forward(self, ids, positions):
        return self.dropout(self.LayerNorm(self.word_embeddings(ids) + self.position_embeddings(positions)))


class Attention(Module):
    """Multi-head self-attention, with its output projection."""

    def __init__(self, c: DistilBertConfig, rng: np.random.Generator):
        self.heads, self.p, self.rng = c.n_heads, c.attention_dropout, rng
        self.q_lin, self.k_lin, self.v_lin, self.out_lin = (linear(c.dim, c.dim) for _ in range(4))

    def forward(self, x, mask):  # (B, T, D), (B, 1, 1, T)
        q, k, v = (split_heads(part(x), self.heads) for part in (self.q_lin, self.k_lin, self.v_lin))
        found = seen.attention(q, k, v, mask, self.p if self.training else 0.0, rng=self.rng)
        return self.out_lin(merge_heads(found))


class Layer(Module):
    """One layer of the encoder, post-norm: attention, then the feed-forward network."""

    def __init__(self, c: DistilBertConfig, rng: np.random.Generator):
        self.attention, self.sa_layer_norm = Attention(c, rng), LayerNorm(c.dim, EPS)
        self.ffn = Group(lin1=linear(c.dim, c.hidden_dim), lin2=linear(c.hidden_dim, c.dim))
        self.output_layer_norm = LayerNorm(c.dim, EPS)
        self.activation, self.dropout = activation(c.activation), Dropout(c.dropout, rng=rng)

    def forward(self, x, mask):
        x = self.sa_layer_norm(self.attention(x, mask) + x)
        return self.output_layer_norm(self.dropout(self.ffn.lin2(activated(self.ffn.lin1, self.activation, x))) + x)


class DistilBertModel(PretrainedModel):
    """The encoder: token ids in, a vector for each token out."""

    config_class, layout = DistilBertConfig, Layout(drop=("**.position_ids",), base="distilbert")
    blocks = Blocks(
        "transformer.layer",
        depth="n_layers",
        width="hidden_dim",
        expand=("ffn.lin1",),
        contract="ffn.lin2",
        attention="attention",
        project=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        merge="attention.out_lin",
    )

    def build(self, c: DistilBertConfig, rng: np.random.Generator) -> None:
        self.embeddings = Embeddings(c, rng)
        self.transformer = Group(layer=[Layer(c, rng) for _ in range(c.n_layers)])

    def forward(self, input_ids: Any, attention_mask: Any = None, position_ids: Any = None) -> BaseOutput:
        """Encode a batch.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, T), 1 for a token and 0 for padding; all ones by default.
            position_ids: (B, T), 0 … T - 1 by default.

        Raises:
            ValueError: a shape is wrong, or T is more than max_position_embeddings.
            IndexError: an id is not in the vocabulary.
        """
        ids = token_ids(input_ids, self.config.longest)
        positions = backend.of(ids).xp.arange(ids.shape[1])[None] if position_ids is None else position_ids
        x, mask = seen.state(self.embeddings(ids, positions)), padding_mask(attention_mask, ids.shape)
        for layer in self.transformer.layer:
            x = seen.state(layer(x, mask))
        return BaseOutput(x)


class DistilBertHead(PretrainedModel):
    """What the models below share: an encoder, and a head that `add_head` makes."""

    config_class, layout = DistilBertConfig, DistilBertModel.layout

    def build(self, c: DistilBertConfig, rng: np.random.Generator) -> None:
        self.distilbert = DistilBertModel(c, rng, drawn=False)
        self.add_head(c, rng)

    def add_head(self, c: DistilBertConfig, rng: np.random.Generator) -> None:
        """Make the head."""
        raise NotImplementedError(f"{type(self).__name__} has no add_head")


class DistilBertForSequenceClassification(DistilBertHead):
    """DistilBERT with two layers on the first token that score `config.num_labels` classes."""

    heads, label_layer = ("pre_classifier.**", "classifier.**"), "classifier"

    def add_head(self, c, rng):
        self.pre_classifier, self.classifier = linear(c.dim, c.dim), linear(c.dim, c.label_count)
        self.dropout = Dropout(c.seq_classif_dropout, rng=rng)

    def forward(
        self, input_ids: Any, attention_mask: Any = None, position_ids: Any = None, labels: Any = None
    ) -> ClassifierOutput:
        """Score a batch; arguments as for DistilBertModel, and `labels` (B,), class numbers or, to regress, floats."""
        x = self.distilbert(input_ids, attention_mask, position_ids).last_hidden_state
        logits = self.classifier(self.dropout(F.relu(self.pre_classifier(x[:, 0]))))
        return ClassifierOutput(classification_loss(logits, labels, self.config), logits)


class DistilBertForTokenClassification(DistilBertHead):
    """DistilBERT with a linear layer that scores `config.num_labels` classes for each token."""

    heads, label_layer = ("classifier.**",), "classifier"

    def add_head(self, c, rng):
        self.dropout, self.classifier = Dropout(c.dropout, rng=rng), linear(c.dim, c.label_count)

    def forward(
        self, input_ids: Any, attention_mask: Any = None, position_ids: Any = None, labels: Any = None
    ) -> ClassifierOutput:
        """Score each token; arguments as for DistilBertModel, and `labels` (B, T) of class numbers, -100 to ignore."""
        x = self.distilbert(input_ids, attention_mask, position_ids).last_hidden_state
        logits = self.classifier(self.dropout(x))
        return ClassifierOutput(token_loss(logits, labels), logits)


class DistilBertForQuestionAnswering(DistilBertHead):
    """DistilBERT with a linear layer that scores each token as the first, and as the last, of the answer."""

    heads = ("qa_outputs.**",)

    def add_head(self, c, rng):
        self.dropout, self.qa_outputs = Dropout(c.qa_dropout, rng=rng), linear(c.dim, 2)

    def forward(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        position_ids: Any = None,
        start_positions: Any = None,
        end_positions: Any = None,
    ) -> QuestionAnsweringOutput:
        """Find the answer; the arguments are DistilBertModel's, and where it starts and ends, token numbers (B,)."""
        x = self.distilbert(input_ids, attention_mask, position_ids).last_hidden_state
        logits = self.qa_outputs(self.dropout(x))
        return answer_span(logits, start_positions, end_positions)


class DistilBertForMaskedLM(DistilBertHead):
    """DistilBERT as in pretraining: it scores the whole vocabulary for each token, with its own word embeddings."""

    heads = ("vocab_transform.**", "vocab_layer_norm.**", "vocab_projector.**")
    tied = {"vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"}

    def add_head(self, c, rng):
        self.vocab_transform, self.vocab_layer_norm = linear(c.dim, c.dim), LayerNorm(c.dim, EPS)
        self.vocab_projector = linear(c.dim, c.vocab_size)
        if c.tie_word_embeddings:
            self.vocab_projector.weight = self.distilbert.embeddings.word_embeddings.weight

    def forward(
        self, input_ids: Any, attention_mask: Any = None, position_ids: Any = None, labels: Any = None
    ) -> ClassifierOutput:
        """Predict tokens; the arguments are DistilBertModel's, and `labels` (B, T) of token ids, -100 to ignore one."""
        logits = self.token_logits(self.distilbert(input_ids, attention_mask, position_ids).last_hidden_state)
        return ClassifierOutput(token_loss(logits, labels), logits)

    def token_logits(self, x: Tensor) -> Tensor:
        """The scores (…, vocabulary) of each token at places with the vectors x, (…, D)."""
        x = activated(self.vocab_transform, activation(self.config.activation), x)
        return self.vocab_projector(self.vocab_layer_norm(x))
