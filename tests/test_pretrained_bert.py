"""BERT by itself: what it takes, refuses, and keeps apart; tests/parity holds its numbers against transformers."""

import numpy as np
import pytest

from minigrad import ops
from minigrad.optim import AdamW
from minigrad.pretrained import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)
from minigrad.tensor import Tensor

SIZES = {
    "vocab_size": 50,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 10,
}
IDS = np.random.default_rng(0).integers(1, 50, (3, 6))
MASK = np.array([[1] * 6, [1] * 4 + [0] * 2, [1] + [0] * 5])


def classifier(rng=0, **config):
    return BertForSequenceClassification(BertConfig(**SIZES | config), rng).eval()


def test_names_are_those_of_the_file():
    layer = [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    ]
    parts = ["embeddings.LayerNorm", *(f"encoder.layer.{i}.{part}" for i in (0, 1) for part in layer), "pooler.dense"]
    expected = {f"{part}.{end}" for part in parts for end in ("weight", "bias")} | {
        f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type")
    }
    assert set(BertModel(BertConfig(**SIZES)).state_dict()) == expected
    assert set(classifier().state_dict()) == {f"bert.{name}" for name in expected} | {
        "classifier.weight",
        "classifier.bias",
    }


def test_first_values():
    model = classifier(rng=0, initializer_range=0.1, vocab_size=5000)
    assert model.bert.embeddings.word_embeddings.weight.numpy().std() == pytest.approx(0.1, rel=0.05)
    for name, p in model.named_parameters():
        assert p.ndim == 2 or (p.numpy() == name.endswith("weight")).all(), name
    again, other = (classifier(rng=seed, initializer_range=0.1, vocab_size=5000).state_dict() for seed in (0, 1))
    name = "bert.encoder.layer.1.output.dense.weight"
    assert (model.state_dict()[name].numpy() == again[name].numpy()).all() and (
        again[name].numpy() != other[name].numpy()
    ).any()


def test_shapes_and_defaults():
    model = BertModel(BertConfig(**SIZES), rng=0).eval()
    out = model(IDS)
    assert out.last_hidden_state.shape == (3, 6, 8) and out.pooler_output.shape == (3, 8)
    spelled = model(Tensor(IDS), Tensor(np.ones((3, 6), np.int64)), np.zeros((3, 6), np.int64), np.arange(6)[None])
    assert (out.last_hidden_state.numpy() == spelled.last_hidden_state.numpy()).all()


def test_what_is_padded_does_not_matter():
    model, other = BertModel(BertConfig(**SIZES), rng=0).eval(), np.where(MASK, IDS, 7)
    one, two = (model(ids, MASK).last_hidden_state.numpy() for ids in (IDS, other))
    assert (one[MASK == 1] == two[MASK == 1]).all() and (IDS != other).any()
    alone = model(IDS[1:2, :4]).last_hidden_state.numpy()
    np.testing.assert_allclose(one[1, :4], alone[0], atol=1e-5)


def test_every_weight_learns_except_the_padding_row():
    model = classifier(rng=0)
    ids = np.where(MASK, IDS, 0)
    model(ids, labels=[0, 1, 0]).loss.backward()  # no mask: other words do look at the padding
    assert all(np.abs(p.grad.numpy()).max() > 0 for name, p in model.named_parameters())
    rows = np.abs(model.bert.embeddings.word_embeddings.weight.grad.numpy()).max(1) > 0
    assert set(rows.nonzero()[0]) == set(ids[ids > 0])


def test_the_gradient_is_the_slope_of_the_loss():
    model, draw, batch = classifier(rng=0).to("float64"), np.random.default_rng(0), (IDS, MASK, MASK, None, [0, 1, 1])
    for p in model.parameters():
        p.copy_(p.data + draw.standard_normal(p.shape) * 0.2)
    directions = [draw.standard_normal(p.shape) for p in model.parameters()]
    model(*batch).loss.backward()
    slope = sum((p.grad.numpy() * d).sum() for p, d in zip(model.parameters(), directions))

    def loss_at(step):
        for p, d in zip(model.parameters(), directions):
            p.copy_(p.data + step * d)
        return model(*batch).loss.item()

    up, down = loss_at(1e-6), loss_at(-2e-6)
    assert (up - down) / 2e-6 == pytest.approx(slope, rel=1e-6)


