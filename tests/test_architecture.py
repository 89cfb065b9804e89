"""The package is a tower: a file imports only from rooms above its own.  This list is the drawing of it."""

import ast
from pathlib import Path

import pytest

import minigrad

PACKAGE = Path(minigrad.__file__).parent
TESTS = Path(__file__).parent
ROOMS = [
    "patterns",
    "places",
    "errors",
    "backend",
    "tape",
    "writes",
    "mode",
    "tensor",
    "precision",
    "spelling",
    "primitive",
    "builtin",
    "ops",
    "methods",
    "losses",
    "functional",
    "nn",
    "transforms",
    "checking",
    "optim",
    "amp",
    "schedule",
    "metrics",
    "data",
    "pretrained",
    "insight",
    "parity",
    "train",
    "doctor",
    "cli",
    "__main__",
]
KNOTS = {
    ("tensor", "ops"),  # ops make Tensors, and the way back adds and casts with ops
    ("tensor", "methods"),  # the methods made of ops, which only a type checker looks up there
}
FILES = [pytest.param(file, id=str(file.relative_to(PACKAGE))) for file in sorted(PACKAGE.rglob("*.py"))]
every_file = pytest.mark.parametrize("file", FILES)


def room(file):
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(file):
    """Dotted names of everything imported anywhere in the file, `from . import x` spelled out."""
    here = ("minigrad", *file.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = (
                ".".join([*here[: len(here) + 1 - node.level], *filter(None, [node.module])])
                if node.level
                else node.module
            )
            yield from (f"{base}.{alias.name}" for alias in node.names)


def test_every_room_is_drawn():
    assert {room(file.values[0]) for file in FILES} - {"__init__"} == set(ROOMS)


@every_file
def test_imports_point_up(file):
    here = room(file)
    if here == "__init__":
        return
    for name in imported_modules(file):
        package, _, rest = name.partition(".")
        there = rest.partition(".")[0]
        if package == "minigrad" and there not in (here, "__version__"):
            assert there in ROOMS, f"{here} imports {name}: name the room, not the front door"
            assert ROOMS.index(there) < ROOMS.index(here) or (here, there) in KNOTS, f"{here} must not import {there}"


@every_file
def test_only_the_backend_knows_cupy(file):
    if room(file) != "backend":
        assert not [name for name in imported_modules(file) if name.partition(".")[0] in ("cupy", "cupyx")]


@pytest.mark.parametrize("wing", ["cpu", "cuda", "shared"])
def test_the_wings_of_the_backend_stand_apart(wing):
    """backend/cpu/ and backend/cuda/ import from backend/shared/, and not from each other; shared/ from neither."""
    others = tuple(f"minigrad.backend.{other}" for other in {"cpu", "cuda"} - {wing})
    for file in (PACKAGE / "backend" / wing).rglob("*.py"):
        assert not [name for name in imported_modules(file) if name.startswith(others)], file


@every_file
def test_the_package_never_imports_another_framework(file):
    others = {"torch", "transformers", "tensorflow", "jax", "sklearn", "pytest", "hypothesis"}
    # Files about those packages, loaded for nothing else.
    allowed = {"strategies.py": {"hypothesis"}, "reference.py": others}
    assert not {name.partition(".")[0] for name in imported_modules(file)} & others - allowed.get(file.name, set())


@every_file
def test_a_file_opens_with_a_sentence(file):
    first = (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").partition("\n")[0]
    assert len(first) > 20 and first[0] == first[0].upper() or first.startswith("minigrad")


def test_every_test_file_has_its_source_file():
    """tests/test_nn_layers.py tests minigrad/nn/layers.py; a few test the package as a whole."""
    whole = {
        "architecture",
        "catalogue",
        "backend",
        "tutorials",
        "readme",
        "benchmarks",
        "pytest_minigrad",
        "docs",
        "examples",
        "fuzz",
    }
    sources = {
        "_".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix("___init__")
        for file in PACKAGE.rglob("*.py")
    }
    tests = {file.stem.removeprefix("test_") for file in TESTS.glob("test_*.py")}
    assert tests - sources - whole == set()
