"""BERT (Devlin et al. 2018), with the attribute names its Hugging Face checkpoints use."""
from __future__ import annotations

from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

import numpy as np

from .. import functional as F
from .. import ops
from ..nn import Dropout, Embedding, Group, LayerNorm, Linear, Module, init
from ..nn.attention import merge_heads, split_heads
from ..tensor import Tensor
from .layout import Layout
from .model import Config, PretrainedModel, classification_loss, padding_mask, token_ids


def gelu_tanh(x):
    """GELU in its approximate form."""
    return F.gelu(x, "tanh")


ACTIVATIONS = {"gelu": F.gelu, "gelu_new": gelu_tanh, "gelu_pytorch_tanh": gelu_tanh, "relu": F.relu}


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
    pad_token_id: int = 0
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    classifier_dropout: float | None = None

    def __post_init__(self):
        for name, kind in ((f.name, f.type) for f in fields(self)):
            value, least = getattr(self, name), int(name != "pad_token_id")
            if name == "pad_token_id" and value is None:
                continue
            if kind == "int" and (not isinstance(value, Integral) or isinstance(value, bool) or value < least):
                raise ValueError(f"{name} is {value!r} in the configuration; expected a whole number, {least} or more")
            if kind.startswith("float") and not isinstance(value, Real) and (value is not None or kind == "float"):
                raise ValueError(f"{name} is {value!r} in the configuration; expected a number")
        super().__post_init__()
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is no multiple of num_attention_heads {self.num_attention_heads}")
        if str(self.hidden_act) not in ACTIVATIONS:
            raise ValueError(f"hidden_act {self.hidden_act!r} is not known: it is one of {', '.join(ACTIVATIONS)}")
        for name, only in (("position_embedding_type", "absolute"), ("is_decoder", False)):
            if self.rest.get(name, only) != only:
                raise ValueError(f"{name} {self.rest[name]!r} is not supported: this BERT knows {only!r} alone")


@dataclass
class BertOutput:
    """What BertModel finds: `last_hidden_state` (B, T, hidden) and `pooler_output` (B, hidden)."""
    last_hidden_state: Tensor
    pooler_output: Tensor


@dataclass
class ClassifierOutput:
    """Scores `logits` (B, num_labels) and, if labels were given, the mean `loss`."""
    loss: Tensor | None
    logits: Tensor


def linear(inputs: int, outputs: int) -> Linear:
    """A Linear whose numbers come later: from a file, or from the model's `draw`."""
    return Linear(inputs, outputs, rng=init.LATER)


class Embeddings(Module):
    def __init__(self, c: BertConfig, rng: np.random.Generator):
        self.word_embeddings = Embedding(c.vocab_size, c.hidden_size, c.pad_token_id, rng=init.LATER)
        self.position_embeddings = Embedding(c.max_position_embeddings, c.hidden_size, rng=init.LATER)
        self.token_type_embeddings = Embedding(c.type_vocab_size, c.hidden_size, rng=init.LATER)
        self.LayerNorm = LayerNorm(c.hidden_size, c.layer_norm_eps)
        self.dropout = Dropout(c.hidden_dropout_prob, rng)

    def forward(self, ids, types, positions):
        x = self.word_embeddings(ids) + self.token_type_embeddings(types) + self.position_embeddings(positions)
        return self.dropout(self.LayerNorm(x))


class SelfAttention(Module):
    def __init__(self, c: BertConfig, rng: np.random.Generator):
        self.heads, self.p, self.rng = c.num_attention_heads, c.attention_probs_dropout_prob, rng
        self.query, self.key, self.value = (linear(c.hidden_size, c.hidden_size) for _ in range(3))

    def forward(self, x, mask):                 # (B, T, D), (B, 1, 1, T)
        q, k, v = (split_heads(part(x), self.heads) for part in (self.query, self.key, self.value))
        return merge_heads(F.scaled_dot_product_attention(q, k, v, mask, self.p if self.training else 0.0, rng=self.rng))


