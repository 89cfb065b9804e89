"""Text that is written while it is generated is the text that was generated."""

import io
import sys

import pytest
import tiny_prompts
import tiny_tokenizers

from minigrad.cli import main
from minigrad.pretrained import AutoTokenizer
from minigrad.pretrained.text.streaming import TextStreamer
from minigrad.train import pipeline


def test_pieces_make_up_the_text_and_no_character_is_cut(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizers.byte_pairs(tmp_path, "gpt2", model_max_length=200))
    pieces, text = [], "hello wörld 𝄞 é "
    streamer = TextStreamer(tokenizer, pieces.append, tokenizer("hello")["input_ids"][0])
    assert pieces == ["hello"]
    for token in tokenizer(text, truncation=False)["input_ids"][0]:
        streamer([token])
    streamer.end()
    assert "".join(pieces) == "hello" + text.rstrip() and "\ufffd" not in "".join(pieces) and len(pieces) == 8
    with pytest.raises(ValueError, match="there are 2 texts; expected one"):
        streamer([1, 2])


def test_the_command_line_writes_token_by_token(tmp_path, monkeypatch):
    model, tokenizer = tiny_prompts.gpt2(tmp_path)
    model.save_pretrained(tmp_path)
    wanted = [
        text["generated_text"]
        for (text,) in pipeline("text-generation", model, tokenizer)(["hello", "he"], max_new_tokens=12)
    ]

    class Heard(io.StringIO):
        flushed = 0

        def flush(self):
            self.flushed += 1

    heard = Heard()
    monkeypatch.setattr(sys, "stdout", heard)
    assert main(["generate", str(tmp_path), "hello", "he", "--max-new-tokens", "12"]) == 0
    assert heard.getvalue().split("\n") == [*(text.rstrip() for text in wanted), ""]
    assert heard.flushed > 10
