"""Event files for TensorBoard, written without TensorFlow or torch.

A file is a sequence of records: the length (uint64), its masked CRC-32C, the bytes of an Event, and their masked
CRC-32C, all little-endian.  An Event is a protocol buffer: wall_time = 1 (double), step = 2 (int64), file_version = 3
(string), and summary = 5, which holds values = 1 of tag = 1 (string) and simple_value = 2 (float).  (TensorFlow,
event.proto and core/lib/io/record_writer.h.)
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .callbacks import TrainerCallback

POLYNOMIAL = 0x82F63B78  # Castagnoli's polynomial, its bits reversed


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return table


TABLE = _table()


def crc32c(data: bytes) -> int:
    """The cyclic redundancy check of RFC 3720, appendix B.4: that of b"123456789" is 0xE3069283."""
    check = 0xFFFFFFFF
    for byte in data:
        check = TABLE[(check ^ byte) & 0xFF] ^ check >> 8
    return check ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    """The checksum as records store it: rotated and offset, since a CRC of data that contains CRCs is a weak check."""
    check = crc32c(data)
    return struct.pack("<I", ((check >> 15 | check << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(number: int) -> bytes:
    """A non-negative integer, seven bits to a byte, the lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def message(field: int, content: bytes) -> bytes:
    """A field that holds bytes, a text or another message."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def event(wall_time: float, step: int = 0, values: dict[str, float] | None = None, version: str | None = None) -> bytes:
    """The bytes of an Event: the version, which begins a file, or numbers by their tags."""
    out = b"\x09" + struct.pack("<d", wall_time) + b"\x10" + varint(step)
    if version is not None:
        return out + message(3, version.encode())
    summary = b"".join(
        message(1, message(1, tag.encode()) + b"\x15" + struct.pack("<f", value))
        for tag, value in (values or {}).items()
    )
    return out + message(5, summary)


class EventFile:
    """A file `events.out.tfevents.<time>.<host>.<process>.<number>` in a directory, to which events are appended."""

    count = 0

    def __init__(self, directory: str | os.PathLike):
        Path(directory).mkdir(parents=True, exist_ok=True)
        EventFile.count += 1
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{EventFile.count}"
        self.path = Path(directory) / name
        self.file = open(self.path, "ab")  # noqa: SIM115 (stays open until close())
        self.write(event(time.time(), version="brain.Event:2"))

    def write(self, content: bytes) -> None:
        length = struct.pack("<Q", len(content))
        self.file.write(length + masked(length) + content + masked(content))
        self.file.flush()

    def add(self, values: dict[str, float], step: int) -> None:
        """Add numbers, by their tags, at a step."""
        self.write(event(time.time(), step, values))

    def close(self) -> None:
        self.file.close()


def read(path: str | os.PathLike) -> Iterator[tuple[int, dict[str, float]]]:
    """The (step, numbers by tag) of each record of a file, with its checksums verified.

    Raises ValueError if the file is damaged.
    """
    data, at = Path(path).read_bytes(), 0
    while at < len(data):
        length = data[at : at + 8]
        end = at + 12 + (struct.unpack("<Q", length)[0] if len(length) == 8 else len(data))
        content = data[at + 12 : end]
        if data[at + 8 : at + 12] != masked(length) or data[end : end + 4] != masked(content):
            raise ValueError(f"{path} is damaged at byte {at}: copy it again")
        fields = dict(_fields(content))
        summary = fields.get(5, b"")
        values = (dict(_fields(value)) for _, value in _fields(summary))
        yield fields.get(2, 0), {value[1].decode(): struct.unpack("<f", value[2])[0] for value in values}
        at = end + 4


def _fields(content: bytes) -> Iterator[tuple[int, Any]]:
    """The (number, value) of each field of a message."""
    at = 0

    def number() -> int:
        nonlocal at
        found = shift = 0
        while True:
            byte = content[at]
            at += 1
            found |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return found

    while at < len(content):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
            continue
        size = {1: 8, 5: 4}.get(key & 7) or number()
        yield key >> 3, content[at : at + size]
        at += size


class TensorBoardCallback(TrainerCallback):
    """Writes every number of every record for TensorBoard, under Hugging Face's tags, such as train/loss.

    The files are in `log_dir`, by default runs/<run_name> in the output directory: `tensorboard --logdir` shows them.
    """

    reports = True

    def __init__(self, log_dir: str | os.PathLike | None = None):
        self.log_dir, self.file = log_dir, None

    def on_log(self, args, state, control, logs, **more):
        if self.file is None:
            self.file = EventFile(self.log_dir or Path(args.output_dir) / "runs" / (args.run_name or "run"))
        self.file.add(numbers(logs), state.global_step)

    def close(self) -> None:
        """Close the file; a later record begins a new one."""
        if self.file is not None:
            self.file.close()
        self.file = None

    def state_dict(self):
        return {}


def numbers(record: dict[str, Any]) -> dict[str, float]:
    """The numbers of a record by their tags."""
    return {
        tag(name): float(value)
        for name, value in record.items()
        if isinstance(value, (int, float)) and name not in ("step", "best")
    }


def tag(name: str) -> str:
    """The tag of a number of a record, such as eval/loss, by which TensorBoard groups it."""
    for prefix in ("eval", "test"):
        if name.startswith(f"{prefix}_"):
            return f"{prefix}/{name.removeprefix(f'{prefix}_')}"
    return f"train/{name}"
