"""LLaMA against transformers: outputs, loss, every gradient, and files in both directions and both dialects of
config.json.
"""

import json

import numpy as np
import pytest

torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

from compare import agrees, compare_pretrained, scramble  # noqa: E402

from minigrad.pretrained import (  # noqa: E402
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
)

TINY = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
    "rope_theta": 500000.0,
}
rng = np.random.default_rng(0)
B, T = 4, 9
MASK = (np.arange(T) < np.array([[T], [5], [1], [7]])).astype(np.int64)
IDS = np.where(MASK, rng.integers(1, 61, (B, T)), 0)
LM = {"input_ids": IDS, "attention_mask": MASK, "labels": np.where(MASK, IDS, -100)}
FAR = LM | {"position_ids": np.sort(rng.permuted(np.tile(np.arange(5000), (B, 1)), axis=1)[:, :T], 1)}


def theirs(head="ForCausalLM", **config):
    torch.manual_seed(0)
    return getattr(transformers, f"Llama{head}")(transformers.LlamaConfig(**TINY | config))


@pytest.mark.parametrize(
    ("config", "batch"),
    [
        ({}, LM),
        ({"tie_word_embeddings": True}, LM),
        ({"num_key_value_heads": 4}, LM),
        ({"num_key_value_heads": None}, LM),
        ({"num_key_value_heads": 1, "head_dim": 16}, LM),
        ({"attention_bias": True, "mlp_bias": True}, LM),
        ({"hidden_act": "gelu"}, LM),
        ({"pad_token_id": 0}, LM),
        ({}, FAR),
        ({"rope_parameters": LLAMA3}, FAR),
        ({"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}}, FAR),
    ],
)
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


def scalings():
    short, long = (np.linspace(1, top, 4).tolist() for top in (1.5, 9))
    return [
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
        {
            "rope_type": "yarn",
            "factor": 8.0,
            "beta_fast": 20,
            "beta_slow": 2,
            "attention_factor": 0.8,
            "truncate": False,
        },
        {"rope_type": "yarn", "factor": 8.0, "mscale": 1.2, "mscale_all_dim": 0.7},
        {"rope_type": "dynamic", "factor": 3.0},
        {"rope_type": "longrope", "short_factor": short, "long_factor": long, "original_max_position_embeddings": 32},
        {
            "rope_type": "longrope",
            "short_factor": short,
            "long_factor": long,
            "factor": 6.0,
            "original_max_position_embeddings": 32,
            "attention_factor": 1.3,
        },
    ]


@pytest.mark.parametrize("scaling", scalings(), ids=str)
@pytest.mark.parametrize("length", [20, 90, 300])
def test_scaled_rotations(scaling, length):
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "max_position_embeddings": 128}
    entries = sizes | {"rope_parameters": scaling | {"rope_theta": 5e4}}
    rotary = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(transformers.LlamaConfig(**entries))
    positions = np.arange(length)
    expected = rotary(torch.zeros(1), torch.tensor(positions[None]))
    for ours, their in zip(LlamaConfig(**entries).rotary.tables(positions), expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), their[0].numpy(), atol=2e-4)


@pytest.mark.parametrize("family", ["Llama", "Qwen2", "Qwen3"])
def test_classifiers(tmp_path, family):
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**TINY, num_labels=3, pad_token_id=0)
    model = getattr(transformers, f"{family}ForSequenceClassification")(config)
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": np.arange(B) % 3}
    compare_pretrained(AutoModelForSequenceClassification, model, batch, tmp_path)
