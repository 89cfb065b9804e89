"""Trains tokenizers on texts: word pieces, byte pairs, unigrams, words or characters."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from ..checkpoint.files import output_directory, replacing
from .tokenizer import AutoTokenizer

KINDS: dict[str, dict[str, Any]] = {  # tokenizer_config.json of each kind
    "bpe": {"tokenizer_class": "GPT2TokenizerFast", "eos_token": "<|endoftext|>", "pad_token": "<pad>"},
    "wordpiece": {
        "tokenizer_class": "BertTokenizerFast",
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")},
    },
    "unigram": {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    },
    "word": {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "eos_token": "</s>",
    },
}
KINDS["char"] = KINDS["word"]


def train_tokenizer(
    texts: Iterable[str],
    output: str | os.PathLike,
    kind: str = "bpe",
    vocab_size: int = 8000,
    *,
    min_frequency: int = 2,
    lowercase: bool = False,
    special_tokens: Sequence[str] = (),
    model_max_length: int | None = None,
) -> AutoTokenizer:
    """Train a tokenizer on texts, write tokenizer.json and tokenizer_config.json to a directory, and load it.

    Args:
        texts: any iterable of texts, or of pieces of them, such as `minigrad.data.read_pieces("large.txt")`, of which
            one at a time is in memory.
        output: a directory, new or that of a model.
        kind: "bpe", byte pairs as GPT-2's, which can represent any text; "wordpiece", as BERT's, with [CLS] and [SEP]
            around a text; "unigram", as T5's, with </s> after a text; "word", words and punctuation; or "char",
            characters.
        vocab_size: the largest number of tokens, including special ones.
        min_frequency: how often a word, or a pair to merge, must occur; 1 for characters.
        lowercase: whether texts are converted to lower case.
        special_tokens: further tokens that are never split, such as "<extra_id_0>".
        model_max_length: the number of tokens to which texts are truncated by default.

    Raises ValueError for an unknown kind, or if there is no text; ImportError without the `tokenizers` library.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; expected one of {', '.join(map(repr, KINDS))}")
    try:
        from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    except ImportError as error:
        raise ImportError(f'text needs the tokenizers library ({error}): pip install "minigrad-learn[text]"') from None
    settings = dict(KINDS[kind])
    unk = settings.get("unk_token")
    named = [token for name, token in settings.items() if name.endswith("_token")]
    options: dict[str, Any] = {
        "vocab_size": vocab_size,
        "special_tokens": list(dict.fromkeys([*named, *special_tokens])),
        "show_progress": False,
    }
    lower = [normalizers.Lowercase()] if lowercase else []
    if kind == "bpe":
        rules = Tokenizer(models.BPE())
        rules.pre_tokenizer, rules.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        rules.post_processor = processors.ByteLevel(trim_offsets=False)
        rules.normalizer = normalizers.Sequence(lower)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(**options, min_frequency=min_frequency, initial_alphabet=alphabet)
    elif kind == "wordpiece":
        rules = Tokenizer(models.WordPiece(unk_token=unk))
        rules.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=lowercase)
        rules.pre_tokenizer, rules.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(prefix="##")
        settings["do_lower_case"] = lowercase
        trainer = trainers.WordPieceTrainer(**options, min_frequency=min_frequency)
    elif kind == "unigram":
        rules = Tokenizer(models.Unigram())
        rules.normalizer = normalizers.Sequence([normalizers.NFKC(), *lower])
        rules.pre_tokenizer, rules.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer = trainers.UnigramTrainer(**options, unk_token=unk)
    else:
        rules = Tokenizer(models.WordLevel(unk_token=unk))
        rules.normalizer = normalizers.Sequence([normalizers.NFC(), *lower])
        rules.pre_tokenizer = pre_tokenizers.Whitespace()
        if kind == "char":
            rules.pre_tokenizer, rules.decoder = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated"), decoders.Fuse()
        trainer = trainers.WordLevelTrainer(**options, min_frequency=1 if kind == "char" else min_frequency)
    seen = _Counted(texts)
    rules.train_from_iterator(seen, trainer)
    if not seen.characters:
        raise ValueError("there is no text to train a tokenizer on; expected texts that are not empty")
    around = {"wordpiece": ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"), "unigram": ("$A </s>", "$A </s> $B </s>")}
    if kind in around:
        ids = [(token, rules.token_to_id(token)) for token in named]
        rules.post_processor = processors.TemplateProcessing(*around[kind], ids)
    settings["model_max_length"] = model_max_length
    if special_tokens:
        settings["additional_special_tokens"] = list(special_tokens)
    target = output_directory(output)
    with replacing(target / "tokenizer.json", target / "tokenizer_config.json") as (rules_file, settings_file):
        rules_file.write_text(rules.to_str(pretty=True), encoding="utf-8")
        settings_file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return AutoTokenizer.from_pretrained(target)


class _Counted:
    """An iterable of texts that counts their characters."""

    def __init__(self, texts: Iterable[str]):
        if isinstance(texts, str):
            raise TypeError("texts is one str; expected several, such as [text] or read_pieces('file.txt')")
        self.texts, self.characters = texts, 0

    def __iter__(self):
        for text in self.texts:
            self.characters += len(text)
            yield text
