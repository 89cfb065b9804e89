"""What is written, token for token, against transformers: greedy and by beams, from padded prompts, by several random
models.
"""

import numpy as np
import pytest

torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

from minigrad.pretrained import AutoModelForCausalLM, AutoModelForSeq2SeqLM  # noqa: E402
from minigrad.pretrained import logits as L  # noqa: E402
from minigrad.pretrained.generation_options import GenerationOptions  # noqa: E402

EOS, PAD, V, NEW = 3, 1, 23, 14  # a PAD of 0 theirs would take for none, and fill up with EOS
SMALL = {"vocab_size": V, "eos_token_id": EOS, "pad_token_id": PAD, "bos_token_id": None, "initializer_range": 0.4}
LLAMA = SMALL | {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
FAMILIES = {
    "gpt2": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**SMALL, n_positions=64, n_embd=16, n_layer=2, n_head=2)
    ),
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA)),
    "qwen3": lambda: transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(**LLAMA, head_dim=8, tie_word_embeddings=True)
    ),
    "t5": lambda: transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=V,
            eos_token_id=EOS,
            pad_token_id=PAD,
            decoder_start_token_id=PAD,
            d_model=16,
            d_kv=8,
            d_ff=24,
            num_layers=2,
            num_heads=2,
            initializer_factor=4.0,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
        )
    ),
}


@pytest.fixture(
    params=[(family, seed) for family in FAMILIES for seed in range(3)],
    ids=lambda param: f"{param[0]}-{param[1]}",
    scope="module",
)
def pair(request, tmp_path_factory):
    family, seed = request.param
    torch.manual_seed(seed)
    theirs, directory = FAMILIES[family]().eval(), tmp_path_factory.mktemp(family)
    theirs.save_pretrained(directory)
    auto = AutoModelForSeq2SeqLM if family == "t5" else AutoModelForCausalLM
    return auto.from_pretrained(directory), theirs


@pytest.fixture(params=FAMILIES, scope="module")
def one(request, tmp_path_factory):
    """A pair of each family."""
    torch.manual_seed(0)
    theirs, directory = FAMILIES[request.param]().eval(), tmp_path_factory.mktemp(request.param)
    theirs.save_pretrained(directory)
    return (AutoModelForSeq2SeqLM if request.param == "t5" else AutoModelForCausalLM).from_pretrained(directory), theirs


def prompts(rng, seed_length=7):
    """Three prompts, padded on the left."""
    mask = np.arange(seed_length) >= np.array([[0], [3], [5]])
    return np.where(mask, rng.integers(4, V, mask.shape), PAD), mask.astype(np.int64)


def written(theirs, ids, mask, **options):
    with torch.no_grad():
        return theirs.generate(
            input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask), do_sample=False, **options
        ).numpy()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"repetition_penalty": 1.7},
        {"num_beams": 3},
        {"num_beams": 4, "early_stopping": True},
        {"num_beams": 3, "length_penalty": -0.5},
        {"num_beams": 2, "length_penalty": 2.0, "early_stopping": "never"},
        {"num_beams": 5, "length_penalty": 0.0, "repetition_penalty": 1.3},
        {"num_beams": 3, "eos_token_id": [3, 7, 11]},
        {"eos_token_id": [3, 7, 11]},
    ],
    ids=str,
)
def test_token_for_token(pair, options):
    ours, theirs = pair
    ids, mask = prompts(np.random.default_rng(0))
    if "repetition_penalty" in options:  # theirs punishes paddings too, as if they were written
        ids, mask = ids[:1], mask[:1]
    expected = written(theirs, ids, mask, max_new_tokens=NEW, **options)
    found = ours.generate(ids, mask, max_new_tokens=NEW, **options)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"no_repeat_ngram_size": 2},
        {"no_repeat_ngram_size": 3, "num_beams": 3},
        {"bad_words_ids": [[5], [7, 8], [EOS], [9, 10, 11]]},
        {"min_new_tokens": 9},
        {"min_length": 12, "num_beams": 2},
        {"suppress_tokens": [4, 5, 6, 7]},
        {"begin_suppress_tokens": [9, 12]},
        {"forced_eos_token_id": 9},
        {"forced_bos_token_id": 5, "num_beams": 2},
        {"exponential_decay_length_penalty": (2, 1.5)},
        {"num_beams": 3, "renormalize_logits": True},
        {"sequence_bias": {(5,): 2.0, (7, 8): -3.0}, "num_beams": 2},
        {"repetition_penalty": 1.4},
        {"remove_invalid_values": True},
    ],
    ids=str,
)
def test_what_changes_the_scores(one, options):
    ours, theirs = one
    ids, mask = prompts(np.random.default_rng(3))
    options = {"max_new_tokens": NEW} | options
    np.testing.assert_array_equal(ours.generate(ids, mask, **options), written(theirs, ids, mask, **options))


