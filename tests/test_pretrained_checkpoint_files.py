"""Reading and writing model directories: whole and in shards, every way to be broken, and nothing lost when saving
stops.
"""

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pickle_files import program, tensor, zipped

from minigrad.pretrained.checkpoint import files, safetensors
from minigrad.pretrained.checkpoint.files import model_directory, output_directory, read_config, read_weights, save

CONFIG = {"model_type": "bert", "hidden_size": 4}
ARRAYS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b.weight": np.arange(4, dtype=np.float32),
    "b.count": np.array(7),
}


@pytest.fixture
def model(tmp_path):
    save(tmp_path / "model", CONFIG, ARRAYS)
    return tmp_path / "model"


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def tree(directory):
    """Every path below a directory, links not followed: where a link points, what a file holds."""
    return {
        str(path.relative_to(directory)): path.readlink() if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in directory.rglob("*")
    }


def refusal(error, function, *args):
    """The message, which must be one line."""
    with pytest.raises(error) as caught:
        function(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(weights, arrays):
    return set(weights) == set(arrays) and all(np.array_equal(weights[name], array) for name, array in arrays.items())


def shard(directory):
    save(directory, CONFIG, ARRAYS, max_shard_size=20)
    return directory


def test_what_is_saved_is_read_back(model):
    assert read_config(model) == CONFIG and same(read_weights(model), ARRAYS)
    assert (
        same(read_weights(model / "model.safetensors"), ARRAYS) and read_config(model / "model.safetensors") == CONFIG
    )
    assert sorted(path.name for path in model.iterdir()) == ["config.json", "model.safetensors"]
    assert len({os.stat(path).st_mode for path in model.iterdir()}) == 1


def test_what_is_written_to_stays_in_memory(model):
    weights = read_weights(model)
    weights["a.weight"][:] = -1
    assert same(read_weights(model), ARRAYS) and not same(weights, ARRAYS)


def test_weights_that_were_read_outlive_their_file(model):
    weights = read_weights(model)
    save(model, CONFIG, {"a.weight": np.zeros(1000, np.float32)})
    assert same(weights, ARRAYS)


def test_shards(model):
    shard(model)
    names = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    assert sorted(path.name for path in model.iterdir()) == ["config.json", *names, "model.safetensors.index.json"]
    index = json.loads((model / "model.safetensors.index.json").read_text())
    assert index == {"metadata": {"total_size": 48}, "weight_map": dict(zip(ARRAYS, names))}
    assert same(read_weights(model), ARRAYS) and list(read_weights(model)) == list(ARRAYS)
    (model / names[1]).unlink()
    assert f"lacks {names[1]}: expected all 3 files" in refusal(FileNotFoundError, read_weights, model)


def test_small_arrays_share_a_shard_and_a_large_one_has_its_own(tmp_path):
    sizes = {"a": 40, "b": 60, "large": 500, "c": 1, "d": 99, "e": 1}
    save(tmp_path / "m", CONFIG, {name: np.zeros(size, np.uint8) for name, size in sizes.items()}, max_shard_size=100)
    where = json.loads((tmp_path / "m" / "model.safetensors.index.json").read_text())["weight_map"]
    assert [file[:11] for file in where.values()] == [f"model-0000{i}" for i in (1, 1, 2, 3, 3, 4)]


@pytest.mark.parametrize(
    ("size", "count"), [(48, 1), ("48B", 1), ("0.048kB", 1), ("47B", 2), ("1 GB", 1), ("1GiB", 1), (1, 3)]
)
def test_sizes_of_shards(tmp_path, size, count):
    save(tmp_path / "m", CONFIG, ARRAYS, size)
    assert len(list((tmp_path / "m").glob("*.safetensors"))) == count


@pytest.mark.parametrize("size", [0, -5, "5", "5XB", "large", None, 1.5, "0GB"])
def test_sizes_that_are_none(tmp_path, size):
    told = refusal(ValueError, save, tmp_path / "m", CONFIG, ARRAYS, size)
    assert (
        told == f'max_shard_size is {size!r}: expected a number of bytes, 1 or more, or a text such as "5GB" or "200MB"'
    )
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "holds a list"),
        ("{}", 'no usable "weight_map"'),
        ('{"weight_map": {"a": 3}}', 'no usable "weight_map"'),
        ('{"weight_map": {"a": "../../etc/passwd"}}', "lacks passwd"),
        ('{"weight_map": {"a": "' + "x" * 5000 + '"}}', 'no usable "weight_map"'),
        (
            '{"weight_map": {"a": "model-00001-of-00003.safetensors"}}',
            "a is not in model-00001-of-00003.safetensors, where",
        ),
    ],
)
def test_an_index_that_is_none(model, text, told):
    (shard(model) / "model.safetensors.index.json").write_text(text)
    assert told in refusal((ValueError, FileNotFoundError), read_weights, model)