def test_dropout_acts_in_training_and_follows_the_seed():
    def logits(seed, train):
        return classifier(seed).train(train)(IDS).logits.numpy()

    assert (logits(0, True) == logits(0, True)).all()
    model = classifier(0).train()
    assert (model(IDS).logits.numpy() != model(IDS).logits.numpy()).any()
    model.eval()
    assert (model(IDS).logits.numpy() == model(IDS).logits.numpy()).all()
    assert classifier(hidden_dropout_prob=0.3).dropout.p == 0.3 and classifier(classifier_dropout=0.7).dropout.p == 0.7


def test_every_dropout_acts():
    model = classifier(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    still, places = model(IDS).logits.numpy(), [m for m in model.train().modules() if hasattr(m, "p")]
    assert (model(IDS).logits.numpy() == still).all() and len(places) == 1 + 2 * 3 + 1
    for place in places:
        place.p = 0.5
        assert (model(IDS).logits.numpy() != still).any()
        place.p = 0.0


def test_losses():
    logits = (model := classifier(num_labels=3, rng=1))(IDS).logits.numpy().astype(np.float64)
    surprise = np.log(np.exp(logits).sum(1)) - logits[range(3), [2, 0, 1]]
    assert model(IDS, labels=[2, 0, 1]).loss.item() == pytest.approx(surprise.mean(), rel=1e-5)
    model = classifier(num_labels=1)
    values = np.array([0.5, -1, 2])
    error = ((model(IDS).logits.numpy()[:, 0] - values) ** 2).mean()
    for labels in (values, values.tolist(), values[:, None]):
        assert model(IDS, labels=labels).loss.item() == pytest.approx(error, rel=1e-5)
    model = classifier(num_labels=3, problem_type="regression")
    error = ((model(IDS).logits.numpy() - logits) ** 2).mean()
    assert model(IDS, labels=logits).loss.item() == pytest.approx(error, rel=1e-5)
    assert model(IDS).loss is None
    with pytest.raises(
        ValueError, match="problem_type 'ranking' is not known: use 'single_label_classification', 'multi"
    ):
        classifier(problem_type="ranking")(IDS, labels=[0, 1, 0])


@pytest.mark.parametrize(
    ("batch", "error", "told"),
    [
        (
            {"input_ids": np.ones((1, 11), int)},
            ValueError,
            "input_ids are 11 tokens long, but this model reads at most 10: call",
        ),
        (
            {"input_ids": IDS[0]},
            ValueError,
            r"input_ids must be integers of shape \(batch, tokens\), these are .* \(6,\)",
        ),
        ({"input_ids": IDS / 1}, TypeError, "input_ids must be integers .* these are float64"),
        ({"input_ids": IDS + 40}, IndexError, "id .* is out of range for an embedding of 50 rows"),
        (
            {"input_ids": IDS, "attention_mask": MASK[:, :5]},
            ValueError,
            r"attention_mask has shape \(3, 5\), but input_ids \(3, 6\)",
        ),
        ({"input_ids": IDS, "attention_mask": MASK[0]}, ValueError, r"attention_mask has shape \(6,\)"),
        ({"input_ids": IDS, "token_type_ids": MASK + 1}, IndexError, "id 2 .* an embedding of 2 rows"),
        ({"input_ids": IDS, "position_ids": np.arange(5, 11)[None]}, IndexError, "id 10 .* an embedding of 10 rows"),
        ({"input_ids": IDS, "labels": [0, 1, 2]}, IndexError, "2"),
        ({"input_ids": IDS, "labels": [0, 1]}, ValueError, r"labels of shape \(3,\), these have \(2,\)"),
    ],
)
def test_bad_input_is_refused(batch, error, told):
    with pytest.raises(error, match=told):
        classifier()(**batch)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"hidden_act": "swish2"}, "hidden_act 'swish2' is not known: it is one of gelu, gelu_new"),
        ({"hidden_act": ["gelu"]}, "hidden_act is .'gelu'. in the configuration; expected a text"),
        (
            {"num_hidden_layers": 2.0},
            "num_hidden_layers is 2.0 in the configuration; expected a whole number, 1 or more",
        ),
        ({"vocab_size": True}, "vocab_size is True in the configuration; expected a whole number"),
        ({"pad_token_id": -2}, "pad_token_id is -2 in the configuration; expected a whole number, 0 or more"),
        ({"classifier_dropout": "0.1"}, "classifier_dropout is '0.1' in the configuration; expected a number"),
        ({"num_attention_heads": 3}, "hidden_size 8 is not a multiple of num_attention_heads 3"),
        (
            {"rest": {"position_embedding_type": "relative_key"}},
            "position_embedding_type 'relative_key' is not supported",
        ),
        ({"rest": {"is_decoder": True}}, "is_decoder True is not supported"),
    ],
)
def test_a_configuration_this_bert_cannot_follow_is_refused(config, told):
    with pytest.raises(ValueError, match=told):
        BertConfig(**SIZES | config)


