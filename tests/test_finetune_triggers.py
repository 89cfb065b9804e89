"""Trigger words are those that lower the loss, as the gradient predicts."""

import numpy as np
import pytest
import tiny_bert
from tiny_prompts import VERBALIZER, bert, gpt2

from minigrad.data import DataCollatorWithPadding
from minigrad.finetune import PromptClassifier, Template, Verbalizer, search_triggers
from minigrad.finetune.search import score
from minigrad.finetune.triggers import candidate_words, embedding_gradient, word_embedding

pytest.importorskip("tokenizers")
EXAMPLES = tiny_bert.examples(12)
CASES = {
    "masked": (bert, VERBALIZER, EXAMPLES),
    "causal": (gpt2, Verbalizer({"a": "world", "b": "hello"}), [("he", "a"), ("or he", "b"), ("ld", "a")]),
}


@pytest.mark.parametrize("pattern", ["{text} {trigger} {trigger} {mask}", "{trigger} {text} {trigger} of {mask}"])
def test_the_loss_goes_down_and_is_that_of_the_template_found(tmp_path, pattern):
    model, tokenizer = bert(tmp_path)
    before = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    found = search_triggers(model, tokenizer, pattern, VERBALIZER, EXAMPLES, steps=6, candidates=5, rng=0)
    assert len(found.losses) == 7 and found.losses == sorted(found.losses, reverse=True)
    assert found.losses[-1] < found.losses[0] - 1e-3
    first = PromptClassifier(model, tokenizer, pattern.replace("{trigger}", "the"), VERBALIZER)
    last = PromptClassifier(model, tokenizer, found.template, VERBALIZER)
    assert score(first, EXAMPLES)[1] == pytest.approx(found.losses[0], abs=1e-5)
    assert score(last, EXAMPLES)[1] == pytest.approx(found.losses[-1], abs=1e-5)
    assert all(np.array_equal(t.numpy(), before[name]) for name, t in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    again = search_triggers(model, tokenizer, pattern, VERBALIZER, EXAMPLES, steps=6, candidates=5, rng=0)
    assert again == found


def test_with_all_words_tried_the_best_is_found(tmp_path):
    """One place and every candidate tried: what a search by hand finds."""
    model, tokenizer = bert(tmp_path)
    found = search_triggers(model, tokenizer, "{text} {trigger} {mask}", VERBALIZER, EXAMPLES, steps=1, candidates=99)
    words = candidate_words(tokenizer, "a ", VERBALIZER)[0]
    assert "oven" not in words and "flour" in words
    tried = {
        word: score(PromptClassifier(model, tokenizer, f"{{text}} {word} {{mask}}", VERBALIZER), EXAMPLES)[1]
        for word in words
    }
    best = min(tried, key=tried.get)
    assert found.template == Template(f"{{text}} {best} {{mask}}")


def test_a_causal_model(tmp_path):
    model, tokenizer = gpt2(tmp_path)
    words, examples = CASES["causal"][1:]
    found = search_triggers(model, tokenizer, "{text} {trigger} {mask}", words, examples, initial="w", steps=3, rng=0)
    last = PromptClassifier(model, tokenizer, found.template, words)
    assert found.losses[-1] <= found.losses[0]
    assert score(last, examples)[1] == pytest.approx(found.losses[-1], abs=1e-5)


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("frozen", [False, True])
def test_the_gradient_is_that_of_finite_differences(tmp_path, kind, frozen):
    make, words, examples = CASES[kind]
    model, tokenizer = make(tmp_path)
    model.to("float64")
    if frozen:
        model.freeze("**")
    classifier = PromptClassifier(
        model, tokenizer, "{text} he {mask}" if kind == "causal" else "{text} the {mask}", words
    )
    dataset = classifier.dataset(examples)
    batch = DataCollatorWithPadding()([dataset[i] for i in range(len(dataset))])
    embedding = word_embedding(model)
    slope = embedding_gradient(classifier.prompted, embedding, batch)
    assert slope.shape == (*batch["input_ids"].shape, 16)

    def loss(step, at):
        def push(module, args, output):
            moved = output.numpy().copy()
            moved[at] += step
            return type(output)(moved)

        handle = embedding.register_forward_hook(push)
        try:
            return classifier.prompted(**batch).loss.item()
        finally:
            handle.remove()

    for at in [(0, 0, 3), (1, 1, 5), (2, 1, 0)]:
        expected = (loss(1e-5, at) - loss(-1e-5, at)) / 2e-5
        assert slope[at] == pytest.approx(expected, rel=1e-4, abs=1e-8)


def test_what_has_no_place_for_a_trigger_is_refused(tmp_path):
    model, tokenizer = bert(tmp_path)
    with pytest.raises(ValueError, match=r"has no \{trigger\}: expected one or more, as in"):
        search_triggers(model, tokenizer, "{text} {mask}", VERBALIZER, EXAMPLES)
    with pytest.raises(ValueError, match="initial is 'zebra', which is not one token in the template"):
        search_triggers(model, tokenizer, "{text} {trigger} {mask}", VERBALIZER, EXAMPLES, initial="zebra")
    with pytest.raises(ValueError, match="white space around each {trigger}"):
        search_triggers(model, tokenizer, "{text} {trigger}{trigger} {mask}", VERBALIZER, EXAMPLES)
    for wrong in ({"candidates": 0}, {"steps": "2"}, {"steps": 1.5}):
        with pytest.raises(ValueError, match="candidates .*; expected whole numbers, 0 or more and 1 or more"):
            search_triggers(model, tokenizer, "{text} {trigger} {mask}", VERBALIZER, EXAMPLES, **wrong)
    with pytest.raises(ValueError, match=r"without a word.*search_triggers"):
        PromptClassifier(model, tokenizer, "{text} {trigger} {mask}", VERBALIZER)
