"""Templates are ranked by what they tell right on held-out examples."""

import numpy as np
import pytest
import tiny_bert
from tiny_prompts import VERBALIZER, bert

from minigrad.finetune import PromptClassifier, expand_templates, rank_templates

pytest.importorskip("tokenizers")


def test_the_best_template_is_first(tmp_path):
    model, tokenizer = bert(tmp_path)
    examples = tiny_bert.examples(24)
    templates = expand_templates("{text} (is|with|of) (the|a) {mask}")
    ranked = rank_templates(model, tokenizer, templates, VERBALIZER, examples)
    assert {one.template for one in ranked} == set(templates)
    keys = [(-one.accuracy, one.loss) for one in ranked]
    assert keys == sorted(keys) and len({one.loss for one in ranked}) == 6
    classifier = PromptClassifier(model, tokenizer, ranked[0].template, VERBALIZER)
    answers = classifier([example.text for example in examples])
    right = [next(iter(answer)) == example.label for answer, example in zip(answers, examples, strict=True)]
    assert ranked[0].accuracy == pytest.approx(np.mean(right))
    losses = [-np.log(answer[example.label]) for answer, example in zip(answers, examples, strict=True)]
    assert ranked[0].loss == pytest.approx(np.mean(losses), abs=1e-5)
    calibrated = rank_templates(model, tokenizer, templates[:1], VERBALIZER, examples, calibrate=True)
    (alone,) = rank_templates(model, tokenizer, templates[0].pattern, VERBALIZER, examples)  # not letter by letter
    assert alone == next(one for one in ranked if one.template == templates[0])
    assert calibrated[0].loss != pytest.approx(next(one for one in ranked if one.template == templates[0]).loss)


def test_no_template_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no template to score: give one or more, such as"):
        rank_templates(*bert(tmp_path), [], VERBALIZER, tiny_bert.examples(3))
    with pytest.raises(TypeError, match="templates is 5; expected several in a list"):
        rank_templates(*bert(tmp_path), 5, VERBALIZER, tiny_bert.examples(3))
