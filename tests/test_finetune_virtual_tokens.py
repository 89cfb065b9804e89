"""Prompt and prefix tuning: what is put before the tokens, that outputs stay those of the tokens, and generation."""

import numpy as np
import pytest

from minigrad import no_grad
from minigrad.finetune import PeftModel, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from minigrad.pretrained import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)

pytestmark = pytest.mark.slow  # it trains models

BERT = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 30,
}
DISTIL = DistilBertConfig(vocab_size=40, dim=16, n_layers=2, n_heads=2, hidden_dim=24, max_position_embeddings=30)
IDS = np.random.default_rng(0).integers(3, 40, (3, 7))
MASK = (np.arange(7) < np.array([[7], [4], [6]])).astype(np.int64)


def gpt2():
    return GPT2LMHeadModel(GPT2Config(n_embd=16, n_head=2, n_layer=2, vocab_size=40, n_positions=40), rng=0).eval()


def llama():
    return LlamaForCausalLM(LlamaConfig(**BERT, num_key_value_heads=1), rng=0).eval()


def t5():
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_heads": 2, "num_layers": 2, "vocab_size": 40}
    return T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0), rng=0).eval()


def prompted(model, config, scale=1.0):
    get_peft_model(model, config, rng=1)
    for t in model._tensors("default").values():
        t.copy_(scale * np.random.default_rng(2).standard_normal(t.shape))
    return model


PROMPT, PREFIX = PromptTuningConfig(num_virtual_tokens=3), PrefixTuningConfig(num_virtual_tokens=3)


@pytest.mark.parametrize("make", [gpt2, llama])
def test_prompts_are_vectors_of_tokens(make):
    """Prompts that are the vectors of words give what those words before the text give."""
    plain, model, words = make(), prompted(make(), PROMPT), np.array([5, 6, 7])
    host = next(hit.module for hit in model.peft.hits["default"])
    table = next(p for name, p in plain.named_parameters() if p.shape == (40, 16))
    host.prompt_embeddings["default"].copy_(table.numpy()[words])
    longer = np.concatenate([np.broadcast_to(words, (3, 3)), IDS], 1)
    wanted = plain(longer).logits.numpy()[:, 3:]
    np.testing.assert_allclose(model(IDS).logits.numpy(), wanted, atol=1e-6)
    mask = np.concatenate([np.ones((3, 3), int), MASK], 1)
    wanted = plain(longer, mask).logits.numpy()[:, 3:]
    np.testing.assert_allclose(model(IDS, MASK).logits.numpy()[MASK == 1], wanted[MASK == 1], atol=1e-6)


@pytest.mark.parametrize("config", [PROMPT, PREFIX], ids=["prompt", "prefix"])
@pytest.mark.parametrize("make", [gpt2, llama, t5])
def test_outputs_are_those_of_the_tokens_and_prompts_alone_are_trained(make, config):
    model = make()
    inputs = {"input_ids": IDS, "decoder_input_ids": IDS[:, :4]} if make is t5 else {"input_ids": IDS}
    before = model(**inputs).logits.numpy()
    prompted(model, config)
    after = model(**inputs).logits.numpy()
    assert after.shape == before.shape and not np.allclose(after, before, atol=1e-4)
    with model.disable_adapter():
        np.testing.assert_array_equal(model(**inputs).logits.numpy(), before)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert len(trained) == 1 and trained[0].endswith("prompt_embeddings.default")
    model(**inputs, labels=inputs.get("decoder_input_ids", IDS)).loss.backward()
    gradient = dict(model.named_parameters())[trained[0]].grad.numpy()
    assert np.isfinite(gradient).all() and gradient.any()
    np.testing.assert_array_equal(model.unload()(**inputs).logits.numpy(), before)


