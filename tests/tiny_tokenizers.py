"""Tokenizers with vocabularies made by hand, in directories as published models have them."""

import json
from pathlib import Path

import pytest

tokenizers = pytest.importorskip("tokenizers")
MERGES = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "l d", "Ġwor ld", "Ġ hello", "Ã ©"]


def byte_pairs(directory: Path, kind: str, **settings) -> Path:
    """vocab.json and merges.txt of a small GPT-2 or RoBERTa, whose config.json and tokenizer_config.json say so."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if kind == "roberta" else ["<|endoftext|>"]
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    words = [*special, *letters, *(merge.replace(" ", "") for merge in MERGES)]
    (directory / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]))
    (directory / "config.json").write_text(json.dumps({"model_type": kind}))
    named = {"tokenizer_class": {"roberta": "RobertaTokenizer", "gpt2": "GPT2Tokenizer"}[kind], "model_max_length": 16}
    (directory / "tokenizer_config.json").write_text(json.dumps(named | settings))
    return directory


def pieces(directory: Path, byte_fallback: bool) -> Path:
    """tokenizer.json of a small T5 (Unigram, </s> at the end) or LLaMA (BPE that falls back on bytes, <s> at the
    beginning).
    """
    models, decoders = tokenizers.models, tokenizers.decoders
    if byte_fallback:
        words = [
            "<unk>",
            "<s>",
            "</s>",
            *(f"<0x{i:02X}>" for i in range(256)),
            *"▁helo",
            "he",
            "ll",
            "hell",
            "hello",
            "▁hello",
        ]
        merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("▁", "hello")]
        rules = tokenizers.Tokenizer(
            models.BPE({word: i for i, word in enumerate(words)}, merges, unk_token="<unk>", byte_fallback=True)
        )
        rules.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        names, end, one, two = {"bos_token": "<s>", "eos_token": "</s>"}, "<s>", "<s> $A", "<s> $A <s>:1 $B:1"
    else:
        words = {"<pad>": 0, "</s>": 0, "<unk>": 0, "▁": -4, "▁hello": -1, "▁world": -2} | dict.fromkeys("helowrd.", -5)
        rules = tokenizers.Tokenizer(models.Unigram([(word, float(score)) for word, score in words.items()], unk_id=2))
        rules.decoder = decoders.Metaspace()
        names, end, one, two = {"pad_token": "<pad>", "eos_token": "</s>"}, "</s>", "$A </s>", "$A </s> $B </s>"
    rules.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    rules.add_special_tokens(list(names.values()))
    rules.post_processor = tokenizers.processors.TemplateProcessing(one, two, [(end, rules.token_to_id(end))])
    rules.save(str(directory / "tokenizer.json"))
    (directory / "config.json").write_text(json.dumps({"model_type": "llama" if byte_fallback else "t5"}))
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"} | names))
    return directory


WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "hello",
    "world",
    "Hello",
    "wide",
    "##s",
    "##r",
    "cafe",
    "café",
    "caf",
    "##é",
    "it",
    "'",
    "t",
    ",",
    ".",
    "!",
    "?",
    "a",
    "b",
    "##b",
    "汉",
    "字",
    "汉字",
    "un",
    "##un",
]


def word_pieces(directory: Path, *, as_json: bool = False, config: dict | None = None, **settings) -> Path:
    """vocab.txt, or a tokenizer.json that lower-cases, of a small BERT."""
    (directory / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    (directory / "config.json").write_text(json.dumps({"model_type": "bert"} | (config or {})))
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"} | settings))
    if as_json:
        rules = tokenizers.implementations.BertWordPieceTokenizer({word: i for i, word in enumerate(WORDS)})
        rules.save(str(directory / "tokenizer.json"))
        (directory / "vocab.txt").unlink()
    return directory
