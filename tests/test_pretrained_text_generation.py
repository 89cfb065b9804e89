"""Generation: the laws that hold for any model, and what is refused.

(Token for token beside transformers: tests/parity.)
"""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.pretrained import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
)
from minigrad.pretrained import T5ForConditionalGeneration as T5
from minigrad.pretrained.logits import draw, top_k, top_p

V, LONGEST = 30, 40
COMMON = {"vocab_size": V, "initializer_range": 0.5, "eos_token_id": 2, "pad_token_id": 0}
GPT2 = GPT2LMHeadModel(GPT2Config(n_positions=LONGEST, n_embd=16, n_layer=2, n_head=2, bos_token_id=2, **COMMON), rng=0)
LLAMA = LlamaForCausalLM(
    LlamaConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=LONGEST,
        **COMMON,
    ),
    rng=1,
)
SEQ2SEQ = T5(
    T5Config(
        vocab_size=V,
        d_model=16,
        d_kv=8,
        d_ff=24,
        num_layers=2,
        num_heads=2,
        initializer_factor=3.0,
        eos_token_id=2,
        pad_token_id=0,
        decoder_start_token_id=0,
    ),
    rng=2,
)
MODELS = [GPT2.eval(), LLAMA.eval(), SEQ2SEQ.eval()]
CHOICES = [
    {},
    {"num_beams": 3},
    {"num_beams": 2, "early_stopping": True, "length_penalty": 2.0},
    {"repetition_penalty": 1.5},
]
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
texts = st.lists(st.lists(st.integers(3, V - 1), min_size=1, max_size=6), min_size=1, max_size=3)


def padded(rows, side):
    """Ids and mask of texts of different length."""
    width = max(map(len, rows))
    gaps = [(width - len(row), 0) if side == "left" else (0, width - len(row)) for row in rows]
    return tuple(
        np.array([np.pad(row, gap) for row, gap in zip(table, gaps, strict=True)])
        for table in (rows, [np.ones_like(row) for row in rows])
    )


def written(model, rows, side="left", **options):
    """What was written after each text, without what fills up the shorter ones."""
    ids, mask = padded(rows, side)
    out = model.generate(ids, mask, max_new_tokens=8, **options)[:, 1 if model.is_encoder_decoder else ids.shape[1] :]
    return [row[: np.flatnonzero(row == 2)[0] + 1].tolist() if 2 in row else row.tolist() for row in out]


@every_model
@settings(max_examples=15)
@given(rows=texts, options=st.sampled_from(CHOICES))
def test_the_laws(model, rows, options):
    """Neither the cache, nor the rest of the batch, nor the side of the padding makes a difference."""
    found = written(model, rows, **options)
    assert found == written(model, rows, use_cache=False, **options)
    assert found == written(model, rows, side="right", **options)
    assert found == [one for row in rows for one in written(model, [row], **options)]


@every_model
def test_greedy_takes_the_likeliest(model):
    ids = np.array([[5, 9, 7]])
    out = model.generate(ids, max_new_tokens=6, eos_token_id=[])
    for n in range(1, 7):
        read = (
            {"input_ids": ids, "decoder_input_ids": out[:, :n]}
            if model.is_encoder_decoder
            else {"input_ids": out[:, : 2 + n]}
        )
        assert model(**read).logits.numpy()[0, -1].argmax() == out[0, n if model.is_encoder_decoder else 2 + n]


def test_what_comes_back():
    ids, mask = padded([[5, 9, 7], [8]], "right")
    out = GPT2.generate(ids, mask, max_new_tokens=4, eos_token_id=[])
    assert out.dtype == np.int64 and out.shape == (2, 7)
    np.testing.assert_array_equal(out[:, :3], [[5, 9, 7], [0, 0, 8]])


