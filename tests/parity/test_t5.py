"""T5, v1.0 and v1.1, against transformers: both stacks, every gradient, the loss, and files in both directions."""

import numpy as np
import pytest

transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")

import texts  # noqa: E402
from compare import compare_pretrained, scramble  # noqa: E402

from minigrad.pretrained import AutoModelForSeq2SeqLM, T5EncoderModel, T5Model  # noqa: E402

TINY = {
    "vocab_size": texts.VOCABULARY,
    "d_model": 32,
    "d_kv": 6,
    "d_ff": 40,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
    "pad_token_id": texts.PAD,
    "decoder_start_token_id": 0,
    "use_cache": False,
}
OLD, NEW = {"feed_forward_proj": "relu"}, {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
READ = {"input_ids": texts.IDS, "attention_mask": texts.MASK}
T = 14  # longer than the largest distance that has a bucket of its own
WRITE = np.random.default_rng(0).integers(2, texts.VOCABULARY, (texts.B, T))
WRITTEN = (np.arange(T) < np.array([[T], [3], [9], [1]])).astype(np.int64)
LABELLED = READ | {"labels": np.where(WRITTEN, WRITE, -100)}


def build(kind, config):
    torch.manual_seed(0)
    return getattr(transformers, kind)(transformers.T5Config(**TINY | config))


@pytest.mark.parametrize("config", [OLD, NEW, {"feed_forward_proj": "gated-silu"}, {"feed_forward_proj": "gelu"}])
def test_generation_with_its_loss(tmp_path, config):
    compare_pretrained(AutoModelForSeq2SeqLM, build("T5ForConditionalGeneration", config), LABELLED, tmp_path)


def with_its_own_head(**config):
    theirs = build("T5ForConditionalGeneration", NEW | config)
    theirs.lm_head.weight = torch.nn.Parameter(torch.randn_like(theirs.lm_head.weight))
    return theirs


def test_a_head_of_its_own_is_not_tied_whatever_the_configuration_says(tmp_path):
    theirs = with_its_own_head()  # for which transformers 5 writes tie_word_embeddings: true
    ours = compare_pretrained(AutoModelForSeq2SeqLM, theirs, LABELLED, tmp_path)
    assert ours.lm_head.weight is not ours.shared.weight and not ours.config.scale_decoder_outputs


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}])
def test_what_it_writes(tmp_path, options):
    theirs = scramble(with_its_own_head(num_decoder_layers=2, use_cache=True).eval())
    theirs.save_pretrained(tmp_path)
    ours = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    batch = {name: torch.tensor(x) for name, x in READ.items()}
    expected = theirs.generate(**batch, max_new_tokens=8, do_sample=False, **options)
    assert (
        ours.generate(**READ, max_new_tokens=8, **options).tolist() == expected.tolist()
        and len(np.unique(expected)) > 4
    )


def test_both_stacks_with_padding_on_either_side(tmp_path):
    batch = READ | {"decoder_input_ids": WRITE, "decoder_attention_mask": WRITTEN}
    batch |= {"input_ids": texts.IDS[:, ::-1].copy(), "attention_mask": texts.MASK[:, ::-1].copy()}
    compare_pretrained(T5Model, build("T5Model", NEW), batch, tmp_path)


def test_the_encoder_alone(tmp_path):
    compare_pretrained(T5EncoderModel, build("T5EncoderModel", OLD), READ, tmp_path)
