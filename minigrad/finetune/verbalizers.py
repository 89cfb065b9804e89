"""Verbalisers: the words by which a language model names each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from ..pretrained import AutoTokenizer
from .templates import Template

EXAMPLE = "{'good': ['great'], 'bad': ['terrible']}"


class Verbalizer:
    """The words of each class, each of which must be one token of the model.

    Verbalizer({"http": ["web", "internet"], "email": "mail"})

    A class with several words is scored by the mean of their logits.  `words` has the words of each class, and
    `classes` the classes, in the given order.

    Raises ValueError for fewer than two classes, a class without a word, or a word of two classes.
    """

    def __init__(self, words: Mapping[str, str | Sequence[str]]):
        if not isinstance(words, Mapping):
            raise TypeError(f"words is a {type(words).__name__}; expected a dict, such as {EXAMPLE}")
        given: Mapping[str, Any] = words
        self.words: dict[str, tuple[str, ...]] = {
            name: tuple(several) if isinstance(several, (list, tuple)) else (several,)
            for name, several in given.items()
        }
        if len(self.words) < 2:
            raise ValueError(
                f"the verbalizer has {len(self.words)} classes; expected two or more, each with its words: type "
                f"Verbalizer({EXAMPLE}), say"
            )
        owner: dict[str, str] = {}
        for name, several in self.words.items():
            if not several or not all(isinstance(word, str) and word.strip() for word in several):
                raise ValueError(
                    f"the class {name!r} has the words {list(several)}; expected one word or more, as in "
                    f"Verbalizer({{{name!r}: ['{str(name).lower()}'], ...}})"
                )
            for word in several:
                if word in owner:
                    raise ValueError(
                        f"the word {word!r} stands for {owner[word]!r}"
                        + (" twice" if owner[word] == name else f" and for {name!r}")
                        + "; expected each word once: leave it out in one place"
                    )
                owner[word] = name

    @property
    def classes(self) -> list[str]:
        """The names of the classes."""
        return list(self.words)

    def __repr__(self) -> str:
        return f"Verbalizer({ {name: list(words) for name, words in self.words.items()} })"

    def token_ids(self, tokenizer: AutoTokenizer, template: Template) -> list[list[int]]:
        """The ids of the words of each class, tokenised as at {mask} in the template.

        Raises ValueError for a word that is not in the vocabulary, has several tokens, or is the same token as another.
        """
        filled = template.fill("a", "")
        before = filled.prompt[: filled.mask]
        found, owner = [], {}
        for name, several in self.words.items():
            found.append([token_id(tokenizer, before, word, name) for word in several])
            for i, word in zip(found[-1], several, strict=True):
                if owner.setdefault(i, word) != word:
                    raise ValueError(
                        f"the words {owner[i]!r} and {word!r} are one token of this tokenizer, "
                        f"{tokenizer.convert_ids_to_tokens(i)!r}; expected each token once: leave one of them out"
                    )
        return found


def token_id(tokenizer: AutoTokenizer, before: str, word: str, name: str) -> int:
    """The id of the word after the words `before`."""
    pieces = pieces_after(tokenizer, before, word)
    if len(pieces) == 1 and pieces[0] != tokenizer.unk_token_id:
        return pieces[0]
    near = get_close_matches(word.lower(), [token for token in tokenizer.get_vocab() if token.isalpha()], 5, 0.5)
    near = [other for other in near if other != word and len(pieces_after(tokenizer, before, other)) == 1]
    tokens = ", ".join(map(repr, tokenizer.convert_ids_to_tokens(pieces)))
    raise ValueError(
        f"the word {word!r} of the class {name!r} is "
        + (f"{len(pieces)} tokens ({tokens})" if len(pieces) > 1 else "not in the vocabulary")
        + "; expected a word that is one token of this tokenizer"
        + (f": type {near[0]!r}, for example" if near else ": type a more common one")
    )


def pieces_after(tokenizer: AutoTokenizer, before: str, word: str) -> list[int]:
    """The ids that the word adds to the tokens of the words `before`, whose last space belongs to the word."""
    first, both = (
        tokenizer.encode(text, add_special_tokens=False) if text else [] for text in (before.rstrip(), before + word)
    )
    same = next((i for i, (a, b) in enumerate(zip(first, both, strict=False)) if a != b), min(len(first), len(both)))
    return both[same:]
