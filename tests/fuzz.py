"""Damaged and hostile files, thousands of them, each read in a process with limits: `python -m tests.fuzz --cases
10000`.

A case is made from its number alone, so `python -m tests.fuzz --case 123` makes that one again and shows what came of
it.  Held against every case: no more than 5 seconds of processor time and 1.5 GB for files below 2 MB; either it is
read, or there is one error of ours, one line that names the file; and no file changes outside an output directory that
the case names.
"""

import argparse
import contextlib
import functools
import io
import json
import math
import multiprocessing
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from importlib.util import find_spec
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from pickle_files import Call, Global, Persistent, Raw, code, legacy, program, tensor, zipped  # noqa: E402

import minigrad  # noqa: E402
from minigrad import cli, pretrained  # noqa: E402
from minigrad.data import read_examples  # noqa: E402
from minigrad.pretrained import AutoConfig, AutoModel, AutoModelForSequenceClassification  # noqa: E402
from minigrad.pretrained.auto import AutoModelForCausalLM, AutoModelForImageClassification  # noqa: E402
from minigrad.pretrained.checkpoint.files import read_weights  # noqa: E402

SECONDS, BYTES, LARGEST = 5, 1_500_000_000, 2_000_000
PATIENCE = 60  # seconds of waiting for a reader that uses no processor time
TEXT = {
    "vocab_size": 25,
    "max_position_embeddings": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "hidden_size": 8,
    "intermediate_size": 12,
}
FAMILIES = {
    "Bert": TEXT,
    "Roberta": TEXT | {"pad_token_id": 1},
    "DistilBert": {
        "vocab_size": 25,
        "dim": 8,
        "n_layers": 1,
        "n_heads": 2,
        "hidden_dim": 12,
        "max_position_embeddings": 32,
    },
    "GPT2": {
        "vocab_size": 25,
        "n_embd": 8,
        "n_layer": 1,
        "n_head": 2,
        "n_positions": 32,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "T5": {"vocab_size": 25, "d_model": 8, "d_kv": 4, "d_ff": 12, "num_layers": 1, "num_heads": 2},
    "Llama": TEXT
    | {
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        }
    },
    "Qwen2": TEXT | {"num_key_value_heads": 1},
    "Qwen3": TEXT | {"num_key_value_heads": 1, "head_dim": 4},
    "ViT": {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 12,
        "image_size": 8,
        "patch_size": 4,
    },
    "ResNet": {"embedding_size": 4, "hidden_sizes": [4, 8, 8, 8], "depths": [1, 1, 1, 1]},
    "VGG": {"hidden_sizes": [4, 6], "depths": [1, 1], "pooled_size": 2, "intermediate_size": 8},
    "MobileNetV2": {"depth_multiplier": 0.05, "min_depth": 1, "depth_divisible_by": 1},
}
WEIRD = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    3,
    5,
    255,
    10**6,
    10**9,
    2**31,
    2**63,
    10**12,
    10**20,
    -(10**30),
    10**4000,
    math.nan,
    math.inf,
    -math.inf,
    0.5,
    1e-300,
    1e300,
    "",
    "x",
    "5",
    "no such",
    "../../victim",
    "a" * 5000,
    "\u0000\ud800",
    [],
    {},
    [[]],
    [1, 2, 3],
    [-1],
    [None],
    {"a": 1},
    {"0": "a", "2": "b"},
    ["x"] * 3,
    [1e300, math.nan, "x"],
)


