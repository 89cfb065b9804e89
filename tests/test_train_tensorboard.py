"""Event files as TensorBoard reads them, held to the published check values and, where it is installed, to its own
reader.
"""

import struct

import pytest

from minigrad.train import TensorBoardCallback
from minigrad.train.tensorboard import EventFile, crc32c, event, masked, read, varint


@pytest.mark.parametrize(
    "data, check",
    [
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"", 0),
    ],
)
def test_the_checks_are_those_of_rfc_3720(data, check):
    assert crc32c(data) == check
    rotated = struct.unpack("<I", masked(data))[0] - 0xA282EAD8 & 0xFFFFFFFF
    assert (rotated >> 17 | rotated << 15) & 0xFFFFFFFF == check


def test_numbers_are_seven_bits_to_a_byte():
    assert [varint(n) for n in (0, 127, 128, 300)] == [b"\0", b"\x7f", b"\x80\x01", b"\xac\x02"]


def test_what_is_written_is_read_back(tmp_path):
    file = EventFile(tmp_path)
    file.add({"train/loss": 0.5, "train/learning_rate": 2**-20}, 1)
    file.add({"eval/loss": -3.0}, 300)
    file.close()
    assert file.path.name.startswith("events.out.tfevents.")
    assert list(read(file.path)) == [
        (0, {}),
        (1, {"train/loss": 0.5, "train/learning_rate": 2**-20}),
        (300, {"eval/loss": -3.0}),
    ]
    data = bytearray(file.path.read_bytes())
    data[-6] ^= 1
    file.path.write_bytes(data)
    with pytest.raises(ValueError, match="is damaged at byte"):
        list(read(file.path))


def test_an_event_is_the_protocol_buffer_that_tensorboard_knows():
    """Byte by byte, as the format is published."""
    assert event(1.0, 2, {"a": 0.5}) == (
        b"\x09"
        + struct.pack("<d", 1.0)
        + b"\x10\x02"
        + b"\x2a\x0a"
        + b"\x0a\x08"
        + b"\x0a\x01a"
        + b"\x15"
        + struct.pack("<f", 0.5)
    )
    assert event(1.0, version="brain.Event:2").endswith(b"\x1a\x0dbrain.Event:2")


def test_torchs_own_reader_agrees(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    file = EventFile(tmp_path)
    file.add({"train/loss": 0.5}, 7)
    file.close()
    found = list(reader.LegacyEventFileLoader(str(file.path)).Load())
    assert found[0].file_version == "brain.Event:2"
    assert [(e.step, v.tag, v.simple_value) for e in found[1:] for v in e.summary.value] == [(7, "train/loss", 0.5)]


def test_tensorboard_reads_a_run_that_went_on(tmp_path):
    """As its own page does: the scalars by tag and step, from the files of both parts of the run."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from test_train_run import new_trainer

    arguments = {"max_steps": 6, "save_steps": 3, "logging_steps": 1, "report_to": "tensorboard"}
    stopped = new_trainer(tmp_path, callbacks=[lambda record: record["step"] == 4 and interrupt()], **arguments)
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    trainer = new_trainer(tmp_path, **arguments)
    trainer.train(resume_from_checkpoint=True)
    events = accumulator.EventAccumulator(str(tmp_path / "runs" / "run"))
    events.Reload()
    for name in ("loss", "learning_rate", "grad_norm"):
        told = {e.step: e.value for e in events.Scalars(f"train/{name}")}
        expected = {r["step"]: r[name] for r in trainer.history if name in r}
        assert told.keys() == expected.keys() == set(range(1, 7))
        assert told == pytest.approx(expected, rel=1e-6)
    (last,) = events.Scalars("eval/loss")
    assert last.step == 6 and last.value == pytest.approx(trainer.history[-2]["eval_loss"], rel=1e-6)


def interrupt():
    raise KeyboardInterrupt


def test_a_run_reports_every_number_of_its_records(tmp_path):
    from test_train_run import new_trainer

    trainer = new_trainer(tmp_path, max_steps=4, save_strategy="no", report_to="tensorboard", run_name="mine")
    trainer.train()
    (file,) = (tmp_path / "runs" / "mine").iterdir()
    found = list(read(file))[1:]
    assert [step for step, _ in found] == [record["step"] for record in trainer.history]
    assert found[0][1]["train/loss"] == pytest.approx(trainer.history[0]["loss"]) and found[0][1].keys() == {
        "train/loss",
        "train/accuracy",
        "train/learning_rate",
        "train/grad_norm",
        "train/epoch",
    }
    assert "eval/loss" in found[-2][1] and "train/train_loss" in found[-1][1]
    assert any(isinstance(callback, TensorBoardCallback) for callback in trainer.handler.callbacks)
