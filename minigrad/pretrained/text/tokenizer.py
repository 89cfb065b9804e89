"""Converts text to token ids and back with the tokenizer in a Hugging Face model directory."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from ...tensor import Tensor
from .. import chat
from ..checkpoint.files import model_directory, output_directory, replacing
from ..inputs import host_array
from ..tokenizer_files import (
    IN_JSON,
    SPECIAL,
    added_token,
    content,
    extra_tokens,
    kind_of,
    named,
    named_tokens,
    read_rules,
    read_settings,
    special_tokens,
)
from ..values import found_in

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    chat.TEMPLATE,
    "chat_template.json",
)
CHANGES = (
    *SPECIAL,
    *IN_JSON,
    "add_bos_token",
    "add_eos_token",
    "padding_side",
    "truncation_side",
    "model_max_length",
    "model_input_names",
    "clean_up_tokenization_spaces",
    "chat_template",
)
PADDING: dict[Any, str] = {True: "longest", False: "do_not_pad"}
TRUNCATION: dict[Any, str] = {True: "longest_first", False: "do_not_truncate"}
ELSEWHERE = {"pt": "torch", "tf": "TensorFlow", "jax": "JAX", "mlx": "MLX"}


class BatchEncoding(dict):
    """The result of a tokenizer: columns of numbers by name, with a row for each text.

    `encodings[row]` is the `Encoding` of the `tokenizers` library for a row.  Columns are also attributes:
    batch.input_ids.
    """

    def __init__(self, columns: Mapping[str, Any], encodings: Sequence[Any]):
        super().__init__(columns)
        self.encodings = encodings

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"this batch has no {name!r}: it has {', '.join(self)}")

    def tokens(self, row: int = 0) -> list[str]:
        """The tokens of a row, in the vocabulary's own spelling."""
        return self.encodings[row].tokens

    def word_ids(self, row: int = 0) -> list[int | None]:
        """For each token of a row the index of its word in the text, None for special tokens."""
        return self.encodings[row].word_ids

    def sequence_ids(self, row: int = 0) -> list[int | None]:
        """For each token of a row whether it belongs to the first (0) or second (1) text, None for special tokens."""
        return self.encodings[row].sequence_ids

    def char_to_token(self, row: int, char_index: int, sequence_index: int = 0) -> int | None:
        """The index of the token of a row that contains a character of its text, None if none does."""
        return self.encodings[row].char_to_token(char_index, sequence_index)


