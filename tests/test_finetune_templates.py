"""A template knows where the text and the mask are, and refuses a pattern that has no place for them."""

import pytest

from minigrad.finetune import Template, expand_templates


def test_a_text_is_filled_in_and_its_places_are_known():
    filled = Template("On {text}: {{{mask}}}, {trigger}.", ["so"]).fill("rain {text}", "[MASK]")
    assert filled.prompt == "On rain {text}: {[MASK]}, so."
    assert filled.prompt[slice(*filled.text)] == "rain {text}"
    assert filled.prompt[filled.mask :].startswith("[MASK]")
    assert filled.prompt[filled.triggers[0] :] == "so."


@pytest.mark.parametrize(
    "pattern, told",
    [
        ("{text} It is.", r"has no \{mask\}; expected one, where the word that names the class goes: type Template\("),
        ("It is {mask}.", r"has no \{text\}; expected one, where the text goes: type Template\("),
        ("{text} {mask} {mask}", r"has 2 \{mask\}; expected one"),
        ("{text} {text} {mask}", r"has 2 \{text\}; expected one"),
        ("{text} {label} {mask}", r"has a placeholder \{label\}; expected \{text\} and \{mask\}"),
        ("{text} {} {mask}", r"has a placeholder \{\}; expected \{text\} and \{mask\}"),
        ("{text!r} {mask}", r"has a placeholder \{text\}; expected"),
        ("{text} {mask", r"expected '}' before end of string; expected literal braces to be doubled"),
    ],
)
def test_a_pattern_that_is_none_is_refused_in_a_line(pattern, told):
    with pytest.raises(ValueError, match=told) as caught:
        Template(pattern)
    assert "\n" not in str(caught.value) and "Template" in str(caught.value) or "{text}" in str(caught.value)


def test_triggers_need_words():
    with pytest.raises(ValueError, match="has 2 {trigger} without a word.*search_triggers"):
        Template("{text} {trigger} {trigger} {mask}").fill("a", "b")
    with pytest.raises(ValueError, match="has 2 {trigger}, and 1 words are given"):
        Template("{text} {trigger} {trigger} {mask}", ["one"])
    written = Template("{{{text} {trigger} {mask}", ["{so}"]).written_out()
    assert written == Template("{{{text} {{so}} {mask}") and written.fill("a", "b").prompt == "{a {so} b"


def test_a_rule_stands_for_templates():
    found = [one.pattern for one in expand_templates("{text} (It|This) is (|mainly )about (see above) {mask}.")]
    assert found == [
        "{text} It is about (see above) {mask}.",
        "{text} It is mainly about (see above) {mask}.",
        "{text} This is about (see above) {mask}.",
        "{text} This is mainly about (see above) {mask}.",
    ]
    assert expand_templates("{text} {mask}") == [Template("{text} {mask}")]
    with pytest.raises(ValueError, match="has no {mask}"):
        expand_templates("{text} ({mask}|it)")


@pytest.mark.parametrize("rule", ["{text} ((a|b)|c) {mask}", "{text} (a|b {mask}", "{text} a|b) {mask}"])
def test_a_group_that_is_nested_or_open_is_refused(rule):
    with pytest.raises(ValueError, match="a group that is nested or not closed"):
        expand_templates(rule)
    assert len(expand_templates("{text} :) {mask} (so|)")) == 2
    with pytest.raises(TypeError, match="the rule is a list; expected a str"):
        expand_templates([rule])


def test_templates_are_equal_by_what_they_say():
    assert Template("{text} {mask}") == Template("{text} {mask}") != Template("{text} {mask}.")
    assert len({Template("{text} {mask}"), Template("{text} {mask}")}) == 1
    assert Template("{text} {mask}").has_text_first and not Template("{mask} {text}").has_text_first