def test_texts_that_have_ended_are_filled_up():
    out = GPT2.generate([[5, 9], [8, 3]], max_new_tokens=12, eos_token_id=[])
    end = int(out[0, 4])  # what the first writes third
    out = GPT2.generate([[5, 9], [8, 3]], max_new_tokens=12, eos_token_id=end, pad_token_id=27)
    for row in out[:, 2:]:
        if end in row:
            after = row[np.flatnonzero(row == end)[0] + 1 :]
            assert (after == 27).all()
    assert end in out[0, 2:5]


@every_model
def test_more_beams_never_find_less(model):
    """What a search finds that is as wide as the vocabulary is no less likely than what greed finds."""

    def likelihood(out):
        ids = np.array([[4, 8, 5]])
        read = {"input_ids": ids, "decoder_input_ids": out} if model.is_encoder_decoder else {"input_ids": out}
        start = 1 if model.is_encoder_decoder else 3
        log_p = model(**read).logits.log_softmax().numpy()[0]
        return sum(log_p[i - 1, token] for i, token in enumerate(out[0]) if i >= start)

    greedy, beams = (
        model.generate([[4, 8, 5]], max_new_tokens=2, eos_token_id=[], **options)
        for options in ({}, {"num_beams": V, "early_stopping": "never", "length_penalty": 0.0})
    )
    assert likelihood(beams) >= likelihood(greedy) - 1e-5


def test_sampling():
    def sample(rng, **options):
        return GPT2.generate([[5, 9]] * 3, max_new_tokens=9, do_sample=True, rng=rng, **options).tolist()

    assert sample(1) == sample(1) == sample(np.random.default_rng(1)) != sample(2)
    greedy = GPT2.generate([[5, 9]] * 3, max_new_tokens=9).tolist()
    assert sample(1, top_k=1) == sample(1, top_p=1e-9) == sample(1, temperature=1e-4) == greedy != sample(1)


@given(st.integers(1, 6), st.floats(0.05, 1), st.integers(0, 99))
def test_only_the_likeliest_are_drawn(k, p, seed):
    rng = np.random.default_rng(seed)
    scores = np.repeat(rng.permutation(10)[None] * 0.7, 40, 0)
    order = np.argsort(-scores[0])
    assert np.isin(draw(top_k(scores, k), rng), order[:k]).all()
    share = np.exp(scores[0][order]) / np.exp(scores[0]).sum()
    fewest = int((share.cumsum() < p - 1e-12).sum()) + 1
    assert np.isin(draw(top_p(scores, p), rng), order[:fewest]).all()


def test_a_streamer_hears_each_token():
    heard = []
    out = GPT2.generate([[5, 9], [8, 3]], max_new_tokens=7, eos_token_id=[], streamer=heard.append)
    np.testing.assert_array_equal(np.stack(heard, 1), out[:, 2:])


class Letters:
    """A tokenizer whose tokens are letters."""

    def decode(self, ids):
        return ["".join(chr(97 + i) for i in row) for row in np.asarray(ids).tolist()]


@pytest.mark.parametrize("options", [{}, {"num_beams": 2}])
def test_stop_strings(options):
    whole = Letters().decode(GPT2.generate([[5, 9]], max_new_tokens=10, eos_token_id=[], **options)[:, 2:])[0]
    stop = whole[3:5]
    found = Letters().decode(
        GPT2.generate([[5, 9]], max_new_tokens=10, eos_token_id=[], stop_strings=stop, tokenizer=Letters(), **options)[
            :, 2:
        ]
    )[0]
    assert found.endswith(stop) and len(found) <= 5
    if not options:
        assert found == whole[: whole.index(stop) + 2]


def test_dropout_is_off_meanwhile_and_modes_come_back():
    model = GPT2LMHeadModel(GPT2.config, rng=0)
    model.transformer.h[0].eval()
    before = [m.training for m in model.modules()]
    assert any(before) and not all(before)
    assert model.generate([[5, 9]], max_new_tokens=8).tolist() == GPT2.generate([[5, 9]], max_new_tokens=8).tolist()
    with pytest.raises(IndexError):
        model.generate([[V]], max_new_tokens=1)
    assert [m.training for m in model.modules()] == before