@pytest.mark.parametrize("config", [PROMPT, PREFIX], ids=["prompt", "prefix"])
@pytest.mark.parametrize("make", [gpt2, llama, t5])
def test_with_a_cache_it_writes_what_it_writes_without(make, config):
    model = prompted(make(), config, 2.0)
    for mask in (None, MASK):
        options = {"max_new_tokens": 6, "attention_mask": mask, "eos_token_id": None, "pad_token_id": 0}
        with_cache = model.generate(IDS, use_cache=True, **options)
        np.testing.assert_array_equal(with_cache, model.generate(IDS, use_cache=False, **options))
        beams = model.generate(IDS, num_beams=3, **options)
        assert beams.shape == with_cache.shape
    model.disable_adapter().__enter__()
    assert (
        not np.array_equal(model.generate(IDS, max_new_tokens=6, eos_token_id=None, pad_token_id=0), with_cache)
        or make is not gpt2
    )


@pytest.mark.parametrize(
    ("make", "config"),
    [
        (gpt2, PROMPT),
        (gpt2, PREFIX),
        (llama, PREFIX),
        (lambda: BertForSequenceClassification(BertConfig(**BERT), rng=0), PROMPT),
        (lambda: RobertaForSequenceClassification(RobertaConfig(**BERT), rng=0), PREFIX),
    ],
    ids=["gpt2-prompt", "gpt2-prefix", "llama-prefix", "bert-prompt", "roberta-prefix"],
)
def test_virtual_tokens_take_places_of_the_model(make, config):
    model = get_peft_model(make(), config, rng=0)
    n, longest = config.num_virtual_tokens, model.config.longest
    assert model(np.ones((1, longest - n), int)).logits.shape[0] == 1
    told = f"{n} virtual ones before them are {longest + 1}, but .* at most {longest}: .*max_length={longest - n}"
    with pytest.raises(ValueError, match=told):
        model(np.ones((1, longest - n + 1), int))
    if make is gpt2:
        with pytest.raises(ValueError, match=told):
            model.generate(np.ones((1, 2), int), max_new_tokens=longest - 2, eos_token_id=None, pad_token_id=0)


@pytest.mark.parametrize("config", [PROMPT, PREFIX], ids=["prompt", "prefix"])
def test_gradients_of_prompts_and_prefixes(config):
    model = prompted(llama(), config).to("float64")
    p = next(p for p in model.parameters() if p.requires_grad)
    model(IDS, MASK, labels=IDS).loss.backward()
    at, along, sides = p.numpy().copy(), np.random.default_rng(3).standard_normal(p.shape), []
    for step in (1e-5, -1e-5):
        p.copy_(at + step * along)
        with no_grad():
            sides.append(float(model(IDS, MASK, labels=IDS).loss.numpy()))
    np.testing.assert_allclose((p.grad.numpy() * along).sum(), (sides[0] - sides[1]) / 2e-5, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "batch"),
    [
        (lambda: BertForSequenceClassification(BertConfig(**BERT), rng=0), {"labels": np.array([0, 1, 1])}),
        (lambda: RobertaForSequenceClassification(RobertaConfig(**BERT), rng=0), {"labels": np.array([0, 1, 1])}),
        (lambda: DistilBertForSequenceClassification(DISTIL, rng=0), {"labels": np.array([0, 1, 1])}),
        (lambda: DistilBertForTokenClassification(DISTIL, rng=0), {"labels": IDS % 2}),
        (lambda: BertForTokenClassification(BertConfig(**BERT), rng=0), {"labels": IDS % 2}),
        (
            lambda: LlamaForSequenceClassification(LlamaConfig(**BERT, pad_token_id=0), rng=0),
            {"labels": np.array([0, 1, 1])},
        ),
    ],
)
def test_heads_are_trained_with_the_prompts(make, batch, tmp_path):
    task = "TOKEN_CLS" if batch["labels"].ndim == 2 else "SEQ_CLS"
    model = prompted(make().eval(), PromptTuningConfig(num_virtual_tokens=2, task_type=task))
    out = model(IDS, MASK, **batch)
    out.loss.backward()
    assert out.logits.shape[:-1] == batch["labels"].shape
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(make().eval(), tmp_path)
    np.testing.assert_array_equal(again(IDS, MASK).logits.numpy(), out.logits.numpy())
    with pytest.raises(ValueError, match="not a change of a weight: they cannot be merged"):
        model.merge_and_unload()


