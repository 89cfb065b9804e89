"""LLaMA against transformers: outputs, loss, every gradient, and files in both directions and both dialects of config.json."""
import json

import numpy as np
import pytest

torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

from compare import agrees, compare_pretrained, scramble  # noqa: E402

from minigrad.pretrained import AutoModel, AutoModelForCausalLM  # noqa: E402

TINY = {"vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16, "rope_theta": 500000.0}
rng = np.random.default_rng(0)
B, T = 4, 9
MASK = (np.arange(T) < np.array([[T], [5], [1], [7]])).astype(np.int64)
IDS = np.where(MASK, rng.integers(1, 61, (B, T)), 0)
LM = {"input_ids": IDS, "attention_mask": MASK, "labels": np.where(MASK, IDS, -100)}
FAR = LM | {"position_ids": np.sort(rng.permuted(np.tile(np.arange(5000), (B, 1)), axis=1)[:, :T], 1)}


def theirs(head="ForCausalLM", **config):
    torch.manual_seed(0)
    return getattr(transformers, f"Llama{head}")(transformers.LlamaConfig(**TINY | config))


@pytest.mark.parametrize(("config", "batch"), [
    ({}, LM), ({"tie_word_embeddings": True}, LM), ({"num_key_value_heads": 4}, LM), ({"num_key_value_heads": None}, LM),
    ({"num_key_value_heads": 1, "head_dim": 16}, LM), ({"attention_bias": True, "mlp_bias": True}, LM),
    ({"hidden_act": "gelu"}, LM), ({"pad_token_id": 0}, LM), ({}, FAR), ({"rope_parameters": LLAMA3}, FAR),
    ({"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}}, FAR),
])
def test_language_model(tmp_path, config, batch):
    compare_pretrained(AutoModelForCausalLM, theirs(**config), batch, tmp_path)


def test_base_model(tmp_path):
    compare_pretrained(AutoModel, theirs("Model"), {name: x for name, x in LM.items() if name != "labels"}, tmp_path)


@pytest.mark.parametrize("kind", ["rope_type", "type"])
def test_the_older_dialect_of_the_configuration(tmp_path, kind):
    model = scramble(theirs(rope_parameters=LLAMA3).eval())
    model.save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    entries = json.loads(file.read_text())
    scaling = entries.pop("rope_parameters")
    entries["rope_theta"], entries["rope_scaling"] = scaling.pop("rope_theta"), scaling
    scaling[kind] = scaling.pop("rope_type")
    file.write_text(json.dumps(entries))
    ours = AutoModelForCausalLM.from_pretrained(tmp_path)
    agrees(ours, model, FAR)
    ours.save_pretrained(tmp_path / "again")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    assert again.config.rope_parameters.items() >= model.config.rope_parameters.items()
