"""Run the notebooks, or those named, from top to bottom and store them with their outputs: `make notebooks`."""

import os
import re
import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat

HERE = Path(__file__).parent


def run(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a fresh run, without anything that depends on the time or place of the run."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as directory:
        nbclient.execute(notebook, cwd=directory, timeout=600)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if output.output_type == "stream":  # of a progress bar only the last state is shown
                output.text = re.sub(r"[^\n]*\r(?!\n)", "", output.text)
                output.text = re.sub(r"/\S*/(?=site-packages/)|/\S*/tmp\w{8}/", "…/", output.text)  # nor where it ran
    notebook.metadata.language_info = {"name": "python"}
    return notebook


if __name__ == "__main__":
    os.environ.update(PYTHONPATH=str(HERE.parent), HF_HUB_OFFLINE="1")
    for path in sorted(HERE.glob("*.ipynb")):
        if not sys.argv[1:] or any(name in path.stem for name in sys.argv[1:]):
            nbformat.write(run(path), path)
            print(path.name)
