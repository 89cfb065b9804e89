"""Uses a fine-tuned classifier: from texts to labels with probabilities, or to values for a regression."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..pretrained import AutoTokenizer, PretrainedModel
from ..tasks.text_classification import TextClassification
from .pipeline import Pipeline, pipeline


class TextClassifier:
    """A classifier and its tokenizer as one function of texts, which it tokenises as in training.

    classifier = TextClassifier.from_pretrained("outputs/mine")
    classifier(["Open a socket."])          # [{"asyncio": 0.91, "http": 0.05, ...}]
    """

    def __init__(self, model: PretrainedModel, tokenizer: AutoTokenizer):
        self.model, self.tokenizer = model, tokenizer
        self.pipeline()

    @classmethod
    def from_pretrained(cls, directory: str | os.PathLike) -> TextClassifier:
        """Load a directory that `finetune` wrote, or any other with a trained classifier and its tokenizer.

        Raises FileNotFoundError or ValueError as the model and the tokenizer do, and ValueError if the classifier is
        untrained.
        """
        task = pipeline(TextClassification.name, directory).task
        return cls(task.model, task.processor)

    def __call__(
        self, texts: str | Sequence[str], top_k: int | None = None, batch_size: int = 64
    ) -> list[dict[str, float]]:
        """The `top_k` most probable labels (default: all) of each text with their probabilities, the best first.

        Probabilities add up to 1, unless problem_type in the model's configuration is "multi_label_classification":
        then each label has its own probability.  For a "regression", or a single label, they are the predicted values.

        Raises ValueError if `top_k` is less than 1.
        """
        pipe = self.pipeline()
        answers = pipe.answers(pipe.task.examples(texts), batch_size, top_k=top_k)
        return [{one["label"]: one["score"] for one in answer} for answer in answers]

    def pipeline(self) -> Pipeline:
        """A pipeline of the model in its present state."""
        task = TextClassification(max_length=None)
        task.attach(self.model, self.tokenizer)
        return Pipeline(task)
