"""RoBERTa (Liu et al. 2019): BERT's layers, with positions counted after the padding id, and other heads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import functional as F
from .. import ops
from ..backend import Array
from ..nn import Dropout, Group, LayerNorm
from ..nn.layers import activated
from ..tensor import Tensor
from .bert import (
    BertConfig,
    BertForQuestionAnswering,
    BertForTokenClassification,
    BertHead,
    BertModel,
    vocabulary_scores,
)
from .heads import classification_loss, token_loss
from .layers import linear
from .outputs import ClassifierOutput


@dataclass
class RobertaConfig(BertConfig):
    """RoBERTa's sizes, under their names in config.json; of 514 positions the first two are for padding."""

    model_type = "roberta"
    vocab_size: int = 50265
    # pyright: ignore[reportIncompatibleVariableOverride]  # positions are counted from it: never None
    pad_token_id: int = 1

    @property
    def longest(self) -> int:
        return self.max_position_embeddings - self.pad_token_id - 1


class RobertaModel(BertModel):
    """The encoder: token ids in, a vector for each token out, and a pooled one, computed from the first token."""

    config_class, layout = RobertaConfig, replace(BertModel.layout, base="roberta")

    def build(self, c: RobertaConfig, rng: np.random.Generator) -> None:
        super().build(c, rng)
        self.embeddings.position_embeddings.padding_idx = c.pad_token_id  # its row gets no gradient

    def positions(self, ids: Array) -> Array:
        """Padding has the padding id as its position; tokens count up from there, whatever the attention mask."""
        real = ops.not_equal(ids, self.config.pad_token_id)
        return ops.add(ops.multiply(ops.cumsum(real, 1), real), self.config.pad_token_id)


class RobertaForSequenceClassification(BertHead):
    """RoBERTa with two layers on the first token that score `config.num_labels` classes."""

    config_class, layout, encoder_class, heads = RobertaConfig, RobertaModel.layout, RobertaModel, ("classifier.**",)
    label_layer = "classifier.out_proj"
    roberta: RobertaModel

    def add_head(self, c, rng):
        self.classifier = Group(
            dense=linear(c.hidden_size, c.hidden_size),
            dropout=Dropout(c.head_dropout, rng=rng),
            out_proj=linear(c.hidden_size, c.label_count),
        )

    def forward(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        labels: Any = None,
    ) -> ClassifierOutput:
        """Score a batch; arguments as for RobertaModel, and `labels` (B,), class numbers or floats for regression."""
        x, head = (
            self.roberta(input_ids, attention_mask, token_type_ids, position_ids).last_hidden_state,
            self.classifier,
        )
        logits = head.out_proj(head.dropout(ops.tanh(head.dense(head.dropout(x[:, 0])))))
        return ClassifierOutput(classification_loss(logits, labels, self.config), logits)


class RobertaForTokenClassification(BertForTokenClassification):
    """RoBERTa with a linear layer that scores `config.num_labels` classes for each token."""

    config_class, layout, encoder_class = RobertaConfig, RobertaModel.layout, RobertaModel


class RobertaForQuestionAnswering(BertForQuestionAnswering):
    """RoBERTa with a linear layer that scores each token as the first, and as the last, of the answer."""

    config_class, layout, encoder_class = RobertaConfig, RobertaModel.layout, RobertaModel


class RobertaForMaskedLM(BertHead):
    """RoBERTa as in pretraining: it scores the whole vocabulary for each token, with its own word embeddings."""

    config_class, layout, encoder_class, heads = RobertaConfig, RobertaModel.layout, RobertaModel, ("lm_head.**",)
    tied = {
        "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    }
    roberta: RobertaModel

    def add_head(self, c, rng):
        self.lm_head = vocabulary_scores(
            c,
            self.roberta,
            dense=linear(c.hidden_size, c.hidden_size),
            layer_norm=LayerNorm(c.hidden_size, c.layer_norm_eps),
        )

    def forward(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        labels: Any = None,
    ) -> ClassifierOutput:
        """Predict tokens; the arguments are RobertaModel's, and `labels` (B, T) of token ids, -100 to ignore one."""
        logits = self.token_logits(
            self.roberta(input_ids, attention_mask, token_type_ids, position_ids).last_hidden_state
        )
        return ClassifierOutput(token_loss(logits, labels), logits)

    def token_logits(self, x: Tensor) -> Tensor:
        """The scores (…, vocabulary) of each token at places with the vectors x, (…, D)."""
        head = self.lm_head
        return head.decoder(head.layer_norm(activated(head.dense, F.gelu, x)))  # GELU, whatever hidden_act says