class Case:
    """A directory of its own, random numbers of its own, and a directory beside it that nobody may touch."""

    def __init__(self, seed, number, home, base):
        self.rng, self.base = np.random.default_rng([seed, number]), base
        self.sandbox = home / str(number)
        self.here, self.victim, self.output = self.sandbox / "model", self.sandbox / "victim", self.sandbox / "output"
        self.here.mkdir(parents=True)
        self.victim.mkdir()
        (self.victim / "config.json").write_text("{}")
        (self.victim / "thesis.txt").write_text("mine")
        self.named = str(self.sandbox)  # an error must name something in it

    def pick(self, options):
        return options[self.rng.integers(len(options))]

    def chance(self, p):
        return self.rng.random() < p

    def number(self, high):
        return int(self.rng.integers(high))

    # Damage.

    def damaged(self, content):
        """Bytes that are not as they should be: cut, changed, doubled, put in."""
        content = bytearray(content)
        for _ in range(1 + self.number(4)):
            at, length = self.number(len(content) + 1), 1 + self.number(self.pick((1, 8, 200)))
            match self.number(5):
                case 0:
                    content[at : at + 1] = bytes([self.number(256)])
                case 1:
                    del content[at:]
                case 2:
                    del content[at : at + length]
                case 3:
                    content[at:at] = self.rng.bytes(length)
                case 4:
                    content[at:at] = content[at : at + length] * self.pick((1, 3, 100))
        return bytes(content[:LARGEST])

    def weird(self):
        if self.chance(0.05):
            value = 1
            for _ in range(self.pick((60, 200, 400, 900))):
                value = [value] if self.chance(0.5) else {"a": value}
            return value
        return self.pick(WEIRD)

    def changed(self, value):
        """A JSON value in which something is something else, is missing, or is there twice."""
        if isinstance(value, dict) and value and self.chance(0.9):
            value, key = dict(value), self.pick(list(value))
            match self.number(8):
                case 0:
                    del value[key]
                case 1:
                    value[self.pick(("new", "", "a.b", key + "x"))] = self.weird()
                case 2 | 3 | 4:
                    value[key] = self.changed(value[key])
                case _:
                    value[key] = self.weird()
            return value
        if isinstance(value, list) and value and self.chance(0.9):
            value, at = list(value), self.number(len(value))
            match self.number(4):
                case 0:
                    del value[at]
                case 1:
                    value[at:at] = value[at : at + 1] * self.pick((1, 5, 1000))
                case _:
                    value[at] = self.changed(value[at])
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool) and self.chance(0.5):
            return self.pick((value + 1, value - 1, -value, value * 1000, value // 2, repr(value)[:50]))
        return self.weird()

    def json(self, value, times=1):
        """The text of a changed JSON value, sometimes damaged as a text, too."""
        for _ in range(times if self.chance(0.8) else times + 3):
            value = self.changed(value)
        with unlimited_digits():
            try:
                text = json.dumps(value).encode()
            except RecursionError:
                text = b"[" * 900 + b"]" * 900
        if self.chance(0.05):
            text = text.replace(
                b":", b": " + self.pick((b"9" * 5000, b"[" * 990 + b"]" * 990, b"[" * 10**5)) + b',"":', 1
            )
        return self.damaged(text) if self.chance(0.15) else text

    # What there is to read.

    def family(self, *names):
        """A copy of a small model; its name."""
        name = self.pick(names or list(FAMILIES))
        shutil.copytree(self.base / name, self.here, dirs_exist_ok=True)
        return name

    def load(self, name):
        """The model, by one of the ways there are; if it loads, what it computes of something small."""
        heads = {
            "Bert": AutoModelForSequenceClassification,
            "Roberta": AutoModelForSequenceClassification,
            "GPT2": AutoModelForCausalLM,
            "Llama": AutoModelForCausalLM,
            "ViT": AutoModelForImageClassification,
            "ResNet": AutoModelForImageClassification,
        }
        kind = heads.get(name, AutoModel) if self.chance(0.5) else AutoModel
        options = {}
        if self.chance(0.4):
            options = self.pick(
                (
                    {"strict": False},
                    {"ignore_mismatched_sizes": True},
                    {"strict": False, "ignore_mismatched_sizes": True},
                    {"dtype": "float16"},
                )
            )
        model = kind.from_pretrained(self.here, **options)
        str(model.load_report)
        if self.chance(0.2):
            model.save_pretrained(self.output)
            kind.from_pretrained(self.output)

    def safetensors(self):
        name = self.family()
        path = self.here / "model.safetensors"
        content = path.read_bytes()
        size = struct.unpack("<Q", content[:8])[0]
        header, body = json.loads(content[8 : 8 + size]), content[8 + size :]
        match self.number(8):
            case 0:
                path.write_bytes(self.damaged(content))
            case 1:
                text = self.pick(
                    (b"", b"version https://git-lfs", b"{}", b"\xff" * 9, b"\0" * 8, b"\xff\xff\xff\0\0\0\0\0{")
                )
                path.write_bytes(text)
            case 2:
                empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
                count = self.pick((10, 3000, 15_000))
                header |= {f"{self.pick(('x', 'h', 'encoder.layer'))}.{i}.weight": empty for i in range(count)}
                text = json.dumps(header).encode()
                path.write_bytes(struct.pack("<Q", len(text)) + text + body)
            case 3:
                one = self.pick([key for key in header if key != "__metadata__"])
                header[one]["shape"] = self.pick(
                    ([1] * 200_000, [2] * 100_000, [1] * 65, [2**62, 0], [0] * 3, [2**40], [10**400, 0])
                )
                text = json.dumps(header).encode()
                path.write_bytes(struct.pack("<Q", len(text)) + text + body)
            case _:
                text = self.json(header)
                path.write_bytes(struct.pack("<Q", len(text)) + text + body)
        self.load(name)

    def pickle(self):
        content = self.pickled()
        if self.chance(0.2):
            content = self.damaged(content)
        if self.chance(0.4):
            path = self.here / self.pick(("w.bin", "w.pth", "w.pt"))
            path.write_bytes(content[:LARGEST])
            read_weights(path)
        else:
            name = self.family()
            (self.here / "model.safetensors").unlink()
            (self.here / "pytorch_model.bin").write_bytes(content[:LARGEST])
            self.load(name)

    def pickled(self):
        hostile = self.chance(0.7)

        def some_tensor():
            if not hostile or self.chance(0.7):
                return tensor()
            shape = (
                tuple(
                    self.pick(((2, 3), (1 << 24,), (1 << 31,), (1 << 40, 2), (0, 3), (-1,), (), (2,) * 70, (1,), (6,)))
                )
                if self.chance(0.6)
                else (2, 3)
            )
            strides = self.pick(
                ((0,) * len(shape), (1,) * len(shape), (3, 1), (1 << 61,) * len(shape), (-1,) * len(shape))
            )
            return tensor(
                self.pick(("0", "0", "0", "1", "")),
                shape,
                strides,
                self.pick((0, 0, 0, 1, -1, 10**9)),
                self.pick(("Float", "Float", "Float", "Half", "BFloat16", "Long", "Bool", "QInt8", "ComplexFloat")),
                self.pick((6, 6, 6, 7, 1 << 62)),
            )

        ordered = Global("collections", "OrderedDict")
        values = {f"w{i}": some_tensor() for i in range(self.pick((1, 3, 200)))}
        extras = (
            3,
            "x" * 10**5,
            [[]] * 3,
            (1, (2,)),
            Call(ordered, ()),
            Call(Global("os", "system"), ("true",)),
            Call(Global("builtins", "eval"), ("1",)),
            Global("torch", "float32"),
            Call(Global("torch", "device"), ("cpu",)),
            Call(Global("builtins", "set"), ([1],)),
            Call(Global("collections", "Counter"), ({"a": 1},)),
            Persistent(("storage", 3, "0", "cpu", 6)),
            Raw(b"]" + b"q\x00h\x00a" * 5000),
            Raw(b")" + b"\x85" * 30_000),
            Raw(b"\x8d" + b"\xff" * 8),
            Raw(
                b"]]("
                + b"".join(code([f"k{i}", 1]) for i in range(300))
                + b"eq\x00a"
                + (code(ordered) + b"h\x00\x85Ra") * self.pick((10, 50_000))
            ),
            Raw(self.rng.bytes(30)),
            Raw(b"N" * self.pick((10, 10**6)) + b"."),
        )
        made = {"state_dict": values, "extra": self.pick(extras)} if self.chance(0.4) else values
        data = program(made)
        stored = np.arange(6, dtype=np.float32).tobytes()
        if self.chance(0.3):
            return legacy(
                data,
                {"0": (self.pick((6, 6, 7, -1, 1 << 62)), stored)},
                **self.pick(({}, {}, {"magic": 3}, {"version": 9}, {"system": []}, {"keys": program({"0": 1})})),
            )
        entries = self.pick(
            (
                {},
                {},
                {"archive/byteorder2": b"x"},
                {"other/data.pkl": b"N."},
                {"../../victim/thesis.txt": b"x"},
                {f"archive/data/{i}": b"" for i in range(2000)},
            )
        )
        return zipped(data, {"0": stored}, entries, self.pick((0,) * 9 + (8,)))

    def config(self):
        name = self.family()
        path = self.here / "config.json"
        entries = json.loads(path.read_text())
        if self.chance(0.4):  # sizes that cost
            numbers = [
                key for key, value in entries.items() if isinstance(value, (int, float)) and not isinstance(value, bool)
            ]
            entries |= {
                self.pick(numbers): self.pick((10**6, 10**9, 10**12, 2**31 - 1, 10**5))
                for _ in range(self.pick((1, 2)))
            }
            if self.chance(0.2):
                entries |= {"num_labels": self.pick((10**5, 10**9)), "id2label": None, "label2id": None}
            path.write_text(json.dumps(entries))
        else:
            path.write_bytes(self.json(entries, times=1 + self.number(3)))
        if self.chance(0.3):
            AutoConfig.from_pretrained(self.here).to_dict()
        else:
            self.load(name)

    def shards(self):
        name = self.pick(list(FAMILIES))
        kind = getattr(pretrained, f"{name}Model")
        kind.from_pretrained(self.base / name).save_pretrained(self.here, max_shard_size=400)
        index = self.here / "model.safetensors.index.json"
        if not index.exists():
            return
        entries = json.loads(index.read_text())
        where = entries["weight_map"]
        match self.number(6):
            case 0:
                where[self.pick(list(where))] = self.pick(
                    ("../victim/thesis.txt", "/etc/passwd", "..", "", ".", "config.json", "x" * 300)
                )
                index.write_text(json.dumps(entries))
            case 1:
                (self.here / self.pick(list(where.values()))).unlink()
            case 2:
                path = self.here / self.pick(list(where.values()))
                path.write_bytes(self.damaged(path.read_bytes()))
            case 3:
                path = self.here / self.pick(list(where.values()))
                path.unlink()
                path.symlink_to(self.pick((self.victim / "thesis.txt", self.victim, path, "/dev/zero", "/nonexistent")))
            case _:
                index.write_bytes(self.json(entries))
        self.load(name)

    def links(self):
        """A directory in which something is a link, a directory or a pipe, and which is read, or saved into."""
        name = self.family()
        tokenizer = AutoTokenizer and self.chance(0.3)
        if tokenizer:
            word_pieces(self.here)
        names = (
            ".written",
            ".writing",
            ".written/config.json",
            ".written/model.safetensors",
            "config.json",
            "model.safetensors",
            "model.safetensors.index.json",
            "pytorch_model.bin",
            "vocab.txt",
            "tokenizer.json",
            "tokenizer_config.json",
            "generation_config.json",
            ".config.json.part",
            "model-00001-of-00002.safetensors",
            "preprocessor_config.json",
        )
        for _ in range(1 + self.number(3)):
            path = self.here / self.pick(names)
            if path.parent.is_symlink():
                continue
            path.parent.mkdir(exist_ok=True)
            if path.is_symlink() or path.is_file():
                path.unlink()
            elif path.exists():
                continue
            match self.number(8):
                case 0 | 1 | 2:
                    path.symlink_to(
                        self.pick(
                            (
                                self.victim,
                                self.victim / "thesis.txt",
                                self.victim / "config.json",
                                path,
                                "/dev/zero",
                                "/etc/hostname",
                                "/proc/self/mem",
                                "..",
                                "/nonexistent",
                            )
                        )
                    )
                case 3:
                    path.mkdir()
                case 4:
                    shutil.copytree(self.base / self.pick(list(FAMILIES)), path)
                case 5:
                    os.mkfifo(path)
                case 6:
                    path.touch()
                case 7:
                    path.write_bytes(self.rng.bytes(100))
        before = tree(self.sandbox)
        with contextlib.suppress(ValueError, OSError):
            (AutoTokenizer.from_pretrained if tokenizer else AutoModel.from_pretrained)(self.here)
        changed("reading", before, tree(self.sandbox))
        if self.chance(0.4):
            model = AutoModel.from_pretrained(self.base / name)
            before = tree(self.victim)
            with contextlib.suppress(ValueError, OSError):
                model.save_pretrained(self.here, **self.pick(({}, {"max_shard_size": 400})))
            changed("saving", before, tree(self.victim))
            self.output = self.here

    def tokenizer(self):
        kind = self.number(6)
        if kind < 2:
            word_pieces(self.here, as_json=kind == 1, model_max_length=20, pad_token="[PAD]", do_lower_case=True)
        elif kind < 4:
            byte_pairs(self.here, ("gpt2", "roberta")[kind - 2])
        else:
            pieces(self.here, byte_fallback=kind == 5)
        path = self.here / self.pick([p.name for p in self.here.iterdir()] + ["tokenizer_config.json"] * 2)
        if path.suffix == ".json" and self.chance(0.8):
            value = json.loads(path.read_text())
            if path.name == "tokenizer_config.json":
                keys = (
                    "pad_token",
                    "unk_token",
                    "model_max_length",
                    "padding_side",
                    "truncation_side",
                    "model_input_names",
                    "do_lower_case",
                    "add_prefix_space",
                    "strip_accents",
                    "bos_token",
                    "tokenizer_class",
                    "sep_token",
                    "added_tokens_decoder",
                    "additional_special_tokens",
                    "chat_template",
                    "clean_up_tokenization_spaces",
                )
                value |= {self.pick(keys): self.weird() for _ in range(1 + self.number(2))}
            elif "normalizer" in value and self.chance(0.5):
                value["normalizer"] = self.pick(
                    (
                        {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
                        {"type": "Precompiled", "precompiled_charsmap": ""},
                        {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "b"},
                        {"type": "Strip"},
                        {"type": "Replace", "pattern": {"Regex": "(?:a?){50}a{50}"}, "content": ""},
                        {"type": "Replace", "pattern": {"String": ""}, "content": "y" * 1000},
                        {"type": "Prepend", "prepend": "x" * 10**5},
                        {"type": "Sequence", "normalizers": []},
                    )
                )
            with unlimited_digits():
                path.write_bytes(self.json(value))
        else:
            path.write_bytes(self.damaged(path.read_bytes()))
        tok = AutoTokenizer.from_pretrained(self.here)
        texts = ["hello world", "", "a" * 40 + "!", "caf\u00e9 \u6c49\u5b57 [MASK]", "Hello, it's wide."]
        rows = tok(texts, **self.pick(({}, {"padding": False}, {"max_length": 4}, {"text_pair": texts})))
        tok.decode(list(rows["input_ids"][0])) if "input_ids" in rows else None
        tok.convert_ids_to_tokens([0, 1])

    def picture(self):
        from PIL import Image

        array = self.rng.integers(0, 256, self.pick(((6, 9, 3), (1, 2000, 3), (2000, 1, 3), (1, 1, 3))), np.uint8)
        ending = self.pick(("png", "jpg", "tiff", "webp", "bmp", "gif", "ppm", "tga", "ico", "jp2"))
        path = self.here / f"photo.{ending}"
        made = Image.fromarray(array)
        mode = self.pick(("RGB", "RGB", "L", "RGBA", "P", "CMYK", "I;16", "I", "F", "1", "LA"))
        out = io.BytesIO()
        try:
            made = Image.fromarray(array[..., 0].astype(np.uint16) * 257) if mode == "I;16" else made.convert(mode)
            exif = Image.Exif()
            exif[0x0112] = self.number(10)
            made.save(out, {"jpg": "JPEG", "tiff": "TIFF", "jp2": "JPEG2000"}.get(ending, ending.upper()), exif=exif)
        except (OSError, ValueError, KeyError):
            made.convert("RGB").save(out, "PNG")
        content = out.getvalue()
        if self.chance(0.15):
            width, height = self.pick(
                ((60_000, 1), (1, 60_000), (60_000, 60_000), (8000, 8000), (2**31 - 1, 1), (0, 0), (2**20, 64))
            )

            def chunk(kind, data):
                return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

            head = struct.pack(">IIBBBBB", width, height, 8, self.pick((0, 2, 3, 6)), 0, 0, self.number(2))
            content = (
                b"\x89PNG\r\n\x1a\n"
                + chunk(b"IHDR", head)
                + chunk(b"IDAT", zlib.compress(bytes(self.pick((10, 10**6)))))
            )
            content += chunk(b"IEND", b"") * self.number(2)
        elif self.chance(0.7):
            content = self.damaged(content)
        path.write_bytes(content)
        settings = self.pick(
            (
                {"image_processor_type": "ViTImageProcessor", "size": {"height": 8, "width": 8}},
                {
                    "image_processor_type": "MobileNetV2ImageProcessor",
                    "size": {"shortest_edge": 8},
                    "crop_size": {"height": 8, "width": 8},
                },
                {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 8}, "crop_pct": 0.875},
                {"do_resize": False, "do_center_crop": True, "crop_size": 4},
            )
        )
        settings = settings | {
            "do_normalize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": 0.5,
            "rescale_factor": 1 / 255,
        }
        with unlimited_digits():
            text = self.json(settings) if self.chance(0.3) else json.dumps(settings).encode()
        (self.here / "preprocessor_config.json").write_bytes(text)
        self.named = str(self.here)
        AutoImageProcessor.from_pretrained(self.here)(path)

    def table(self):
        rows = [{"text": f"oven flour {i}", "label": ("a", "b")[i % 2]} for i in range(6)]
        ending = self.pick(("csv", "tsv", "jsonl", "json"))
        path = self.here / f"rows.{ending}"
        if ending in ("csv", "tsv"):
            between = {"csv": self.pick((",", ";", "|")), "tsv": "\t"}[ending]
            text = "\n".join([between.join(("text", "label")), *(between.join(row.values()) for row in rows)]).encode()
            extra = (
                b'"' * 30_000,
                b"\0",
                b"x," * 10**5,
                b'"a\n' * 1000,
                b"\xff\xfe",
                b"text,text\n",
                "\u2028".encode(),
                b"x" * 10**6,
            )
        else:
            texts = [self.json(row) if self.chance(0.3) else json.dumps(row).encode() for row in rows]
            text = b"[" + b",".join(texts) + b"]" if ending == "json" else b"\n".join(texts)
            extra = (
                b"[" * 990 + b"]" * 990,
                b'{"text": ' * 990 + b"1" + b"}" * 990,
                b'{"text": "x", "label": ' + b"9" * 5000 + b"}",
                b'{"text": "\\ud800", "label": 1}',
                b"[" * 10**5,
                b'{"text": 1e400, "label": NaN}',
                b'{"text": "x", "label": true}',
            )
        if self.chance(0.5):
            at = self.number(len(text))
            text = text[:at] + self.pick(extra) + text[at:]
        path.write_bytes(self.damaged(text) if self.chance(0.5) else text[:LARGEST])
        read_examples(path, labelled=bool(self.number(2)))

    def command(self):
        """The command line with values nobody would type; it ends with 0, or with 2 and one line that says why."""
        shutil.copytree(self.base / "classifier", self.here, dirs_exist_ok=True)
        train = self.sandbox / "train.csv"
        train.write_text(
            "text,label\n" + "\n".join(f"{('oven', 'violin')[i % 2]} {i},{'xy'[i % 2]}" for i in range(12))
        )
        values = (
            "9" * 20,
            "9" * 5000,
            "-1",
            "0",
            "nan",
            "inf",
            "1e400",
            "x",
            "",
            "0.5",
            "1",
            "2",
            "\u0663",
            "1e-300",
            "--",
            "\udcff",
            "[]",
        )
        if self.chance(0.5):
            argv = ["finetune", str(self.here), "--train", str(train), "--output", str(self.output), "--epochs", "1"]
            options = [option for option, *_ in cli.FINETUNE_OPTIONS if option not in ("--epochs", "--overwrite")]
            for _ in range(1 + self.number(2)):
                argv += [self.pick(options), self.pick(values)]
            if self.chance(0.4):
                argv += [
                    "--freeze",
                    self.pick(
                        (
                            "{0..99999999999}",
                            "*" * 30,
                            "**",
                            "{",
                            "{0..5}.x",
                            "**.{0..9999}.**",
                            "[a-z]+",
                            "",
                            "{9..1}",
                            "**.**.**.**.**.x",
                            "bert.embeddings.**",
                            "{" + "9" * 5000 + "..1}",
                        )
                    ),
                ]
        else:
            argv = [
                "predict",
                str(self.here),
                self.pick(("oven", "", "\udcff", "x" * 10**5, "a " * 1000)),
                "--top-k",
                self.pick(values),
            ]
            if self.chance(0.5):
                name = self.pick(sorted(path.name for path in self.here.iterdir()))
                content = (self.here / name).read_bytes()
                (self.here / name).write_bytes(
                    self.json(json.loads(content)) if name.endswith("json") else self.damaged(content)
                )
        told, error = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(error):
            try:
                status = cli.main(argv)
            except SystemExit as stop:
                status = stop.code
        lines = [line for line in error.getvalue().splitlines() if "it/s" not in line and "epoch" not in line[:8]]
        if status not in (0, 2) or status == 2 and sum("error:" in line for line in lines) != 1:
            raise AssertionError(f"minigrad {argv[0]} ended with {status} and told {error.getvalue()[:500]!r}")


KINDS = (
    "safetensors",
    "pickle",
    "config",
    "config",
    "shards",
    "links",
    "table",
    "tokenizer",
    "tokenizer",
    "picture",
    "command",
)
AutoTokenizer = AutoImageProcessor = None
if find_spec("tokenizers"):
    from tiny_tokenizers import byte_pairs, pieces, word_pieces

    from minigrad.pretrained import AutoTokenizer
if find_spec("PIL"):
    from minigrad.pretrained import AutoImageProcessor
KINDS = tuple(
    kind
    for kind in KINDS
    if (kind not in ("tokenizer", "command") or AutoTokenizer) and (kind != "picture" or AutoImageProcessor)
)


@contextlib.contextmanager
def unlimited_digits():
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(before)


def tree(directory):
    """Everything below a directory, links not followed: where a link points, what a file holds, and when it was
    changed.
    """
    found = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path)] = (status.st_mode, status.st_mtime_ns, content)
    return found


