"""A linear probe: logistic regression on the features of a frozen model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from .. import losses
from ..data import Example, TextDataset
from ..errors import is_number, is_whole
from ..nn import Linear, Module, init
from ..optim import LBFGS
from ..pretrained import AutoTokenizer, PretrainedModel
from ..pretrained.outputs import ClassifierOutput
from ..pretrained.pooling import pooled
from ..tensor import Tensor
from .answers import best_first, pairs
from .prompts import in_batches, probabilities


class MeanVector(Module):
    """The mean of a model's last hidden states over the tokens of a text, scaled to norm one, as `logits` (B, D)."""

    def __init__(self, model: PretrainedModel):
        self.model = model

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> ClassifierOutput:
        """The features of a batch; the arguments are the model's."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        x = self.model.base_model(input_ids, attention_mask=attention_mask, **types).last_hidden_state
        return ClassifierOutput(None, pooled(x, attention_mask))


class LinearProbe:
    """A linear classifier of texts on frozen features; its answers have the form of `TextClassifier`'s.

    probe = LinearProbe(AutoModel.from_pretrained(directory), AutoTokenizer.from_pretrained(directory))
    probe.fit([("Open a socket.", "http"), ("Send a letter.", "email")])
    probe("Read a page.")               # [{"http": 0.71, "email": 0.29}]

    The features of a text are the mean of the model's last hidden states over its tokens, scaled to norm one.  The
    classifier minimises Σ cross-entropy + |W|² / (2 C), which has one minimum whatever the start, that of
    scikit-learn's LogisticRegression(C=C).  The weights of the model do not change.

    Raises ValueError unless C is positive.
    """

    def __init__(
        self, model: PretrainedModel, tokenizer: AutoTokenizer, *, C: float = 10.0, max_length: int | None = None
    ):
        if not isinstance(model, PretrainedModel):
            raise TypeError(f"model is a {type(model).__name__}; expected a model: type AutoModel.from_pretrained(...)")
        if max_length is not None and not is_whole(max_length, 1):
            raise ValueError(f"max_length is {max_length!r}; expected a whole number of tokens, or None")
        if not is_number(C) or not C > 0:
            raise ValueError(f"C is {C!r}; expected a positive number, such as 10.0: a larger C fits more closely")
        self.model, self.tokenizer, self.C = model, tokenizer, C
        self.max_length = max_length or model.config.longest
        self.classes: list[str] = []
        self.head: Any = None  # a Linear, once fitted

    def features(self, texts: Sequence[str], batch_size: int = 64) -> np.ndarray:
        """The features of texts, (texts, D)."""
        columns = self.tokenizer(list(texts), padding=False, max_length=self.max_length)
        columns = {name: columns[name] for name in columns if name in ("input_ids", "token_type_ids")}
        return in_batches(MeanVector(self.model), TextDataset(columns), batch_size)

    def fit(self, examples: Sequence[Example | tuple[str, str]]) -> Self:
        """Fit the classifier to labelled examples; returns itself.  Raises ValueError for fewer than two classes."""
        texts, labels = pairs(examples)
        self.classes = sorted(set(labels))
        if len(self.classes) < 2:
            raise ValueError(f"all {len(labels)} examples have the label {labels[0]!r}: expected two labels or more")
        targets = np.array([self.classes.index(label) for label in labels])
        self.head = logistic_regression(self.features(texts), targets, len(self.classes), self.C)
        return self

    def __call__(
        self, texts: str | Sequence[str], top_k: int | None = None, batch_size: int = 64
    ) -> list[dict[str, float]]:
        """The `top_k` most probable classes (default: all) of each text with their probabilities, the best first.

        Raises ValueError if the probe was not fitted.
        """
        if self.head is None:
            raise ValueError("this LinearProbe was not fitted: type probe.fit(examples) first")
        x = self.features([texts] if isinstance(texts, str) else texts, batch_size)
        logits = x @ self.head.weight.numpy().T + self.head.bias.numpy()
        return best_first(probabilities(logits), self.classes, top_k)


def logistic_regression(features: np.ndarray, targets: np.ndarray, classes: int, C: float = 10.0) -> Linear:
    """The linear classifier of features (N, D) with the least Σ cross-entropy + |W|² / (2 C), in float64.

    Args:
        targets: (N,) class numbers.
    """
    x, head = Tensor(features.astype(np.float64)), Linear(features.shape[1], classes, rng=0).to("float64")
    for p in head.parameters():
        init.zeros_(p)
    optimizer = LBFGS(head.parameters(), max_iter=500, tolerance_change=0, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        weight = head.weight
        loss = losses.cross_entropy(head(x), targets) + (weight * weight).sum() / (2 * C * len(targets))
        loss.backward()
        return loss

    optimizer.step(closure)
    return head
