"""Hidden states and attention weights of every family against transformers."""

import numpy as np
import pytest

torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

from minigrad.pretrained import (  # noqa: E402
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    T5EncoderModel,
)

IDS = np.random.default_rng(0).integers(3, 40, (2, 6))
MASK = np.array([[1] * 6, [1] * 4 + [0] * 2])
TEXT, BERT = (
    {"input_ids": IDS, "attention_mask": MASK},
    {
        "vocab_size": 40,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 20,
    },
)
LLAMA = BERT | {"num_key_value_heads": 1, "pad_token_id": 0}
T5 = {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "dropout_rate": 0.0}
PICTURES = {"pixel_values": np.random.default_rng(1).standard_normal((2, 3, 40, 32)).astype(np.float32)}
CASES = {
    "bert": (AutoModel, "BertModel", "BertConfig", BERT, TEXT),
    "bert classifier": (AutoModelForSequenceClassification, "BertForSequenceClassification", "BertConfig", BERT, TEXT),
    "roberta": (AutoModel, "RobertaModel", "RobertaConfig", BERT, TEXT),
    "distilbert": (
        AutoModel,
        "DistilBertModel",
        "DistilBertConfig",
        {"vocab_size": 40, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
        TEXT,
    ),
    "gpt2": (
        AutoModelForCausalLM,
        "GPT2LMHeadModel",
        "GPT2Config",
        {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2},
        TEXT,
    ),
    "llama": (AutoModelForCausalLM, "LlamaForCausalLM", "LlamaConfig", LLAMA, TEXT),
    "qwen2": (
        AutoModelForCausalLM,
        "Qwen2ForCausalLM",
        "Qwen2Config",
        LLAMA | {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1},
        TEXT,
    ),
    "qwen3": (AutoModel, "Qwen3Model", "Qwen3Config", LLAMA | {"head_dim": 8}, TEXT),
    "t5": (
        AutoModelForSeq2SeqLM,
        "T5ForConditionalGeneration",
        "T5Config",
        T5,
        TEXT | {"decoder_input_ids": IDS[:, :4]},
    ),
    "t5 encoder": (T5EncoderModel, "T5EncoderModel", "T5Config", T5, TEXT),
    "vit": (
        AutoModelForImageClassification,
        "ViTForImageClassification",
        "ViTConfig",
        {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "image_size": [40, 32],
            "patch_size": 8,
        },
        PICTURES,
    ),
    "resnet": (
        AutoModel,
        "ResNetModel",
        "ResNetConfig",
        {"embedding_size": 8, "hidden_sizes": [16, 24, 32, 40], "depths": [1, 1, 1, 1]},
        PICTURES,
    ),
    "mobilenet": (
        AutoModelForImageClassification,
        "MobileNetV2ForImageClassification",
        "MobileNetV2Config",
        {"depth_multiplier": 0.25},
        PICTURES,
    ),
}
NAMES = (
    "hidden_states",
    "attentions",
    "encoder_hidden_states",
    "encoder_attentions",
    "decoder_hidden_states",
    "decoder_attentions",
    "cross_attentions",
)


@pytest.mark.parametrize("case", CASES)
def test_what_is_seen_on_the_way(case, tmp_path):
    auto, model, config, sizes, batch = CASES[case]
    torch.manual_seed(0)
    theirs = getattr(transformers, model)(getattr(transformers, config)(**sizes)).eval()
    if case not in ("resnet", "mobilenet"):
        theirs.set_attn_implementation("eager")
    theirs.save_pretrained(tmp_path)
    ours = auto.from_pretrained(tmp_path)
    asked = {"output_hidden_states": True} | ({} if case in ("resnet", "mobilenet") else {"output_attentions": True})
    with torch.no_grad():
        expected = theirs(**{name: torch.tensor(x) for name, x in batch.items()}, **asked)
    found, plain = ours(**batch, **asked), ours(**batch)
    compared = 0
    for name in NAMES:
        one, two = getattr(found, name), getattr(expected, name, None)
        assert (not one) == (not two) and getattr(plain, name) is None, name
        for a, b in zip(one or (), two or (), strict=True):
            b = b.numpy()
            if "attentions" in name and "input_ids" in batch:  # rows of paddings mean nothing
                keep = MASK[:, None, : b.shape[2], None] if b.shape[2] == 6 else 1
                np.testing.assert_allclose(a.numpy() * keep, b * keep, atol=1e-5)
            elif b.shape[1:2] == (6,) and "input_ids" in batch:
                np.testing.assert_allclose(a.numpy() * MASK[..., None], b * MASK[..., None], atol=2e-5)
            else:
                np.testing.assert_allclose(a.numpy(), b, atol=1e-4)
            compared += 1
    assert compared >= (16 if case == "mobilenet" else 5)
    theirs.config.output_hidden_states = True
    theirs.save_pretrained(tmp_path)
    if auto is not T5EncoderModel:
        again = auto.from_pretrained(tmp_path)(**batch)
        assert (again.hidden_states or again.decoder_hidden_states) and again.attentions is None
