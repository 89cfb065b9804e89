"""Text to token ids and back, by the rules a model was trained with: the tokenizer of a Hugging Face model directory."""
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from .files import model_directory, output_directory, read_json, replacing

FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
         "vocab.txt", "vocab.json", "merges.txt")


class AutoTokenizer:
    """The tokenizer in a model directory, `tokenizer.json` or BERT's `vocab.txt`, run by the `tokenizers` library.

    `vocab_size` counts all ids it can give, `pad_token_id` fills short rows, and `model_max_length` is where rows are cut when
    a call does not say; the last two are None if the directory names none.
    """

    def __init__(self, rules, settings: dict, directory: Path):
        self.rules, self.settings, self.directory = rules, settings, directory
        self.vocab_size = rules.get_vocab_size()
        named = settings.get("pad_token")
        candidates = (named["content"] if isinstance(named, dict) else named, "[PAD]", "<pad>")
        self.pad_token = next((token for token in candidates if token and rules.token_to_id(token) is not None), None)
        self.pad_token_id = self.pad_token and rules.token_to_id(self.pad_token)
        longest = settings.get("model_max_length") or 1e30              # what Hugging Face writes for "no limit"
        if not isinstance(longest, (int, float)):
            raise ValueError(f"model_max_length is {longest!r} in the tokenizer_config.json of {directory}; expected a number of "
                             "tokens, such as 512: correct it, or copy the file again")
        self.model_max_length = int(longest) if longest < 1e9 else None

    @classmethod
    def from_pretrained(cls, directory: str | os.PathLike) -> "AutoTokenizer":
        """Read the tokenizer of a model directory.

        Raises FileNotFoundError if there is none, ValueError if it cannot be read, ImportError without the `tokenizers` library.
        """
        directory = model_directory(directory)
        settings = {}
        for path in (directory / "special_tokens_map.json", directory / "tokenizer_config.json"):
            settings |= read_json(path) if path.is_file() else {}
        return cls(_rules(directory, settings), settings, directory)

    def __call__(self, text: str | Sequence[str], text_pair: str | Sequence[str] | None = None, *, max_length: int | None = None,
                 truncation: bool = True, padding: bool | str = True) -> dict[str, np.ndarray] | dict[str, list[list[int]]]:
        """`input_ids`, `attention_mask` and `token_type_ids`: int64 of shape (texts, tokens), or lists if padding is False.

        One text is a batch of one; `text_pair` gives each text a second segment.  `max_length` counts the special tokens, too.
        `padding` fills all rows to the longest (True), to `max_length` ("max_length"), or not at all (False).
        """
        rows = texts = _texts(text, "text")
        if text_pair is not None:
            pairs = _texts(text_pair, "text_pair")
            if len(texts) != len(pairs):
                raise ValueError(f"got {len(texts)} in text and {len(pairs)} in text_pair: expected one for each")
            rows = list(zip(texts, pairs, strict=True))
        length = self.model_max_length if max_length is None else max_length
        self._set_truncation(length if truncation else None, self.rules.num_special_tokens_to_add(text_pair is not None))
        self._set_padding(length, padding)
        encodings = self.rules.encode_batch(rows)
        columns = {"input_ids": [e.ids for e in encodings],
                   "attention_mask": [e.attention_mask for e in encodings],
                   "token_type_ids": [e.type_ids for e in encodings]}
        return {name: np.array(column, np.int64) for name, column in columns.items()} if padding else columns

    def decode(self, ids, skip_special_tokens: bool = False) -> str | list[str]:
        """The text of a row of ids, or the list of texts of a batch of rows."""
        ids = np.asarray(ids)
        decode = self.rules.decode_batch if ids.ndim == 2 else self.rules.decode
        return decode(ids.tolist(), skip_special_tokens=skip_special_tokens)

    def save_pretrained(self, directory: str | os.PathLike) -> None:
        """Copy the tokenizer's files, unchanged, into a model directory."""
        target = output_directory(directory)
        sources = [self.directory / name for name in FILES if (self.directory / name).is_file()]
        with replacing(*(target / source.name for source in sources)) as parts:
            for source, part in zip(sources, parts, strict=True):
                shutil.copyfile(source, part)

    # A tokenizer.json carries settings of its own (MiniLM's cuts and fills every row to 128), so both are set at every call.

    def _set_truncation(self, length, special):
        if length is None:
            return self.rules.no_truncation()
        if length <= special:                                            # the library would cut nothing, silently
            raise ValueError(f"max_length={length} leaves no room beside {special} special tokens: pass {special + 1} or more")
        self.rules.enable_truncation(length, strategy="longest_first", direction=self.settings.get("truncation_side", "right"))

    def _set_padding(self, length, padding):
        if padding is False:
            return self.rules.no_padding()
        if self.pad_token is None:
            raise ValueError(f"the tokenizer in {self.directory} has no padding token: pass padding=False")
        if padding is not True and (padding != "max_length" or length is None):
            raise ValueError(f'padding={padding!r} with max_length={length}: pass True, False, or "max_length" and a max_length')
        self.rules.enable_padding(direction=self.settings.get("padding_side", "right"), pad_id=self.pad_token_id,
                                  pad_token=self.pad_token, length=length if padding == "max_length" else None)


def _rules(directory, settings):
    try:
        from tokenizers import Tokenizer
        from tokenizers.implementations import BertWordPieceTokenizer
        from tokenizers.models import WordPiece
    except ImportError as error:
        raise ImportError(f'text needs the tokenizers library ({error}): pip install "minigrad-learn[text]"') from None
    whole, words = directory / "tokenizer.json", directory / "vocab.txt"
    if not whole.is_file() and not words.is_file():
        raise FileNotFoundError(f"{directory} has no tokenizer: expected tokenizer.json or vocab.txt; copy the original model's")
    try:
        if whole.is_file():
            return Tokenizer.from_file(str(whole))
        bert = BertWordPieceTokenizer(WordPiece.read_file(str(words)), lowercase=settings.get("do_lower_case", True),
                                      strip_accents=settings.get("strip_accents"),
                                      handle_chinese_chars=settings.get("tokenize_chinese_chars", True))
        return Tokenizer.from_str(bert.to_str())
    except Exception as error:                                           # the library has no exception class of its own
        raise ValueError(f"{whole if whole.is_file() else words} is not a tokenizer ({error}): copy it again") from None


def _texts(given, name):
    texts = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    if not texts:
        raise ValueError(f"{name} is an empty list: expected at least one text")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{i}] is {text!r}, a {type(text).__name__}: expected a str")
    return texts
