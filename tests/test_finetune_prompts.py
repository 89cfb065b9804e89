"""A prompt's scores are the model's own at the mask; texts are cut and templates never; training goes through both."""

import json
import warnings

import numpy as np
import pytest
import tiny_bert
import tiny_tokenizers
from tiny_prompts import TEMPLATE, VERBALIZER, WORDS, bert, gpt2

from minigrad.data import DataCollatorWithPadding
from minigrad.finetune import LoraConfig, PromptClassifier, Template, Verbalizer, get_peft_model
from minigrad.pretrained import (
    AutoTokenizer,
    BertForMaskedLM,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)
from minigrad.train import Trainer, TrainingArguments

pytestmark = pytest.mark.slow  # it trains models

pytest.importorskip("tokenizers")
EXAMPLES = tiny_bert.examples(24)
TEXTS = [example.text for example in EXAMPLES]


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    return bert(tmp_path_factory.mktemp("masked"))


@pytest.fixture(scope="module")
def causal(tmp_path_factory):
    return gpt2(tmp_path_factory.mktemp("causal"))


def softmax(scores):
    e = np.exp(scores - scores.max())
    return e / e.sum()


def by_hand(model, tokenizer, prompt, words):
    """The mean logits of each class's words, from the whole model, for one prompt."""
    ids = tokenizer([prompt])["input_ids"]
    logits = model(ids).logits.numpy()[0]
    at = list(ids[0]).index(tokenizer.mask_token_id) if tokenizer.mask_token else -1
    return [np.mean([logits[at][i] for i in several]) for several in words]


def test_a_masked_model_s_scores_are_those_of_its_words_at_the_mask(masked):
    model, tokenizer = masked
    classifier = PromptClassifier(model, tokenizer, TEMPLATE, VERBALIZER)
    words = [tokenizer.convert_tokens_to_ids(several) for several in WORDS.values()]
    for batch_size in (1, 5, 64):
        answers = classifier(TEXTS, batch_size=batch_size)
        for text, answer in zip(TEXTS, answers, strict=True):
            expected = softmax(np.array(by_hand(model, tokenizer, f"{text} is of [MASK]", words)))
            assert [answer[name] for name in WORDS] == pytest.approx(expected.tolist(), abs=1e-5)
            assert list(answer.values()) == sorted(answer.values(), reverse=True)
    (best,) = classifier(TEXTS[0], top_k=1)
    assert best == dict([next(iter(classifier(TEXTS[:1])[0].items()))])
    with pytest.raises(ValueError, match="top_k is 0; expected a whole number, 1 or more"):
        classifier(TEXTS, top_k=0)


def test_a_causal_model_s_scores_are_those_of_its_words_after_the_last_token(causal):
    model, tokenizer = causal
    classifier = PromptClassifier(model, tokenizer, "{text} is {mask} wide", Verbalizer({"a": "world", "b": "hello"}))
    words = [[tokenizer.convert_tokens_to_ids("Ġworld")], [tokenizer.convert_tokens_to_ids("Ġhello")]]
    texts = ["hello", "hello world wide", "or"]
    for text, scores in zip(texts, classifier.logits(texts), strict=True):
        assert scores == pytest.approx(by_hand(model, tokenizer, f"{text} is", words), abs=1e-4)


def test_demonstrations_stand_before_the_prompt(causal, masked):
    model, tokenizer = causal
    given = {"demonstrations": [("he", "all"), ("or", "you")], "separator": " | "}
    classifier = PromptClassifier(
        model, tokenizer, "{text}: {mask}.", Verbalizer({"all": "world", "you": "hello"}), **given
    )
    assert classifier.prompt("ld") == "he: world. | or: hello. | ld:"
    words = [[tokenizer.convert_tokens_to_ids("Ġworld")], [tokenizer.convert_tokens_to_ids("Ġhello")]]
    scores = by_hand(model, tokenizer, "he: world. | or: hello. | ld:", words)
    assert classifier.logits(["ld"])[0] == pytest.approx(scores, abs=1e-4)
    model, tokenizer = masked
    classifier = PromptClassifier(model, tokenizer, TEMPLATE, VERBALIZER, demonstrations=[("the drum", "music")])
    assert classifier.prompt("a rope") == "the drum is of chord\na rope is of [MASK]"


def roberta(directory):
    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizers.byte_pairs(directory, "roberta"))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = RobertaConfig(vocab_size=tokenizer.vocab_size, max_position_embeddings=40, initializer_range=0.5, **sizes)
    return RobertaForMaskedLM(config, rng=0).eval(), tokenizer


def distilbert(directory):
    _, tokenizer = bert(directory)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    config = DistilBertConfig(vocab_size=25, dim=16, n_layers=1, n_heads=2, hidden_dim=16, initializer_range=0.5)
    return DistilBertForMaskedLM(config, rng=0).eval(), tokenizer


