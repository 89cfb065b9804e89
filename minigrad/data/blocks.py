"""Text files of any size as blocks of token ids, which are written to a file and read from it block by block."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .readers import likely_encoding
from .split import check_fraction

PIECE = 1 << 13  # bytes in a piece that is tokenised; a tokenizer takes longer per byte for longer texts
MAX_PIECES = 64  # pieces in one call of the tokenizer, which spreads them over the cores
NEWLINE = b"\n"
HEADER = 128  # bytes of an .npy file before its numbers


class TextSpan(NamedTuple):
    """The text in a file from one byte offset to another; None is the end of the file."""

    path: Path
    start: int = 0
    end: int | None = None


def read_pieces(source: str | os.PathLike | TextSpan, size: int = PIECE) -> Iterator[str]:
    """The text of a UTF-8 file, in pieces of about `size` bytes, which end at a line break unless a line is longer.

    A byte order mark at the beginning is dropped, and Windows line breaks become line feeds.

    Raises FileNotFoundError or ValueError, naming file and line, if the file is missing or not UTF-8.
    """
    span = source if isinstance(source, TextSpan) else TextSpan(Path(source))
    if not span.path.is_file():
        raise FileNotFoundError(f"{span.path}: no such file; expected a text file")
    left, line, rest = (span.path.stat().st_size if span.end is None else span.end) - span.start, 1, b""
    with open(span.path, "rb") as file:
        file.seek(span.start)
        while left > 0 or rest:
            more = file.read(min(size, max(left, 0)))
            left = left - len(more) if more else 0
            raw = rest + more
            cut = len(raw) if not left else _cut(raw)
            piece, rest = raw[:cut], raw[cut:]
            yield _decoded(span, piece, line, file.tell() - len(rest) - len(piece))
            line += piece.count(b"\n")


def _cut(raw: bytes) -> int:
    """The position at which to cut: after the last line break, else before the last space, else between characters."""
    if (at := raw.rfind(NEWLINE) + 1 or raw.rfind(b" ")) > 0:
        return at
    for back in range(1, min(4, len(raw)) + 1):  # back to the first byte of the last character
        if (lead := raw[-back]) >= 0xC0:
            whole = back >= 2 + (lead >= 0xE0) + (lead >= 0xF0)
            return len(raw) if whole else len(raw) - back
        if lead < 0x80:
            break
    return len(raw) - raw.endswith(b"\r")


def _decoded(span: TextSpan, raw: bytes, line: int, offset: int) -> str:
    at = raw.find(0)  # UTF-16 without a byte order mark may look like UTF-8 with zero bytes
    if at < 0:
        try:
            text = raw.decode("utf-8")
            return (text.removeprefix("\ufeff") if not offset else text).replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            at = error.start
    likely, path = likely_encoding(raw), span.path
    with open(path, "rb") as file:
        line += sum(file.read(min(PIECE, span.start - i)).count(b"\n") for i in range(0, span.start, PIECE))
    raise ValueError(
        f"{path}:{line + raw[:at].count(NEWLINE)}: not UTF-8: byte 0x{raw[at]:02x} at offset {offset + at}; "
        f"if it is {likely}, type: iconv -f {likely} -t utf-8 {path} > {path.stem}-utf8{path.suffix}"
    )


def split_spans(files: Iterable[str | os.PathLike], eval_fraction: float) -> tuple[list[TextSpan], list[TextSpan]]:
    """Divide each file at a line break: the spans for training, and the last parts, of about `eval_fraction`.

    If the last line is longer than that, it is the last part, unless it is longer than all lines before it: then the
    file is used for training only.
    """
    check_fraction(eval_fraction)
    train, held_out = [], []
    for path in map(Path, files):
        size = path.stat().st_size
        with open(path, "rb") as file:
            file.seek(round(size * (1 - eval_fraction)))
            file.readline()
            at = file.tell()
            if at >= size > 0:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    at = content.rfind(NEWLINE, 0, size - 1) + 1
                at = at if 2 * at >= size else size
        if 0 < at < size:
            train.append(TextSpan(path, 0, at))
            held_out.append(TextSpan(path, at, None))
        else:
            train.append(TextSpan(path))
    return train, held_out


def pack_texts(
    files: Iterable[str | os.PathLike | TextSpan], tokenizer: Any, output: str | os.PathLike
) -> dict[str, int]:
    """Tokenise text files into one .npy file of ids, which `TextBlocks` reads; memory does not grow with the files.

    A file is tokenised in pieces of about 8 KB that end at a line break, without special tokens, and is followed by the
    tokenizer's end token, if it has one.  The ids are uint16, or uint32 for a vocabulary of more than 65,536 tokens.

    Returns {"tokens": the number of ids written, "bytes": the size of the text in UTF-8, "texts": the number of files}.

    Raises FileNotFoundError or ValueError, naming file and line, if a file is missing, holds no text or is not UTF-8;
    then nothing is written to `output`.
    """
    if isinstance(files, (str, os.PathLike, TextSpan)):
        raise TypeError(f"files is one file, {str(files)!r}; expected a list of them: type pack_texts([file], ...)")
    files = list(files)
    if not files:
        raise ValueError("no files were given; expected at least one")
    named = ", ".join(str(file.path if isinstance(file, TextSpan) else file) for file in files[:3])
    return pack((read_pieces(file) for file in files), tokenizer, output, named)


def pack(texts: Iterable[Iterable[str]], tokenizer: Any, output: str | os.PathLike, named: str) -> dict[str, int]:
    """Do what `pack_texts` does, for texts given in pieces; error messages call them `named`."""
    dtype = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
    output, counts = Path(output), {"tokens": 0, "bytes": 0, "texts": 0}
    part = output.with_name(output.name + ".part")
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    try:
        with open(part, "wb") as file:
            file.write(bytes(HEADER))
            for pieces in texts:
                for group in groups(filter(None, pieces), MAX_PIECES):
                    rows = tokenizer(group, padding=False, truncation=False, add_special_tokens=False)["input_ids"]
                    for piece, row in zip(group, rows, strict=True):
                        file.write(np.array(row, dtype).tobytes())
                        counts["tokens"] += len(row)
                        counts["bytes"] += len(piece.encode())
                file.write(np.array(end, dtype).tobytes())
                counts["tokens"] += len(end)
                counts["texts"] += 1
            file.seek(0)
            file.write(_header(counts["tokens"], dtype))
        if counts["tokens"] - counts["texts"] * len(end) < 2:
            raise ValueError(f"{named}: {counts['bytes']} bytes of text in all; expected at least two tokens")
        os.replace(part, output)
    finally:
        part.unlink(missing_ok=True)
    return counts


def groups(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The items in lists of `size`, the last of which may be shorter."""
    left = iter(items)
    while group := list(islice(left, size)):
        yield group


