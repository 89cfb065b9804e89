"""DistilBERT against transformers: every head, every gradient, and files in both directions."""

import pytest

transformers = pytest.importorskip("transformers")
pytest.importorskip("torch")

import texts  # noqa: E402
from compare import compare_pretrained  # noqa: E402

TINY = {
    "vocab_size": texts.VOCABULARY,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 48,
    "max_position_embeddings": 20,
    "pad_token_id": texts.PAD,
}


@pytest.mark.parametrize(
    ("head", "config"),
    [(head, {}) for head in texts.HEADS]
    + [("ForMaskedLM", {"tie_word_embeddings": False}), ("Model", {"activation": "relu"})],
)
def test_every_head_both_ways(tmp_path, head, config):
    theirs = getattr(transformers, "DistilBert" + head)(
        transformers.DistilBertConfig(**TINY | texts.labels_of(head) | config)
    )
    compare_pretrained(texts.auto(head), theirs, texts.batch(head), tmp_path)