def changed(what, before, after):
    if before != after:
        names = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
        raise Touched(f"{what} changed {', '.join(sorted(names)[:3])}")


class Touched(Exception):
    pass


def run(case, kind):
    """What came of a case: "read", "refused", or what is wrong with it."""
    before = tree(case.victim)
    try:
        getattr(case, kind)()
        verdict = "read"
    except (ValueError, TypeError, OSError) as error:
        frame, told = traceback.extract_tb(error.__traceback__)[-1], str(error)
        ours = Path(frame.filename).is_relative_to(Path(minigrad.__file__).parent) or isinstance(error, OSError)
        fine = ours and "\n" not in told and len(told) < 3000 and case.named in told
        verdict = (
            "refused"
            if fine
            else f"raw error: {type(error).__name__}: {told[:300]!r} at {frame.filename}:{frame.lineno}"
        )
    except MemoryError:
        frame = traceback.extract_tb(sys.exc_info()[2])[-1]
        verdict = f"memory: more than {BYTES} bytes at {frame.filename}:{frame.lineno}"
    except Touched as error:
        verdict = f"touched: {error}"
    except BaseException as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        verdict = f"raw error: {type(error).__name__}: {str(error)[:300]!r} at {frame.filename}:{frame.lineno}"
    if tree(case.victim) != before:
        verdict = "touched: the directory beside it was changed"
    return verdict


