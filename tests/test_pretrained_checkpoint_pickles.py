"""PyTorch's files: what tensors need is read, from both formats; whatever would run, or lie, is refused and has not
run.
"""

import datetime
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections import Counter, defaultdict, deque

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pickle_files import Call, Global, Persistent, Raw, code, legacy, program, storage, tensor, zipped

from minigrad.pretrained.checkpoint.pickles import read

SIX = np.arange(6, dtype=np.float32)
BYTES = {"0": SIX.tobytes()}
ORDERED = Global("collections", "OrderedDict")
PARAMETER = Global("torch._utils", "_rebuild_parameter")


@pytest.fixture
def file(tmp_path):
    def written(content):
        (tmp_path / "model.bin").write_bytes(content)
        return tmp_path / "model.bin"

    return written


def refused(path):
    with pytest.raises(ValueError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    assert message.startswith(f"{path} was not loaded, and nothing in it was executed: ")
    return message


# What is read.


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (tensor(), SIX.reshape(2, 3)),
        (tensor(shape=(3, 2), strides=(1, 3)), SIX.reshape(2, 3).T),
        (tensor(shape=(2,), strides=(2,), offset=1), SIX[1:5:2]),
        (tensor(shape=(4, 2), strides=(0, 1)), np.array([[0, 1]] * 4, np.float32)),
        (tensor(shape=(), strides=(), offset=5), np.float32(5)),
        (tensor(shape=(0, 3), strides=(3, 1)), np.empty((0, 3), np.float32)),
        (tensor(kind="Int"), SIX.view(np.int32).reshape(2, 3)),
        (tensor(kind="Byte", shape=(3,), strides=(8,), numel=24), SIX.view(np.uint8)[:17:8]),
        (tensor(shape=Call(Global("torch", "Size"), ((2, 3),))), SIX.reshape(2, 3)),
        (Call(PARAMETER, (tensor(), True, Call(ORDERED, ()))), SIX.reshape(2, 3)),
        (
            Call(Global("torch._utils", "_rebuild_parameter_with_state"), (tensor(), True, Call(ORDERED, ()), {})),
            SIX.reshape(2, 3),
        ),
        (Call(Global("torch._utils", "_rebuild_tensor"), (storage("0"), 3, (3,), (1,))), SIX[3:]),
        (
            Call(
                Global("torch._utils", "_rebuild_tensor_v3"),
                (
                    Persistent(("storage", Global("torch.storage", "UntypedStorage"), "0", "cpu", 24)),
                    2,
                    (4,),
                    (1,),
                    False,
                    Call(ORDERED, ()),
                    Global("torch", "uint16"),
                    None,
                ),
            ),
            SIX.view(np.uint16)[2:6],
        ),
        (tensor(rest=({"requires_grad": True},)), SIX.reshape(2, 3)),
    ],
)
def test_tensors_of_all_kinds_from_both_formats(file, made, expected):
    numel = 24 if expected.dtype == np.uint8 else 6
    for content in (zipped(program({"w": made}), BYTES), legacy(program({"w": made}), {"0": (numel, BYTES["0"])})):
        if expected.dtype == np.uint16 and content[:2] != b"PK":
            continue  # old files had no untyped storages
        w = read(file(content))["w"]
        assert w.dtype == expected.dtype and w.shape == expected.shape
        np.testing.assert_array_equal(w, expected)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("Float", "f4"),
        ("Double", "f8"),
        ("Half", "f2"),
        ("Long", "i8"),
        ("Int", "i4"),
        ("Short", "i2"),
        ("Char", "i1"),
        ("Byte", "u1"),
        ("Bool", "?"),
    ],
)
def test_dtypes(file, kind, dtype):
    numbers = np.array([1, 0, 1], dtype)
    w = read(file(zipped(program({"w": tensor("7", (3,), (1,), kind=kind, numel=3)}), {"7": numbers.tobytes()})))["w"]
    assert w.dtype == numbers.dtype
    np.testing.assert_array_equal(w, numbers)


