"""What is written, token for token, against transformers: greedy and by beams, from padded prompts, by several random models."""
import numpy as np
import pytest

torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

from minigrad.pretrained import AutoModelForCausalLM, AutoModelForSeq2SeqLM  # noqa: E402
from minigrad.pretrained.generation import draw  # noqa: E402

EOS, PAD, V, NEW = 3, 1, 23, 14           # a PAD of 0 theirs would take for none, and fill up with EOS
SMALL = {"vocab_size": V, "eos_token_id": EOS, "pad_token_id": PAD, "bos_token_id": None, "initializer_range": 0.4}
LLAMA = SMALL | {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
                 "num_key_value_heads": 2, "max_position_embeddings": 64}
FAMILIES = {
    "gpt2": lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(
        **SMALL, n_positions=64, n_embd=16, n_layer=2, n_head=2)),
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA)),
    "qwen3": lambda: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**LLAMA, head_dim=8, tie_word_embeddings=True)),
    "t5": lambda: transformers.T5ForConditionalGeneration(transformers.T5Config(
        vocab_size=V, eos_token_id=EOS, pad_token_id=PAD, decoder_start_token_id=PAD, d_model=16, d_kv=8, d_ff=24, num_layers=2,
        num_heads=2, initializer_factor=4.0, feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
}


@pytest.fixture(params=[(family, seed) for family in FAMILIES for seed in range(3)], ids=lambda param: f"{param[0]}-{param[1]}",
                scope="module")
def pair(request, tmp_path_factory):
    family, seed = request.param
    torch.manual_seed(seed)
    theirs, directory = FAMILIES[family]().eval(), tmp_path_factory.mktemp(family)
    theirs.save_pretrained(directory)
    auto = AutoModelForSeq2SeqLM if family == "t5" else AutoModelForCausalLM
    return auto.from_pretrained(directory), theirs


def prompts(rng, seed_length=7):
    """Three prompts, padded on the left."""
    mask = np.arange(seed_length) >= np.array([[0], [3], [5]])
    return np.where(mask, rng.integers(4, V, mask.shape), PAD), mask.astype(np.int64)


def written(theirs, ids, mask, **options):
    with torch.no_grad():
        return theirs.generate(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask), do_sample=False, **options).numpy()


@pytest.mark.parametrize("options", [
    {}, {"repetition_penalty": 1.7},
    {"num_beams": 3}, {"num_beams": 4, "early_stopping": True}, {"num_beams": 3, "length_penalty": -0.5},
    {"num_beams": 2, "length_penalty": 2.0, "early_stopping": "never"},
    {"num_beams": 5, "length_penalty": 0.0, "repetition_penalty": 1.3},
    {"num_beams": 3, "eos_token_id": [3, 7, 11]}, {"eos_token_id": [3, 7, 11]},
], ids=str)
def test_token_for_token(pair, options):
    ours, theirs = pair
    ids, mask = prompts(np.random.default_rng(0))
    if "repetition_penalty" in options:         # theirs punishes paddings too, as if they were written
        ids, mask = ids[:1], mask[:1]
    expected = written(theirs, ids, mask, max_new_tokens=NEW, **options)
    found = ours.generate(ids, mask, max_new_tokens=NEW, **options)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("options", [{"temperature": 0.7}, {"top_k": 5}, {"top_p": 0.8}, {"top_p": 0.01}, {"top_k": 100},
                                     {"temperature": 1.5, "top_k": 9, "top_p": 0.6}], ids=str)
def test_tokens_are_drawn_from_the_same_distribution(options):
    from transformers.generation import logits_process as theirs
    rng = np.random.default_rng(0)
    scores, expected = rng.standard_normal((2, V)) * 2, None
    expected = torch.tensor(scores)
    for name, warper in (("temperature", theirs.TemperatureLogitsWarper), ("top_k", theirs.TopKLogitsWarper),
                         ("top_p", theirs.TopPLogitsWarper)):
        expected = warper(options[name])(None, expected) if name in options else expected
    expected = expected.softmax(-1).numpy()
    options = {"temperature": 1.0, "top_k": None, "top_p": None} | options
    drawn = draw(np.repeat(scores, 4000, 0), **options, rng=rng).reshape(2, 4000)
    share = np.stack([np.bincount(row, minlength=V) for row in drawn]) / 4000
    assert not share[expected == 0].any()
    assert (np.abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / 4000) + 1e-9).all()