def test_what_an_index_forgot_is_read_all_the_same(model):
    path = shard(model) / "model.safetensors.index.json"
    where = json.loads(path.read_text())["weight_map"]
    save(model / "other", CONFIG, {"b.weight": ARRAYS["b.weight"], "forgotten": np.ones(2)})
    (model / "other" / "model.safetensors").replace(model / where["b.weight"])
    assert set(read_weights(model)) == {*ARRAYS, "forgotten"}


SIX = {"0": np.arange(6, dtype=np.float32).tobytes()}


def pickled(directory, *names):
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(CONFIG))
    for name in names:
        (directory / name).write_bytes(zipped(program({Path(name).stem: tensor()}), SIX))
    return directory


def test_pickles_are_read_where_there_is_nothing_else(tmp_path, model):
    directory = pickled(tmp_path / "old", "pytorch_model.bin")
    assert same(read_weights(directory), {"pytorch_model": np.arange(6).reshape(2, 3)})
    save(directory, CONFIG, ARRAYS)
    assert same(read_weights(directory), ARRAYS) and (directory / "pytorch_model.bin").exists()


def test_pickles_in_shards(tmp_path):
    names = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    directory = pickled(tmp_path / "old", *names)
    (directory / "pytorch_model.bin.index.json").write_text(
        json.dumps({"weight_map": {Path(name).stem: name for name in names}})
    )
    assert set(read_weights(directory)) == {Path(name).stem for name in names}


@pytest.mark.parametrize("name", ["resnet50-19c8e357.pth", "model.pt", "pytorch_model.bin"])
def test_a_file_by_itself(tmp_path, name):
    directory = pickled(tmp_path / "old", name)
    assert set(read_weights(directory / name)) == {Path(name).stem} and read_config(directory / name) == CONFIG
    if name != "pytorch_model.bin":
        assert f"if it is {name}, pass '{directory / name}'" in refusal(FileNotFoundError, read_weights, directory)


class Fires:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pth", "model.pt"])
def test_a_pickle_that_would_run_something_does_not(tmp_path, name):
    payload = pickle.dumps(Fires(tmp_path / "marker"))
    (tmp_path / name).write_bytes(payload)
    assert "nothing in it was executed" in refusal(ValueError, read_weights, tmp_path / name)
    assert not (tmp_path / "marker").exists()
    pickle.loads(payload)
    assert (tmp_path / "marker").exists()  # so it would have fired


