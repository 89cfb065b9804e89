"""Text files in blocks of ids: nothing is lost, whatever the cuts; memory does not grow with the file."""

import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.data import DataLoader, TextBlocks, pack_texts, read_pieces
from minigrad.data.blocks import TextSpan, split_spans
from minigrad.pretrained import train_tokenizer

pytest.importorskip("tokenizers")
PROSE = "\n".join(text for _, text in sorted(topics.items())[:12])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return train_tokenizer([PROSE], tmp_path_factory.mktemp("tokenizer"), "bpe", 400)


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.sampled_from("ab \n\r\té漢😀"), max_size=200), size=st.integers(4, 30))
def test_pieces_joined_are_the_text(tmp_path_factory, text, size):
    path = tmp_path_factory.mktemp("pieces") / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert "".join(read_pieces(path, size)) == text.replace("\r\n", "\n")


def test_pieces_end_with_a_line_where_they_can(tmp_path):
    (tmp_path / "a.txt").write_text(PROSE, encoding="utf-8")
    pieces = list(read_pieces(tmp_path / "a.txt", 1000))
    assert len(pieces) > 20 and all(piece.endswith("\n") for piece in pieces[:-1])
    start = PROSE.encode().index(b"\n", 5000) + 1
    assert "".join(read_pieces(TextSpan(tmp_path / "a.txt", start, 9000))) == PROSE.encode()[start:9000].decode()


def test_packed_text_is_the_text(tmp_path, tokenizer):
    (tmp_path / "a.txt").write_text(PROSE, encoding="utf-8")
    (tmp_path / "b.txt").write_text("A short one.\n", encoding="utf-8")
    told = pack_texts([tmp_path / "a.txt", str(tmp_path / "b.txt")], tokenizer, tmp_path / "ids.npy")
    ids = np.load(tmp_path / "ids.npy")
    assert told == {"tokens": len(ids), "bytes": len(PROSE.encode()) + 13, "texts": 2} and ids.dtype == np.uint16
    end = tokenizer.eos_token
    assert tokenizer.decode(ids) == PROSE + end + "A short one.\n" + end
    blocks = TextBlocks(tmp_path / "ids.npy", 64)
    assert len(blocks) == -(-len(ids) // 64) - (len(ids) % 64 == 1)
    np.testing.assert_array_equal(
        np.concatenate([b["input_ids"] for b in map(blocks.__getitem__, range(len(blocks)))]), ids
    )
    assert blocks[0]["input_ids"].dtype == np.int64 and len(blocks[-1]["input_ids"]) == len(ids) % 64
    with pytest.raises(IndexError, match="there are"):
        blocks[len(blocks)]
    around = TextBlocks(tmp_path / "ids.npy", 64, before=[1], after=[2, 3], labels=True)
    item = around[1]
    assert item["input_ids"].tolist() == [1, *ids[61:122].tolist(), 2, 3] == item["labels"].tolist()


def test_blocks_in_a_loader_with_workers(tmp_path, tokenizer):
    (tmp_path / "a.txt").write_text(PROSE, encoding="utf-8")
    pack_texts([tmp_path / "a.txt"], tokenizer, tmp_path / "ids.npy")
    blocks = TextBlocks(tmp_path / "ids.npy", 50)
    one, three = (
        [item["input_ids"].tolist() for batch in DataLoader(blocks, 4, True, 1, num_workers=n) for item in batch]
        for n in (0, 3)
    )
    assert one == three and len(one) == len(blocks)


@pytest.mark.parametrize(
    ("text", "last"),
    [("a b\nc d\na last\n", 8), ("a b\nc d\nlast one", 8), ("a\nmuch longer than the first\n", None), ("a\n", None)],
)
def test_a_long_last_line_is_held_out_unless_it_is_most_of_the_file(tmp_path, text, last):
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8", newline="")
    train, held_out = split_spans([path], 0.2)
    assert train == [TextSpan(path, 0, last)]
    assert held_out == [TextSpan(path, last, None)] * (last is not None)


def test_the_last_part_of_each_file_is_held_out(tmp_path):
    (tmp_path / "a.txt").write_text(PROSE, encoding="utf-8")
    (tmp_path / "one.txt").write_text("a single line", encoding="utf-8")
    train, held_out = split_spans([tmp_path / "a.txt", tmp_path / "one.txt"], 0.2)
    texts = ["".join("".join(read_pieces(span)) for span in part) for part in (train, held_out)]
    assert texts[0] == PROSE.replace(texts[1], "") + "a single line" and texts[0].endswith("\na single line")
    assert 0.17 < len(texts[1]) / len(PROSE) <= 0.2 and len(held_out) == 1


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"fine\ncaf\xe9 latin\n", r"a.txt:2: not UTF-8: byte 0xe9 at offset 8; if it is latin1, type: iconv"),
        ("fine".encode("utf-16"), r"a.txt:1: not UTF-8: .* if it is utf-16, type"),
        ("\u4e2d\u6587\u6587\u672c".encode("gb18030"), r"a.txt:1: not UTF-8: .* if it is gb18030"),
        (b"", "a.txt: 0 bytes of text in all; expected at least two tokens"),
        (b"x" * 40000 + b"\nab\xff\n", r"a.txt:2: not UTF-8: byte 0xff at offset 40003"),
    ],
)
def test_damaged_files_are_refused_and_nothing_is_written(tmp_path, tokenizer, content, text):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match=text) as caught:
        pack_texts([tmp_path / "a.txt"], tokenizer, tmp_path / "ids.npy")
    assert "\n" not in str(caught.value) and [f.name for f in tmp_path.iterdir()] == ["a.txt"]