class AddNorm(Module):
    """dense, then add the residual and normalise: the tail of both halves of a BERT layer."""
    def __init__(self, inputs: int, c: BertConfig, rng: np.random.Generator):
        self.dense, self.LayerNorm = linear(inputs, c.hidden_size), LayerNorm(c.hidden_size, c.layer_norm_eps)
        self.dropout = Dropout(c.hidden_dropout_prob, rng)

    def forward(self, x, residual):
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class Layer(Module):
    def __init__(self, c: BertConfig, rng: np.random.Generator):
        self.attention = Group(self=SelfAttention(c, rng), output=AddNorm(c.hidden_size, c, rng))
        self.intermediate = Group(dense=linear(c.hidden_size, c.intermediate_size))
        self.output = AddNorm(c.intermediate_size, c, rng)
        self.activation = ACTIVATIONS[c.hidden_act]

    def forward(self, x, mask):
        x = self.attention.output(self.attention.self(x, mask), x)
        return self.output(self.activation(self.intermediate.dense(x)), x)


class BertModel(PretrainedModel):
    """The encoder: token ids in, a vector for each token out, and one for the whole ("pooled", from the first token)."""
    config_class = BertConfig
    layout = Layout(legacy={"**.LayerNorm.gamma": "**.LayerNorm.weight", "**.LayerNorm.beta": "**.LayerNorm.bias"},
                    drop=("**.position_ids",), base="bert")
    heads = ("pooler.**",)

    def __init__(self, config: BertConfig, rng: init.Rng = None, drawn: bool = True):
        rng = init.generator(rng)
        self.config = config
        self.embeddings = Embeddings(config, rng)
        self.encoder = Group(layer=[Layer(config, rng) for _ in range(config.num_hidden_layers)])
        self.pooler = Group(dense=linear(config.hidden_size, config.hidden_size))
        if drawn:
            self.draw(list(self.state_dict()), rng)

    def forward(self, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None,
                position_ids: Any = None) -> BertOutput:
        """Encode a batch.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, T), 1 for a token and 0 for padding; all ones by default.
            token_type_ids: (B, T), 0 for the first text and 1 for the second of a pair; all zeros by default.
            position_ids: (B, T), 0 … T - 1 by default.

        Raises:
            ValueError: a shape is wrong, or T is more than max_position_embeddings.
            IndexError: an id is not in the vocabulary.
        """
        ids = token_ids(input_ids, self.config.max_position_embeddings)
        types = np.zeros((1, ids.shape[1]), np.int64) if token_type_ids is None else token_type_ids
        positions = np.arange(ids.shape[1])[None] if position_ids is None else position_ids
        x, mask = self.embeddings(ids, types, positions), padding_mask(attention_mask, ids.shape)
        for layer in self.encoder.layer:
            x = layer(x, mask)
        return BertOutput(x, ops.tanh(self.pooler.dense(x[:, 0])))


class BertForSequenceClassification(PretrainedModel):
    """BERT with a linear layer on the pooled vector that scores `config.num_labels` classes."""
    config_class, layout, heads = BertConfig, BertModel.layout, ("classifier.**", "bert.pooler.**")

    def __init__(self, config: BertConfig, rng: init.Rng = None, drawn: bool = True):
        rng = init.generator(rng)
        self.config = config
        self.bert = BertModel(config, rng, drawn=False)
        p = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dropout = Dropout(p, rng)
        self.classifier = linear(config.hidden_size, config.num_labels)
        if drawn:
            self.draw(list(self.state_dict()), rng)

    def forward(self, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None, position_ids: Any = None,
                labels: Any = None) -> ClassifierOutput:
        """Score a batch; the arguments are BertModel's, and `labels` (B,) of class numbers (floats for regression)."""
        pooled = self.bert(input_ids, attention_mask, token_type_ids, position_ids).pooler_output
        logits = self.classifier(self.dropout(pooled))
        return ClassifierOutput(None if labels is None else classification_loss(logits, labels, self.config), logits)