def test_a_file_beside_the_weights_is_not_taken_for_them(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert f"config.json holds no weights: pass the directory it is in, '{tmp_path}'" in refusal(
        ValueError, read_weights, tmp_path / "config.json"
    )


def test_a_missing_directory(tmp_path):
    assert refusal(FileNotFoundError, read_config, tmp_path / "absent" / "too").endswith(
        "with config.json and model.safetensors"
    )
    assert "expected the directory" in refusal(NotADirectoryError, model_directory, __file__)
    for read in (read_config, read_weights, model_directory):
        assert "as text, not 1.5" in refusal(TypeError, read, 1.5)


def test_a_missing_or_broken_config(model):
    path = model / "config.json"
    for text, complaint in [
        ("{", "not JSON"),
        ("[]", "holds a list"),
        ("{}", "model_type"),
        ('{"model_type": 3}', "model_type"),
        ("[" * 10**5, "not JSON"),
    ]:
        path.write_text(text)
        assert complaint in refusal(ValueError, read_config, model)
    path.write_bytes(b'{"model_type": "b\xe9rt"}')
    assert "not JSON" in refusal(ValueError, read_config, model)
    path.unlink()
    assert "found model.safetensors" in refusal(FileNotFoundError, read_config, model)


def test_missing_weights(model):
    (model / "model.safetensors").unlink()
    assert "expected model.safetensors, found config.json" in refusal(FileNotFoundError, read_weights, model)


@pytest.mark.parametrize(
    "arrays, config", [({"bad": np.array(["text"])}, {"model_type": "new"}), (ARRAYS, {"bad": object()})]
)
def test_a_failed_save_leaves_what_was_there(model, arrays, config):
    before = contents(model)
    with pytest.raises((TypeError, OSError)):
        save(model, config, arrays)
    assert contents(model) == before


@pytest.mark.parametrize("limit", [100, 10_000])
def test_a_full_disk_leaves_what_was_there(model, limit):
    resource = pytest.importorskip("resource")
    before, old = contents(model), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
    try:
        message = refusal(OSError, save, model, CONFIG, {"large": np.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert "could not be written and is unchanged" in message
    assert contents(model) == before


class Killed(BaseException):
    pass


def killed_after(steps, monkeypatch, work, *args):
    """Run `work` until it has touched the disk so many times; from then on nothing does, as in a process that was
    killed.
    """
    left = iter(range(steps))

    def counted(function):
        def stop_after(*args, **options):
            if next(left, None) is None:
                raise Killed
            return function(*args, **options)

        return stop_after

    with monkeypatch.context() as patch:
        for name in ("rename", "replace", "unlink", "rmdir", "mkdir", "write_text"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        patch.setattr(safetensors, "write", counted(safetensors.write))
        patch.setattr(files.shutil, "rmtree", lambda *args, **options: None)
        try:
            work(*args)
            return False
        except Killed:
            return True


SAVE_FOR_EVER = """
import itertools, sys
import numpy as np
from minigrad.pretrained.checkpoint.files import save
for i in itertools.count():
    size = 40 + i % 5 * 40
    save(sys.argv[1], {"model_type": "bert", "hidden_size": i}, {f"w{j}": np.full(10, i) for j in range(5)}, size)
    print(i, flush=True)
"""


def test_a_process_killed_in_the_middle_of_saving(tmp_path):
    """Whatever moment the kill meets: config.json and every weight are of the same save, the last one finished or a
    later one.
    """
    model = tmp_path / "model"
    for moment in np.random.default_rng(0).uniform(0, 0.1, 6):
        with subprocess.Popen(
            [sys.executable, "-c", SAVE_FOR_EVER, model], stdout=subprocess.PIPE, text=True
        ) as process:
            process.stdout.readline()
            time.sleep(moment)
            process.kill()
            finished = max(map(int, ["0", *process.stdout.read().split()]))
        i = read_config(model)["hidden_size"]
        assert i >= finished and same(read_weights(model), {f"w{j}": np.full(10, i) for j in range(5)})


def test_reading_changes_nothing_and_follows_no_link_to_a_directory(tmp_path):
    """`.written` and `.writing` in a downloaded directory: links to another one, or directories with a model of their
    own.
    """
    save(tmp_path / "victim", CONFIG | {"hidden_size": 8}, NEW)
    for name in (".written", ".writing"):
        save(tmp_path / f"link{name}", CONFIG, ARRAYS)
        (tmp_path / f"link{name}" / name).symlink_to(tmp_path / "victim")
        (tmp_path / f"real{name}").mkdir()
        save(tmp_path / f"real{name}" / name, CONFIG, ARRAYS)
        save(tmp_path / f"part{name}", CONFIG, ARRAYS)
        (tmp_path / f"part{name}" / name).mkdir()
        (tmp_path / f"part{name}" / name / "config.json").write_text("{}")
    before = tree(tmp_path)
    for name in (".written", ".writing"):
        for kind in ("link", "part"):
            assert read_config(tmp_path / f"{kind}{name}") == CONFIG and same(
                read_weights(tmp_path / f"{kind}{name}"), ARRAYS
            )
    assert same(read_weights(tmp_path / "real.written"), ARRAYS)
    assert "has no weights" in refusal(FileNotFoundError, read_weights, tmp_path / "real.writing")
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "model.safetensors",
        ".written",
        ".writing",
        "model-00001-of-00002.safetensors",
        ".config.json.part",
        "model.safetensors.index.json",
    ],
)
@pytest.mark.parametrize("limit", [1000, 20])
def test_saving_replaces_links_and_never_writes_through_them(tmp_path, name, limit):
    save(tmp_path / "victim", CONFIG | {"hidden_size": 8}, NEW)
    before = tree(tmp_path / "victim")
    save(tmp_path / "model", CONFIG, ARRAYS)
    (tmp_path / "model" / name).unlink(missing_ok=True)
    target = tmp_path / "victim" / ("config.json" if name.endswith(".json") else "model.safetensors")
    (tmp_path / "model" / name).symlink_to(tmp_path / "victim" if name.startswith(".w") else target)
    save(tmp_path / "model", CONFIG, ARRAYS, limit)
    assert tree(tmp_path / "victim") == before and same(read_weights(tmp_path / "model"), ARRAYS)
    assert not [
        path for path in (tmp_path / "model").iterdir() if path.is_symlink() and path.name != ".config.json.part"
    ]


def test_files_that_are_links_are_read_as_in_the_cache_of_the_hub(tmp_path):
    save(tmp_path / "made", CONFIG, ARRAYS, 20)
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for i, path in enumerate(sorted((tmp_path / "made").iterdir())):
        path.rename(blobs / str(i))
        (snapshot / path.name).symlink_to(Path("../../blobs") / str(i))
    before = tree(tmp_path)
    assert read_config(snapshot) == CONFIG and same(read_weights(snapshot), ARRAYS) and tree(tmp_path) == before


def test_what_an_interrupted_save_cannot_have_left_is_not_put_in_place(tmp_path, model):
    for name in ("run.sh", "tokenizer.json", "model.safetensors"):
        written = tmp_path / name / ".written"
        save(written.parent, CONFIG, ARRAYS)
        written.mkdir()
        if name == "model.safetensors":
            (written / name).symlink_to(model / name)
        else:
            (written / name).touch()
        before = tree(tmp_path)
        told = refusal(ValueError, save, written.parent, CONFIG, NEW)
        assert f"holds '{name}', which is not from an interrupted save: remove" in told
        assert tree(tmp_path) == before


def test_replacing_does_not_write_through_a_link(tmp_path):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / ".new.txt.part").symlink_to(tmp_path / "victim")
    with files.replacing(tmp_path / "new.txt") as (part,):
        part.write_text("theirs")
    assert (tmp_path / "victim").read_text() == "mine" and (tmp_path / "new.txt").read_text() == "theirs"


LAYOUTS = [(1000, 1000), (1000, 20), (20, 1000), (20, 20), (20, 30), (30, 20)]
NEW = {"a.weight": np.ones((2, 3), np.float32), "c.weight": np.ones(4, np.float32), "c.bias": np.ones(2, np.float32)}


@pytest.mark.parametrize(("old", "new"), LAYOUTS)
def test_a_save_that_is_killed_leaves_the_old_model_or_the_new_one(tmp_path, monkeypatch, old, new):
    """At every step, from every layout to every other: what is read is one of the two, whole; the next save works."""
    outcomes = []
    while "done" not in outcomes:
        model = tmp_path / str(len(outcomes))
        save(model, CONFIG, ARRAYS, old)
        killed = killed_after(len(outcomes), monkeypatch, save, model, CONFIG | {"hidden_size": 8}, NEW, new)
        left = tree(model)
        config, weights = read_config(model), read_weights(model)
        assert tree(model) == left  # reading does not tidy up
        is_old = config == CONFIG and same(weights, ARRAYS)
        assert is_old or config["hidden_size"] == 8 and same(weights, NEW)
        outcomes.append("old" if is_old else "new" if killed else "done")
        save(model, CONFIG, ARRAYS, old)
        assert same(read_weights(model), ARRAYS) and not [path for path in model.iterdir() if path.name.startswith(".")]
    assert outcomes == sorted(outcomes, key=["old", "new", "done"].index) and outcomes.count(
        "old"
    ) > 2 < outcomes.count("new")


@pytest.mark.parametrize(("old", "new"), LAYOUTS)
def test_nothing_of_another_layout_is_left(tmp_path, old, new):
    for directory, sizes in (("both", (old, new)), ("new", (new,))):
        for size in sizes:
            save(tmp_path / directory, CONFIG, ARRAYS, size)
    assert contents(tmp_path / "both") == contents(tmp_path / "new")


def test_saving_again_replaces_both(model):
    weights = read_weights(model)
    save(model, CONFIG | {"hidden_size": 8}, {"f32": weights["b.weight"] + 1})
    assert read_config(model)["hidden_size"] == 8 and list(read_weights(model)) == ["f32"]


@pytest.mark.parametrize(
    "name, text", [("thesis.txt", "x"), ("config.json", '{"name": "a web site"}'), ("config.json", "{")]
)
def test_a_directory_that_holds_something_else_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    refusal(ValueError, save, tmp_path, CONFIG, ARRAYS)
    assert contents(tmp_path) == {name: text.encode()}
    assert "is a file" in refusal(NotADirectoryError, save, tmp_path / name, CONFIG, ARRAYS)


def test_directories_that_may_be_saved_into(tmp_path, model):
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / ".gitignore").touch()
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "vocab.txt").touch()
    for name in ("hidden", "tokenizer", "model", "new/deeper"):
        assert output_directory(tmp_path / name).is_dir()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
@pytest.mark.parametrize("name", [".writing", ".written", "config.json", "model.safetensors", "tokenizer.json"])
def test_a_pipe_in_the_directory_does_not_stop_a_reader_or_a_save(tmp_path, name):
    """Whoever opens a pipe waits for the other end."""
    save(tmp_path / "model", CONFIG, ARRAYS)
    (tmp_path / "model" / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / "model" / name)
    code = (
        "import sys; from minigrad.pretrained.checkpoint.files import *\n"
        "for work in (lambda d: read_config(d), lambda d: read_weights(d), lambda d: save(d, {'model_type': "
        "'bert'}, {})):\n    try: work(sys.argv[1])\n"
        "    except (OSError, ValueError): pass\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "model"], check=True, timeout=60)
