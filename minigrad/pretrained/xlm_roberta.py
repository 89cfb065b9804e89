"""XLM-RoBERTa (Conneau et al. 2019): RoBERTa on a hundred languages; the same layers under the same names."""

from __future__ import annotations

from dataclasses import dataclass

from .roberta import (
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaModel,
)


@dataclass
class XLMRobertaConfig(RobertaConfig):
    """XLM-RoBERTa's sizes, under their names in config.json."""

    model_type = "xlm-roberta"
    vocab_size: int = 250002


class XLMRobertaModel(RobertaModel):
    """The encoder: token ids in, a vector for each token out, and a pooled one, computed from the first token."""

    config_class = XLMRobertaConfig


class XLMRobertaForSequenceClassification(RobertaForSequenceClassification):
    """XLM-RoBERTa with two layers on the first token that score `config.num_labels` classes."""

    config_class, encoder_class = XLMRobertaConfig, XLMRobertaModel


class XLMRobertaForTokenClassification(RobertaForTokenClassification):
    """XLM-RoBERTa with a linear layer that scores `config.num_labels` classes for each token."""

    config_class, encoder_class = XLMRobertaConfig, XLMRobertaModel


class XLMRobertaForQuestionAnswering(RobertaForQuestionAnswering):
    """XLM-RoBERTa with a linear layer that scores each token as the first, and as the last, of the answer."""

    config_class, encoder_class = XLMRobertaConfig, XLMRobertaModel


class XLMRobertaForMaskedLM(RobertaForMaskedLM):
    """XLM-RoBERTa as in pretraining: it scores the whole vocabulary for each token."""

    config_class, encoder_class = XLMRobertaConfig, XLMRobertaModel
