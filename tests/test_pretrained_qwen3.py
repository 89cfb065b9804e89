"""Qwen3: queries and keys of one length, heads of a size of their own.

(Its numbers beside transformers': tests/parity.)
"""

import numpy as np
import pytest

from minigrad.pretrained import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

TINY = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 12,
}
IDS = np.random.default_rng(0).integers(1, 40, (2, 6))


def test_how_long_queries_and_keys_are_makes_no_difference():
    qwen = Qwen3ForCausalLM(Qwen3Config(**TINY, head_dim=8, rms_norm_eps=1e-12), rng=0).eval()
    before = qwen(IDS).logits.numpy()
    for layer in qwen.model.layers:
        layer.self_attn.q_proj.weight.copy_(layer.self_attn.q_proj.weight.numpy() * 5)
    np.testing.assert_allclose(qwen(IDS).logits.numpy(), before, atol=1e-5)
    qwen.model.layers[0].self_attn.q_norm.weight.copy_(5.0)
    assert np.abs(qwen(IDS).logits.numpy() - before).max() > 1e-4


def test_a_head_has_a_size_of_its_own(tmp_path):
    qwen = Qwen3ForCausalLM(Qwen3Config(**TINY), rng=0).eval()
    attention = qwen.model.layers[0].self_attn
    assert attention.q_proj.weight.shape == (4 * 128, 16) and attention.k_proj.weight.shape == (2 * 128, 16)
    assert attention.q_norm.weight.shape == (128,) and attention.q_proj.bias is None
    qwen.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again(IDS).logits.numpy(), qwen(IDS).logits.numpy())
    with pytest.raises(ValueError, match="q_norm"):
        AutoModelForCausalLM.from_pretrained(tmp_path, head_dim=64)
