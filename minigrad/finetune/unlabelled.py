"""Texts without labels beside a few with labels: pseudo-labels, consistency, and which texts to label next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from .. import backend, losses, ops
from .. import functional as F
from ..data import DataCollatorWithPadding, Dataset, Example
from ..data.datasets import at_epoch
from ..data.text import IGNORED
from ..errors import is_whole
from ..execution import no_grad
from ..nn import Module
from ..pretrained import PretrainedModel
from ..pretrained.inputs import as_given
from ..pretrained.outputs import ClassifierOutput


class Classifier(Protocol):
    """What answers for each text with probabilities by class, the best first: a LinearProbe, a TextClassifier."""

    def __call__(self, texts: Any, /) -> list[dict[str, float]]: ...


def pseudo_labels(classifier: Classifier, texts: Sequence[str], threshold: float = 0.95) -> list[Example]:
    """The texts that a classifier is sure of, as examples with the class that it gives them (Lee 2013).

        more = pseudo_labels(probe, unlabelled)
        probe.fit([*labelled, *more])

    Raises ValueError for a threshold that is no probability.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; expected a probability, such as 0.95")
    best = [next(iter(answer.items())) for answer in classifier(list(texts))]
    return [Example(text, name) for text, (name, p) in zip(texts, best, strict=True) if p >= threshold]


UNCERTAINTY: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # of probabilities (texts, classes), the highest first
    "least_confident": lambda p: 1 - p[:, 0],
    "margin": lambda p: p[:, 1] - p[:, 0],
    "entropy": lambda p: -(p * np.log(np.maximum(p, 1e-300))).sum(-1),
}


def most_uncertain(classifier: Classifier, texts: Sequence[str], k: int, by: str = "entropy") -> list[int]:
    """The numbers of the `k` texts that a classifier is least sure of, which it pays most to label (Settles 2009).

    Args:
        by: "entropy" of the classes; "margin", how near the second class comes to the first; or "least_confident", how
            improbable the first one is.

    Raises ValueError for another `by`, or a `k` that is not from 1 to the number of texts.
    """
    if by not in UNCERTAINTY:
        raise ValueError(f"by is {by!r}; expected one of {', '.join(map(repr, UNCERTAINTY))}")
    if not is_whole(k, 1) or k > len(texts):
        raise ValueError(f"k is {k!r}; expected a whole number from 1 to {len(texts)}, the number of texts")
    p = np.array([list(answer.values()) for answer in classifier(list(texts))])
    return (-UNCERTAINTY[by](p)).argsort(kind="stable")[:k].tolist()


class WithUnlabelled:
    """A dataset in which each labelled item comes with several unlabelled ones, others in each epoch.

    Items are dicts with `group`, a list of dicts with `label`, which is -100 for the unlabelled; `GroupCollator` makes
    batches of them.  What is drawn is a function of seed and epoch.

    Raises ValueError if there are too few unlabelled items.
    """

    def __init__(self, labelled: Dataset, unlabelled: Dataset, ratio: int = 4, seed: int = 0, epoch: int = 0):
        if not is_whole(ratio, 1) or len(unlabelled) < ratio:
            raise ValueError(f"ratio is {ratio!r}; expected 1 to {len(unlabelled)}, the number of unlabelled items")
        self.labelled, self.unlabelled, self.ratio, self.seed, self.epoch = labelled, unlabelled, ratio, seed, epoch
        rng, rounds = np.random.default_rng([seed, epoch]), -(-len(labelled) * ratio // len(unlabelled))
        self.order = np.concatenate([rng.permutation(len(unlabelled)) for _ in range(rounds)])

    def __len__(self) -> int:
        return len(self.labelled)

    def at_epoch(self, epoch: int) -> WithUnlabelled:
        """The dataset with the unlabelled items of that epoch."""
        parts = at_epoch(self.labelled, epoch), at_epoch(self.unlabelled, epoch)
        return WithUnlabelled(*parts, self.ratio, self.seed, epoch)

    def __getitem__(self, index: int) -> dict[str, list[Any]]:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is out of range: there are {len(self)} items")
        drawn = self.order[index * self.ratio : (index + 1) * self.ratio]
        return {"group": [self.labelled[index], *({**self.unlabelled[i], "label": IGNORED} for i in drawn)]}


class GroupCollator:
    """Pads the items of all groups, or items without groups, as one batch."""

    def __init__(self, pad_token_id: int | None = 0):
        self.pad = DataCollatorWithPadding(pad_token_id)

    def __call__(self, items: Sequence[Any]) -> dict[str, np.ndarray]:
        return self.pad([one for item in items for one in item.get("group", [item])])


class Consistency(Module):
    """A text classifier that also learns from texts without labels: to say the same of them with tokens masked.

    Where the model gives a class of an unlabelled text, as it is, at least the probability `threshold`, it learns to
    give that class of the same text with `mask_probability` of its tokens masked (FixMatch, Sohn et al. 2020, for
    pictures).

        trainer = Trainer(
            Consistency(model, tokenizer.mask_token_id, rng=0),
            args,
            WithUnlabelled(TextDataset(tokenizer(texts, padding=False), labels), TextDataset(others)),
            data_collator=GroupCollator(tokenizer.pad_token_id),
        )

    Args:
        model: a model for sequence classification.
        weight: of the loss on unlabelled texts, a mean over all of them.
        rng: draws which tokens are masked.
    """

    def __init__(
        self,
        model: PretrainedModel,
        mask_token_id: int,
        weight: float = 1.0,
        threshold: float = 0.95,
        mask_probability: float = 0.15,
        rng: np.random.Generator | int | None = None,
    ):
        self.model, self.mask_token_id, self.weight = model, mask_token_id, weight
        self.threshold, self.mask_probability, self.rng = threshold, mask_probability, np.random.default_rng(rng)

    def forward(
        self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None, labels: Any = None
    ) -> ClassifierOutput:
        """Loss and scores; in training the loss of unlabelled texts, whose label is -100, is added."""
        ids, types = as_given(input_ids), {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        unlabelled = None if labels is None else as_given(labels) == IGNORED
        if not self.training or unlabelled is None or not unlabelled.any():
            return self.model(ids, attention_mask, labels=labels, **types)
        xp = backend.of(ids).xp
        with no_grad():
            part = {name: as_given(x)[unlabelled] for name, x in types.items()}
            scores = self.model(ids[unlabelled], as_given(attention_mask)[unlabelled], **part).logits
            p = F.softmax(scores, -1).data
        said = xp.where(p.max(-1) >= self.threshold, p.argmax(-1), IGNORED)
        real = as_given(attention_mask).astype(bool)
        inside = real & xp.roll(real, -1, 1)  # all but the first and the last token of a text, which are special
        inside[:, [0, -1]] = False
        drawn = xp.asarray(self.rng.random(ids.shape) < self.mask_probability)
        masked = xp.where(drawn & inside & unlabelled[:, None], self.mask_token_id, ids)
        out = self.model(masked, attention_mask, labels=labels, **types)
        each = losses.cross_entropy(out.logits[unlabelled], said, reduction="none")
        return ClassifierOutput(out.loss + self.weight * ops.mean(each), out.logits)
