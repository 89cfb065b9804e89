"""A fine-tuned classifier in use: texts in, labels with their probabilities out, or values for a regression."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from .. import functional as F
from ..data import DataCollatorWithPadding, DataLoader, TextDataset
from ..pretrained import AutoModelForSequenceClassification, AutoTokenizer, PretrainedModel
from ..pretrained.values import check, found_in
from ..tasks.texts import MAX_LENGTH, check_vocabulary
from .evaluation import predict


class TextClassifier:
    """A classifier and its tokenizer as one function of texts, which it tokenises as in training.

    classifier = TextClassifier.from_pretrained("outputs/mine")
    classifier(["Open a socket."])          # [{"asyncio": 0.91, "http": 0.05, ...}]
    """

    def __init__(self, model: PretrainedModel, tokenizer: AutoTokenizer):
        model.update_config()
        check(MAX_LENGTH, model.config.rest.get(MAX_LENGTH), "int | None")
        self.model, self.tokenizer = model, tokenizer

    @classmethod
    def from_pretrained(cls, directory: str | os.PathLike) -> TextClassifier:
        """From a directory that `finetune` wrote, or any other with a trained classifier and its tokenizer.

        Raises FileNotFoundError or ValueError as the model and the tokenizer do, and ValueError if the classifier is
        untrained.
        """
        model = AutoModelForSequenceClassification.from_pretrained(directory)
        if model.load_report is not None and (new := model.load_report.newly_initialised):
            raise ValueError(
                f"the model in {directory} was not fine-tuned, it has no {new[0]}: expected a trained classifier; "
                f"type: minigrad finetune {directory} --train FILE --output DIR"
            )
        tokenizer = AutoTokenizer.from_pretrained(directory)
        check_vocabulary(model, tokenizer)
        with found_in(directory):
            return cls(model, tokenizer)

    def __call__(
        self, texts: str | Sequence[str], top_k: int | None = None, batch_size: int = 64
    ) -> list[dict[str, float]]:
        """For each text its `top_k` most probable labels (default: all) with their probabilities, the best first.

        Probabilities add up to 1, unless problem_type in the model's configuration is "multi_label_classification":
        then each label has its own probability.  For a "regression", or a single label, they are the predicted values.

        Raises ValueError if `top_k` is less than 1.
        """
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k is {top_k}; expected 1 or more")
        config = self.model.config
        longest = config.rest.get(MAX_LENGTH) or config.longest
        dataset = TextDataset(self.tokenizer(texts, padding=False, max_length=longest))
        pad = config.pad_token_id  # marks the end of a text for the model; without one, texts are read one by one
        loader = DataLoader(dataset, 1 if pad is None else batch_size, lengths=dataset.lengths)
        p = self.scores(predict(self.model, loader, DataCollatorWithPadding(pad or 0), "predict"))
        best_first = (-p).argsort(-1, kind="stable")[:, :top_k]
        return [
            {config.id2label[i]: row[i].item() for i in order.tolist()}
            for row, order in zip(p, best_first, strict=True)
        ]

    @property
    def is_regression(self) -> bool:
        """Whether the scores are values instead of probabilities."""
        config = self.model.config
        return config.problem_type == "regression" or config.problem_type is None and config.num_labels == 1

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """The model's logits (texts, labels) as values or as the probability of each label."""
        if self.is_regression:
            return logits
        return (F.sigmoid if self.model.config.problem_type == "multi_label_classification" else F.softmax)(logits)