def test_generation_config_says_where_to_end(tmp_path):
    GPT2.save_pretrained(tmp_path)
    assert not (tmp_path / "generation_config.json").exists()
    third = int(GPT2.generate([[5, 9]], max_new_tokens=9, eos_token_id=[])[0, 4])
    settings = {"eos_token_id": [29, third], "pad_token_id": 1, "do_sample": True}
    (tmp_path / "generation_config.json").write_text(json.dumps(settings))
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    out = model.generate([[5, 9]], max_new_tokens=9, do_sample=False)
    assert out.shape[1] <= 5 and out[0, -1] == third
    # tokens are drawn
    assert len({tuple(model.generate([[5, 9]], max_new_tokens=9, rng=seed)[0]) for seed in range(9)}) > 1
    model.save_pretrained(tmp_path / "again")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "again").generation_config == settings


TOKEN, TOKENS = "expected a whole number, 0 or more", "expected a list whose entries are each a whole number, 0 or more"
WRONG = [
    *(
        (name, value, TOKEN)
        for value in ("2", 2.5, -2, True, [[2]], {"id": 2}, 2**31)
        for name in ("eos_token_id", "pad_token_id", "forced_bos_token_id", "forced_eos_token_id")
    ),
    *((name, value, TOKEN) for name in ("bos_token_id", "decoder_start_token_id") for value in ("<s>", 1.0, -3, [2])),
    *((name, [3, value], TOKEN) for name in ("eos_token_id", "forced_eos_token_id") for value in ("2", 2.5, -1, None)),
    *(
        (name, value, TOKENS)
        for name in ("suppress_tokens", "begin_suppress_tokens")
        for value in (5, "5", [2.5], [-1], [[5]], ["5"], {"5": 1})
    ),
    *(
        ("bad_words_ids", value, "expected a list whose entries are each a list")
        for value in (5, "no", [5], [["5"]], [[-1]], [[]], [[2.0]])
    ),
    *(
        ("sequence_bias", value, "expected token ids with the number")
        for value in (5, "no", [[[5], "1"]], [[["5"], 1.0]], [[[-5], 1.0]], [[5, 1.0]], [[[5]]])
    ),
    *(("exponential_decay_length_penalty", value, "expected where it begins") for value in (5, "no", [5], ["5", 1.1])),
    ("stop_strings", 5, "expected a text"),
    ("do_sample", "yes", "expected true or false"),
    ("early_stopping", "soon", "expected true or false or 'never'"),
]


@pytest.mark.parametrize(("name", "value", "expected"), WRONG)
def test_an_entry_of_generation_config_of_the_wrong_kind_is_refused(name, value, expected, tmp_path):
    GPT2.save_pretrained(tmp_path)
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps({"max_length": 20, name: value}))
    with pytest.raises(ValueError) as caught:
        AutoModelForCausalLM.from_pretrained(tmp_path)
    assert f"{name} is {value!r} in {path}; {expected}" in str(caught.value)
    model = GPT2LMHeadModel(GPT2.config, rng=0)
    model.generation_config = {name: value}  # set by hand instead
    with pytest.raises(ValueError, match=f"{name} is .* in generation_config.json; expected"):
        model.generate([[5]], max_new_tokens=2)