def test_the_line_of_an_error_counts_from_the_beginning_of_the_file(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\nthree\nf\xffur\n")
    with pytest.raises(ValueError, match="a.txt:4: not UTF-8: byte 0xff at offset 15"):
        list(read_pieces(TextSpan(tmp_path / "a.txt", 8, None)))


def test_files_that_are_no_blocks(tmp_path, tokenizer):
    with pytest.raises(FileNotFoundError, match="nowhere.txt: no such file"):
        pack_texts([tmp_path / "nowhere.txt"], tokenizer, tmp_path / "ids.npy")
    (tmp_path / "a.npy").write_bytes(b"hello")
    with pytest.raises(ValueError, match="a.npy: not a file of token ids"):
        TextBlocks(tmp_path / "a.npy", 8)
    np.save(tmp_path / "b.npy", np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"b.npy: float64 of shape \(2, 2\); expected ids"):
        TextBlocks(tmp_path / "b.npy", 8)
    with pytest.raises(ValueError, match="block_size is 3; expected at least 4"):
        TextBlocks(tmp_path / "b.npy", 3, before=[1], after=[2])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path, tokenizer):
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of a process's memory is read as Linux tells it")
    with open(tmp_path / "large.txt", "w", encoding="utf-8") as file:
        for _ in range(60):
            file.write(PROSE)
    size = (tmp_path / "large.txt").stat().st_size
    code = """if True:
        import re, sys
        from pathlib import Path
        from minigrad.data import DataLoader, TextBlocks, pack_texts
        from minigrad.pretrained import AutoTokenizer
        peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
        directory, source, ids = sys.argv[1:]
        tokenizer = AutoTokenizer.from_pretrained(directory)
        pack_texts([source], tokenizer, ids)
        first = peak()
        seen = sum(item["input_ids"].size for batch in DataLoader(TextBlocks(ids, 512), 16, True, 0) for item in batch)
        print(seen, first, peak())"""
    args = [str(tokenizer.directory), str(tmp_path / "large.txt"), str(tmp_path / "ids.npy")]
    run = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    seen, first, last = map(int, run.stdout.split())
    assert size > 2e6 and seen > size / 4 and last < 300_000  # kilobytes
    assert last - first < 20_000


def test_one_file_is_no_list_of_files(tmp_path):
    (tmp_path / "a.txt").write_text("some text")
    for one in (tmp_path / "a.txt", str(tmp_path / "a.txt"), TextSpan(tmp_path / "a.txt")):
        with pytest.raises(TypeError, match="files is one file, .*a.txt.*; expected a list of them"):
            pack_texts(one, None, tmp_path / "ids.npy")


def test_a_file_of_something_else_is_named_and_nothing_unsafe_is_proposed(tmp_path):
    (tmp_path / "a.npy").write_text("some text")
    with pytest.raises(ValueError, match="a.npy: not a file of token ids; make it with pack_texts$"):
        TextBlocks(tmp_path / "a.npy", 8)
