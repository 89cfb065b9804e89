"""A batch of padded token ids with labels for every head: what the families that read text are compared on."""

import numpy as np

from minigrad import pretrained

rng = np.random.default_rng(0)
VOCABULARY, B, T, PAD = 100, 4, 9, 1  # every family's configuration is given this padding id
MASK = (np.arange(T) < np.array([[T], [5], [1], [7]])).astype(np.int64)
IDS = np.where(MASK, rng.integers(PAD + 1, VOCABULARY, (B, T)), PAD)
LABELS = {
    "Model": {},
    "ForSequenceClassification": {"labels": np.array([0, 2, 1, 2])},
    "ForTokenClassification": {"labels": np.where(MASK, rng.integers(0, 3, (B, T)), -100)},
    "ForMaskedLM": {"labels": np.where(rng.random((B, T)) < 0.4, IDS, -100)},
    "ForQuestionAnswering": {"start_positions": np.array([0, 3, 40, 1]), "end_positions": np.array([2, 40, 5, -1])},
}
HEADS = list(LABELS)


def batch(head: str) -> dict[str, np.ndarray]:
    """Inputs and labels for a head, by the arguments' names."""
    return {"input_ids": IDS, "attention_mask": MASK} | LABELS[head]


def labels_of(head: str) -> dict[str, int]:
    """How many labels the configuration must have: two for the ends of an answer, else three."""
    return {"num_labels": 2 if head == "ForQuestionAnswering" else 3}


def auto(head: str) -> type:
    """Our Auto class for a head."""
    return getattr(pretrained, "AutoModel" + head.removeprefix("Model"))