@pytest.mark.parametrize(("beams", "returned"), [(4, 3), (3, 3)])
def test_several_texts_of_each_search(one, beams, returned):
    """Of equal scores, which a small T5 gives to texts of the same words in another order, either may come first."""
    ours, theirs = one
    ids, mask = prompts(np.random.default_rng(3))
    options = {
        "max_new_tokens": NEW,
        "num_beams": beams,
        "num_return_sequences": returned,
        "return_dict_in_generate": True,
        "output_scores": True,
    }
    found = ours.generate(ids, mask, **options)
    with torch.no_grad():
        expected = theirs.generate(torch.tensor(ids), attention_mask=torch.tensor(mask), do_sample=False, **options)
    theirs_scores = expected.sequences_scores.numpy()
    np.testing.assert_allclose(found.sequences_scores, theirs_scores, atol=1e-4)
    by_text = theirs_scores.reshape(-1, returned)
    apart = np.abs(by_text[:, :, None] - by_text[:, None] + np.eye(returned)).min(-1).ravel() > 1e-4
    # what came after it, which might score the same, is not known
    last = np.arange(len(apart)) % returned == returned - 1
    same = (found.sequences == expected.sequences.numpy()).all(1)
    assert same[apart & ~last].all() and apart.any()


def test_lengths_and_what_users_bring(one):
    ours, theirs = one
    ids, mask = prompts(np.random.default_rng(4))
    for length in (9, 16):
        np.testing.assert_array_equal(
            ours.generate(ids, mask, max_length=length), written(theirs, ids, mask, max_length=length)
        )

    def process(ids, scores):
        return scores - 5.0 * (scores == scores.max(1, keepdims=True))

    found = ours.generate(
        ids,
        mask,
        max_new_tokens=NEW,
        logits_processor=process,
        stopping_criteria=[lambda ids, scores: ids[:, -1] == 7, lambda ids, scores: ids.shape[1] > 12],
    )
    as_theirs = transformers.LogitsProcessorList(
        [lambda ids, scores: torch.tensor(process(ids.numpy(), scores.numpy()))]
    )
    stop = transformers.StoppingCriteriaList(
        [lambda ids, scores: ids[:, -1] == 7, lambda ids, scores: torch.full((len(ids),), ids.shape[1] > 12)]
    )
    expected = written(theirs, ids, mask, max_new_tokens=NEW, logits_processor=as_theirs, stopping_criteria=stop)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "options", [{}, {"num_beams": 3, "num_return_sequences": 2}, {"repetition_penalty": 1.5}], ids=str
)
def test_scores(one, options):
    ours, theirs = one
    ids, mask = prompts(np.random.default_rng(5))
    asked = {
        "max_new_tokens": 5,
        "return_dict_in_generate": True,
        "output_scores": True,
        "output_logits": True,
    } | options
    found = ours.generate(ids, mask, **asked)
    with torch.no_grad():
        expected = theirs.generate(torch.tensor(ids), attention_mask=torch.tensor(mask), do_sample=False, **asked)
    np.testing.assert_array_equal(found.sequences, expected.sequences.numpy())
    for name in ("scores", "logits"):
        one, two = getattr(found, name), getattr(expected, name)
        assert len(one) == len(two)
        for a, b in zip(one[1:], two[1:], strict=True):  # of the first step theirs has rows that no beam came from
            np.testing.assert_allclose(a, b.numpy(), atol=1e-4, rtol=1e-4)
    if options.get("num_beams"):
        np.testing.assert_allclose(found.sequences_scores, expected.sequences_scores.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"eos_token_id": [5, 9], "max_new_tokens": 6},
        {"num_beams": 3, "max_length": 14, "length_penalty": 0.5},
        {"no_repeat_ngram_size": 2, "max_new_tokens": 8, "forced_eos_token_id": 4},
        {"bad_words_ids": [[5], [6]], "max_new_tokens": 7},
    ],
    ids=str,
)
def test_generation_config_says_how(one, settings, tmp_path):
    ours, theirs = one
    ids, mask = prompts(np.random.default_rng(6))
    before = theirs.generation_config
    theirs.generation_config = transformers.GenerationConfig(**before.to_dict() | settings)
    theirs.save_pretrained(tmp_path)
    again = type(ours).from_pretrained(tmp_path)
    try:
        np.testing.assert_array_equal(again.generate(ids, mask), written(theirs, ids, mask))
        np.testing.assert_array_equal(
            again.generate(ids, mask, max_new_tokens=3), written(theirs, ids, mask, max_new_tokens=3)
        )
    finally:
        theirs.generation_config = before


