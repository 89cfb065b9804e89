"""Real labelled text on every machine: the docstrings of Python's standard library, each labelled with its package.

The task is to tell from a docstring alone which top-level package (or module) it documents.  The text is as its author
wrote it, so it may name the package itself, as documentation does.
"""

import ast
import random
import sysconfig
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from .readers import Example
from .split import fold

MIN_WORDS = 4  # a shorter docstring says too little to be told apart
TESTS = {"test", "tests", "idle_test"}


def stdlib_docstrings(
    min_per_class: int = 120,
    classes: Sequence[str] | None = None,
    max_per_class: int | None = None,
    root: str | Path | None = None,
) -> list[Example]:
    """The docstrings of `classes`, by default every public package or module that has at least `min_per_class` of them.

    No text occurs twice: copies within a package count once, and a text found in several packages is left out.
    White space is folded; nothing else is changed.  With `max_per_class`, that many are sampled, always the same ones.
    A full Python 3.11 gives about 4,000 examples of 14 classes; later versions, and systems that omit packages, fewer.

    Raises ValueError if a class is unknown or none is large enough.
    """
    root = Path(root or sysconfig.get_path("stdlib"))
    found = read_docstrings(root)
    if classes is None:
        classes = [label for label, texts in found.items() if len(texts) >= min_per_class]
        if not classes:
            raise ValueError(
                f"no package in {root} has {min_per_class} docstrings; lower min_per_class, "
                "or use a Python that keeps its library as source files"
            )
    for label in classes:
        if label not in found:
            raise ValueError(f"no package {label!r} with docstrings in {root}; choose among {', '.join(found)}")
    return [Example(text, label) for label in sorted(classes) for text in sample(found[label], max_per_class)]


def sample(texts: list[str], most: int | None) -> list[str]:
    return texts if most is None or len(texts) <= most else random.Random(0).sample(texts, most)


def read_docstrings(root: Path) -> dict[str, list[str]]:
    """{label: docstrings} of all public packages and modules in `root` except tests.

    The files are parsed, never imported, since importing some of them has side effects or needs a C library.
    """
    found = defaultdict(dict)  # label -> folded text -> text
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).parts
        label = parts[0].removesuffix(".py")
        if label.isidentifier() and not label.startswith("_") and TESTS.isdisjoint(parts):
            for node in ast.walk(ast.parse(file.read_bytes())):
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                    text = " ".join((ast.get_docstring(node) or "").split())
                    if text.count(" ") + 1 >= MIN_WORDS:
                        found[label].setdefault(fold(text), text)
    owners = Counter(key for texts in found.values() for key in texts)
    return {label: [text for key, text in found[label].items() if owners[key] == 1] for label in sorted(found)}
