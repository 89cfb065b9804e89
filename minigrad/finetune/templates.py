"""Templates, which turn a text into a cloze sentence whose missing word names the class of the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from string import Formatter
from typing import NamedTuple

PLACES = "text", "mask", "trigger"
EXAMPLE = "{text} It is about {mask}."


class Filled(NamedTuple):
    """A template with a text in it, and the positions of text, mask and triggers in the prompt, in characters."""

    prompt: str
    text: tuple[int, int]  # its start and end
    mask: int  # its start
    triggers: tuple[int, ...]  # the start of each


class Template:
    """A sentence with the placeholders {text}, for the text to classify, and {mask}, for the word that names its class.

    Template("{text} It is about {mask}.").fill("Open a socket.", "[MASK]").prompt
    # "Open a socket. It is about [MASK]."

    Any number of placeholders {trigger} stand for words that `search_triggers` finds, which are given in `triggers`.
    Literal braces are doubled.  A causal language model reads the prompt up to {mask}, which must come after {text}.

    Raises ValueError unless the pattern has {text} and {mask} once each, or if it has another placeholder.
    """

    def __init__(self, pattern: str, triggers: Sequence[str] = ()):
        if not isinstance(pattern, str):
            raise TypeError(f"the template is a {type(pattern).__name__}; expected a str, such as {EXAMPLE!r}")
        self.pattern, self.triggers = pattern, tuple(triggers)
        try:
            parts = list(Formatter().parse(pattern))
        except ValueError as error:
            raise ValueError(f"the template {pattern!r}: {error}; expected literal braces to be doubled") from None
        self.parts: list[tuple[str, str | None]] = []  # (words, the placeholder after them)
        for words, place, spec, conversion in parts:
            if place is not None and (place not in PLACES or spec or conversion):
                raise ValueError(
                    f"the template {pattern!r} has a placeholder {{{place}}}; expected {{text}} and {{mask}}, "
                    f"as in {EXAMPLE!r}"
                )
            self.parts.append((words, place))
        for place, what in (("text", "the text"), ("mask", "the word that names the class")):
            if (count := sum(place == found for _, found in self.parts)) != 1:
                raise ValueError(
                    f"the template {pattern!r} has {count or 'no'} {{{place}}}; expected one, where {what} goes: type "
                    f"Template({EXAMPLE!r}), say"
                )

        places = [place for _, place in self.parts].count("trigger")
        if self.triggers and len(self.triggers) != places:
            raise ValueError(
                f"the template {pattern!r} has {places} {{trigger}}, and {len(self.triggers)} words are given for them"
            )
        self.is_open = places > len(self.triggers)  # whether a {trigger} has no word yet
        self.trigger_count = places

    def __repr__(self) -> str:
        return f"Template({self.pattern!r}{f', {self.triggers}' if self.triggers else ''})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.pattern, self.triggers))

    @property
    def has_text_first(self) -> bool:
        """Whether {text} comes before {mask}."""
        places = [place for _, place in self.parts]
        return places.index("text") < places.index("mask")

    def fill(self, text: str, mask: str) -> Filled:
        """The template with a text, and a word or a mask token.  Raises ValueError if a {trigger} has no word."""
        if self.is_open:
            raise ValueError(
                f"the template {self.pattern!r} has {self.trigger_count} {{trigger}} without a word: expected a word "
                "for each; search_triggers(model, tokenizer, template, ...) finds some"
            )
        prompt, span, at, found, rest = "", (0, 0), 0, [], list(self.triggers)
        for words, place in self.parts:
            prompt += words
            if place == "text":
                span = len(prompt), len(prompt) + len(text)
                prompt += text
            elif place == "mask":
                at = len(prompt)
                prompt += mask
            elif place == "trigger":
                found.append(len(prompt))
                prompt += rest.pop(0)
        return Filled(prompt, span, at, tuple(found))

    def written_out(self) -> Template:
        """The same template with its triggers as ordinary words."""
        pattern, rest = "", list(self.triggers)
        for words, place in self.parts:
            written = rest.pop(0) if place == "trigger" else ""
            pattern += doubled(words + written) + (f"{{{place}}}" if place in ("text", "mask") else "")
        return Template(pattern)


def doubled(words: str) -> str:
    """Words with braces doubled, as in a pattern."""
    return words.replace("{", "{{").replace("}", "}}")


def expand_templates(rule: str) -> list[Template]:
    """The templates that a rule generates, in which (one|two|) stands for one, two or nothing.

    expand_templates("{text} (It|This) is (|mainly )about {mask}.")     # four templates

    Parentheses without a bar are literal; groups cannot be nested.  Raises ValueError as `Template` does, and for a
    group that is nested or not closed; TypeError if the rule is not a text.
    """
    if not isinstance(rule, str):
        raise TypeError(
            f"the rule is a {type(rule).__name__}; expected a str, such as '{{text}} (It|This) is {{mask}}.'"
        )
    parts = re.split(r"\(([^()]*\|[^()]*)\)", rule)  # every second one is a group
    for part in parts[::2]:
        if "|" in part and part.count("(") != part.count(")"):
            raise ValueError(f"the rule {rule!r} has a group that is nested or not closed: write (one|two|three)")
    choices = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    return [Template("".join(chosen)) for chosen in product(*choices)]
