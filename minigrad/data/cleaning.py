"""Prepares text for counting and tokenising: Unicode normalisation, HTML stripping, stop words, a vocabulary."""

from __future__ import annotations

import operator
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from html.parser import HTMLParser
from typing import Any, Literal, TypeVar

import numpy as np

from ..errors import is_whole

T = TypeVar("T")
FORMS = ("NFC", "NFD", "NFKC", "NFKD")
UNSEEN = {"script", "style", "head", "template", "noscript"}  # elements whose text a browser does not show
BLOCKS = set(
    "address article aside blockquote br dd div dl dt figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr li "
    "main nav ol option p pre section table td th tr ul".split()
)
STOP_WORDS = {  # words that say little about what a text is about
    "en": (
        "a about above after again against all also am an and any are as at be because been before being below between "
        "both but by can could did do does doing down during each few for from further had has have having he her here "
        "hers herself him himself his how i if in into is it its itself just me might more most must my myself no nor "
        "not now of off on once only or other our ours ourselves out over own same shall she should so some such than "
        "that the their theirs them themselves then there these they this those through to too under until up upon us "
        "very was we were what when where which while who whom whose why will with would you your yours yourself "
        "yourselves aren't can't couldn't didn't doesn't don't hadn't hasn't haven't i'd i'll i'm i've isn't it's "
        "mustn't she's he's shouldn't that's they're they've wasn't we're we've weren't won't wouldn't you're you've"
    ),
    "zh": (
        "的 了 和 是 在 也 都 就 而 及 与 着 或 一个 没有 我 你 您 他 她 它 我们 你们 他们 她们 它们 这 那 "
        "这个 那个 这些 那些 这里 那里 这样 那样 这么 那么 什么 怎么 怎样 为什么 哪 哪些 哪里 谁 多少 几 不 "
        "不是 没 很 太 更 最 非常 还 还是 又 再 已 已经 曾 曾经 正在 将 将要 会 能 可以 可能 应该 必须 要 被 "
        "把 让 使 给 向 从 到 对 对于 关于 由 由于 于 以 以及 因 因为 所以 因此 但 但是 然而 虽然 尽管 如果 "
        "假如 只要 只有 除了 并 并且 而且 或者 然后 之 其 其中 其他 某 每 各 个 些 等 等等 中 上 下 里 内 外 "
        "前 后 时 时候 地 得 吗 呢 吧 啊 呀 哦 嗯 嘛 啦 过 来 去 说 看 有 有的 有些 自己 大家 一 一些 一样 只 "
        "只是 才 便 却 如 如何 如此 像 同 跟 比 按 按照 根据 通过 为 为了"
    ),
}

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]


def normalize_unicode(text: str, form: Form = "NFKC") -> str:
    """The text in a normal form of Unicode, without control characters other than tabs and line breaks.

    "NFC" composes e and an accent into é; "NFKC" also writes Ａ as A, ﬁ as fi and ① as 1.  Raises ValueError for an
    unknown form.
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}; expected one of {', '.join(FORMS)}")
    text = unicodedata.normalize(form, text)
    return text if text.isprintable() else "".join(c for c in text if c in "\n\t\r" or unicodedata.category(c) != "Cc")


def strip_html(text: str) -> str:
    """The visible text of HTML: no tags, comments, scripts or styles; references such as &amp; become characters.

    Runs of white space become one space, as in a browser.  Block elements, such as paragraphs, headings and cells,
    are separated by line breaks.
    """
    parser = _VisibleText(convert_charrefs=True)
    parser.feed(text)
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.parts).split("\n"))
    return "\n".join(filter(None, lines))


class _VisibleText(HTMLParser):
    """Collects the visible text of a page."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.parts: list[str] = []
        self.unseen = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.unseen += tag in UNSEEN
        self.parts += ["\n"] * (tag in BLOCKS)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.parts += ["\n"] * (tag in BLOCKS)

    def handle_endtag(self, tag: str) -> None:
        self.unseen -= tag in UNSEEN and self.unseen > 0
        self.parts += ["\n"] * (tag in BLOCKS)

    def parse_html_declaration(self, i: int) -> int:
        """The end of a declaration.  One that begins with <![ is skipped, as in browsers; HTMLParser would raise."""
        if self.rawdata.startswith("<![", i):
            end = self.rawdata.find(">", i)
            return end + 1 if end >= 0 else -1
        return super().parse_html_declaration(i)

    def handle_data(self, data: str) -> None:
        if not self.unseen:
            self.parts.append(data.replace("\n", " "))


