"""LLaMA: shared heads, scaled rotations, both dialects of config.json.

(Its numbers beside transformers': tests/parity.)
"""

from dataclasses import replace

import numpy as np
import pytest

import minigrad as mg
from minigrad.pretrained import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

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


def model(**config):
    return LlamaForCausalLM(LlamaConfig(**TINY | config), rng=0).eval()


def test_shared_heads_are_heads_repeated_one_after_the_other():
    few, many = model(), model(num_key_value_heads=4)
    state = {name: p.numpy() for name, p in few.state_dict().items()}
    for name in state:
        if "k_proj" in name or "v_proj" in name:
            state[name] = np.repeat(state[name].reshape(2, 4, 16), 2, axis=0).reshape(16, 16)
    many.load_state_dict(state)
    np.testing.assert_allclose(few(IDS).logits.numpy(), many(IDS).logits.numpy(), atol=1e-6)


def test_only_distances_count():
    lm = model()
    np.testing.assert_allclose(
        lm(IDS, position_ids=np.arange(6)[None] + 900).logits.numpy(), lm(IDS).logits.numpy(), atol=1e-5
    )


@pytest.mark.parametrize("steps", [[1] * 6, [3, 3], [2, 1, 3]])
def test_reading_in_parts(steps):
    lm, parts, at = model(), [], 0
    with mg.no_grad():
        cache = lm.new_cache(6)
        for n in steps:
            parts.append(lm(IDS[:, at : at + n], past_key_values=cache).logits.numpy())
            at += n
        np.testing.assert_allclose(np.concatenate(parts, 1), lm(IDS).logits.numpy(), atol=1e-5)


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def test_both_dialects_mean_the_same():
    old = LlamaConfig(**TINY, rope_theta=5e5, rope_scaling=LLAMA3).rotary.frequencies
    new = LlamaConfig(**TINY, rope_parameters=LLAMA3 | {"rope_theta": 5e5}).rotary.frequencies
    np.testing.assert_array_equal(old, new)
    assert LlamaConfig(**TINY).rotary.base == 10000


@pytest.mark.parametrize(
    "config",
    [
        {"rope_theta": 5e5, "rope_scaling": LLAMA3},
        {"rope_parameters": LLAMA3 | {"rope_theta": 5e5}},
        {"tie_word_embeddings": True},
        {"head_dim": 6},
    ],
)
def test_there_and_back(tmp_path, config):
    lm = model(**config)
    lm.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.load_report.verdict.startswith("all ") and replace(again.config, rest={}) == lm.config
    np.testing.assert_array_equal(again(IDS).logits.numpy(), lm(IDS).logits.numpy())


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"num_key_value_heads": 3}, "not a multiple of num_key_value_heads 3"),
        ({"hidden_size": 18}, "give a head_dim"),
        ({"hidden_act": "jump"}, "hidden_act 'jump'"),
        ({"rope_scaling": 4}, "rope_scaling is 4"),
    ],
)
def test_configurations_that_make_no_sense(wrong, told):
    with pytest.raises(ValueError, match=told):
        LlamaConfig(**TINY | wrong)


@pytest.mark.parametrize(
    ("scaling", "told"),
    [
        ({"rope_type": "spin", "factor": 4.0}, "rope_type 'spin' is not known"),
        ({"rope_type": "llama3", "factor": 8.0}, "low_freq_factor, high_freq_factor"),
    ],
)
def test_rotations_it_does_not_know(scaling, told):
    with pytest.raises(ValueError, match=told):
        model(rope_scaling=scaling)