@pytest.mark.parametrize(
    ("kind", "labels", "shape"),
    [
        (BertForTokenClassification, {"labels": MASK}, (3, 6, 2)),
        (BertForMaskedLM, {"labels": IDS}, (3, 6, 50)),
        (BertForQuestionAnswering, {"start_positions": [0, 1, 2], "end_positions": [3, 3, 2]}, (3, 6)),
    ],
)
def test_every_weight_of_every_other_head_learns(kind, labels, shape):
    model = kind(BertConfig(**SIZES, initializer_range=0.2), rng=0)
    out = model(IDS, MASK, **labels)
    assert (out.start_logits if hasattr(out, "start_logits") else out.logits).shape == shape and "pooler" not in repr(
        model
    )
    out.loss.backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and (np.abs(p.grad.numpy()).max() > 0 or name.endswith("key.bias")), name
    assert kind(BertConfig(**SIZES)).eval()(IDS).loss is None


def test_the_decoder_is_the_word_embeddings_unless_the_configuration_parts_them(tmp_path):
    model = BertForMaskedLM(BertConfig(**SIZES), rng=0).eval()
    head = model.cls.predictions
    assert head.decoder.weight is model.bert.embeddings.word_embeddings.weight and head.decoder.bias is head.bias
    model.save_pretrained(tmp_path / "tied")
    again = BertForMaskedLM.from_pretrained(tmp_path / "tied")
    assert again.cls.predictions.decoder.weight is again.bert.embeddings.word_embeddings.weight
    assert (again(IDS, MASK).logits.numpy() == model(IDS, MASK).logits.numpy()).all()
    apart = BertForMaskedLM(BertConfig(**SIZES, tie_word_embeddings=False), rng=0)
    assert apart.cls.predictions.decoder.weight is not apart.bert.embeddings.word_embeddings.weight


@pytest.mark.slow
def test_learning_to_fill_in_a_masked_word():
    """Each word follows from the one before it; after a few steps the model knows the masked one."""
    model, mask = BertForMaskedLM(BertConfig(**SIZES, hidden_dropout_prob=0.0, initializer_range=0.2), rng=0), 49
    starts = np.arange(1, 40)
    ids = starts[:, None] + np.arange(4)
    hidden, labels = ids.copy(), np.full_like(ids, -100)
    hidden[:, 2], labels[:, 2] = mask, ids[:, 2]
    adam = AdamW(model.parameters(), lr=1e-2)
    for _ in range(150):
        adam.zero_grad()
        model(hidden, labels=labels).loss.backward()
        adam.step()
    guessed = model.eval()(hidden).logits.numpy()[:, 2].argmax(1)
    assert (guessed == ids[:, 2]).mean() > 0.9


def test_a_frozen_encoder_costs_no_tape():
    model = classifier()
    model.freeze("bert.**")
    ops.sum(model(IDS).logits).backward()
    assert [name for name, p in model.named_parameters() if p.grad is not None] == [
        "classifier.weight",
        "classifier.bias",
    ]
    assert not model.bert(IDS).pooler_output.requires_grad
