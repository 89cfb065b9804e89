"""A fine-tuned model put to use: texts in, labels and their probabilities out."""
from __future__ import annotations

import os
from collections.abc import Sequence

from .. import functional as F
from ..data import DataCollatorWithPadding, DataLoader, TextDataset
from ..pretrained import AutoModelForSequenceClassification, AutoTokenizer, PretrainedModel
from .trainer import predict

MAX_LENGTH = "text_max_length"                               # the entry of config.json that says where training cut the texts


class TextClassifier:
    """A classifier and its tokenizer as one function of texts, which reads them as they were read in training.

        classifier = TextClassifier.from_pretrained("outputs/mine")
        classifier(["Open a socket."])          # [{"asyncio": 0.91, "http": 0.05, ...}]
    """

    def __init__(self, model: PretrainedModel, tokenizer: AutoTokenizer):
        self.model, self.tokenizer = model, tokenizer

    @classmethod
    def from_pretrained(cls, directory: str | os.PathLike) -> TextClassifier:
        """From a directory that `finetune` wrote, or any other with a trained classifier and its tokenizer.

        Raises FileNotFoundError or ValueError as the model and the tokenizer do, and ValueError if the classifier is untrained.
        """
        model = AutoModelForSequenceClassification.from_pretrained(directory)
        if new := model.load_report.newly_initialised:
            raise ValueError(f"the model in {directory} was not fine-tuned, it has no {new[0]}: expected a trained classifier; "
                             f"type: minigrad finetune {directory} --train FILE --output DIR")
        tokenizer = AutoTokenizer.from_pretrained(directory)
        check_vocabulary(model, tokenizer)
        return cls(model, tokenizer)

    def __call__(self, texts: str | Sequence[str], top_k: int | None = None, batch_size: int = 64) -> list[dict[str, float]]:
        """For each text its `top_k` most probable labels (default: all) with their probabilities, the best first."""
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k is {top_k}; expected 1 or more")
        config = self.model.config
        longest = config.rest.get(MAX_LENGTH, config.longest)
        dataset = TextDataset(self.tokenizer(texts, padding=False, max_length=longest))
        loader = DataLoader(dataset, batch_size, lengths=dataset.lengths)
        p = F.softmax(predict(self.model, loader, DataCollatorWithPadding(self.tokenizer.pad_token_id), "predict"), -1)
        best_first = (-p).argsort(-1, kind="stable")[:, :top_k]
        return [{config.id2label[i]: row[i].item() for i in order.tolist()} for row, order in zip(p, best_first, strict=True)]


def check_vocabulary(model: PretrainedModel, tokenizer: AutoTokenizer) -> None:
    """Raises ValueError if the tokenizer gives ids that the model has no vector for."""
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(f"the tokenizer in {tokenizer.directory} has {tokenizer.vocab_size} tokens, but config.json has "
                         f"vocab_size {model.config.vocab_size}: expected no more than that; copy the model's own tokenizer")
