"""RoBERTa against transformers: every head, every gradient, and files in both directions."""

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")
pytest.importorskip("torch")

import texts  # noqa: E402
from compare import compare_pretrained  # noqa: E402

TINY = {
    "vocab_size": texts.VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 20,
    "type_vocab_size": 1,
    "pad_token_id": texts.PAD,
}


def compared(tmp_path, head, batch=None, **config):
    theirs = getattr(transformers, "Roberta" + head)(
        transformers.RobertaConfig(**TINY | texts.labels_of(head) | config)
    )
    return compare_pretrained(texts.auto(head), theirs, batch or texts.batch(head), tmp_path)


@pytest.mark.parametrize("head", texts.HEADS)
def test_every_head_both_ways(tmp_path, head):
    compared(tmp_path, head)


def test_positions_follow_the_padding_id_and_not_the_mask(tmp_path):
    batch = texts.batch("Model")
    batch["input_ids"] = np.where(np.arange(texts.T) < 3, texts.PAD, texts.IDS)  # on the left, and not masked
    compared(tmp_path, "Model", batch, pad_token_id=texts.PAD, layer_norm_eps=1e-5)


@pytest.mark.parametrize("config", [{"tie_word_embeddings": False}, {"hidden_act": "relu"}, {"pad_token_id": 0}])
def test_masked_lm_follows_its_configuration(tmp_path, config):
    compared(tmp_path, "ForMaskedLM", **config)


@pytest.mark.parametrize("head", ["Model", "ForSequenceClassification", "ForQuestionAnswering"])
def test_xlm_roberta(tmp_path, head):
    theirs = getattr(transformers, "XLMRoberta" + head)(transformers.XLMRobertaConfig(**TINY | texts.labels_of(head)))
    compare_pretrained(texts.auto(head), theirs, texts.batch(head), tmp_path)
