"""Qwen2: LLaMA with biases on queries, keys and values.  (Its numbers beside transformers': tests/parity.)"""

import numpy as np
import pytest

from minigrad.execution import no_grad
from minigrad.pretrained import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

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
    qwen = Qwen2ForCausalLM(Qwen2Config(**TINY, tie_word_embeddings=True, **window), rng=0)
    qwen.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(again) is Qwen2ForCausalLM and again.config.sliding_window == 4
    np.testing.assert_array_equal(again(IDS).logits.numpy(), qwen(IDS).logits.numpy())
    with pytest.raises(ValueError, match="model of type 'qwen2', but LlamaForCausalLM needs 'llama'"):
        LlamaForCausalLM.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "how",
    [{"max_window_layers": 0}, {"max_window_layers": 1}, {"layer_types": ["sliding_attention", "full_attention"]}],
)
def test_a_sliding_window(how):
    """A token that is further away than both layers' windows reach changes nothing; with one layer that sees all it
    does.
    """
    model = Qwen2ForCausalLM(
        Qwen2Config(**TINY, use_sliding_window=True, sliding_window=3, initializer_range=0.5, **how), rng=0
    )
    other = IDS.copy()
    other[:, 0] = (other[:, 0] + 1) % 40
    same = np.abs(model(IDS).logits.numpy() - model(other).logits.numpy()).max((0, 2)) < 1e-6
    assert same.tolist() == [False] * 5 + [how == {"max_window_layers": 0}] and model.config.windows[0] in (3, None)
    cache = model.new_cache(6)
    with no_grad():
        parts = [
            model(IDS[:, part], past_key_values=cache).logits.numpy()
            for part in (slice(0, 3), slice(3, 4), slice(4, 6))
        ]
    np.testing.assert_allclose(np.concatenate(parts, 1), model(IDS).logits.numpy(), atol=1e-5)


def test_layer_types_that_do_not_fit_are_refused():
    for types in (["full_attention"], ["full_attention", "slow_attention"]):
        with pytest.raises(
            ValueError, match="layer_types .* must be one of 'full_attention' and 'sliding_attention' for each"
        ):
            Qwen2Config(**TINY, layer_types=types)
