"""T5 by itself: who sees whom, what is shared, caches, first values; tests/parity holds its numbers against
transformers.
"""

import numpy as np
import pytest

import minigrad as mg
from minigrad.pretrained import T5Config, T5EncoderModel, T5ForConditionalGeneration, T5Model

SIZES = {
    "vocab_size": 50,
    "d_model": 8,
    "d_kv": 3,
    "d_ff": 12,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 2,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 10,
}
NEW = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
rng = np.random.default_rng(0)
MASK = np.array([[1] * 6, [1] * 4 + [0] * 2, [1] + [0] * 5])
IDS = np.where(MASK, rng.integers(2, 50, (3, 6)), 0)
LABELS = rng.integers(2, 50, (3, 5))


def writer(**config):
    return T5ForConditionalGeneration(T5Config(**SIZES | config), rng=0).eval()


def logits(model, written=LABELS, **inputs):
    return model(**{"input_ids": IDS, "attention_mask": MASK} | inputs, decoder_input_ids=written).logits.numpy()


def test_names_are_those_of_the_file():
    names = set(writer(**NEW).state_dict())
    attention = [f"{part}.weight" for part in "qkvo"]
    layers = {
        "encoder": (2, ("SelfAttention", "DenseReluDense")),
        "decoder": (3, ("SelfAttention", "EncDecAttention", "DenseReluDense")),
    }
    expected = {"shared.weight", "lm_head.weight"}
    for stack, (n, parts) in layers.items():
        expected |= {
            f"{stack}.embed_tokens.weight",
            f"{stack}.final_layer_norm.weight",
            f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        }
        for i in range(n):
            for j, part in enumerate(parts):
                inner = ("wi_0.weight", "wi_1.weight", "wo.weight") if part == "DenseReluDense" else attention
                expected |= {f"{stack}.block.{i}.layer.{j}.{part}.{name}" for name in inner}
                expected.add(f"{stack}.block.{i}.layer.{j}.layer_norm.weight")
    assert names == expected
    assert not any(name.endswith("bias") for name in names) and "wi.weight" in " ".join(writer().state_dict())


@pytest.mark.parametrize(
    ("config", "tied", "scaled"),
    [
        ({}, True, True),
        (NEW, False, False),
        ({"tie_word_embeddings": True, "scale_decoder_outputs": False}, True, False),
    ],
)
def test_v10_ties_and_scales_and_v11_does_neither(config, tied, scaled):
    model = writer(**config)
    assert (model.lm_head.weight is model.shared.weight) == tied and model.config.scale_decoder_outputs == scaled
    assert model.encoder.embed_tokens.weight is model.decoder.embed_tokens.weight is model.shared.weight
    x = T5Model.forward(model, IDS, MASK, LABELS).last_hidden_state.numpy()
    np.testing.assert_allclose(
        logits(model), x @ model.lm_head.weight.numpy().T * (8**-0.5 if scaled else 1), atol=1e-5
    )


def test_the_decoder_reads_the_start_token_and_then_the_labels():
    model, labels = writer(decoder_start_token_id=7), LABELS.copy()
    labels[1, 3:] = -100
    ids = model.shifted(labels)
    assert ids[:, 0].tolist() == [7] * 3 and (ids[0, 1:] == labels[0, :-1]).all() and ids[1, 4] == 0
    found = model(IDS, MASK, labels=labels)
    assert (found.logits.numpy() == logits(model, ids)).all()
    p = found.logits.numpy() - np.log(np.exp(found.logits.numpy()).sum(-1, keepdims=True))
    kept = labels != -100
    assert found.loss.item() == pytest.approx(-p[kept, labels[kept]].mean(), rel=1e-5)


def test_no_token_sees_what_comes_after_it_nor_padding():
    model = writer(**NEW)
    later = LABELS.copy()
    later[:, 3:] = 9
    np.testing.assert_array_equal(logits(model, later)[:, :3], logits(model)[:, :3])
    np.testing.assert_array_equal(logits(model, input_ids=np.where(MASK, IDS, 9)), logits(model))
    assert (logits(model, input_ids=IDS, attention_mask=None) != logits(model)).any()
    written = np.array([[0, 1, 1, 1, 1]] * 3)  # the first token is padding, and hidden from the others
    other = LABELS.copy()
    other[:, 0] = 9
    np.testing.assert_array_equal(
        logits(model, other, decoder_attention_mask=written)[:, 1:],
        logits(model, decoder_attention_mask=written)[:, 1:],
    )


def test_padding_on_the_left_changes_nothing():
    """Only distances count, so a text may stand anywhere."""
    model = T5EncoderModel(T5Config(**SIZES), rng=0).eval()
    right, left = IDS[1:2], np.roll(IDS[1:2], 2, axis=1)
    one = model(right, MASK[1:2]).last_hidden_state.numpy()[0, :4]
    two = model(left, np.roll(MASK[1:2], 2, axis=1)).last_hidden_state.numpy()[0, 2:]
    np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("steps", [(1, 1, 1, 1, 1), (2, 3), (3, 1, 1)])
