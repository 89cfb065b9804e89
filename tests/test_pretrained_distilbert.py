"""DistilBERT by itself: its names, its heads, its refusals; tests/parity holds its numbers against transformers."""

import numpy as np
import pytest

from minigrad.pretrained import (
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    DistilBertModel,
)

SIZES = {
    "vocab_size": 50,
    "dim": 8,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": 12,
    "max_position_embeddings": 10,
    "num_labels": 3,
}
MASK = np.array([[1] * 6, [1] * 4 + [0] * 2, [1] + [0] * 5])
IDS = np.where(MASK, np.random.default_rng(0).integers(1, 50, (3, 6)), 0)


def test_names_are_those_of_the_file():
    layer = [
        "attention.q_lin",
        "attention.k_lin",
        "attention.v_lin",
        "attention.out_lin",
        "sa_layer_norm",
        "ffn.lin1",
        "ffn.lin2",
        "output_layer_norm",
    ]
    parts = ["embeddings.LayerNorm", *(f"transformer.layer.{i}.{part}" for i in (0, 1) for part in layer)]
    expected = {f"{part}.{end}" for part in parts for end in ("weight", "bias")} | {
        f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position")
    }
    assert set(DistilBertModel(DistilBertConfig(**SIZES)).state_dict()) == expected


def test_what_is_padded_does_not_matter():
    model = DistilBertModel(DistilBertConfig(**SIZES), rng=0).eval()
    one, two = (model(ids, MASK).last_hidden_state.numpy() for ids in (IDS, np.where(MASK, IDS, 7)))
    assert (one[MASK == 1] == two[MASK == 1]).all() and model(IDS).pooler_output is None


@pytest.mark.parametrize(
    ("kind", "labels", "shape"),
    [
        (DistilBertForSequenceClassification, {"labels": [0, 1, 2]}, (3, 3)),
        (DistilBertForTokenClassification, {"labels": MASK}, (3, 6, 3)),
        (DistilBertForMaskedLM, {"labels": IDS}, (3, 6, 50)),
        (DistilBertForQuestionAnswering, {"start_positions": [0, 1, 2], "end_positions": [3, 3, 2]}, (3, 6)),
    ],
)
def test_every_weight_of_every_head_learns_and_every_dropout_acts(kind, labels, shape):
    model = kind(
        DistilBertConfig(
            **SIZES, initializer_range=0.3, dropout=0.0, attention_dropout=0.0, qa_dropout=0.0, seq_classif_dropout=0.0
        ),
        rng=0,
    )
    out = model(IDS, MASK, **labels)
    assert (out.start_logits if hasattr(out, "start_logits") else out.logits).shape == shape
    out.loss.backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and (np.abs(p.grad.numpy()).max() > 0 or name.endswith("k_lin.bias")), name
    places = [m for m in model.modules() if hasattr(m, "p")]
    assert len(places) == 1 + 2 * 2 + (kind is not DistilBertForMaskedLM)
    for place in places:
        place.p = 0.5
        assert model(IDS, MASK, **labels).loss.item() != out.loss.item()
        place.p = 0.0


@pytest.mark.parametrize(
    ("batch", "error", "told"),
    [
        ({"input_ids": np.ones((1, 11), int)}, ValueError, "11 tokens long, but this model reads at most 10"),
        ({"input_ids": IDS, "attention_mask": MASK[:, :5]}, ValueError, r"attention_mask has shape \(3, 5\)"),
        ({"input_ids": IDS + 50}, IndexError, "an embedding of 50 rows"),
        ({"input_ids": IDS, "token_type_ids": MASK}, TypeError, "token_type_ids"),
    ],
)
def test_bad_input_is_refused(batch, error, told):
    with pytest.raises(error, match=told):
        DistilBertModel(DistilBertConfig(**SIZES), rng=0)(**batch)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"n_heads": 3}, "dim 8 is not a multiple of n_heads 3"),
        ({"activation": "gelu2"}, "activation 'gelu2' is not known"),
        ({"n_layers": 0}, "n_layers is 0 in the configuration; expected a whole number, 1 or more"),
    ],
)
def test_a_configuration_it_cannot_follow_is_refused(config, told):
    with pytest.raises(ValueError, match=told):
        DistilBertConfig(**SIZES | config)
