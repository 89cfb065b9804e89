"""Text to token ids and back, by the rules a model was trained with: the tokenizer of a Hugging Face model directory."""
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .files import model_directory, output_directory, read_json, replacing

FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
         "vocab.txt", "vocab.json", "merges.txt")
SPECIAL = {                                     # what they are called where the directory does not say
    "pad_token": ("[PAD]", "<pad>"), "unk_token": ("[UNK]", "<unk>", "<|endoftext|>"), "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"), "mask_token": ("[MASK]", "<mask>"), "bos_token": ("<s>", "<|endoftext|>"),
    "eos_token": ("</s>", "<|endoftext|>")}
CHANGES = (*SPECIAL, "padding_side", "truncation_side", "model_max_length", "model_input_names", "do_lower_case",
           "add_prefix_space")


class AutoTokenizer:
    """The tokenizer in a model directory, run by the `tokenizers` library.

    The directory has a `tokenizer.json` (of whatever kind), BERT's `vocab.txt`, or GPT-2's and RoBERTa's `vocab.json` and
    `merges.txt`.  `vocab_size` counts all ids it can give; `model_max_length` is where rows are cut when a call does not say;
    `pad_token` and `pad_token_id` fill short rows, and there are the same for unk, cls, sep, mask, bos and eos.  What the
    directory does not name is None.
    """

    def __init__(self, rules, settings: dict, directory: Path, kind: str, changed: bool = False):
        self.rules, self.settings, self.directory, self.changed = rules, settings, directory, changed
        self.vocab_size = rules.get_vocab_size()
        for name, token in _special(rules, settings).items():
            setattr(self, name, token)
            setattr(self, f"{name}_id", token and rules.token_to_id(token))
        types = ["token_type_ids"] if kind.startswith("bert") else []
        self.model_input_names = settings.get("model_input_names") or ["input_ids", "attention_mask", *types]
        longest = settings.get("model_max_length") or 1e30              # what Hugging Face writes for "no limit"
        if not isinstance(longest, (int, float)):
            raise ValueError(f"model_max_length is {longest!r} in the tokenizer_config.json of {directory}; expected a number of "
                             "tokens, such as 512: correct it, or copy the file again")
        self.model_max_length = int(longest) if longest < 1e9 else None

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike, *, revision: str | None = None, local_files_only: bool = False,
                        **changes: Any) -> "AutoTokenizer":
        """Read the tokenizer of a model directory, or of a model on the Hub.

        `changes` win over what tokenizer_config.json says: padding_side="left", pad_token="<|endoftext|>", model_max_length=128.

        Raises FileNotFoundError if there is none, ValueError if it cannot be read or lacks a token that is named, TypeError for
        an unknown change, ImportError without the `tokenizers` library.
        """
        if unknown := changes.keys() - set(CHANGES):
            raise TypeError(f"AutoTokenizer has no setting {min(unknown)!r}: it has {', '.join(CHANGES)}")
        directory = model_directory(source, revision=revision, local_files_only=local_files_only)
        settings = {}
        for path in (directory / "special_tokens_map.json", directory / "tokenizer_config.json"):
            settings |= read_json(path) if path.is_file() else {}
        settings |= changes
        kind = _kind(directory, settings)
        tokenizer = cls(_rules(directory, settings, kind), settings, directory, kind, changed=bool(changes))
        for name in SPECIAL.keys() & changes.keys():
            if getattr(tokenizer, name) != changes[name]:
                raise ValueError(f"{name}={changes[name]!r} is not in the vocabulary of {directory}: give a token that is, such "
                                 f"as {tokenizer.eos_token or tokenizer.unk_token!r}")
        return tokenizer

    def __call__(self, text: str | Sequence[str], text_pair: str | Sequence[str] | None = None, *, max_length: int | None = None,
                 truncation: bool = True, padding: bool | str = True) -> dict[str, np.ndarray] | dict[str, list[list[int]]]:
        """What a model takes: int64 arrays of shape (texts, tokens), or lists of lists if padding is False.

        They are `input_ids`, `attention_mask` and, for a BERT, `token_type_ids`: those that `model_input_names` lists.
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
        if padding and self.pad_token is None and len({len(encoding.ids) for encoding in encodings}) > 1:
            raise ValueError(f"the tokenizer in {self.directory} has no padding token: pass padding=False, or name one, as in "
                             f"AutoTokenizer.from_pretrained(..., pad_token={self.eos_token or '<pad>'!r})")
        columns = {"input_ids": [e.ids for e in encodings],
                   "attention_mask": [e.attention_mask for e in encodings],
                   "token_type_ids": [e.type_ids for e in encodings]}
        columns = {name: column for name, column in columns.items() if name in self.model_input_names}
        return {name: np.array(column, np.int64) for name, column in columns.items()} if padding else columns

    def decode(self, ids, skip_special_tokens: bool = False) -> str | list[str]:
        """The text of a row of ids, or the list of texts of a batch of rows."""
        ids = np.asarray(ids)
        decode = self.rules.decode_batch if ids.ndim == 2 else self.rules.decode
        return decode(ids.tolist(), skip_special_tokens=skip_special_tokens)

    def convert_ids_to_tokens(self, ids) -> list[str]:
        """What each id of a row stands for, in the vocabulary's own spelling."""
        return [self.rules.id_to_token(int(i)) for i in np.asarray(ids)]

    def save_pretrained(self, directory: str | os.PathLike) -> None:
        """Copy the tokenizer's files into a model directory, unchanged but for what `from_pretrained` was told to change."""
        target = output_directory(directory)
        sources = {name: self.directory / name for name in FILES if (self.directory / name).is_file()}
        if self.changed:
            sources["tokenizer_config.json"] = None
        with replacing(*(target / name for name in sources)) as parts:
            for source, part in zip(sources.values(), parts, strict=True):
                if source is None:
                    part.write_text(json.dumps(self.settings, indent=2) + "\n", encoding="utf-8")
                else:
                    shutil.copyfile(source, part)

    # A tokenizer.json carries settings of its own (MiniLM's cuts and fills every row to 128), so both are set at every call.

    def _set_truncation(self, length, special):
        if length is None:
            return self.rules.no_truncation()
        if length <= special:                                            # the library would cut nothing, silently
            raise ValueError(f"max_length={length} leaves no room beside {special} special tokens: pass {special + 1} or more")
        self.rules.enable_truncation(length, strategy="longest_first", direction=self.settings.get("truncation_side", "right"))

    def _set_padding(self, length, padding):
        if padding is False or padding is True and self.pad_token is None:
            return self.rules.no_padding()
        if padding is not True and (padding != "max_length" or length is None or self.pad_token is None):
            raise ValueError(f'padding={padding!r} with max_length={length} and the padding token {self.pad_token!r}: pass True, '
                             'False, or "max_length" and a max_length, for which there must be a padding token')
        self.rules.enable_padding(direction=self.settings.get("padding_side", "right"), pad_id=self.pad_token_id,
                                  pad_token=self.pad_token, length=length if padding == "max_length" else None)


