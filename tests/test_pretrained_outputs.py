"""What a model tells of its way through, if it is asked."""

import numpy as np
import pytest

from minigrad.pretrained import BertConfig, BertForSequenceClassification, VGGConfig, VGGModel

IDS = np.random.default_rng(0).integers(1, 30, (2, 5))
MODEL = BertForSequenceClassification(
    BertConfig(
        vocab_size=30,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=10,
        initializer_range=0.5,
    ),
    rng=0,
).eval()


def test_hidden_states_and_attentions():
    out = MODEL(IDS, output_hidden_states=True, output_attentions=True)
    assert [x.shape for x in out.hidden_states] == [(2, 5, 8)] * 3 and [x.shape for x in out.attentions] == [
        (2, 2, 5, 5)
    ] * 2
    np.testing.assert_allclose(out.attentions[0].numpy().sum(-1), 1, atol=1e-6)
    np.testing.assert_array_equal(out.hidden_states[-1].numpy(), MODEL.bert(IDS).last_hidden_state.numpy())
    np.testing.assert_array_equal(out.logits.numpy(), MODEL(IDS).logits.numpy())
    assert MODEL(IDS).hidden_states is MODEL(IDS).attentions is MODEL(IDS, output_attentions=True).hidden_states is None
    out.hidden_states[0].sum().backward()


def test_attention_weights_are_those_that_are_used():
    out = MODEL(IDS, np.array([[1] * 5, [1] * 3 + [0] * 2]), output_attentions=True, output_hidden_states=True)
    assert (out.attentions[1].numpy()[1, :, :, 3:] == 0).all()
    layer, x = MODEL.bert.encoder.layer[0], out.hidden_states[0]
    v = layer.attention.self.value(x).numpy().reshape(2, 5, 2, 4).swapaxes(1, 2)
    mixed = (out.attentions[0].numpy() @ v).swapaxes(1, 2).reshape(2, 5, 8)
    expected = layer.attention.self(x, np.array([[1] * 5, [1, 1, 1, 0, 0]], bool)[:, None, None])
    np.testing.assert_allclose(mixed, expected.numpy(), atol=1e-5)


def test_a_model_that_has_none_says_so():
    model = VGGModel(VGGConfig(hidden_sizes=[4, 4], depths=[1, 1]), rng=0)
    with pytest.raises(ValueError, match="VGGModel has no attentions to tell: leave out output_attentions"):
        model(np.zeros((1, 3, 8, 8), np.float32), output_attentions=True)