def test_bfloat16(file):
    stored = (np.array([1.5, -2], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    w = read(file(zipped(program({"w": tensor("0", (2,), (1,), kind="BFloat16", numel=2)}), {"0": stored.tobytes()})))[
        "w"
    ]
    assert w.dtype.name == "bfloat16" and w.astype(np.float32).tolist() == [1.5, -2]


def test_a_state_dict_in_what_torch_puts_around_it(file):
    """An OrderedDict with the attribute `_metadata`, under "state_dict", beside plain values."""
    metadata = code({"_metadata": Call(ORDERED, ())})
    inner = Raw(code(Call(ORDERED, ())) + b"(" + code("a.w") + code(tensor()) + b"u" + metadata + b"b")
    outer = {
        "epoch": 3,
        "lr": 0.1,
        "note": None,
        "flags": [True, (1, 2)],
        "state_dict": inner,
        "optimizer": {0: {"s": tensor()}},
    }
    # the last one as Python 2 wrote it
    for value in (inner, outer, {"model": inner}, {"model_state_dict": inner}, Call(ORDERED, ([["a.w", tensor()]],))):
        assert list(read(file(zipped(program(value), BYTES)))) == ["a.w"]


def values_beside(protocol):
    """What training programs keep beside the weights, pickled by Python itself."""
    torch_names = [code(Global("torch", "float32")), code(Call(Global("torch", "device"), ("cuda", 0)))]
    others = [
        {1, 2},
        frozenset("ab"),
        Counter("abb"),
        defaultdict(list, {"loss": [0.5]}),
        deque([1, 2]),
        1j,
        range(3),
        int,
        datetime.datetime(2024, 5, 17),
        pathlib.PurePosixPath("runs/1"),
        np.float64(0.9),
        np.float32(0.5),
        {(1, "a"): 2},
        {None: 1, 0.5: 2, True: 3},
    ]
    return torch_names + [pickle.dumps(value, protocol)[2:-1] for value in others]


@pytest.mark.parametrize("protocol", [2, 3])
def test_harmless_values_beside_the_weights(file, protocol):
    for value in values_beside(protocol):
        for inner in (Raw(value), [Raw(value)], {"deeper": (Raw(value), 1)}):
            made = program({"state_dict": {"w": tensor()}, "beside": inner})
            assert list(read(file(zipped(made, BYTES)))) == ["w"]
            assert list(read(file(legacy(made, {"0": (6, BYTES["0"])})))) == ["w"]


def test_a_value_beside_the_weights_is_no_weight_and_no_state_dict(file):
    for value in values_beside(2):
        assert "holds no state dict" in refused(file(zipped(program(Raw(value)), BYTES)))
        assert "holds no state dict" in refused(file(zipped(program({"state_dict": Raw(value)}), BYTES)))


def test_quantised_tensors_are_named(file):
    for asked in (Call(Global("torch._utils", "_rebuild_qtensor"), ()), Global("torch", "QInt8Storage")):
        assert "its tensors are quantised" in refused(file(zipped(program({"w": asked}), BYTES)))


def test_tensors_that_shared_memory_share_it_and_the_file_is_never_changed(file):
    path = file(zipped(program({"a": tensor(), "b": tensor(shape=(6,), strides=(1,))}), BYTES))
    before, arrays = path.read_bytes(), read(path)
    arrays["a"][:] = 9
    assert arrays["b"].tolist() == [9] * 6 and path.read_bytes() == before
    np.testing.assert_array_equal(read(path)["a"], SIX.reshape(2, 3))


def test_a_view_of_a_storage_in_an_old_file(file):
    made = Call(
        Global("torch._utils", "_rebuild_tensor_v2"), (storage("0", "Float", 6, ("1", 2, 4)), 1, (3,), (1,), False, {})
    )
    assert read(file(legacy(program({"w": made}), {"0": (6, BYTES["0"])})))["w"].tolist() == [3, 4, 5]


# What would run.  Each is first refused; then Python's own unpickler is given it, to see that it does what it
# threatens.


def fires(marker, protocol):
    class Fires:
        def __reduce__(self):
            return os.mkdir, (marker,)

    return pickle.dumps(Fires(), protocol)


def payloads(marker):
    text, call = code(marker), Call(Global("os", "mkdir"), (marker,))
    run = f"__import__('os').mkdir({marker!r})"
    module = Call(Global("importlib", "import_module"), ("os",))
    partial = code(Call(Global("functools", "partial"), (Global("builtins", "print"),)))
    state = b"(" + code(Global("os", "mkdir")) + code((marker,)) + code({}) + code({}) + b"t"
    short = bytes([0x8C, len("os")]) + b"os"
    return {
        **{f"reduce, protocol {n}": fires(marker, n) for n in range(6)},
        "os.system": program(Call(Global("os", "system"), (f"mkdir {marker}",))),
        "eval": program(Call(Global("builtins", "eval"), (run,))),
        "exec": program(Call(Global("builtins", "exec"), (run,))),
        "Python 2's eval": program(Call(Global("__builtin__", "eval"), (run,))),
        "a chain of getattr": program(
            Call(Raw(code(Call(Global("builtins", "getattr"), (module, "mkdir")))), (marker,))
        ),
        "a dotted name": b"\x80\x04" + short + b"\x8c\x0dpath.os.mkdir\x93(" + text + b"tR.",
        "INST": b"(" + text + b"ios\nmkdir\n.",
        "OBJ": b"(cos\nmkdir\n" + text + b"o.",
        "__setstate__ by BUILD": b"\x80\x02" + partial + state + b"b)R.",
        "an extension of copyreg": program(Call(Global("copyreg", "add_extension"), ("os", "mkdir", 77)))[:-1]
        + b"0\x82\x4d("
        + text
        + b"tR.",
        "a pickle in a pickle": b"\x80\x03"
        + code(Global("_pickle", "loads"))
        + b"B"
        + struct.pack("<I", len(program(call)))
        + program(call)
        + b"\x85R.",
        "timeit": program(Call(Global("timeit", "timeit"), (run, "pass", Global("time", "perf_counter"), 1))),
        "a debugger": program(Call(Global("cProfile", "run"), (run,))),
        "beside a tensor": program({"w": 1, "x": call}),
        "as a key": b"\x80\x02}" + code(Call(Global("builtins", "str"), (call,))) + b"Ns.",
        "in the state of an OrderedDict": b"\x80\x02" + code(Call(ORDERED, ())) + code({"_metadata": call}) + b"b.",
        "in what a tensor is made of": program(Call(ORDERED, ([["w", call]],))),
        "thrown away": b"\x80\x02" + code(call) + b"0}.",
        "kept in the memo": b"\x80\x02" + code(call) + b"q\x000}.",
    }


@pytest.mark.parametrize("name", payloads("M"))
def test_what_would_run_is_refused_and_has_not_run(file, tmp_path, name):
    marker = tmp_path / "marker"
    payload = payloads(str(marker))[name]
    for content in (zipped(payload, BYTES), legacy(payload), legacy(program({}), keys=payload), payload):
        refused(file(content))
    assert not marker.exists()
    (tmp_path / "payload").write_bytes(payload)
    naive = "import sys, pickle; pickle.load(open(sys.argv[1], 'rb'))"
    subprocess.run([sys.executable, "-S", "-c", naive, str(tmp_path / "payload")], capture_output=True)
    assert marker.exists()  # so it would have fired


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("numpy", "load"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("torch", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("torch.hub", "load"),
        ("torch.jit", "load"),
        ("torch.serialization", "load"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch._utils", "_import_dotted_name"),
        ("torch._utils", "_rebuild_tensor_v2\u200b"),
        ("torch", "FloatStorage.__init__"),
        ("torch. utils", "_rebuild_tensor_v2"),
        ("collections", "OrderedDict.__reduce__"),
        ("collections", "namedtuple"),
        ("ｃollections", "OrderedDict"),
        ("torch.nn.modules.linear", "Linear"),
        ("__main__", "Model"),
        ("copyreg", "_reconstructor"),
        ("", ""),
        ("builtins", "bytearray"),
        ("argparse", "Namespace"),
        ("torch._tensor", "_rebuild_from_type_v2"),
        ("x" * 10**5, "y"),
    ],
)
def test_names_that_are_not_in_the_table(file, module, name):
    for asked in (code(Global(module, name)), code(module) + code(name) + b"\x93"):
        told = refused(file(zipped(b"\x80\x04" + asked + b".", BYTES)))
        assert repr(f"{module} {name}"[:80]) in told or not f"{module}{name}".isascii()


@pytest.mark.parametrize(
    "instructions",
    [
        code(ORDERED) + code({"fromkeys": 1}) + b"b",  # the state of a class, of a function, of a tensor
        code(Global("torch._utils", "_rebuild_tensor_v2")) + code(({}, {"__code__": 1})) + b"b",
        code(tensor()) + code({"__class__": 1}) + b"b",
        code(Call(ORDERED, ())) + code(({}, {"x": 1})) + b"b",
        code(ORDERED) + b")\x81",
        code(ORDERED) + b")}\x92",  # NEWOBJ, NEWOBJ_EX
        code(Call(Global("torch", "Size"), ("ab",))),
        code(Call(Global("torch", "FloatStorage"), (3,))),
        code(Call(PARAMETER, (SIX.tolist(), True, {}))),
        code(Call(ORDERED, (3,))),
        code(Call(ORDERED, ([[(1, 2), 3]],))),
        b"P1\n",
        code("0") + b"Q",
        code(("module", ORDERED, "x")) + b"Q",
        code(("storage", "FloatStorage", "0", "cpu", 6)) + b"Q",
        code(("storage", ORDERED, "0", "cpu", 6)) + b"Q",
        code(("storage", Global("torch", "FloatStorage"), 0, "cpu", 6)) + b"Q",
        code(("storage", Global("torch", "FloatStorage"), "0", "cpu", -6)) + b"Q",
        code(("storage", Global("os", "system"), "0", "cpu", 6)) + b"Q",
        code(("storage", Global("torch", "FloatStorage"), "0", "cpu", 6, ("1", -1, 2))) + b"Q",
        b"h\x07",
        b"0",
        b"R",
        b"b",
        b"s",
        b"u",
        b"t",
        b"e",
        b"\x85",
        b"(",
        b"]q",
        b"\x82\x01",
        b"\x8f",
        b"\x97",
        b"2",
        code({}) + code((1, 2)) + b"Ns",
        code({}) + b"Q",
        code("x") + b"a",
        b"(" + code("key") + b"d",
        b"\xff",
        b"\x95" + b"\xff" * 8,
    ],
)
def test_programs_that_are_none(file, instructions):
    refused(file(zipped(b"\x80\x04" + instructions + b".", BYTES)))
    refused(file(legacy(b"\x80\x04" + instructions + b".")))


@pytest.mark.parametrize(
    "instructions",
    [
        b"\x8d" + struct.pack("<Q", 1 << 60) + b"abc",
        b"X" + b"\xff" * 4 + b"abc",
        b"\x8b" + struct.pack("<i", (1 << 31) - 1) + b"1",
        b"T" + struct.pack("<i", (1 << 31) - 1),
        b"\x8e" + struct.pack("<Q", 1 << 62),
        b"r" + b"\xff" * 4,
        b"]r" + b"\xff" * 4,
        b"]" * 20_000,
        b"]" + b"q\x00h\x00a" * 10_000,
        b")" + b"\x85" * 30_000,
        b"})" + b"\x85" * 30_000 + b"Ns",
        # a pair of twice the last pair, 60 deep: 2**60 steps to hash
        b")" + b"q\x00h\x00h\x00\x86" * 60 + b"q\x01}h\x01Ns",
        b"I" + b"9" * 10_000 + b"\n",
        b"L" + b"9" * 10_000 + b"L\n",
    ],
)
def test_bombs_neither_fill_memory_nor_time(file, instructions):
    tracemalloc.start()
    try:
        refused(file(zipped(b"\x80\x04" + instructions + b".", BYTES)))
        assert tracemalloc.get_traced_memory()[1] < 200 * 2**20
    finally:
        tracemalloc.stop()


def test_small_files_that_claim_much(file):
    """A tensor may repeat its numbers, but many such tensors do not add up to gigabytes; nor does a list that is copied
    often.
    """
    large = {f"w{i}": tensor(shape=(1 << 24,), strides=(0,)) for i in range(3)}
    assert read(file(zipped(program({"w": large["w0"]}), BYTES)))["w"].nbytes == 1 << 26
    assert "add up to 201326592 bytes" in refused(file(zipped(program(large), BYTES)))
    assert "add up to" in refused(
        file(legacy(program({"w": tensor(shape=(1 << 31,), strides=(0,))}), {"0": (6, BYTES["0"])}))
    )
    pairs = code([[f"k{i}", i] for i in range(300)])
    copies = b"\x80\x02]" + pairs + b"q\x00a" + (code(ORDERED) + b"h\x00\x85Ra") * 10**5 + b"."
    assert "copies a list again and again" in refused(file(zipped(copies, BYTES)))


def test_a_long_program_is_not_even_begun(file, monkeypatch):
    monkeypatch.setattr("minigrad.pretrained.checkpoint.pickles.MAX_PROGRAM", 1000)
    assert "more than any model's" in refused(file(zipped(program({"w": tensor(), "x": "x" * 1000}), BYTES)))


# What would reach where it should not.


@pytest.mark.parametrize(
    "lie",
    [
        {"offset": 1},
        {"offset": 10**9},
        {"offset": -1},
        {"strides": (4, 1)},
        {"strides": (-3, 1)},
        {"strides": (1 << 61, 1)},
        {"shape": (3, 3)},
        {"shape": (-2, 3)},
        {"shape": (2, 3, 1)},
        {"shape": (1 << 40, 1 << 40), "strides": (0, 0)},
        {"shape": (2.0, 3)},
        {"shape": (1 << 40,), "strides": (0,)},
        {"shape": [2, 3]},
        {"shape": (True, 3)},
        {"offset": False},
        {"numel": 7},
        {"numel": 1 << 62},
        {"kind": "Double"},
        {"numel": 5},
        {"key": "1"},
        {"key": "../data.pkl"},
        {"shape": (1,) * 65, "strides": (1,) * 65},
        {"shape": (1 << 1900,), "strides": (0,)},
        {"shape": None},
        {"strides": "31"},
    ],
)
def test_a_tensor_that_reaches_beyond_its_storage(file, lie):
    made = program({"w": tensor(**lie)})
    refused(file(zipped(made, BYTES)))
    refused(file(legacy(made, {"0": (6, BYTES["0"])})))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "change",
    [
        {"compression": zipfile.ZIP_DEFLATED},
        {"storages": {}},
        {"storages": {"0": SIX[:5].tobytes()}},
        {"entries": {"other/data.pkl": b"N."}},
        {"entries": {"archive/byteorder": b"big"}},
    ],
)
def test_zip_files_that_are_not_as_torch_writes_them(file, change):
    refused(file(zipped(**{"data": program({"w": tensor()}), "storages": BYTES} | change)))


def test_a_zip_bomb_is_not_unpacked(file):
    content = zipped(
        program({"w": tensor(shape=(10**8,), strides=(1,), numel=10**8)}),
        {"0": bytes(4 * 10**7)},
        compression=zipfile.ZIP_DEFLATED,
    )
    assert len(content) < 10**5 and "compressed" in refused(file(content))


def test_a_big_endian_file(file):
    content = zipped(program({"w": tensor()}), BYTES).replace(b"little", b"big\0\0\0")
    assert "little-endian" in refused(file(content))
    assert "little-endian" in refused(file(legacy(program({}), system={"little_endian": False})))


def test_no_entry_of_a_zip_file_is_ever_written_anywhere(file, tmp_path):
    content = zipped(program({"w": tensor()}), BYTES, {"../../outside": b"x", "/absolute": b"x", "archive/../up": b"x"})
    assert list(read(file(content))) == ["w"] and [path.name for path in tmp_path.iterdir()] == ["model.bin"]


def test_files_of_something_else(file):
    for content in (
        b"",
        b"abc",
        b"PK\3\4",
        b"\x80\x02.",
        pickle.dumps({"w": 1}),
        pickle.dumps(3),
        bytes(512),
        zipped(b"N.", entries={"x/y/data.pkl": b"N."}),
        legacy(program({}), magic=1),
        legacy(program({}), version=1002),
        legacy(program({}), system=[]),
        legacy(program({"w": tensor()}), keys=program(["1"])),
        zipped(program({})),
        zipped(program([tensor()]), BYTES),
        zipped(program(tensor()), BYTES),
    ):
        refused(file(content))


@pytest.mark.parametrize(
    "content", [zipped(program({"w": tensor()}), BYTES), legacy(program({"w": tensor()}), {"0": (6, BYTES["0"])})]
)
def test_truncated_anywhere(file, content):
    for end in range(len(content)):
        refused(file(content[:end]))


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), min_size=1, max_size=4), old=st.booleans())
def test_damaged_anywhere(tmp_path, edits, old):
    made = program({"w": tensor(), "p": Call(PARAMETER, (tensor(shape=(3,), strides=(2,)), True, {}))})
    content = bytearray(legacy(made, {"0": (6, BYTES["0"])}) if old else zipped(made, BYTES))
    for at, byte in edits:
        content[at % len(content)] = byte
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    try:
        arrays = read(path)
    except ValueError:
        return
    for array in arrays.values():
        assert array.size <= len(content) and np.array(array).shape == array.shape