def work(connection, seed, home, base):
    """A worker: case after case, each with so much processor time and memory, until it is told to stop or dies."""
    warnings.simplefilter("ignore")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)  # where libraries in other languages write of their panics
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if os.path.exists("/proc/self/statm") else 0
    if pages:
        limit = pages * resource.getpagesize() + BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    parent = os.getppid()

    def told():
        while not connection.poll(5):
            if os.getppid() != parent:  # which was killed
                return None
        return connection.recv()

    for number, kind in iter(told, None):
        case = Case(seed, number, home, base)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # whose signal ends the process
        verdict = run(case, kind)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) > BYTES:
            verdict = "memory: the process took more than 1.5 GB"
        shutil.rmtree(case.sandbox, ignore_errors=True)
        connection.send(verdict)


def ending(code, waited):
    """The verdict on a process that ended without one."""
    if code == -signal.SIGPROF:
        return f"hang: more than {SECONDS} s of processor time"
    if code == -signal.SIGKILL and waited > PATIENCE:
        return f"hang: no answer for {PATIENCE} s"
    if code == -signal.SIGKILL:
        return f"death: killed after {waited:.0f} s, not by this program: by the system, for memory, or by somebody"
    return f"death: the process ended with {code}"


def make_bases(base):
    """A small model of every family, and a classifier with its tokenizer."""
    for name, sizes in FAMILIES.items():
        kind = getattr(pretrained, f"{name}Model")
        kind(getattr(pretrained, f"{name}Config")(**sizes), rng=0).save_pretrained(base / name)
    if AutoTokenizer:
        import tiny_bert

        tiny_bert.save_model(base / "words")
        model = AutoModelForSequenceClassification.from_pretrained(base / "words", rng=0)
        model.save_pretrained(base / "classifier")
        AutoTokenizer.from_pretrained(base / "words").save_pretrained(base / "classifier")


