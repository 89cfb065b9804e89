"""Writes a text while a model generates it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

UNFINISHED = "\ufffd"  # how the first bytes of a character decode whose other bytes are in the next token


class TextStreamer:
    """What `generate` tells of each new token, as text.

        streamer = TextStreamer(tokenizer, write=lambda text: print(text, end="", flush=True))
        model.generate(ids, streamer=streamer)
        streamer.end()

    The pieces make up what `tokenizer.decode` returns in the end, without special tokens and space at the end; but a
    tokenizer that removes spaces afterwards ("clean_up_tokenization_spaces") may remove one that was written.

    Args:
        tokenizer: the model's.
        write: called with each piece of text.
        prompt: ids of tokens that are written first.
    """

    def __init__(self, tokenizer: Any, write: Callable[[str], Any], prompt: Iterable[int] = ()):
        self.tokenizer, self.write, self.ids, self.written = tokenizer, write, list(prompt), 0
        if self.ids:
            self.show()

    def __call__(self, tokens: np.ndarray) -> None:
        """Take the new token of a batch of one text, (1,).  Raises ValueError for a larger batch."""
        if len(tokens) != 1:
            raise ValueError(
                f"there are {len(tokens)} texts; expected one, since they would be mixed as they are written"
            )
        self.ids.append(int(tokens[0]))
        self.show()

    def show(self) -> None:
        """Write what has been added, except for a character that is not complete."""
        self.put(self.decoded().rstrip(UNFINISHED))

    def end(self) -> None:
        """Write what is left."""
        self.put(self.decoded())

    def decoded(self) -> str:
        """The text so far."""
        return self.tokenizer.decode(self.ids, skip_special_tokens=True)

    def put(self, text: str) -> None:
        """Write what a text has more than was written; space at its end waits for what follows."""
        if len(text := text.rstrip()) > self.written:
            self.write(text[self.written :])
            self.written = len(text)