@pytest.mark.parametrize("family", [roberta, distilbert])
def test_other_families(family, tmp_path):
    model, tokenizer = family(tmp_path)
    one, two, texts = ("oven", "drum", TEXTS[:6]) if family is distilbert else ("world", "hello", ["he", "or ld hello"])
    classifier = PromptClassifier(model, tokenizer, "{text} o {mask} o", Verbalizer({"a": one, "b": two}))
    mark = "" if family is distilbert else "Ġ"
    words = [[tokenizer.convert_tokens_to_ids(mark + word)] for word in (one, two)]
    for text, scores in zip(texts, classifier.logits(texts), strict=True):
        prompt = f"{text} o {tokenizer.mask_token} o"
        assert scores == pytest.approx(by_hand(model, tokenizer, prompt, words), abs=1e-4)


def test_a_mask_in_the_text_is_not_the_template_s(masked):
    model, tokenizer = masked
    classifier = PromptClassifier(model, tokenizer, TEMPLATE, VERBALIZER)
    columns = classifier.encode(["the [MASK] drum", "the drum"])
    for ids, at in zip(columns["input_ids"], columns["mask_positions"], strict=True):
        assert tokenizer.convert_ids_to_tokens(ids[at - 2 : at + 2]) == ["is", "of", "[MASK]", "[SEP]"]


@pytest.mark.parametrize("pattern", ["{text} is of {mask}", "the {mask} is {text} of", "{mask} {text}"])
def test_of_a_long_prompt_the_text_is_cut_and_never_the_template(masked, pattern):
    model, tokenizer = masked
    classifier = PromptClassifier(model, tokenizer, pattern, VERBALIZER, max_length=9)
    long, short = (classifier.encode([text]) for text in ("drum tune " * 20, "drum tune"))
    own = len(tokenizer.encode(Template(pattern).fill("", "[MASK]").prompt))
    assert len(long["input_ids"][0]) == 9 == len(long["token_type_ids"][0])
    whole = tokenizer.convert_ids_to_tokens(long["input_ids"][0])
    text = (["drum", "tune"] * 5)[: 9 - own]
    assert [token for token in whole if token not in text] == [
        token for token in tokenizer.convert_ids_to_tokens(short["input_ids"][0]) if token not in text
    ]
    assert [token for token in whole if token in text] == text
    assert whole[long["mask_positions"][0]] == "[MASK]"


def test_a_causal_prompt_is_cut_too(causal):
    model, tokenizer = causal
    classifier = PromptClassifier(
        model, tokenizer, "or {text} he {mask}", Verbalizer({"a": "world", "b": "hello"}), max_length=8
    )
    columns = classifier.encode([" hello" * 30, "x"])
    assert tokenizer.decode(columns["input_ids"][0]).split()[0] == "or"
    assert tokenizer.decode(columns["input_ids"][0]).endswith(" he") and len(columns["input_ids"][0]) == 8
    assert columns["mask_positions"] == [7, len(columns["input_ids"][1]) - 1]


@pytest.mark.parametrize("more", [{}, {"demonstrations": [("the drum", "music")]}])
def test_a_template_longer_than_the_model_is_refused(tmp_path, more):
    model, tokenizer = bert(tmp_path, longest=12)
    with pytest.raises(ValueError) as caught:
        PromptClassifier(model, tokenizer, f"{{text}} {'the ' * (5 if more else 12)}{{mask}}", VERBALIZER, **more)
    told = "fewer or shorter demonstrations" if more else "a shorter template"
    assert f"but the model reads 12, which leaves no room for a text: give {told}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_together_is_refused_in_a_line(masked, causal):
    model, tokenizer = masked
    with pytest.raises(ValueError, match=r"has \{mask\} before \{text\}, but a causal model reads from left to right"):
        PromptClassifier(*causal, "{mask}: {text}", Verbalizer({"a": "world", "b": "hello"}))
    with pytest.raises(TypeError, match="model is a BertForSequenceClassification; expected a masked or causal"):
        PromptClassifier(BertForSequenceClassification(model.config, rng=0), tokenizer, TEMPLATE, VERBALIZER)
    with pytest.raises(ValueError, match="has no mask token, which a masked language model needs"):
        PromptClassifier(model, causal[1], TEMPLATE, VERBALIZER)
    with pytest.raises(
        ValueError, match=r"the class 'golf' has no word; the verbaliser has words for cooking, music, s"
    ):
        PromptClassifier(model, tokenizer, TEMPLATE, VERBALIZER, demonstrations=[("a", "golf")])
    classifier = PromptClassifier(model, tokenizer, TEMPLATE, VERBALIZER)
    with pytest.raises(ValueError, match=r"add it, as in Verbalizer\(\{..., 'golf': \['a word'\]\}\)"):
        classifier.dataset([("a", "golf")])
    with pytest.raises(TypeError, match="text 2 is '5', a int; expected a str"):
        classifier(["a", 5])
    with pytest.raises(TypeError, match="the template is a int; expected a str, such as"):
        PromptClassifier(model, tokenizer, 5, VERBALIZER)
    with pytest.raises(ValueError, match=r"example 2 is .*; expected a pair \(text, label\), such as"):
        classifier.dataset([("a", "music"), ("a",)])