@pytest.mark.parametrize(
    "make",
    [
        lambda: BertForSequenceClassification(BertConfig(**BERT), rng=0),
        lambda: BertForTokenClassification(BertConfig(**BERT), rng=0),
        lambda: RobertaForSequenceClassification(RobertaConfig(**BERT, pad_token_id=0), rng=0),
    ],
    ids=["bert", "tokens", "roberta"],
)
def test_a_prefix_of_an_encoder(make, tmp_path):
    """Padding and its place change nothing, and what is trained is saved."""
    model = make().eval()
    labels = {"labels": IDS % 2 if isinstance(model, BertForTokenClassification) else np.array([0, 1, 1])}
    before = model(IDS, MASK).logits.numpy()
    task = "TOKEN_CLS" if labels["labels"].ndim == 2 else "SEQ_CLS"
    model = prompted(model, PrefixTuningConfig(num_virtual_tokens=3, task_type=task))
    out = model(IDS * MASK, MASK, **labels)
    assert np.abs(out.logits.numpy() - before).max() > 1e-3
    out.loss.backward()
    assert all(p.grad is not None and p.grad.numpy().any() for p in model.parameters() if p.requires_grad)
    alone = model(IDS[1:2, :4]).logits.numpy()
    np.testing.assert_allclose(out.logits.numpy()[1:2][:, : alone.shape[1]], alone, atol=1e-5)
    places = np.broadcast_to(np.arange(7), IDS.shape) + isinstance(model, RobertaForSequenceClassification)
    np.testing.assert_allclose(model(IDS * MASK, MASK, position_ids=places).logits.numpy()[0], out.logits.numpy()[0])
    with model.disable_adapter():
        assert np.abs(model(IDS, MASK).logits.numpy() - out.logits.numpy()).max() > 1e-3
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(make().eval(), tmp_path)
    np.testing.assert_array_equal(again(IDS * MASK, MASK).logits.numpy(), out.logits.numpy())


def test_first_vectors_from_the_vocabulary():
    model = get_peft_model(gpt2(), PromptTuningConfig(num_virtual_tokens=4, prompt_tuning_init="SAMPLE_VOCAB"), rng=0)
    rows = next(p for p in model.parameters() if p.requires_grad).numpy()
    table = model.transformer.wte.weight.numpy()
    assert all((row == table).all(1).any() for row in rows)
    zero = get_peft_model(gpt2(), PrefixTuningConfig(num_virtual_tokens=4, init_weights="zero"), rng=0)
    assert not next(p for p in zero.parameters() if p.requires_grad).numpy().any()


def test_what_cannot_be():
    for make, config, told in (
        (
            lambda: ViTForImageClassification(
                ViTConfig(
                    hidden_size=16,
                    num_hidden_layers=1,
                    num_attention_heads=2,
                    intermediate_size=8,
                    image_size=8,
                    patch_size=4,
                ),
                rng=0,
            ),
            PROMPT,
            "PromptTuningConfig needs a model of texts with a head and with an encoder",
        ),
        (
            lambda: DistilBertForSequenceClassification(DISTIL, rng=0),
            PREFIX,
            "PrefixTuningConfig needs .* with a decoder, BERT or RoBERTa, .*, not DistilBertForSequenceClassification",
        ),
        (gpt2, PrefixTuningConfig(num_virtual_tokens=2, prefix_projection=True), "prefix_projection=True is not"),
        (
            gpt2,
            PromptTuningConfig(num_virtual_tokens=2, token_dim=8),
            "token_dim is 8 in the configuration; this model",
        ),
    ):
        model = make()
        with pytest.raises(ValueError, match=told):
            get_peft_model(model, config)
        assert not isinstance(model, PeftModel)
    for options, told in (
        ({}, "num_virtual_tokens is 0; expected a whole number, 1 or more"),
        ({"num_virtual_tokens": "20"}, "num_virtual_tokens is '20'; expected a whole number"),
        ({"num_virtual_tokens": 2.5}, "num_virtual_tokens is 2.5; expected a whole number"),
        ({"num_virtual_tokens": 2, "prompt_tuning_init": "WORDS"}, "expected one of 'RANDOM'"),
        ({"num_virtual_tokens": 2, "prompt_tuning_init": "TEXT"}, "needs prompt_tuning_init_text"),
    ):
        with pytest.raises(ValueError, match=told):
            PromptTuningConfig(**options)
