"""The tokenizer files of a model directory, in whichever format, as one object of the `tokenizers` library."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .checkpoint.files import read_json
from .values import check, found_in, shown

SPECIAL = {  # what they are called where the directory does not say
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>", "<|endoftext|>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
    "bos_token": ("<s>", "<|endoftext|>"),
    "eos_token": ("</s>", "<|endoftext|>"),
}
# Families whose vocab.txt is read as BERT's.
WORD_PIECE = (
    "",
    "bert",
    "distilbert",
    "electra",
    "mobilebert",
    "convbert",
    "squeezebert",
    "lxmert",
    "layoutlm",
    "retribert",
    "dprcontextencoder",
    "dprquestionencoder",
    "dprreader",
)
KINDS = {  # what a setting may be, if it is there and not null
    "model_max_length": "float",
    "padding_side": "'left' | 'right'",
    "truncation_side": "'left' | 'right'",
    "model_input_names": "list[str]",
    "tokenizer_class": "str",
    "added_tokens_decoder": "dict",
    "additional_special_tokens": "list | dict",
    "extra_special_tokens": "list | dict",
    **dict.fromkeys(
        (
            "do_lower_case",
            "strip_accents",
            "tokenize_chinese_chars",
            "add_prefix_space",
            "add_bos_token",
            "add_eos_token",
            "clean_up_tokenization_spaces",
        ),
        "bool",
    ),
}
IN_JSON = {  # a setting: the parts of tokenizer.json that it changes, and their entry for it
    "do_lower_case": (("BertNormalizer",), "lowercase"),
    "strip_accents": (("BertNormalizer",), "strip_accents"),
    "tokenize_chinese_chars": (("BertNormalizer",), "handle_chinese_chars"),
    "add_prefix_space": (("ByteLevel", "RobertaProcessing"), "add_prefix_space"),
}


def read_settings(directory: Path) -> dict[str, Any]:
    """The settings in tokenizer_config.json, or also those in special_tokens_map.json and added_tokens.json."""
    found = {
        name: read_json(path) if (path := directory / f"{name}.json").is_file() else {}
        for name in ("tokenizer_config", "special_tokens_map", "added_tokens")
    }
    for name in ("tokenizer_config", "special_tokens_map"):
        _check_settings(found[name], f"the {name}.json of {directory}")
    settings = found["tokenizer_config"]
    if "added_tokens_decoder" not in settings:
        settings |= found["special_tokens_map"]
        special = {content(token) for token in named_tokens(settings).values()} | {
            content(t) for t in extra_tokens(settings)
        }
        if found["added_tokens"]:
            settings["added_tokens_decoder"] = {
                str(i): {"content": token, "special": token in special, "normalized": token not in special}
                for token, i in found["added_tokens"].items()
            }
    return settings


def _check_settings(settings, where):
    """Refuse, by name, a setting that is of another kind than it can be."""
    for name, value in settings.items():
        kinds = KINDS.get(name, "str | dict" if name.endswith("_token") else "")
        if kinds and value is not None and not (value == [] and "list" in kinds):
            check(name, value, kinds, where)
    added = settings.get("added_tokens_decoder") or {}
    tokens = {name: token for name, token in settings.items() if name.endswith("_token") and isinstance(token, Mapping)}
    tokens |= {**dict(enumerate(extra_tokens(settings))), **{f"token {i}": added[i] for i in added}}
    for name, token in tokens.items():
        if not isinstance(token, str) and not (isinstance(token, Mapping) and isinstance(token.get("content"), str)):
            raise ValueError(
                f"the special token {name} is {shown(token)} in {where}; expected a text, or an object "
                'with its "content"'
            )
    if not all(str(i).isdecimal() and len(str(i)) < 10 for i in added):
        raise ValueError(f"added_tokens_decoder is {shown(added)} in {where}; expected tokens by their ids")


@contextmanager
def named(where: Any) -> Iterator[None]:
    """What the library raises in the block, as a ValueError with the name of the file or directory.

    It has no exception class of its own, and where it panics, raises what is no Exception.
    """
    try:
        with found_in(where):
            yield
    except BaseException as error:
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        told = " ".join(str(error).split())[:300]
        raise ValueError(f"{where} is not a tokenizer that can be used ({told}): copy it again") from None


def content(token: Any) -> str:
    """The text of a token that a file may describe by an object."""
    return str(token["content"] if isinstance(token, Mapping) else token)


def named_tokens(settings: Mapping[str, Any]) -> dict[str, Any]:
    """{"pad_token": as the settings describe it, …} of those that have a name."""
    order = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
    named = {name: settings[name] for name in (*order, *settings) if name in settings and name.endswith("_token")}
    return {
        name: token
        for name, token in named.items()
        if isinstance(token, str) or (isinstance(token, Mapping) and "content" in token)
    }


def extra_tokens(settings: Mapping[str, Any]) -> list[Any]:
    """The special tokens without a name, as the settings describe them."""
    found = settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or ()
    return list(found.values() if isinstance(found, Mapping) else found)


def special_tokens(rules: Any, settings: Mapping[str, Any]) -> dict[str, str | None]:
    """{"pad_token": the token, or None if the vocabulary has none, …}."""
    named = named_tokens(settings)
    return {
        name: next(
            (
                token
                for token in (*([content(named[name])] if name in named else []), *usual)
                if rules.token_to_id(token) is not None
            ),
            None,
        )
        for name, usual in SPECIAL.items()
    }


def kind_of(directory: Path, settings: Mapping[str, Any]) -> str:
    """The tokenizer's family, such as "bert" or "gpt2", from its class, the model_type, or its files."""
    config = directory / "config.json"
    named = settings.get("tokenizer_class"), read_json(config).get("model_type") if config.is_file() else None
    named = [str(kind) for kind in named if kind and kind not in ("PreTrainedTokenizerFast", "TokenizersBackend")]
    if not named:
        return "bert" if (directory / "vocab.txt").is_file() else ""
    return named[0].lower().removesuffix("fast").removesuffix("tokenizer")