def test_a_causal_model_is_given_no_kinds_of_tokens(causal):
    """GPT-2 and its like know none, whatever their tokenizer says."""
    model, tokenizer = causal
    classifier = PromptClassifier(model, tokenizer, "{text} is {mask}", Verbalizer({"a": "world", "b": "hello"}))
    before = classifier.logits(TEXTS[:2])
    names, tokenizer.model_input_names = tokenizer.model_input_names, ["input_ids", "token_type_ids", "attention_mask"]
    try:
        assert "token_type_ids" in tokenizer(TEXTS[0])
        np.testing.assert_array_equal(classifier.logits(TEXTS[:2]), before)
    finally:
        tokenizer.model_input_names = names


def test_what_is_of_another_type_is_refused_in_a_line(masked, tmp_path):
    model, tokenizer = masked
    classifier = PromptClassifier(model, tokenizer, TEMPLATE, VERBALIZER)
    for call, kind, told in (
        (lambda: classifier(TEXTS[0], top_k="1"), ValueError, "top_k is '1'; expected a whole number"),
        (lambda: classifier(None), TypeError, "texts is a NoneType; expected a str, or several in a list"),
        (lambda: classifier(TEXTS, batch_size=0), ValueError, "batch_size is 0; expected a whole number, 1 or more"),
        (lambda: PromptClassifier(model, tokenizer, TEMPLATE, VERBALIZER, separator=5), TypeError, "separator is 5;"),
        (lambda: classifier.dataset([("a", "sport"), 5]), ValueError, "example 2 is '5'; expected a pair"),
        (
            lambda: PromptClassifier(model, "dir", TEMPLATE, VERBALIZER),
            TypeError,
            "tokenizer is a str; expected a token",
        ),
        (lambda: PromptClassifier(model, tokenizer, TEMPLATE, VERBALIZER, max_length="8"), ValueError, "length is '8'"),
        (lambda: PromptClassifier.from_pretrained(tmp_path), FileNotFoundError, "holds no prompt.json: expected a dir"),
        (lambda: PromptClassifier.from_pretrained(tmp_path / "no"), FileNotFoundError, "no holds no prompt.json"),
    ):
        with pytest.raises(kind, match=told):
            call()


def test_a_damaged_prompt_json_is_refused_in_a_line(masked, tmp_path):
    PromptClassifier(*masked, TEMPLATE, VERBALIZER).save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "prompt.json").read_text())
    less = {name: value for name, value in settings.items() if name != "template"}
    for changed, told in (
        (less, "prompt.json has verbalizer, .*; expected template, verbalizer, .*: save the classifier again"),
        (settings | {"more": 1}, "prompt.json has template, .*, more; expected template"),
        (settings | {"calibration": [1.0]}, "prompt.json has a calibration of 1 numbers for 3 classes"),
    ):
        (tmp_path / "prompt.json").write_text(json.dumps(changed))
        with pytest.raises(ValueError, match=told):
            PromptClassifier.from_pretrained(tmp_path)


def test_a_head_that_no_checkpoint_has_is_warned_of_until_it_is_trained(tmp_path):
    _, tokenizer = bert(tmp_path)
    model = BertForMaskedLM.from_pretrained(tmp_path, rng=0)
    with pytest.warns(
        UserWarning, match="head of this BertForMaskedLM is not in the checkpoint.*noise until it is trained"
    ):
        classifier = PromptClassifier(model, tokenizer, TEMPLATE, VERBALIZER)
    args = TrainingArguments(str(tmp_path), max_steps=1, save_strategy="no", report_to="none", disable_tqdm=True)
    Trainer(classifier.prompted, args, classifier.dataset(EXAMPLES)).train()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PromptClassifier(model, tokenizer, TEMPLATE, VERBALIZER)


def test_calibration_divides_by_the_probabilities_of_texts_that_say_nothing(masked):
    classifier = PromptClassifier(*masked, TEMPLATE, VERBALIZER)
    before = np.array([[answer[name] for name in WORDS] for answer in classifier(TEXTS)])
    prior = np.array([[answer[name] for name in WORDS] for answer in classifier(["N/A", "", "[MASK]"])]).mean(0)
    assert classifier.calibrate() is classifier
    after = np.array([[answer[name] for name in WORDS] for answer in classifier(TEXTS)])
    expected = before / prior
    assert np.allclose(after, expected / expected.sum(1, keepdims=True), atol=1e-6) and not np.allclose(after, before)
    classifier.calibrate("the")
    assert list(classifier("the")[0].values()) == pytest.approx([1 / 3] * 3, abs=1e-6)


