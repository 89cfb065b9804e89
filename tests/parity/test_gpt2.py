"""GPT-2 against transformers: outputs, loss, every gradient, and files in both directions, old ones included."""

import numpy as np
import pytest

torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

from compare import agrees, compare_pretrained, scramble  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from minigrad.pretrained import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification  # noqa: E402

TINY = {
    "vocab_size": 61,
    "n_positions": 16,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "num_labels": 3,
    "eos_token_id": 60,
    "bos_token_id": 60,
    "pad_token_id": 0,
}
rng = np.random.default_rng(0)
B, T = 4, 9
MASK = (np.arange(T) < np.array([[T], [5], [1], [7]])).astype(np.int64)
IDS = np.where(MASK, rng.integers(1, 61, (B, T)), 0)
LM = {"input_ids": IDS, "attention_mask": MASK, "labels": np.where(MASK, IDS, -100)}
SPREAD = LM | {"position_ids": rng.permuted(np.tile(np.arange(16), (B, 1)), axis=1)[:, :T]}


def theirs(head, **config):
    torch.manual_seed(0)
    return getattr(transformers, f"GPT2{head}")(transformers.GPT2Config(**TINY | config))


@pytest.mark.parametrize(
    ("config", "batch"),
    [
        ({}, LM),
        ({}, {"input_ids": IDS, "labels": IDS}),
        ({}, SPREAD),
        ({"tie_word_embeddings": False}, LM),
        ({"activation_function": "gelu", "n_inner": 40}, LM),
        ({"activation_function": "relu", "layer_norm_epsilon": 1e-3}, LM),
        ({"scale_attn_weights": False}, LM),
        ({"scale_attn_by_inverse_layer_idx": True}, LM),
    ],
)
def test_language_model(tmp_path, config, batch):
    ours = compare_pretrained(AutoModelForCausalLM, theirs("LMHeadModel", **config), batch, tmp_path)
    assert (ours.lm_head.weight is ours.transformer.wte.weight) == config.get("tie_word_embeddings", True)


def test_base_model(tmp_path):
    compare_pretrained(AutoModel, theirs("Model"), {name: x for name, x in LM.items() if name != "labels"}, tmp_path)


@pytest.mark.parametrize(
    ("config", "labels"), [({}, np.array([0, 2, 1, 2])), ({"num_labels": 1}, rng.standard_normal(B, np.float32))]
)
def test_classification_reads_the_last_token(tmp_path, config, labels):
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": labels}
    compare_pretrained(
        AutoModelForSequenceClassification, theirs("ForSequenceClassification", **config), batch, tmp_path
    )


def test_the_layout_of_the_published_file(tmp_path):
    """No `transformer.` before the names, and causal masks that are called biases."""
    model = scramble(theirs("LMHeadModel").eval())
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    old = {name.removeprefix("transformer."): weight for name, weight in load_file(file).items()}
    for i in range(3):
        old[f"h.{i}.attn.bias"], old[f"h.{i}.attn.masked_bias"] = torch.ones(1, 1, 16, 16).tril(), torch.tensor(-1e4)
    save_file(old, file, {"format": "pt"})
    ours = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert ours.load_report.verdict.startswith("all ") and not ours.load_report.unused
    agrees(ours, model, LM)


def test_a_cache_does_not_change_what_is_read(tmp_path):
    """The second part of a text, read after the first, is scored as in one piece."""
    model = scramble(theirs("LMHeadModel").eval())
    model.save_pretrained(tmp_path)
    ours = AutoModelForCausalLM.from_pretrained(tmp_path)
    from minigrad import no_grad

    with no_grad(), torch.no_grad():
        cache = ours.new_cache(T)
        parts = [
            ours(IDS[:, a:b], MASK[:, :b], past_key_values=cache).logits.numpy() for a, b in ((0, 4), (4, 8), (8, 9))
        ]
        whole = model(torch.tensor(IDS), attention_mask=torch.tensor(MASK)).logits.numpy()
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, atol=1e-5)