def read_rules(directory: Path, settings: Mapping[str, Any], kind: str, changes: Mapping[str, Any]) -> Any:
    """The `tokenizers.Tokenizer` of a directory; `changes` are those of the settings that a user asked for.

    Raises FileNotFoundError, ValueError, or ImportError without the library.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ImportError(f'text needs the tokenizers library ({error}): pip install "minigrad-learn[text]"') from None
    effective = {
        "vocab.txt": {"do_lower_case", "strip_accents", "tokenize_chinese_chars"},
        "vocab.json": {"add_prefix_space"},
    }
    for name, read in (
        ("tokenizer.json", lambda path: Tokenizer.from_str(_adjusted(path, settings, changes))),
        ("vocab.txt", lambda path: _word_pieces(path, settings, kind)),
        ("vocab.json", lambda path: _byte_pairs(path, settings, kind)),
    ):
        path = directory / name
        if not path.is_file():
            continue
        try:
            with named(path):
                rules = read(path)
        except _Refused as refused:
            told = str(refused)
            raise ValueError(told if str(directory) in told else f"{directory}: {told}") from None
        except ValueError:
            raise
        except Exception as error:  # of what in a damaged file is of another kind than it should be
            raise ValueError(
                f"{path} is not a tokenizer ({' '.join(str(error).split())[:300]}): copy it again"
            ) from None
        if idle := (changes.keys() & IN_JSON.keys()) - effective.get(name, changes.keys()):
            raise ValueError(
                f"{min(idle)}={changes[min(idle)]!r} has no meaning for the tokenizer in {path}: leave it out"
            )
        with named(directory):
            _add_tokens(rules, settings, directory, changes)
            _set_ends(rules, settings if name == "vocab.json" and not kind.startswith("roberta") else changes, settings)
        return rules
    pieces = next(directory.glob("*.model"), None)
    raise FileNotFoundError(
        f"{directory} has no tokenizer: expected tokenizer.json, vocab.txt or vocab.json"
        + (
            f", found {pieces.name}: AutoTokenizer.from_pretrained(...).save_pretrained(...) of transformers makes the "
            "first of it"
            if pieces
            else "; copy the original model's"
        )
    )


class _Refused(Exception):
    """What is a tokenizer, but not one to be read here."""


def _adjusted(path, settings, changes):
    """A tokenizer.json in which what stands in tokenizer_config.json, or is asked for, has taken effect."""
    text = path.read_text(encoding="utf-8")
    said = {
        name: settings[name]
        for name in IN_JSON
        if name in settings and (settings[name] is not None or name == "strip_accents")
    }
    if not said:
        return text
    whole = json.loads(text)
    parts = [part for name in ("normalizer", "pre_tokenizer", "post_processor") for part in _parts(whole.get(name))]
    for name, value in said.items():
        types, entry = IN_JSON[name]
        found = [part for part in parts if part.get("type") in types and entry in part]
        for part in found:
            part[entry] = value
        if not found and name in changes:
            spaces = [part for part in parts if part.get("type") == "Metaspace"] if name == "add_prefix_space" else []
            for part in spaces:
                part["prepend_scheme"] = "always" if value else "never"
            if not spaces:
                raise _Refused(
                    f"{name}={value!r} has no meaning for the tokenizer in {path}, which has no {types[0]}: "
                    "leave it out"
                )
    return json.dumps(whole)


def _parts(node: Any) -> Iterator[dict]:
    """A part of tokenizer.json and all parts inside it."""
    if isinstance(node, dict):
        yield node
        for inner in node.values():
            yield from _parts(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _parts(inner)


def _word_pieces(path, settings, kind):
    """BERT's tokenizer from its vocabulary."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    vocabulary = models.WordPiece.read_file(str(path))
    of_words = settings.get("word_tokenizer_type", "basic"), settings.get("subword_tokenizer_type", "wordpiece")
    if (
        kind not in WORD_PIECE
        or of_words != ("basic", "wordpiece")
        or (
            any(token.startswith("▁") for token in vocabulary)
            and not any(token.startswith("##") for token in vocabulary)
        )
    ):
        what = kind[:80] if kind not in WORD_PIECE else of_words[0] if of_words[0] != "basic" else "SentencePiece"
        raise _Refused(
            f"{path} is not a vocabulary of BERT's word pieces but of {what}, which needs a tokenizer.json "
            "here: AutoTokenizer.from_pretrained(...).save_pretrained(...) of transformers makes one for "
            "many families"
        )
    named = named_tokens(settings)
    name = {entry: content(named.get(entry, SPECIAL[entry][0])) for entry in SPECIAL}
    rules = Tokenizer(models.WordPiece(vocabulary, unk_token=name["unk_token"]))
    rules.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.get("tokenize_chinese_chars") is not False,
        strip_accents=settings.get("strip_accents"),
        lowercase=settings.get("do_lower_case") is not False,
    )
    rules.pre_tokenizer, rules.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(prefix="##")
    rules.add_special_tokens(
        [AddedToken(token, normalized=False) for token in special_tokens(rules, settings).values() if token]
    )
    cls, sep = name["cls_token"], name["sep_token"]
    if missing := [token for token in (cls, sep) if rules.token_to_id(token) is None]:
        raise _Refused(
            f"{path} is no vocabulary of BERT: it has no {missing[0]}; copy it again, or name the token in "
            "tokenizer_config.json"
        )
    one = f"{cls}:0 $A:0 {sep}:0"
    rules.post_processor = processors.TemplateProcessing(
        one, f"{one} $B:1 {sep}:1", [(token, rules.token_to_id(token)) for token in (cls, sep)]
    )
    return rules