class AutoTokenizer:
    """The tokenizer in a model directory, run by the `tokenizers` library.

    The directory has a `tokenizer.json` (of any kind), BERT's `vocab.txt`, or GPT-2's and RoBERTa's `vocab.json` and
    `merges.txt`.  `vocab_size`, which is also the length, is the number of ids; `model_max_length` is the length to
    which rows are truncated by default; `pad_token` and `pad_token_id` fill short rows, and there are the same
    attributes for unk, cls, sep, mask, bos and eos.  A token that the directory does not name is None.
    """

    pad_token: str | None
    pad_token_id: int | None
    mask_token: str | None
    eos_token: str | None
    unk_token_id: int | None

    def __init__(self, rules: Any, settings: dict[str, Any], directory: Path, kind: str, changed: bool = False):
        self.rules, self.settings, self.directory, self.changed = rules, settings, directory, changed
        self.grown = False  # whether tokens were added after the files were read
        self._name_tokens()
        types = ["token_type_ids"] if kind.startswith("bert") else []
        self.model_input_names = settings.get("model_input_names") or ["input_ids", "attention_mask", *types]
        longest = settings.get("model_max_length") or 1e30  # which Hugging Face writes for "no limit"
        self.model_max_length = int(longest) if longest < 1e9 else None
        self.chat_template = (
            chat.read_template(directory, settings)
            if "chat_template" not in settings or not changed
            else (settings["chat_template"])
        )

    @classmethod
    def from_pretrained(
        cls, source: str | os.PathLike, *, revision: str | None = None, local_files_only: bool = False, **changes: Any
    ) -> AutoTokenizer:
        """Read the tokenizer of a model directory, or of a model on the Hub.

        `changes` override the settings in its files: padding_side="left", pad_token="<|endoftext|>",
        model_max_length=128, do_lower_case=False, add_prefix_space=True, add_bos_token=False.

        Raises FileNotFoundError if there is none, ValueError if it cannot be read, lacks a token that is asked for or
        does not support a change, TypeError for an unknown change, ImportError without the `tokenizers` library.
        """
        _refuse_unknown(changes, CHANGES, "AutoTokenizer has no setting {!r}: it has {}")
        directory = model_directory(source, revision=revision, local_files_only=local_files_only)
        settings = read_settings(directory) | changes
        kind = kind_of(directory, settings)
        return cls(read_rules(directory, settings, kind, changes), settings, directory, kind, changed=bool(changes))

    def __call__(
        self,
        text: str | Sequence[Any],
        text_pair: str | Sequence[Any] | None = None,
        *,
        max_length: int | None = None,
        truncation: bool | str = True,
        padding: bool | str = True,
        return_tensors: str | None = None,
        add_special_tokens: bool = True,
        is_split_into_words: bool = False,
        stride: int = 0,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        **unknown: Any,
    ) -> BatchEncoding:
        """The inputs of a model: int64 arrays of shape (texts, tokens), or lists of lists if nothing is padded.

        They are `input_ids`, `attention_mask` and, for a BERT, `token_type_ids`: those that `model_input_names` lists,
        or that `return_token_type_ids` and `return_attention_mask` ask for.  One text is a batch of one.

        Args:
            text: a text or several; with is_split_into_words, a list of words or several such lists.
            text_pair: a second segment for each text.
            max_length: the largest number of tokens in a row, special tokens included; by default `model_max_length`.
            truncation: truncate longer rows: the longer of the two texts token by token (True or "longest_first"), only
                the first ("only_first") or the second ("only_second"); or not at all (False or "do_not_truncate").
            padding: fill all rows to the longest (True or "longest"), to max_length ("max_length"), or not at all
                (False or "do_not_pad"); then up to a multiple of `pad_to_multiple_of`; on the `padding_side`, "left" or
                "right".
            return_tensors: "np" for arrays, "mg" for Tensors.
            add_special_tokens: add [CLS] and [SEP], or the model's equivalents, around each text.
            return_overflowing_tokens: return the tokens that were cut off in additional rows, which begin with the last
                `stride` tokens of the row before; `overflow_to_sample_mapping` (rows,) has the text of each row.
            return_special_tokens_mask: add `special_tokens_mask`, 1 for special tokens.
            return_offsets_mapping: add `offset_mapping` (texts, tokens, 2), the first character of each token in its
                text and the one after its last.
            return_length: add `length` (texts,), the number of tokens of each row.

        Raises TypeError if a text is not a str, ValueError if an option is invalid or needs another.
        """
        _refuse_unknown(
            unknown, [*signature(type(self).__call__).parameters][1:-1], "a tokenizer takes no {!r}: it takes {}"
        )
        rows, is_pair = self._rows(text, text_pair, is_split_into_words)
        padding, truncation = PADDING.get(padding, padding), TRUNCATION.get(truncation, truncation)
        length = self.model_max_length if max_length is None else max_length
        special = self.rules.num_special_tokens_to_add(is_pair) if add_special_tokens else 0
        _check_tensors(return_tensors)
        if stride and (truncation == "do_not_truncate" or not return_overflowing_tokens):
            raise ValueError(
                f"stride={stride} is the number of tokens that a row of overflowing tokens repeats: add "
                "return_overflowing_tokens=True and leave truncation on"
            )
        with nullcontext() if max_length is not None else found_in(self.directory):
            self._set_truncation(truncation, length, special, stride, is_pair)
        self._set_padding(padding, length, pad_to_multiple_of, padding_side, truncation)
        found = self._encode(rows, add_special_tokens, is_split_into_words, truncation, length)
        pieces = [[one, *(one.overflowing if return_overflowing_tokens else ())] for one in found]
        encodings = [one for piece in pieces for one in piece]
        is_array = padding != "do_not_pad" or return_tensors is not None
        if is_array and len({len(encoding.ids) for encoding in encodings}) > 1:
            if self.pad_token is None:
                raise ValueError(
                    f"the tokenizer in {self.directory} has no padding token: pass padding=False, or name "
                    f"one, as in AutoTokenizer.from_pretrained(..., "
                    f"pad_token={self.eos_token or '<pad>'!r})"
                )
            raise ValueError(
                f"return_tensors={return_tensors!r} needs rows of equal length, which these are not: pass padding=True"
            )
        asked = {"input_ids": True, "attention_mask": return_attention_mask, "token_type_ids": return_token_type_ids}
        columns = {
            name: [getattr(e, attribute) for e in encodings]
            for name, attribute in (
                ("input_ids", "ids"),
                ("attention_mask", "attention_mask"),
                ("token_type_ids", "type_ids"),
            )
            if (name in self.model_input_names if asked[name] is None else asked[name])
        }
        if return_special_tokens_mask:
            columns["special_tokens_mask"] = [e.special_tokens_mask for e in encodings]
        if return_offsets_mapping:
            columns["offset_mapping"] = [e.offsets for e in encodings]
        if return_length:
            columns["length"] = [len(e.ids) for e in encodings]
        if return_overflowing_tokens:
            columns["overflow_to_sample_mapping"] = [i for i, piece in enumerate(pieces) for _ in piece]
        if is_array:
            columns = {name: np.array(column, np.int64) for name, column in columns.items()}
        if return_tensors == "mg":
            columns = {name: Tensor(column) for name, column in columns.items()}
        return BatchEncoding(columns, encodings)

    def encode(
        self,
        text: str | Sequence[str],
        text_pair: str | Sequence[str] | None = None,
        *,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        **options: Any,
    ) -> list[int]:
        """The ids of one text or pair; options as for a call, but it is truncated only if `max_length` is given."""
        truncation = (max_length is not None) if truncation is None else truncation
        options = {"padding": False} | options
        ids = self(text, text_pair, truncation=truncation, max_length=max_length, **options)["input_ids"]
        if len(ids) != 1:
            raise ValueError(
                f"encode takes one text, and this is {len(ids)} rows: call the tokenizer itself, tokenizer(texts)"
            )
        return ids if options.get("return_tensors") else [int(i) for i in ids[0]]

    def tokenize(self, text: str, text_pair: str | None = None, *, add_special_tokens: bool = False) -> list[str]:
        """The tokens of one text, in the vocabulary's own spelling."""
        return self(text, text_pair, padding=False, truncation=False, add_special_tokens=add_special_tokens).tokens()

    def decode(
        self, ids: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> str | list[str]:
        """The text of an id or of a row of ids; a list of texts for a batch of rows."""
        rows = _id_rows(ids)
        if isinstance(rows, list) and rows and isinstance(rows[0], list):
            texts: list[Any] = [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in rows]
            return texts
        with named(self.directory):
            text = self.rules.decode([rows] if isinstance(rows, int) else rows, skip_special_tokens=skip_special_tokens)
        if clean_up_tokenization_spaces is None:
            clean_up_tokenization_spaces = self.settings.get("clean_up_tokenization_spaces", False)
        # Tokens of byte pair encoding contain their spaces.
        if clean_up_tokenization_spaces and type(self.rules.model).__name__ != "BPE":
            text = re.sub(r" ([.?!,]|n't|'m|'s|'ve|'re)", r"\1", text.replace(" ' ", "'"))
        return text

    def batch_decode(
        self, rows: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> list[str]:
        """The text of each row of ids."""
        texts: list[Any] = [
            self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in _id_rows(rows)
        ]
        return texts

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> str | list[str]:
        """The token of each id of a row, or of a single id, in the vocabulary's own spelling."""
        ids = _id_rows(ids)
        if isinstance(ids, int):
            return self.rules.id_to_token(ids)
        skipped = set(self.all_special_ids) if skip_special_tokens else ()
        return [self.rules.id_to_token(i) for i in ids if i not in skipped]

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> int | list[int | None] | None:
        """The id of a token, or of each of several; the id of unk_token for a token that is not in the vocabulary."""
        if not isinstance(tokens, str):
            ids: list[Any] = [self.convert_tokens_to_ids(token) for token in tokens]
            return ids
        found = self.rules.token_to_id(tokens)
        return self.unk_token_id if found is None else found

    def __len__(self) -> int:
        return self.vocab_size

    def __bool__(self) -> bool:
        return True

    def get_vocab(self) -> dict[str, int]:
        """{token: id} of all tokens."""
        return self.rules.get_vocab()

    @property
    def all_special_tokens(self) -> list[str]:
        """All special tokens, those with a name, such as cls_token, first."""
        named = [getattr(self, name) for name in SPECIAL]
        others = [*map(content, named_tokens(self.settings).values()), *map(content, extra_tokens(self.settings))]
        return list(dict.fromkeys(token for token in (*named, *others) if token))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of all special tokens."""
        return [self.rules.token_to_id(token) for token in self.all_special_tokens]

    def add_tokens(self, new_tokens: str | Any | Sequence[str | Any], special_tokens: bool = False) -> int:
        """Add tokens (texts or `tokenizers.AddedToken`s) to the vocabulary; return the number of new ones.

        A model has no vectors for them until model.resize_token_embeddings(len(tokenizer)).
        """
        one = isinstance(new_tokens, str) or not isinstance(new_tokens, Iterable)
        tokens = [added_token(token, special_tokens) for token in ([new_tokens] if one else new_tokens)]
        new = self.rules.add_special_tokens(tokens) if special_tokens else self.rules.add_tokens(tokens)
        self._name_tokens()
        self.grown = self.changed = True
        return new

    def add_special_tokens(self, special_tokens_dict: Mapping[str, Any]) -> int:
        """Set special tokens and add new ones: {"pad_token": "[PAD]", "additional_special_tokens": ["<a>"]}.

        Returns the number of new ones.  A model has no vectors for them until
        model.resize_token_embeddings(len(tokenizer)).
        """
        lists = ("additional_special_tokens", "extra_special_tokens")
        _refuse_unknown(special_tokens_dict, (*SPECIAL, *lists), "there is no special token called {!r}: there are {}")
        new = [token for name, token in special_tokens_dict.items() if name not in lists]
        new += [token for name, given in special_tokens_dict.items() if name in lists for token in given]
        for name, given in special_tokens_dict.items():
            if name in lists:
                extra = [*extra_tokens(self.settings), *(_described(token) for token in given)]
                self.settings.pop("extra_special_tokens", None)
                self.settings["additional_special_tokens"] = extra
            else:
                self.settings[name] = _described(given)
        return self.add_tokens(new, special_tokens=True)

    def apply_chat_template(
        self,
        conversation: Sequence[Any],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = True,
        return_dict: bool = True,
        padding: bool | str = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        **template_variables: Any,
    ) -> Any:
        """A chat, or several, in the format the model was trained on: its ids, or the text if `tokenize` is False.

        Args:
            conversation: messages such as {"role": "user", "content": "Hello"}, or a list of such lists.
            tools, documents: dicts that the template may present to the model.
            chat_template: a template other than the tokenizer's own, or the name of one, if it has several.
            add_generation_prompt: begin the answer, so that `generate` writes it.
            continue_final_message: leave the last message open, so that `generate` continues it.
            padding, truncation, max_length, return_tensors: as for a call.
            return_dict: return the whole result of a call instead of only the ids.
            template_variables: other variables of the template, such as enable_thinking=False.

        Raises ValueError if there is no template, or it refuses the chat; ImportError without jinja2 (the extra
        "chat").
        """
        if not len(conversation):
            raise ValueError('the chat is empty: give it a message, such as {"role": "user", "content": "Hello"}')
        template, batched = self._template(chat_template, tools), not isinstance(conversation[0], Mapping)
        if add_generation_prompt and continue_final_message:
            raise ValueError(
                "add_generation_prompt begins a new message, continue_final_message continues the last: give one"
            )
        if missing := template_variables.keys() & {
            "return_assistant_tokens_mask",
            "sanitize_control_tokens",
            "tokenizer_kwargs",
        }:
            raise TypeError(f"apply_chat_template has no {min(missing)} here: leave it out")
        named = {name: content(token) for name, token in named_tokens(self.settings).items()}
        given = (named or {name: token for name in SPECIAL if (token := getattr(self, name))}) | template_variables
        write = chat.render_open if continue_final_message else chat.render
        texts = [
            write(template, one, tools=tools, documents=documents, add_generation_prompt=add_generation_prompt, **given)
            for one in (conversation if batched else [conversation])
        ]
        if not tokenize:
            return texts if batched else texts[0]
        batch = self(
            texts,
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            return_tensors=return_tensors,
            add_special_tokens=False,
        )
        if return_dict:
            return batch
        return batch["input_ids"] if batched or return_tensors else [int(i) for i in batch["input_ids"][0]]

    def save_pretrained(self, directory: str | os.PathLike) -> None:
        """Save the tokenizer's files to a model directory: copies, except for settings and tokens that were changed."""
        target = output_directory(directory)
        sources: dict[str, Any] = {name: self.directory / name for name in FILES if (self.directory / name).is_file()}
        if self.changed:
            sources["tokenizer_config.json"] = json.dumps(self.settings, indent=2) + "\n"
        if self.grown:
            self.rules.no_truncation()
            self.rules.no_padding()
            sources["tokenizer.json"] = self.rules.to_str(pretty=True)
        with replacing(*(target / name for name in sources)) as parts:
            for source, part in zip(sources.values(), parts, strict=True):
                if isinstance(source, str):
                    part.write_text(source, encoding="utf-8")
                else:
                    shutil.copyfile(source, part)

    def _name_tokens(self):
        self.vocab_size = self.rules.get_vocab_size()
        for name, token in special_tokens(self.rules, self.settings).items():
            setattr(self, name, token)
            setattr(self, f"{name}_id", token and self.rules.token_to_id(token))

    def _template(self, asked: str | None, tools: Any) -> Any:
        """The requested template, or the tokenizer's own."""
        own = self.chat_template
        if isinstance(own, Mapping):
            if asked in own or (asked is None and ((tools and "tool_use" in own) or "default" in own)):
                return own[asked or ("tool_use" if tools and "tool_use" in own else "default")]
            if asked is None:
                raise ValueError(
                    f"the tokenizer has several chat templates: pass chat_template= one of {', '.join(map(repr, own))}"
                )
        if asked is None and own is None:
            raise ValueError(
                f"the tokenizer in {self.directory} has no chat template: pass chat_template=, or use "
                "that of the model's chat version, whose name often ends in -Instruct or -Chat"
            )
        return own if asked is None else asked

    def _rows(self, text, text_pair, is_split):
        """The texts, or pairs of them, and whether they are pairs."""
        texts = _texts(text, "text", is_split)
        if is_split and "ByteLevel(add_prefix_space=False" in repr(self.rules.pre_tokenizer):
            raise ValueError(
                "is_split_into_words=True, but this tokenizer treats the space before a word as a part of it: type "
                "AutoTokenizer.from_pretrained(..., add_prefix_space=True)"
            )
        if text_pair is None:
            return texts, False
        pairs = _texts(text_pair, "text_pair", is_split)
        if len(texts) != len(pairs):
            raise ValueError(f"got {len(texts)} in text and {len(pairs)} in text_pair: expected one for each")
        return list(zip(texts, pairs, strict=True)), True

    def _encode(self, rows, add_special_tokens, is_split, truncation, length):
        try:
            with named(self.directory):
                return self.rules.encode_batch(rows, is_pretokenized=is_split, add_special_tokens=add_special_tokens)
        except Exception as error:
            if not truncation.startswith("only"):
                raise ValueError(f"a text cannot be tokenized ({error}): check that all are valid Unicode") from None
            raise ValueError(
                f"truncation={truncation!r} cannot shorten a row to max_length={length}, because the text to "
                f"be shortened has fewer tokens than must be removed ({error}): pass a larger max_length, or "
                "truncation=True"
            ) from None

    # A tokenizer.json has settings of its own (MiniLM's truncates and pads every row to 128), so both are set in every
    # call.

    def _set_truncation(self, truncation, length, special, stride, is_pair):
        strategies = ("longest_first", "only_first", "only_second", "do_not_truncate")
        if truncation not in strategies:
            raise ValueError(
                f"truncation={truncation!r}: pass True, False, or one of {', '.join(map(repr, strategies))}"
            )
        if truncation == "do_not_truncate" or length is None:
            return self.rules.no_truncation()
        if truncation == "only_second" and not is_pair:
            raise ValueError(
                "truncation='only_second', but there is no text_pair to be cut: pass one, or truncation=True"
            )
        if length <= special:  # the library would silently truncate nothing
            raise ValueError(
                f"max_length={length} leaves no room beside {special} special tokens: pass {special + 1} or more"
            )
        if not 0 <= stride < length - special:
            raise ValueError(
                f"stride={stride} with max_length={length} and {special} special tokens: pass 0 … "
                f"{length - special - 1}"
            )
        self.rules.enable_truncation(
            length,
            stride=stride,
            strategy=truncation,
            direction=_side(self.settings.get("truncation_side") or "right", "truncation_side"),
        )

    def _set_padding(self, padding, length, multiple, side, truncation):
        strategies = ("longest", "max_length", "do_not_pad")
        if padding not in strategies:
            raise ValueError(f"padding={padding!r}: pass True, False, or one of {', '.join(map(repr, strategies))}")
        side = _side(side or self.settings.get("padding_side") or "right", "padding_side")
        if multiple is not None and (not isinstance(multiple, int) or multiple < 1 or padding == "do_not_pad"):
            raise ValueError(
                f"pad_to_multiple_of={multiple!r} with padding={padding!r}: pass a number of 1 or more, "
                "and padding=True"
            )
        if padding == "do_not_pad" or (padding == "longest" and multiple is None and self.pad_token is None):
            return self.rules.no_padding()
        if self.pad_token is None or (padding == "max_length" and length is None):
            raise ValueError(
                f"padding={padding!r} with max_length={length} and the padding token {self.pad_token!r}: "
                'pass True, False, or "max_length" and a max_length, for which there must be a padding '
                "token"
            )
        if multiple and length is not None and length % multiple and truncation != "do_not_truncate":
            raise ValueError(
                f"rows are truncated to max_length={length}, which is not a multiple of "
                f"pad_to_multiple_of={multiple}: pass a max_length such as "
                f"{length // multiple * multiple or multiple}"
            )
        self.rules.enable_padding(
            direction=side,
            pad_id=self.pad_token_id,
            pad_token=self.pad_token,
            length=length if padding == "max_length" else None,
            pad_to_multiple_of=multiple,
        )


def _side(side, name):
    if side not in ("left", "right"):
        raise ValueError(f'{name} is {side!r}: expected "left" or "right"')
    return side


def _check_tensors(kind):
    if kind in ELSEWHERE:
        raise ValueError(
            f'return_tensors={kind!r} means those of {ELSEWHERE[kind]}: type return_tensors="np" for '
            'arrays, or "mg" for Tensors'
        )
    if kind not in (None, "np", "mg"):
        raise ValueError(f'return_tensors={kind!r}: pass "np" for NumPy arrays, or "mg" for Tensors')


def _refuse_unknown(given, known, told):
    for name in given:
        if name not in known:
            near = "".join(f"; did you mean {one!r}?" for one in get_close_matches(str(name), known, 1))
            raise TypeError(told.format(name, ", ".join(known)) + near)


def _described(token):
    """A token in the form in which files store it."""
    if isinstance(token, (str, Mapping)):
        return token
    return {
        name: getattr(token, name) for name in ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
    }


def _id_rows(ids):
    """An id, a row of ids or several rows, in any container, as an int or lists of ints."""
    if isinstance(ids, Mapping):
        ids = ids["input_ids"]
    if isinstance(ids, (list, tuple)) and any(isinstance(row, (list, tuple, np.ndarray, Tensor)) for row in ids):
        return [_id_rows(row) for row in ids]
    array = host_array(ids)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"ids are {array.dtype}: expected whole numbers, such as those in tokenizer(text)['input_ids']")
    if (array < 0).any():
        raise ValueError(
            f"the id {array.min()} is not that of a token; labels are -100 where they are ignored: decode "
            "np.where(labels < 0, tokenizer.pad_token_id, labels)"
        )
    return array.astype(np.int64).tolist()


def _texts(given, name, is_split):
    """One or several texts, or lists of words, as a list."""
    if is_split and isinstance(given, str):
        raise TypeError(
            f"{name} is a str, but with is_split_into_words=True it is a list of words: type {name}.split()"
        )
    several = isinstance(given, Iterable) and not isinstance(given, str)
    texts = list(given) if several else [given]
    if is_split and not (texts and all(isinstance(words, (list, tuple)) for words in texts)):
        texts = [texts]
    if not texts:
        raise ValueError(f"{name} is an empty list: expected at least one text")
    for i, text in enumerate(texts):
        for j, word in enumerate(text if is_split else [text]):
            if not isinstance(word, str):
                place = f"{name}[{i}][{j}]" if is_split else f"{name}[{i}]"
                raise TypeError(f"{place} is {word!r}, a {type(word).__name__}: expected a str")
    return texts
