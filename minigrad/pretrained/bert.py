"""BERT (Devlin et al. 2018), with the attribute names its Hugging Face checkpoints use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backend, ops
from ..backend import Array
from ..nn import Dropout, Group, LayerNorm, Module, Parameter, init
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
from .values import shown


@dataclass
class BertConfig(Config):
    """BERT's sizes, under their names in config.json."""

    model_type = "bert"
    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    pad_token_id: int | None = 0
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    classifier_dropout: float | None = None
    tie_word_embeddings: bool = True

    def __post_init__(self):
        super().__post_init__()
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        activation(self.hidden_act)
        for name, only in (("position_embedding_type", "absolute"), ("is_decoder", False)):
            if self.rest.get(name, only) != only:
                raise ValueError(f"{name} {shown(self.rest[name])} is not supported: this BERT supports {only!r} only")

    @property
    def longest(self) -> int:
        return self.max_position_embeddings

    @property
    def head_dropout(self) -> float:
        """The dropout before a classifier."""
        return self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout


class Embeddings(Module):
    """Word, position and token-type embeddings, added and normalised: (B, T, D)."""

    def __init__(self, c: BertConfig, rng: np.random.Generator):
        self.word_embeddings = embedding(c.vocab_size, c.hidden_size, c.pad_token_id)
        self.position_embeddings = embedding(c.max_position_embeddings, c.hidden_size)
        self.token_type_embeddings = embedding(c.type_vocab_size, c.hidden_size)
        self.LayerNorm = LayerNorm(c.hidden_size, c.layer_norm_eps)
        self.dropout = Dropout(c.hidden_dropout_prob, rng=rng)

    def forward(self, ids, types, positions):
        x = self.word_embeddings(ids) + self.token_type_embeddings(types) + self.position_embeddings(positions)
        return self.dropout(self.LayerNorm(x))


class SelfAttention(Module):
    """Multi-head self-attention, before its output projection."""

    def __init__(self, c: BertConfig, rng: np.random.Generator):
        self.heads, self.p, self.rng = c.num_attention_heads, c.attention_probs_dropout_prob, rng
        self.query, self.key, self.value = (linear(c.hidden_size, c.hidden_size) for _ in range(3))

    def forward(self, x, mask):  # (B, T, D), (B, 1, 1, T)
        q, k, v = (split_heads(part(x), self.heads) for part in (self.query, self.key, self.value))
        return merge_heads(seen.attention(q, k, v, mask, self.p if self.training else 0.0, rng=self.rng))


class AddNorm(Module):
    """dense, then add the residual and normalise: the tail of both halves of a BERT layer."""

    def __init__(self, inputs: int, c: BertConfig, rng: np.random.Generator):
        self.dense, self.LayerNorm = linear(inputs, c.hidden_size), LayerNorm(c.hidden_size, c.layer_norm_eps)
        self.dropout = Dropout(c.hidden_dropout_prob, rng=rng)

    def forward(self, x, residual):
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class Layer(Module):
    """One layer of the encoder, post-norm: attention, then the feed-forward network."""

    def __init__(self, c: BertConfig, rng: np.random.Generator):
        self.attention = Group(self=SelfAttention(c, rng), output=AddNorm(c.hidden_size, c, rng))
        self.intermediate = Group(dense=linear(c.hidden_size, c.intermediate_size))
        self.output = AddNorm(c.intermediate_size, c, rng)
        self.activation = activation(c.hidden_act)

    def forward(self, x, mask):
        x = self.attention.output(self.attention.self(x, mask), x)
        return self.output(activated(self.intermediate.dense, self.activation, x), x)


class BertModel(PretrainedModel):
    """The encoder: token ids in, a vector for each token out, and a pooled one, computed from the first token."""

    config_class = BertConfig
    layout = Layout(
        legacy={"**.LayerNorm.gamma": "**.LayerNorm.weight", "**.LayerNorm.beta": "**.LayerNorm.bias"},
        drop=("**.position_ids",),
        base="bert",
    )
    heads = ("pooler.**",)
    blocks = Blocks(
        "encoder.layer",
        depth="num_hidden_layers",
        width="intermediate_size",
        expand=("intermediate.dense",),
        contract="output.dense",
        attention="attention.self",
        project=("attention.self.query", "attention.self.key", "attention.self.value"),
        merge="attention.output.dense",
    )

    def __init__(self, config: BertConfig, rng: init.Rng = None, drawn: bool = True, add_pooling_layer: bool = True):
        self.add_pooling_layer = add_pooling_layer
        super().__init__(config, rng, drawn)

    def build(self, c: BertConfig, rng: np.random.Generator) -> None:
        self.embeddings = Embeddings(c, rng)
        self.encoder = Group(layer=[Layer(c, rng) for _ in range(c.num_hidden_layers)])
        self.pooler = Group(dense=linear(c.hidden_size, c.hidden_size)) if self.add_pooling_layer else None

    def forward(
        self, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None, position_ids: Any = None
    ) -> BaseOutput:
        """Encode a batch.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, T), 1 for a token and 0 for padding; all ones by default.
            token_type_ids: (B, T), 0 for the first text and 1 for the second of a pair; all zeros by default.
            position_ids: (B, T), 0 … T - 1 by default.

        Raises:
            ValueError: a shape is wrong, or T is more than the model has positions for.
            IndexError: an id is not in the vocabulary.
        """
        ids = token_ids(input_ids, self.config.longest)
        types = backend.of(ids).xp.zeros((1, ids.shape[1]), np.int64) if token_type_ids is None else token_type_ids
        positions = self.positions(ids) if position_ids is None else position_ids
        x, mask = seen.state(self.embeddings(ids, types, positions)), padding_mask(attention_mask, ids.shape)
        for layer in self.encoder.layer:
            x = seen.state(layer(x, mask))
        return BaseOutput(x, ops.tanh(self.pooler.dense(x[:, 0])) if self.pooler else None)

    def positions(self, ids: Array) -> Array:
        """The position of each token, broadcastable to (B, T)."""
        return backend.of(ids).xp.arange(ids.shape[1])[None]