def test_the_start_of_the_decoder_is_read_from_generation_config(tmp_path):
    theirs = FAMILIES["t5"]().eval()
    theirs.generation_config.decoder_start_token_id = 8
    theirs.save_pretrained(tmp_path)
    ours = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    ids, mask = prompts(np.random.default_rng(6))
    found = ours.generate(ids, mask, max_new_tokens=5)
    np.testing.assert_array_equal(found, written(theirs, ids, mask, max_new_tokens=5))
    assert (found[:, 0] == 8).all()


def test_drawn_beams_are_of_the_same_distribution(tmp_path):
    torch.manual_seed(1)
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            **SMALL | {"vocab_size": 7, "initializer_range": 0.1}, n_positions=64, n_embd=16, n_layer=1, n_head=2
        )
    ).eval()
    theirs.save_pretrained(tmp_path)
    ours = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids, n = np.array([[4, 5]]), 1000
    options = {"max_new_tokens": 1, "num_beams": 2, "do_sample": True, "temperature": 1.3}
    torch.manual_seed(0)
    with torch.no_grad():
        expected = theirs.generate(
            torch.tensor(np.repeat(ids, n, 0)), attention_mask=torch.ones(n, 2).long(), **options
        )
    found = ours.generate(np.repeat(ids, n, 0), rng=0, **options)
    one, two = (np.bincount(np.asarray(x)[:, 2], minlength=7) / n for x in (found, expected))
    assert (np.abs(one - two) < 5 * np.sqrt((one + two + 1e-3) / n)).all(), (one, two)


T = transformers.generation.logits_process
WARPERS = {
    "temperature": T.TemperatureLogitsWarper,
    "top_k": T.TopKLogitsWarper,
    "top_p": T.TopPLogitsWarper,
    "min_p": T.MinPLogitsWarper,
    "typical_p": T.TypicalLogitsWarper,
    "epsilon_cutoff": T.EpsilonLogitsWarper,
    "eta_cutoff": lambda epsilon, **more: T.EtaLogitsWarper(epsilon, device="cpu", **more),
}


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.7},
        {"top_k": 5},
        {"top_p": 0.8},
        {"top_p": 0.01},
        {"top_k": 100},
        {"min_p": 0.2},
        {"min_p": 0.0},
        {"typical_p": 0.6},
        {"typical_p": 0.05},
        {"epsilon_cutoff": 0.05},
        {"eta_cutoff": 0.3},
        {"temperature": 1.5, "top_k": 9, "top_p": 0.6},
        {"temperature": 0.8, "top_k": 12, "min_p": 0.05, "typical_p": 0.8},
    ],
    ids=str,
)
@pytest.mark.parametrize("beams", [1, 3])
def test_tokens_are_drawn_from_the_same_distribution(options, beams):
    scores = np.random.default_rng(0).standard_normal((6, V)).astype(np.float32) * 2
    scores[3:, ::3] = -np.inf
    expected = torch.tensor(scores)
    for name, warper in WARPERS.items():
        least = {"min_tokens_to_keep": 2} if beams > 1 and name != "temperature" else {}
        expected = warper(options[name], **least)(None, expected) if name in options else expected
    o = GenerationOptions.of(
        {"max_new_tokens": 1, "do_sample": True, "num_beams": beams} | options, {"top_k": 0}, False
    )
    found = scores
    for change in L.processes(o, [EOS], 1, 2):
        found = change(np.zeros((6, 1), np.int64), np.ones((6, 1), bool), found)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5)
    drawn = L.draw(np.repeat(found[:2], 4000, 0), np.random.default_rng(0)).reshape(2, 4000)
    share, p = np.stack([np.bincount(row, minlength=V) for row in drawn]) / 4000, expected[:2].softmax(-1).numpy()
    assert not share[p == 0].any() and (np.abs(share - p) < 5 * np.sqrt(p * (1 - p) / 4000) + 1e-9).all()


def test_fifty_tokens_are_drawn_from_by_default():
    o = GenerationOptions.of({"max_new_tokens": 1, "do_sample": True}, {}, False)
    assert o.top_k == transformers.GenerationConfig()._get_default_generation_params()["top_k"] == 50
    assert (
        GenerationOptions.of({"max_new_tokens": 1, "do_sample": True, "top_k": None}, {"top_k": 5}, False).top_k is None
    )
