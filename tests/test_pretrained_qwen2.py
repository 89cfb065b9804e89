"""Qwen2: LLaMA with biases on queries, keys and values.  (Its numbers beside transformers': tests/parity.)"""
import numpy as np
import pytest

from minigrad.pretrained import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

TINY = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 12}
IDS = np.random.default_rng(0).integers(1, 40, (2, 6))


def test_it_is_llama_but_for_the_biases():
    qwen, llama = Qwen2ForCausalLM(Qwen2Config(**TINY), rng=0), LlamaForCausalLM(LlamaConfig(**TINY), rng=0)
    more = qwen.state_dict().keys() - llama.state_dict().keys()
    assert more == {f"model.layers.{i}.self_attn.{part}_proj.bias" for i in range(2) for part in "qkv"}
    llama.load_state_dict({name: p for name, p in qwen.state_dict().items() if name not in more})
    np.testing.assert_allclose(llama(IDS).logits.numpy(), qwen(IDS).logits.numpy(), atol=1e-6)  # new biases are zero
    qwen.model.layers[0].self_attn.v_proj.bias.copy_(1.0)
    assert np.abs(llama(IDS).logits.numpy() - qwen(IDS).logits.numpy()).max() > 1e-3


def test_there_and_back(tmp_path):
    window = {"sliding_window": 4, "use_sliding_window": False}
    qwen = Qwen2ForCausalLM(Qwen2Config(**TINY, tie_word_embeddings=True, rest=window), rng=0)
    qwen.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(again) is Qwen2ForCausalLM and again.config.rest["sliding_window"] == 4
    np.testing.assert_array_equal(again(IDS).logits.numpy(), qwen(IDS).logits.numpy())
    with pytest.raises(ValueError, match="model of type 'qwen2', but LlamaForCausalLM needs 'llama'"):
        LlamaForCausalLM.from_pretrained(tmp_path)


def test_a_sliding_window_is_refused():
    with pytest.raises(ValueError, match="use_sliding_window=False"):
        Qwen2Config(**TINY, rest={"use_sliding_window": True})