def _special(rules, settings):
    """{"pad_token": the token, or None if the vocabulary has none, …}."""
    special = {}
    for name, usual in SPECIAL.items():
        named = settings.get(name)
        candidates = (named.get("content") if isinstance(named, dict) else named, *usual)
        special[name] = next((token for token in candidates if token and rules.token_to_id(token) is not None), None)
    return special


def _kind(directory, settings):
    """Which family the tokenizer is of, such as "bert" or "gpt2": by its class, by the model's type, or by its files."""
    config = directory / "config.json"
    named = settings.get("tokenizer_class"), read_json(config).get("model_type") if config.is_file() else None
    named = [str(kind) for kind in named if kind and kind not in ("PreTrainedTokenizerFast", "TokenizersBackend")]
    return named[0].lower() if named else "bert" if (directory / "vocab.txt").is_file() else ""


def _rules(directory, settings, kind):
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ImportError(f'text needs the tokenizers library ({error}): pip install "minigrad-learn[text]"') from None
    for name, read in (("tokenizer.json", lambda path: Tokenizer.from_file(str(path))),
                       ("vocab.txt", lambda path: _word_pieces(path, settings)),
                       ("vocab.json", lambda path: _byte_pairs(path, settings, kind))):
        path = directory / name
        if path.is_file():
            try:
                return read(path)
            except Exception as error:                                   # the library has no exception class of its own
                raise ValueError(f"{path} is not a tokenizer ({error}): copy it again") from None
    pieces = next(directory.glob("*.model"), None)
    raise FileNotFoundError(f"{directory} has no tokenizer: expected tokenizer.json, vocab.txt or vocab.json" + (
        f", found {pieces.name}: AutoTokenizer.from_pretrained(...).save_pretrained(...) of transformers makes the first of it"
        if pieces else "; copy the original model's"))


def _word_pieces(path, settings):
    """BERT's tokenizer from its vocabulary."""
    from tokenizers import Tokenizer
    from tokenizers.implementations import BertWordPieceTokenizer
    from tokenizers.models import WordPiece
    bert = BertWordPieceTokenizer(WordPiece.read_file(str(path)), lowercase=settings.get("do_lower_case", True),
                                  strip_accents=settings.get("strip_accents"),
                                  handle_chinese_chars=settings.get("tokenize_chinese_chars", True))
    return Tokenizer.from_str(bert.to_str())


def _byte_pairs(path, settings, kind):
    """GPT-2's tokenizer from its vocabulary and merges, or RoBERTa's, which puts <s> and </s> around each text."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    if kind and not kind.startswith(("gpt2", "roberta")):
        raise ValueError(f"vocab.json and merges.txt do not say how a {kind} splits words; expected tokenizer.json")
    rules = Tokenizer(models.BPE.from_file(str(path), str(path.with_name("merges.txt"))))
    prefix = settings.get("add_prefix_space", False)
    rules.pre_tokenizer, rules.decoder = pre_tokenizers.ByteLevel(add_prefix_space=prefix), decoders.ByteLevel()
    special = dict.fromkeys(filter(None, _special(rules, settings).values()))
    rules.add_special_tokens([AddedToken(token, lstrip=token == "<mask>", normalized=False) for token in special])
    if kind.startswith("roberta"):
        ends = [(token, rules.token_to_id(token)) for token in ("</s>", "<s>")]
        rules.post_processor = processors.RobertaProcessing(*ends, trim_offsets=True, add_prefix_space=prefix)
    else:
        rules.post_processor = processors.ByteLevel(trim_offsets=False)
    return rules


def _texts(given, name):
    texts = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    if not texts:
        raise ValueError(f"{name} is an empty list: expected at least one text")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{i}] is {text!r}, a {type(text).__name__}: expected a str")
    return texts
