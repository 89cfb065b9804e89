"""How `make docs` builds the pages, the notebooks and the reference into one site, docs/_build/html."""

import re
import shutil
from pathlib import Path

import minigrad

HERE = Path(__file__).parent
project, release, author = "minigrad", minigrad.__version__, "the minigrad authors"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme, html_title = "furo", f"minigrad {release}"
exclude_patterns = ["_build"]
nb_execution_mode = "off"  # notebooks are stored with their outputs
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type", "myst.xref_missing"]  # links to files: tests/test_readme.py
autodoc_member_order, autodoc_typehints = "bysource", "signature"
autodoc_default_options = {"members": True, "show-inheritance": True, "exclude-members": "Any"}
autodoc_mock_imports = ["cupy", "cupyx", "torch", "transformers"]
napoleon_google_docstring, napoleon_numpy_docstring = True, False

# Sphinx reads only what lies beside this file.
shutil.copytree(
    HERE.parent / "tutorials",
    HERE / "tutorials",
    dirs_exist_ok=True,
    ignore=lambda _, names: [name for name in names if not name.endswith(".ipynb")],
)


CODE = re.compile(r"(`[^`]+`)")
MARKUP = re.compile(r"(?m)(?!^\* )([*|\\]|_(?=\W|$))")  # but an asterisk that begins a line is an entry of a list


def as_restructured_text(app, what, name, found, options, lines):
    """Docstrings are written as plain text with `code` in backticks and indented programs; what would be markup to
    Sphinx is escaped."""
    blocks = "\n".join(lines).split("\n\n")
    for i, block in enumerate(blocks):
        if block.startswith(" "):
            blocks[i] = block if i and blocks[i - 1].startswith((" ", "::")) else f"::\n\n{block}"
        else:
            parts = CODE.split(block)
            parts[::2] = [MARKUP.sub(r"\\\1", part) for part in parts[::2]]
            parts[1::2] = [f"`{part}`" for part in parts[1::2]]
            parts[2::2] = [re.sub(r"^(?=\w)", r"\\ ", part) for part in parts[2::2]]  # the s of `Tensor`s
            blocks[i] = "".join(parts)
    lines[:] = "\n\n".join(blocks).split("\n")


def setup(app):
    app.connect("autodoc-process-docstring", as_restructured_text, priority=100)
    app.connect("autodoc-skip-member", lambda app, what, name, member, skip, options: skip or name == "recording")