def stop_words(language: str) -> frozenset[str]:
    """The stop words of English ("en") or Chinese ("zh"), in lower case.  Raises ValueError for another language."""
    if language not in STOP_WORDS:
        raise ValueError(f"language is {language!r}; expected one of {', '.join(map(repr, STOP_WORDS))}")
    return frozenset(STOP_WORDS[language].split())


def remove_stop_words(words: Iterable[str], language: str) -> list[str]:
    """The words that are not stop words, ignoring case.  Chinese text must be segmented into words first."""
    left_out, words = stop_words(language), check_tokens(words)
    return [word for word in words if word.casefold() not in left_out]


def check_tokens(tokens: Iterable[T]) -> Iterable[T]:
    """The tokens.  Raises TypeError for a string, whose characters would be taken for tokens."""
    if isinstance(tokens, (str, bytes)):
        raise TypeError(f"a whole text was given, {tokens[:40]!r}; expected its tokens, such as text.split()")
    return tokens


class Vocabulary:
    """Tokens and their ids: special tokens first, then the others by frequency, ties in order of first occurrence.

        vocabulary = Vocabulary.build(text.split() for text in texts)
        vocabulary.ids("a fine day".split())      # int64, with the id of <unk> for unknown tokens
        vocabulary.tokens([5, 9, 2])

    Raises ValueError if a token occurs twice.
    """

    def __init__(self, tokens: Sequence[str], unk_token: str | None = "<unk>"):
        self.all = list(tokens)
        self.number = {token: i for i, token in enumerate(self.all)}
        if len(self.number) < len(self.all):
            twice = next(token for token, count in Counter(self.all).items() if count > 1)
            raise ValueError(f"the token {twice!r} occurs twice; expected each once")
        if unk_token is not None and unk_token not in self.number:
            raise ValueError(f"unk_token is {unk_token!r}, which is not a token; add it, or pass unk_token=None")
        self.unk_token = unk_token

    @classmethod
    def build(
        cls,
        texts: Iterable[Iterable[str]],
        max_size: int | None = None,
        min_frequency: int = 1,
        special_tokens: Sequence[str] = ("<pad>", "<unk>"),
    ) -> Vocabulary:
        """The vocabulary of texts, each a list of tokens: at most `max_size` tokens, including the special ones.

        Tokens that occur fewer than `min_frequency` times are left out.  Without "<unk>" among the special tokens,
        `ids` raises KeyError for an unknown token.

        Raises ValueError if `max_size` leaves no room for the special tokens, TypeError for texts that are not split.
        """
        if max_size is not None and not is_whole(max_size, len(special_tokens)):
            raise ValueError(
                f"max_size is {max_size!r}; expected None or a whole number of at least {len(special_tokens)}, the "
                "number of special tokens"
            )
        counts = Counter(token for text in check_tokens(texts) for token in check_tokens(text))
        ranked = sorted((token for token in counts if token not in special_tokens), key=lambda token: -counts[token])
        frequent = [token for token in ranked if counts[token] >= min_frequency]
        unk = "<unk>" if "<unk>" in special_tokens else None
        return cls([*special_tokens, *frequent][:max_size], unk)

    def __len__(self) -> int:
        return len(self.all)

    def __contains__(self, token: str) -> bool:
        return token in self.number

    def __getitem__(self, token: str) -> int:
        found = self.number.get(token, self.number.get(self.unk_token) if self.unk_token is not None else None)
        if found is None:
            raise KeyError(f"{token!r} is not in the vocabulary of {len(self)} tokens, which has no unk_token")
        return found

    def ids(self, tokens: Iterable[str]) -> np.ndarray:
        """The ids of tokens, int64 (tokens,).  Raises KeyError for an unknown token if there is no `unk_token`."""
        return np.array([self[token] for token in check_tokens(tokens)], np.int64)

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """The tokens of ids.  Raises IndexError for an id that is out of range."""
        ids = [operator.index(i) for i in ids]
        if wrong := [i for i in ids if not 0 <= i < len(self)]:
            raise IndexError(f"there is no token {wrong[0]}; expected ids from 0 to {len(self) - 1}")
        return [self.all[i] for i in ids]