def fuzz(cases, seed=0, workers=2, only=None, report=None):
    """Run so many cases; {what went wrong: how often}, empty if nothing did."""
    report, kinds = report or functools.partial(print, flush=True), (only,) if only else KINDS
    context = multiprocessing.get_context("fork")
    counts, faults, todo = Counter(), [], iter(range(cases))
    with tempfile.TemporaryDirectory() as home:
        home, base = Path(home), Path(home) / "bases"
        maker = context.Process(target=make_bases, args=(base,))
        maker.start()
        maker.join()
        running = {}

        def start():
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, seed, home, base), daemon=True)
            process.start()
            theirs.close()
            running[ours] = [process, None, 0.0]  # the case it has, and the seconds we have waited for it
            give(ours)

        def give(connection):
            number = next(todo, None)
            running[connection][1:] = number, 0.0
            connection.send(None if number is None else (number, kinds[number % len(kinds)]))
            if number is None:
                running.pop(connection)[0].join()

        def note(number, verdict):
            kind = kinds[number % len(kinds)]
            counts[kind, verdict.partition(":")[0]] += 1
            if verdict not in ("read", "refused"):
                faults.append((number, kind, verdict))
                report(f"case {number} ({kind}): {verdict}")

        for _ in range(min(workers, cases)):
            start()
        while running:
            asked = time.monotonic()
            answered = wait(list(running), timeout=1)
            # At most 2 s a turn: a machine that was suspended for a minute is not a reader that sleeps.
            passed = min(time.monotonic() - asked, 2)
            for entry in running.values():
                entry[2] += passed
            for connection in answered:
                process, number, waited = running[connection]
                try:
                    note(number, connection.recv())
                except (EOFError, ConnectionResetError):
                    process.join()
                    del running[connection]
                    note(number, ending(process.exitcode, waited))
                    shutil.rmtree(home / str(number), ignore_errors=True)
                    start()
                    continue
                give(connection)
            for process, _, waited in running.values():
                if waited > PATIENCE:
                    process.kill()
    for kind in dict.fromkeys(kinds):
        told = ", ".join(f"{count} {verdict}" for (k, verdict), count in sorted(counts.items()) if k == kind)
        report(f"{kind:12} {told}")
    found = Counter(verdict.partition(":")[0] for _, _, verdict in faults)
    dead = found["memory"] + found["death"]
    report(
        f"{cases} cases with seed {seed}: {found['hang']} hangs over {SECONDS} s, "
        f"{dead} processes over 1.5 GB or dead, "
        f"{found['raw error']} raw errors, {found['touched']} changes of other files"
    )
    return found


def main():
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    options.add_argument("--cases", type=int, default=300)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--only", choices=sorted(set(KINDS)))
    options.add_argument(
        "--case", type=int, help="run one case in this process, with its traceback, and keep its files"
    )
    args = options.parse_args()
    if args.case is None:
        return int(bool(fuzz(args.cases, args.seed, args.workers, args.only)))
    home = Path(tempfile.mkdtemp())
    make_bases(home / "bases")
    kinds = (args.only,) if args.only else KINDS
    case = Case(args.seed, args.case, home, home / "bases")
    print(case.sandbox)
    getattr(case, kinds[args.case % len(kinds)])()
    return 0


if __name__ == "__main__":
    sys.exit(main())