def test_a_cache_gives_what_reading_all_at_once_gives(steps):
    model = writer()
    with mg.no_grad():
        source, whole, cache = model.encode(IDS, MASK), logits(model), model.new_cache(5)
        parts = [
            logits(model, part, input_ids=None, encoder_outputs=source, past_key_values=cache)
            for part in np.split(LABELS, np.cumsum(steps)[:-1], axis=1)
        ]
        np.testing.assert_allclose(np.concatenate(parts, 1), whole, atol=1e-5)
        with pytest.raises(ValueError, match="KVCache of .* holds 5 positions"):
            logits(model, LABELS[:, :1], input_ids=None, encoder_outputs=source, past_key_values=cache)


def test_what_the_encoder_found_may_be_passed_in():
    model = writer()
    source = T5EncoderModel.forward(model, IDS, MASK)
    for given in (source, source.last_hidden_state):
        assert (logits(model, input_ids=None, encoder_outputs=given) == logits(model)).all()
    assert (model(IDS, MASK, LABELS).encoder_last_hidden_state.numpy() == source.last_hidden_state.numpy()).all()


def test_writing_with_and_without_a_cache_is_the_same():
    model = writer(**NEW)
    options = {"attention_mask": MASK, "max_new_tokens": 5, "num_beams": 2}
    assert model.generate(IDS, **options).tolist() == model.generate(IDS, **options, use_cache=False).tolist()


@pytest.mark.parametrize("config", [{}, NEW])
def test_every_weight_learns_and_every_dropout_acts(config):
    model = writer(dropout_rate=0.0, **config)
    out = model.train()(IDS, MASK, labels=LABELS)
    out.loss.backward()
    assert all(np.abs(p.grad.numpy()).max() > 0 for p in model.parameters())
    places = [m for m in model.modules() if hasattr(m, "p")]
    assert len(places) == 2 * 3 + 3 * 4 + 2
    for place in places:
        place.p = 0.5
        assert model(IDS, MASK, labels=LABELS).loss.item() != out.loss.item()
        place.p = 0.0


def test_first_values():
    own = writer(**NEW | {"d_model": 64, "d_kv": 16, "d_ff": 256, "vocab_size": 500}).state_dict()
    block = "encoder.block.1.layer."
    for name, std in (
        ("shared.weight", 1),
        ("lm_head.weight", 1),
        (block + "0.SelfAttention.q.weight", (64 * 16) ** -0.5),
        (block + "0.SelfAttention.k.weight", 1 / 8),
        (block + "0.SelfAttention.o.weight", (2 * 16) ** -0.5),
        (block + "1.DenseReluDense.wi_1.weight", 1 / 8),
        (block + "1.DenseReluDense.wo.weight", 1 / 16),
    ):
        assert own[name].numpy().std() == pytest.approx(std, rel=0.05), name
    assert all((t.numpy() == 1).all() for t in own.values() if t.ndim == 1)


def test_from_and_to_a_directory(tmp_path):
    model = writer(**NEW)
    model.save_pretrained(tmp_path)
    again = T5ForConditionalGeneration.from_pretrained(tmp_path)
    assert (logits(again) == logits(model)).all() and again.config.to_dict().items() >= model.config.to_dict().items()
    parts = [kind.from_pretrained(tmp_path) for kind in (T5EncoderModel, T5Model)]
    assert all((part.encode(IDS, MASK).numpy() == model.encode(IDS, MASK).numpy()).all() for part in parts)
    with pytest.raises(ValueError, match="decoder.block.2.* for which the model has no place"):
        T5Model.from_pretrained(tmp_path, num_decoder_layers=2)


@pytest.mark.parametrize(
    ("inputs", "error", "told"),
    [
        ({"labels": LABELS}, ValueError, "needs input_ids to read, or the encoder_outputs"),
        ({"input_ids": IDS}, ValueError, r"needs decoder_input_ids, or labels .* model.generate\(input_ids"),
        ({"input_ids": IDS, "labels": LABELS / 1}, TypeError, "decoder_input_ids must be integers"),
        ({"input_ids": IDS, "labels": LABELS + 50}, IndexError, "an embedding of 50 rows"),
        ({"input_ids": IDS, "labels": LABELS, "attention_mask": MASK[:, :5]}, ValueError, "attention_mask has shape"),
        (
            {"input_ids": IDS, "labels": LABELS, "decoder_attention_mask": MASK},
            ValueError,
            r"attention_mask has shape \(3, 6\)",
        ),
    ],
)
def test_bad_input_is_refused(inputs, error, told):
    with pytest.raises(error, match=told):
        writer()(**inputs)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"feed_forward_proj": "gated-swish2"}, "feed_forward_proj 'swish2' is not known"),
        ({"d_kv": 0}, "d_kv is 0 in the configuration; expected a whole number, 1 or more"),
    ],
)
def test_a_configuration_it_cannot_follow_is_refused(config, told):
    with pytest.raises(ValueError, match=told):
        T5Config(**SIZES | config)
