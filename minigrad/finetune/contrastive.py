"""Sentence vectors without labels: a text is to be nearer to itself, under other dropout, than to any other text."""

from __future__ import annotations

from typing import Any

from .. import losses, ops
from ..nn import Module
from ..pretrained import PretrainedModel
from ..pretrained.inputs import as_given
from ..tensor import Tensor
from .probe import MeanVector


class SimCSE(Module):
    """A model as a Trainer trains it without labels (Gao et al. 2021, section 3).

        trainer = Trainer(SimCSE(model), args, TextDataset(tokenizer(texts, padding=False)), processing_class=tokenizer)
        trainer.train()
        model.save_pretrained("outputs/sentences")

    Each text of a batch goes through the model twice in one pass, and dropout makes the two vectors differ; of
    all second vectors the first is to find its own.  The vector of a text is the mean over its tokens.

    Args:
        model: an encoder with dropout, for without it the two would be equal.
        temperature: divides the cosines.

    Raises:
        ValueError: the configuration has no dropout.
    """

    def __init__(self, model: PretrainedModel, temperature: float = 0.05):
        rates = [value for name, value in vars(model.config).items() if name.endswith(("dropout", "dropout_prob"))]
        if not any(rates):
            raise ValueError(
                f"this {type(model).__name__} has no dropout, so a text would be compared with itself: type "
                "AutoModel.from_pretrained(directory, hidden_dropout_prob=0.1)"
            )
        self.vectors, self.temperature = MeanVector(model), temperature

    @property
    def model(self) -> PretrainedModel:
        """The model that is trained."""
        return self.vectors.model

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> dict[str, Tensor]:
        """The loss of a batch of two texts or more, with a model in training mode."""
        given = (input_ids, attention_mask, token_type_ids)
        twice = [None if x is None else ops.concatenate([as_given(x), as_given(x)]) for x in given]
        y = self.vectors(*twice).logits  # (2 B, D)
        return {"loss": losses.info_nce(y[: len(input_ids)], y[len(input_ids) :], self.temperature)}