def test_token_ids_in_config_json_that_only_generate_reads_are_checked_too(tmp_path):
    GPT2.save_pretrained(tmp_path)
    entries = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(entries | {"suppress_tokens": ["5"]}))
    with pytest.raises(ValueError, match=r"suppress_tokens is \['5'\] in config.json; expected a list"):
        AutoModelForCausalLM.from_pretrained(tmp_path).generate([[5]], max_new_tokens=2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("eos_token_id", value) for value in (2, [2], [2, 29], [], -1, None)),
        ("pad_token_id", -1),
        ("suppress_tokens", []),
        ("bad_words_ids", []),
        ("bad_words_ids", [[3], [4, 5]]),
        ("sequence_bias", [[[5, 9], -2]]),
        ("forced_eos_token_id", [2]),
        ("exponential_decay_length_penalty", [3, 1.5]),
        ("stop_strings", None),
        ("early_stopping", "never"),
        ("eos_token_id", [2, V + 5]),
    ],
)
def test_an_entry_of_generation_config_of_the_right_kind_is_taken(name, value, tmp_path):
    GPT2.save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({name: value}))
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert model.generate([[5, 9]], max_new_tokens=4, min_new_tokens=2).shape[1] >= 4
    assert model.generation_config == {name: value}


@pytest.mark.parametrize("tokens", [np.array([2, 7]), (2, 7), range(2, 8, 5), [np.int64(2), np.int32(7)]])
def test_token_ids_are_taken_in_whatever_sequence(tokens):
    options = {name: tokens for name in ("eos_token_id", "suppress_tokens")} | {"bad_words_ids": [tokens]}
    expected = {name: [2, 7] for name in ("eos_token_id", "suppress_tokens")} | {"bad_words_ids": [[2, 7]]}
    assert GPT2.generate([[5, 9]], max_new_tokens=6, **options).tolist() == (
        GPT2.generate([[5, 9]], max_new_tokens=6, **expected).tolist()
    )