def _header(tokens: int, dtype: np.dtype) -> bytes:
    """The header of an .npy file of that many ids (numpy.lib.format, version 1.0)."""
    entries = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': ({tokens},), }}".encode()
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + entries.ljust(HEADER - 11) + b"\n"


class TextBlocks:
    """A dataset of the ids in a file that `pack_texts` wrote: {"input_ids": int64 (block_size,)} for each block.

    A block is read through a memory map, so the file may be larger than memory.  The last block is shorter if the
    ids do not fill it; a single id that is left over is dropped.

    Args:
        before, after: ids to put around each block, such as [CLS] and [SEP]; `block_size` includes them.
        labels: whether an item also has its ids as `labels`, as a causal language model takes them.

    Raises:
        ValueError: `pack_texts` did not write the file, or `block_size` leaves no room for two tokens.
        IndexError: from an index that is out of range.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        block_size: int,
        before: Sequence[int] = (),
        after: Sequence[int] = (),
        labels: bool = False,
    ):
        self.path, self.block_size, self.labels = Path(path), block_size, labels
        self.before, self.after = np.array(before, np.int64), np.array(after, np.int64)
        self.own = block_size - len(self.before) - len(self.after)
        if self.own < 2:
            raise ValueError(
                f"block_size is {block_size}; expected at least {block_size - self.own + 2}, for two tokens and the "
                "special tokens"
            )
        try:
            ids = np.load(self.path, mmap_mode="r")
        except (ValueError, EOFError):
            raise ValueError(f"{self.path}: not a file of token ids; make it with pack_texts") from None
        if ids.ndim != 1 or ids.dtype.kind != "u":
            raise ValueError(f"{self.path}: {ids.dtype} of shape {ids.shape}; expected ids that pack_texts wrote")
        self.tokens, self.dtype, self.offset = len(ids), ids.dtype, ids.offset
        full, rest = divmod(self.tokens, self.own)
        self.size = full + (rest >= 2)
        if not self.size:
            raise ValueError(f"{self.path}: {self.tokens} tokens; expected at least 2")

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        index = int(index) + (self.size if index < 0 else 0)
        if not 0 <= index < self.size:
            raise IndexError(f"index {index} is out of range: there are {self.size} blocks")
        start = index * self.own
        shape = min(self.own, self.tokens - start)
        mapped = np.memmap(self.path, self.dtype, "r", self.offset + start * self.dtype.itemsize, (shape,))
        ids = np.concatenate([self.before, mapped.astype(np.int64), self.after])
        return {"input_ids": ids, **({"labels": ids.copy()} if self.labels else {})}