def _byte_pairs(path, settings, kind):
    """GPT-2's tokenizer from its vocabulary and merges, or RoBERTa's, which puts <s> and </s> around each text."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    if kind and not kind.startswith(("gpt2", "roberta")):
        raise _Refused(f"vocab.json and merges.txt do not say how a {kind[:80]} splits words; expected tokenizer.json")
    rules = Tokenizer(models.BPE.from_file(str(path), str(path.with_name("merges.txt"))))
    prefix = settings.get("add_prefix_space") or False
    rules.pre_tokenizer, rules.decoder = pre_tokenizers.ByteLevel(add_prefix_space=prefix), decoders.ByteLevel()
    special: dict[str, Any] = special_tokens(rules, settings)
    rules.add_special_tokens(
        [
            AddedToken(token, lstrip=token == "<mask>", normalized=False)
            for token in dict.fromkeys(filter(None, special.values()))
        ]
    )
    if kind.startswith("roberta"):
        ends: list[Any] = [(token, rules.token_to_id(token)) for token in (special["sep_token"], special["cls_token"])]
        rules.post_processor = processors.RobertaProcessing(*ends, trim_offsets=True, add_prefix_space=prefix)
    else:
        rules.post_processor = processors.ByteLevel(trim_offsets=False)
    return rules


def added_token(token: Any, special: bool = True) -> Any:
    """A token as the library takes it, of a text or of the object that a file describes it by."""
    from tokenizers import AddedToken

    if isinstance(token, AddedToken):
        return token
    if isinstance(token, str):
        return AddedToken(token, special=special, normalized=not special)
    known = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
    options: dict[str, Any] = {"special": special} | {name: token[name] for name in known if name in token}
    return AddedToken(**options)


def _add_tokens(rules, settings, directory, changes):
    """Tokens that stand beside the vocabulary: those with an id, then named special ones, then other special ones."""
    for name, token in named_tokens(changes).items():
        if rules.token_to_id(content(token)) is None:
            known = next(filter(None, (special_tokens(rules, {})[one] for one in ("eos_token", "unk_token"))), None)
            raise ValueError(
                f"{name}={token!r} is not in the vocabulary of {directory}: give a token that is, such as "
                f"{known!r}, or add it with tokenizer.add_special_tokens({{{name!r}: {token!r}}})"
            )
    with_id = {int(i): token for i, token in (settings.get("added_tokens_decoder") or {}).items()}
    for i, token in sorted(with_id.items()):
        rules.add_tokens([added_token(token, special=False)])
        if (found := rules.token_to_id(content(token))) != i:
            raise ValueError(
                f"the added token {content(token)!r} in {directory} has the id {i}, but after the tokens "
                f"before it comes {found}: copy all files of the tokenizer again"
            )
    known = {token.content for token in rules.get_added_tokens_decoder().values()}
    rules.add_tokens(
        [
            added_token(token)
            for token in (*named_tokens(settings).values(), *extra_tokens(settings))
            if content(token) not in known
        ]
    )


def _set_ends(rules, asked, settings):
    """Add or omit the first and last token of each text, where add_bos_token or add_eos_token asks for it."""
    from tokenizers.processors import TemplateProcessing

    asked = {name: asked[name] for name in ("add_bos_token", "add_eos_token") if asked.get(name) is not None}
    if not asked:
        return
    tokens = special_tokens(rules, settings)
    now, around = [rules.id_to_token(i) for i in rules.encode("").ids], []
    for name, place in (("bos_token", slice(0, 1)), ("eos_token", slice(-1, None))):
        wanted = asked.get(f"add_{name}", tokens[name] is not None and now[place] == [tokens[name]])
        if wanted and tokens[name] is None:
            raise ValueError(f"add_{name}=True, but the tokenizer has no {name}: name one, such as {name}='</s>'")
        around.append(tokens[name] if wanted else None)
    bos, eos = around
    one = [
        " ".join(filter(None, (bos and f"{bos}:{i}", f"${part}:{i}", eos and f"{eos}:{i}")))
        for i, part in enumerate("AB")
    ]
    rules.post_processor = TemplateProcessing(
        one[0], " ".join(one), [(t, rules.token_to_id(t)) for t in {bos, eos} if t]
    )