@pytest.mark.parametrize(
    ("ids", "options", "told"),
    [
        ([[5]], {}, "give max_new_tokens"),
        *(
            (
                [[5]],
                {"max_new_tokens": 3, "eos_token_id": value},
                "eos_token_id=.*: give a token id, 0 or more, or a list of them",
            )
            for value in ("2", 2.5, -2, [["2"]], [2.0], {2: 3})
        ),
        *(
            ([[5]], {"max_new_tokens": 3, "pad_token_id": value}, "pad_token_id=.*: give a token id, 0 or more")
            for value in ("2", 2.5, -2, [2])
        ),
        *(
            (
                [[5]],
                {"max_new_tokens": 3, "suppress_tokens": value},
                "suppress_tokens=.*: give a list of token ids, 0 or more",
            )
            for value in (5, "5", [-1], [2.5], [[5]])
        ),
        (
            [[5]],
            {"max_new_tokens": 3, "stop_strings": 5, "tokenizer": Letters()},
            "stop_strings=5: give a text or a list of",
        ),
        ([[5]], {"max_new_tokens": 3, "sequence_bias": {5: 1.0}}, "sequence_bias=.*: give token ids with the number"),
        (
            [[5]],
            {"max_new_tokens": 3, "sequence_bias": {(5,): "a"}},
            "sequence_bias=.*: give token ids with the number",
        ),
        (
            [[5]],
            {"max_new_tokens": 3, "exponential_decay_length_penalty": 3},
            "_penalty=3: give where it begins and its factor",
        ),
        *(
            (
                [[5]],
                {"max_new_tokens": 3, name: value},
                f"{name}.* holds the token id {V}: expected ids below the vocabulary size",
            )
            for name, value in (
                ("suppress_tokens", [V]),
                ("begin_suppress_tokens", [3, V]),
                ("forced_bos_token_id", V),
                ("forced_eos_token_id", [V]),
                ("bad_words_ids", [[3, V]]),
                ("sequence_bias", {(V,): 1.0}),
            )
        ),
        ([[5]], {"max_new_tokens": 0}, "max_new_tokens=0: give 1 or more"),
        (
            [[5] * 38],
            {"max_new_tokens": 3},
            "38 tokens and 3 new ones are 41, but this model reads at most 40.*max_new_tokens=2",
        ),
        ([[5] * 41], {"max_new_tokens": 3}, "reads at most 40"),
        ([[]], {"max_new_tokens": 3}, "input_ids must be integers|contain no token"),
        (np.zeros((2, 0), int), {"max_new_tokens": 3}, "contain no token"),
        ([[5, 6]], {"max_new_tokens": 3, "attention_mask": [[1, 1, 1]]}, "attention_mask has shape"),
        ([[5, 6], [7, 8]], {"max_new_tokens": 3, "attention_mask": [[1, 1], [0, 0]]}, "text 1 is nothing but padding"),
        ([[5]], {"max_new_tokens": 3, "do_sample": True, "temperature": 0}, "leave out do_sample"),
        ([[5]], {"max_new_tokens": 3, "do_sample": True, "top_k": -1}, "top_k=-1"),
        ([[5]], {"max_new_tokens": 3, "do_sample": True, "top_p": 1.5}, "top_p=1.5"),
        (
            [[5]],
            {"max_new_tokens": 3, "top_k": 5, "temperature": 0.5},
            "temperature and top_k act .* add do_sample=True",
        ),
        ([[5]], {"max_new_tokens": 3, "repetition_penalty": 0}, "repetition_penalty=0"),
        ([[5]], {"max_new_tokens": 3, "num_beams": 0}, "num_beams=0"),
        ([[5]], {"max_new_tokens": 3, "max_length": 9}, "give one of them"),
        ([[5]], {"max_length": 1}, "max_length=1 leaves no room after a prompt of 1 tokens"),
        ([[5]], {"max_new_tokens": 3, "num_return_sequences": 2}, "need as many num_beams, or do_sample=True"),
        ([[5]], {"max_new_tokens": 3, "output_scores": True}, "with return_dict_in_generate=True: add it"),
        ([[5]], {"max_new_tokens": 3, "bad_words_ids": [3]}, "give a list of lists of token ids"),
        ([[5]], {"max_new_tokens": 3, "penalty_alpha": 0.6}, "penalty_alpha=0.6 is not supported"),
        ([[5]], {"max_new_token": 3}, "generate takes no 'max_new_token'.*did you mean 'max_new_tokens'"),
        ([[5]], {"max_new_tokens": 3, "encoder_no_repeat_ngram_size": 2}, "for models with an encoder"),
        (
            [[5]],
            {"max_new_tokens": 3, "logits_processor": lambda ids, scores: scores[:, :2]},
            "returned scores of shape .1, 2.",
        ),
        ([[5]], {"max_new_tokens": 3, "num_beams": 2, "streamer": print}, "nothing can be streamed"),
        ([[5]], {"max_new_tokens": 3, "early_stopping": True}, "add num_beams"),
        ([[5]], {"max_new_tokens": 3, "num_beams": 2, "early_stopping": "soon"}, "early_stopping='soon'"),
        ([[5]], {"max_new_tokens": 3, "stop_strings": "x"}, "give the tokenizer"),
        (
            [[5]],
            {"max_new_tokens": 3, "stop_strings": ["x", ""], "tokenizer": Letters()},
            "stop_strings has an empty text",
        ),
        ([[5]], {"max_new_tokens": 3, "stop_strings": "", "tokenizer": Letters()}, "stop_strings has an empty text"),
        ([[5]], {"max_new_tokens": "3"}, "max_new_tokens='3': give a whole number"),
        ([[5]], {"max_new_tokens": 3, "do_sample": "false"}, "do_sample='false': give True or False"),
        ([[5]], {"max_new_tokens": 3, "use_cache": 1}, "use_cache=1: give True or False"),
        (
            [[5]],
            {"max_new_tokens": 3, "do_sample": True, "temperature": float("nan")},
            "temperature=nan must be above 0",
        ),
        ([[5]], {"max_new_tokens": 3, "repetition_penalty": float("nan")}, "repetition_penalty=nan must be above 0"),
        ([[5]], {"max_new_tokens": 3, "do_sample": True, "top_k": 2.5}, "top_k=2.5: give a whole number"),
    ],
)
def test_what_is_refused(ids, options, told):
    with pytest.raises((ValueError, TypeError), match=told):
        GPT2.generate(ids, **options)