class BertHead(PretrainedModel):
    """What the models below share: an encoder, named as in its checkpoints, and a head, by default a classifier."""

    config_class, layout, encoder_class, pooled = BertConfig, BertModel.layout, BertModel, False
    heads = ("classifier.**",)
    bert: BertModel  # RoBERTa's heads have `roberta` instead

    def build(self, c: BertConfig, rng: np.random.Generator) -> None:
        setattr(self, self.layout.base, self.encoder_class(c, rng, drawn=False, add_pooling_layer=self.pooled))
        self.add_head(c, rng)

    def add_head(self, c: BertConfig, rng: np.random.Generator) -> None:
        """Make the head."""
        self.dropout, self.classifier = Dropout(c.head_dropout, rng=rng), linear(c.hidden_size, c.label_count)


class BertForSequenceClassification(BertHead):
    """BERT with a linear layer on the pooled vector that scores `config.num_labels` classes."""

    heads, pooled, label_layer = ("classifier.**", "bert.pooler.**"), True, "classifier"

    def forward(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        labels: Any = None,
    ) -> ClassifierOutput:
        """Score a batch; the arguments are BertModel's, and `labels` (B,), class numbers or floats for regression."""
        pooled = self.bert(input_ids, attention_mask, token_type_ids, position_ids).pooler_output
        logits = self.classifier(self.dropout(pooled))
        return ClassifierOutput(classification_loss(logits, labels, self.config), logits)


class BertForTokenClassification(BertHead):
    """BERT with a linear layer that scores `config.num_labels` classes for each token."""

    label_layer = "classifier"

    def forward(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        labels: Any = None,
    ) -> ClassifierOutput:
        """Score each token; the arguments are BertModel's, and `labels` (B, T) of class numbers, -100 to ignore one."""
        x = self.base_model(input_ids, attention_mask, token_type_ids, position_ids).last_hidden_state
        logits = self.classifier(self.dropout(x))
        return ClassifierOutput(token_loss(logits, labels), logits)


class BertForQuestionAnswering(BertHead):
    """BERT with a linear layer that scores each token as the first, and as the last, of the answer."""

    heads = ("qa_outputs.**",)

    def add_head(self, c, rng):
        self.qa_outputs = linear(c.hidden_size, 2)

    def forward(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        start_positions: Any = None,
        end_positions: Any = None,
    ) -> QuestionAnsweringOutput:
        """Find the answer; the arguments are BertModel's, and where it starts and ends, token numbers (B,)."""
        x = self.base_model(input_ids, attention_mask, token_type_ids, position_ids).last_hidden_state
        return answer_span(self.qa_outputs(x), start_positions, end_positions)


class BertForMaskedLM(BertHead):
    """BERT as in pretraining: it scores the whole vocabulary for each token, with its own word embeddings."""

    heads = ("cls.**",)
    tied = {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }

    def add_head(self, c, rng):
        transform = Group(
            dense=linear(c.hidden_size, c.hidden_size), LayerNorm=LayerNorm(c.hidden_size, c.layer_norm_eps)
        )
        self.cls = Group(predictions=vocabulary_scores(c, self.bert, transform=transform))

    def forward(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        labels: Any = None,
    ) -> ClassifierOutput:
        """Predict tokens; the arguments are BertModel's, and `labels` (B, T) of token ids, -100 to ignore one."""
        logits = self.token_logits(self.bert(input_ids, attention_mask, token_type_ids, position_ids).last_hidden_state)
        return ClassifierOutput(token_loss(logits, labels), logits)

    def token_logits(self, x: Tensor) -> Tensor:
        """The scores (…, vocabulary) of each token at places with the vectors x, (…, D)."""
        head = self.cls.predictions
        x = activated(head.transform.dense, activation(self.config.hidden_act), x)
        return head.decoder(head.transform.LayerNorm(x))


def vocabulary_scores(c: BertConfig, encoder: BertModel, **before: Module) -> Group:
    """The head of a masked language model: modules `before`, and a `decoder` that shares the word embeddings."""
    head = Group(bias=Parameter(init.empty(c.vocab_size)), **before, decoder=linear(c.hidden_size, c.vocab_size))
    if c.tie_word_embeddings:
        head.decoder.weight, head.decoder.bias = encoder.embeddings.word_embeddings.weight, head.bias
    return head
