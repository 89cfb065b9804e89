"""PyTorch's files made by hand, good and evil: pickle programs out of single instructions, and the two formats around
them.
"""

import io
import pickle
import struct
import zipfile
from typing import NamedTuple


class Global(NamedTuple):
    module: str
    name: str


class Call(NamedTuple):
    function: Global
    arguments: tuple


class Persistent(NamedTuple):
    key: tuple


class Raw(NamedTuple):
    """Instructions as they are, which leave one value on the stack."""

    instructions: bytes


def code(value):
    """Instructions that leave `value` on the stack."""
    match value:
        case Raw(instructions):
            return instructions
        case Global(module, name):
            return f"c{module}\n{name}\n".encode()
        case Call(function, arguments):
            return code(function) + code(arguments) + b"R"
        case Persistent(key):
            return code(key) + b"Q"
        case bool() | None:
            return {True: b"\x88", False: b"\x89", None: b"N"}[value]
        case int():
            packed = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(packed)]) + packed
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return b"(" + b"".join(map(code, value)) + b"t"
        case list():
            return b"](" + b"".join(map(code, value)) + b"e"
        case dict():
            return b"}(" + b"".join(code(key) + code(item) for key, item in value.items()) + b"u"


def program(value):
    return b"\x80\x02" + code(value) + b"."


def storage(key, kind="Float", numel=6, *view):
    return Persistent(("storage", Global("torch", f"{kind}Storage"), key, "cpu", numel, *view))


def tensor(key="0", shape=(2, 3), strides=(3, 1), offset=0, kind="Float", numel=6, rest=()):
    hooks = Call(Global("collections", "OrderedDict"), ())
    return Call(
        Global("torch._utils", "_rebuild_tensor_v2"),
        (storage(key, kind, numel), offset, shape, strides, False, hooks, *rest),
    )


def zipped(data, storages=(), entries=(), compression=zipfile.ZIP_STORED):
    """A PyTorch 1.6+ file: its program `data`, `storages` {key: bytes} and further `entries` {name: bytes}."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as file:
        file.writestr("archive/data.pkl", data)
        file.writestr("archive/byteorder", "little")
        for key, content in dict(storages).items():
            file.writestr(f"archive/data/{key}", content)
        for name, content in dict(entries).items():
            file.writestr(name, content)
    return target.getvalue()


def legacy(data, storages=(), magic=0x1950A86A20F9469CFC6C, version=1001, system=None, keys=None):
    """An older file: four programs, the keys of `storages` {key: (numel, bytes)}, and those."""
    system = {"protocol_version": 1001, "little_endian": True} if system is None else system
    programs = (
        pickle.dumps(magic, 2),
        pickle.dumps(version, 2),
        pickle.dumps(system, 2),
        data,
        pickle.dumps(list(dict(storages)), 2) if keys is None else keys,
    )
    return b"".join(programs) + b"".join(
        struct.pack("<q", numel) + content for numel, content in dict(storages).values()
    )