def test_the_whole_model_is_fine_tuned_through_the_prompt(tmp_path):
    classifier = PromptClassifier(*bert(tmp_path), TEMPLATE, VERBALIZER)
    before = {name: t.numpy().copy() for name, t in classifier.model.state_dict().items()}
    args = TrainingArguments(
        str(tmp_path / "run"), num_train_epochs=40, per_device_train_batch_size=8, learning_rate=1e-2, seed=0,
        save_strategy="no", report_to="none", disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(classifier.prompted, args, classifier.dataset(EXAMPLES), tokenizer=classifier.tokenizer)
    trainer.train()
    right = [max(a, key=a.get) == example.label for a, example in zip(classifier(TEXTS), EXAMPLES, strict=True)]
    assert np.mean(right) > 0.9
    moved = [name for name, t in classifier.model.state_dict().items() if not np.array_equal(t.numpy(), before[name])]
    assert {"bert.embeddings.word_embeddings.weight", "cls.predictions.transform.dense.weight"} <= set(moved)

    classifier.calibrate().save_pretrained(tmp_path / "saved")
    again = PromptClassifier.from_pretrained(tmp_path / "saved")
    assert np.array_equal(again.logits(TEXTS), classifier.logits(TEXTS)) and again.template == TEMPLATE


def test_a_causal_classifier_is_saved_with_its_demonstrations(causal, tmp_path):
    words = Verbalizer({"all": "world", "you": "hello"})
    classifier = PromptClassifier(*causal, "{text}: {mask}", words, demonstrations=[("he", "all")], max_length=40)
    classifier.save_pretrained(tmp_path)
    again = PromptClassifier.from_pretrained(tmp_path)
    assert np.array_equal(again.logits(["or", "ld"]), classifier.logits(["or", "ld"]))
    assert again.demonstrations == [("he", "all")] and again.max_length == 40


@pytest.mark.parametrize("make", ["masked", "causal"])
def test_prompts_padded_on_the_left(make, request):
    """Whichever side a collator pads, as a Trainer does by the tokenizer's settings, scores are those of each alone."""
    model, tokenizer = request.getfixturevalue(make)
    words = VERBALIZER if make == "masked" else Verbalizer({"a": "world", "b": "hello"})
    classifier = PromptClassifier(model, tokenizer, "{text} of {mask}", words)
    texts = ["drum", "the old drum and the new drum", "a oven"]
    dataset = classifier.dataset(texts)
    for side in ("left", "right"):
        batch = DataCollatorWithPadding(0, side)([dataset[i] for i in range(3)])
        found = classifier.prompted(**batch).logits.numpy()
        assert np.allclose(found, [classifier.logits([text])[0] for text in texts], atol=1e-5)


def test_adapters_are_trained_through_the_prompt(tmp_path):
    model, tokenizer = bert(tmp_path)
    get_peft_model(model, LoraConfig(r=4, target_modules=["query", "value"]), rng=0)
    before = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    classifier = PromptClassifier(model, tokenizer, TEMPLATE, VERBALIZER)
    args = TrainingArguments(str(tmp_path), max_steps=3, save_strategy="no", report_to="none", disable_tqdm=True)
    Trainer(classifier.prompted, args, classifier.dataset(EXAMPLES)).train()
    moved = [name for name, t in model.state_dict().items() if not np.array_equal(t.numpy(), before[name])]
    assert moved and all("lora_" in name for name in moved)
    with pytest.raises(ValueError, match=r"type classifier.model.merge_and_unload\(\) first"):
        classifier.save_pretrained(tmp_path / "saved")
    scores = classifier.logits(TEXTS)
    classifier.model.merge_and_unload()
    classifier.save_pretrained(tmp_path / "saved")
    assert np.allclose(PromptClassifier.from_pretrained(tmp_path / "saved").logits(TEXTS), scores, atol=1e-5)


def test_gradients_of_a_batch_are_those_of_the_cross_entropy(masked):
    """The loss of several prompts is the mean of the cross-entropies of each alone."""
    classifier = PromptClassifier(*masked, TEMPLATE, VERBALIZER)
    dataset = classifier.dataset(EXAMPLES[:4])
    logits, labels = classifier.logits(TEXTS[:4]), dataset.columns["label"]
    out = classifier.prompted(**DataCollatorWithPadding()([dataset[i] for i in range(4)]))
    expected = -np.mean([np.log(softmax(row)[label]) for row, label in zip(logits, labels, strict=True)])
    assert out.loss.item() == pytest.approx(expected, abs=1e-5) and out.logits.shape == (4, 3)
