"""RoBERTa by itself: where its tokens stand, and its heads; tests/parity holds its numbers against transformers."""

import numpy as np
import pytest

from minigrad.pretrained import (
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaModel,
)

SIZES = {
    "vocab_size": 50,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 12,
    "num_labels": 3,
}
PAD = 1
MASK = np.array([[1] * 6, [1] * 4 + [0] * 2, [1] + [0] * 5])
IDS = np.where(MASK, np.random.default_rng(0).integers(2, 50, (3, 6)), PAD)


def test_tokens_are_counted_after_the_padding_id():
    model = RobertaModel(RobertaConfig(**SIZES), rng=0).eval()
    assert model.positions(IDS).tolist() == [[2, 3, 4, 5, 6, 7], [2, 3, 4, 5, 1, 1], [2, 1, 1, 1, 1, 1]]
    left = np.array([[PAD, PAD, 7, 8]])
    assert model.positions(left).tolist() == [[1, 1, 2, 3]]
    shifted = model(left, [[0, 0, 1, 1]]).last_hidden_state.numpy()[0, 2:]
    np.testing.assert_allclose(shifted, model([[7, 8]]).last_hidden_state.numpy()[0], atol=1e-6)


def test_two_positions_are_never_used():
    model = RobertaModel(RobertaConfig(**SIZES), rng=0)
    assert model.config.longest == 10
    with pytest.raises(ValueError, match="11 tokens long, but this model reads at most 10"):
        model(np.full((1, 11), 7))


@pytest.mark.parametrize(
    ("kind", "labels", "shape"),
    [
        (RobertaForSequenceClassification, {"labels": [0, 1, 2]}, (3, 3)),
        (RobertaForTokenClassification, {"labels": MASK}, (3, 6, 3)),
        (RobertaForMaskedLM, {"labels": IDS}, (3, 6, 50)),
        (RobertaForQuestionAnswering, {"start_positions": [0, 1, 2], "end_positions": [3, 3, 2]}, (3, 6)),
    ],
)
def test_every_weight_of_every_head_learns(kind, labels, shape):
    model = kind(RobertaConfig(**SIZES, initializer_range=0.2), rng=0)
    out = model(IDS, MASK, **labels)
    assert (out.start_logits if hasattr(out, "start_logits") else out.logits).shape == shape
    out.loss.backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and (np.abs(p.grad.numpy()).max() > 0 or name.endswith("key.bias")), name
    rows = model.roberta.embeddings.position_embeddings.weight.grad.numpy()
    # padding's position does not learn
    assert not rows[:2].any() and rows[2:8].any(1).all() and not rows[8:].any()


def test_the_decoder_is_the_word_embeddings():
    model = RobertaForMaskedLM(RobertaConfig(**SIZES), rng=0)
    assert model.lm_head.decoder.weight is model.roberta.embeddings.word_embeddings.weight
    assert model.lm_head.decoder.bias is model.lm_head.bias
    apart = RobertaForMaskedLM(RobertaConfig(**SIZES, tie_word_embeddings=False), rng=0)
    assert apart.lm_head.decoder.weight is not apart.roberta.embeddings.word_embeddings.weight


def test_a_base_model_becomes_any_head_and_comes_back(tmp_path):
    RobertaModel(RobertaConfig(**SIZES), rng=0).save_pretrained(tmp_path / "base")
    model = RobertaForSequenceClassification.from_pretrained(tmp_path / "base", rng=0)
    assert model.load_report.newly_initialised == [
        "classifier.dense.weight",
        "classifier.dense.bias",
        "classifier.out_proj.weight",
        "classifier.out_proj.bias",
    ]
    model.save_pretrained(tmp_path / "head")
    again = RobertaModel.from_pretrained(tmp_path / "head", rng=0)
    assert again.load_report.newly_initialised == ["pooler.dense.weight", "pooler.dense.bias"]
    assert (again(IDS, MASK).last_hidden_state.numpy() == model.roberta(IDS, MASK).last_hidden_state.numpy()).all()
