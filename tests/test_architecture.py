"""The package is a tower: a file imports only from rooms above its own.  This list is the drawing of it."""

import ast
import functools
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import minigrad

PACKAGE = Path(minigrad.__file__).parent
TESTS = Path(__file__).parent
ROOMS = [
    "patterns",
    "places",
    "errors",
    "elsewhere",
    "backend",
    "tape",
    "writes",
    "execution",
    "values",
    "tensor",
    "precision",
    "spelling",
    "primitive",
    "builtin",
    "ops",
    "methods",
    "linalg",
    "losses",
    "distributed",
    "functional",
    "nn",
    "pytree",
    "derivatives",
    "transforms",
    "checking",
    "optim",
    "amp",
    "schedule",
    "metrics",
    "data",
    "pretrained",
    "finetune",
    "saving",
    "insight",
    "parity",
    "onnx",
    "tasks",
    "train",
    "compress",
    "serve",
    "doctor",
    "cli",
    "__main__",
]
KNOTS = {("tensor", "methods")}  # the methods that are made of ops, which only a type checker looks up there
HEART = "tape", "tensor", "primitive"
MAX_ARROWS_UP, MAX_CIRCLE = 3, 12  # rooms that import from below; files that import each other
FILES = [pytest.param(file, id=str(file.relative_to(PACKAGE))) for file in sorted(PACKAGE.rglob("*.py"))]
every_file = pytest.mark.parametrize("file", FILES)


def name_of(node):
    """The last part of a dotted name, or a text; None for anything else."""
    return getattr(node, "attr", getattr(node, "id", getattr(node, "value", None)))


def room(file):
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def parsed(file):
    return ast.parse(file.read_text("utf-8"))


def imported_modules(file, for_types=True):
    """Dotted names of everything imported anywhere in the file, `from . import x` spelled out.

    Those under `if TYPE_CHECKING:`, which no run imports, only if `for_types`.
    """
    here, tree = ("minigrad", *file.relative_to(PACKAGE).parts[:-1]), parsed(file)
    left_out = {
        part
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and name_of(node.test) == "TYPE_CHECKING" and not for_types
        for part in node.body
    }
    for node in set(ast.walk(tree)) - left_out:
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


def files_imported(module, graph):
    """The files of the package that a file imports, within functions too, and the packages that this opens."""
    for name in imported_modules(graph[module], for_types=False):
        while name not in graph and "." in name:
            name = name.rpartition(".")[0]
        while "." in name and not f"{module}.".startswith(f"{name}."):
            if name in graph and name != module:
                yield name
            name = name.rpartition(".")[0]


def circles(graph):
    """The sets of modules that import each other: of each, what it leads to and what leads to it."""

    def reached(start, edges):
        found, waiting = {start}, [start]
        while waiting:
            new = set(edges.get(waiting.pop(), ())) - found
            found |= new
            waiting += new
        return found

    back = {}
    for module, others in graph.items():
        for other in others:
            back.setdefault(other, set()).add(module)
    return {frozenset(reached(module, graph) & reached(module, back)) for module in graph}


def test_imports_have_few_knots_and_no_large_circle():
    files = {
        ".".join(("minigrad", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): file
        for file in PACKAGE.rglob("*.py")
    }
    graph = {module: set(files_imported(module, files)) for module in files if module != "minigrad"}
    assert len(graph) > 150 and "minigrad.backend" in graph["minigrad.tensor"]
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == {frozenset("a"), frozenset("bc")}
    assert max(map(len, circles(graph))) <= MAX_CIRCLE, max(circles(graph), key=len)
    assert len(KNOTS) <= MAX_ARROWS_UP


def body_lines(file, line):
    """How many lines the body of the function that begins at a line has, without its docstring, comments and gaps."""
    source = file.read_text("utf-8")
    functions = (ast.FunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.GeneratorExp)
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, functions)]
    first = {node: min(n.lineno for n in (node, *getattr(node, "decorator_list", ()))) for node in found}
    here = [node for node in found if first[node] == line and isinstance(node, ast.FunctionDef)]
    if not here:
        return 1
    body = here[0].body[isinstance(here[0].body[0], ast.Expr) and len(here[0].body) > 1 :]
    lines = source.splitlines()[body[0].lineno - 1 : here[0].end_lineno]
    return len([text for text in lines if text.strip() and not text.strip().startswith("#")])


def test_a_backward_pass_is_short_to_read():
    """The functions of the package that `y = (x * w).sum(); y.backward()` runs, and what there is to read of them."""
    code = """if True:
        import sys, numpy as np, minigrad as mg
        x, w = mg.Tensor(np.ones(4, "f4")), mg.Tensor(np.ones(4, "f4"), requires_grad=True)
        seen = set()
        sys.setprofile(lambda frame, event, arg: seen.add(frame.f_code) if event == "call" else None)
        y = (x * w).sum()
        y.backward()
        sys.setprofile(None)
        print(*{f"{code.co_filename}:{code.co_firstlineno}" for code in seen}, sep="\\n")"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    seen = [line.rpartition(":") for line in run.stdout.splitlines() if line.startswith(("<string>", str(PACKAGE)))]
    files = {Path(file) for file, _, _ in seen} - {Path("<string>")}
    assert 10 < len(seen) <= 35 and PACKAGE / "primitive.py" in files
    assert len(files) <= 4, files
    assert sum(body_lines(Path(file), int(line)) if file != "<string>" else 1 for file, _, line in seen) <= 200


def test_the_heart_is_short():
    """The tape, the Tensor and the op: what a reader has to read to know how a gradient comes about."""
    assert sum(len((PACKAGE / f"{name}.py").read_text("utf-8").splitlines()) for name in HEART) <= 850


@every_file
def test_only_the_backend_knows_cupy(file):
    if room(file) != "backend":
        assert not [name for name in imported_modules(file) if name.partition(".")[0] in ("cupy", "cupyx")]


DEVICES = {"cpu", "cuda"}


def device_conditions(tree):
    """What depends on a device by its name, on a table of kernels, or on the number of processors."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            sides += [part for side in sides for part in getattr(side, "elts", ())]
            named = {name for side in sides if isinstance(name := name_of(side), str)}
            same = any(isinstance(op, (ast.Is, ast.IsNot, ast.Eq, ast.NotEq)) for op in node.ops)
            found = named & {*DEVICES, "kernels", *(["host"] if same else [])}
        elif isinstance(node, (ast.Subscript, ast.Attribute)):  # kernels["softmax"], kernels.get, os.cpu_count
            found = name_of(node.value) == "kernels" or name_of(node) in ("cpu_count", "CORES")
            found = found or isinstance(node, ast.Subscript) and name_of(node.slice) in DEVICES
        else:
            found = isinstance(node, ast.Dict) and any(name_of(key) in DEVICES for key in node.keys)
        if found:
            yield f"line {node.lineno}: {ast.unparse(node):.80}"


@every_file
def test_only_the_backend_has_device_conditions(file):
    """Elsewhere a name on the Backend record is asked; but the doctor reports on devices, and errors name them."""
    if room(file) in ("backend", "doctor"):
        return
    wings = [
        name for name in imported_modules(file) if name.startswith(("minigrad.backend.cpu", "minigrad.backend.cu"))
    ]
    tree = parsed(file)
    assert [*wings, *(device_conditions(tree) if room(file) != "errors" else [])] == []


@pytest.mark.parametrize(
    "code",
    [
        "backend.of(x) is host",
        "b is not backend.host",
        'x.device == "cuda"',
        'target in ("cpu", "cuda")',
        'PIECE = {"cpu": 1}',
        'SIZES["cuda"]',
        'backend.kernels["scale"](xp, x)',
        'backend.kernels.get("scale")',
        '"scale" in backend.kernels',
        "os.cpu_count()",
        "cores.CORES + 1",
    ],
)
def test_a_device_condition_is_found(code):
    assert list(device_conditions(ast.parse(code)))


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
    first = (ast.get_docstring(parsed(file)) or "").partition("\n")[0]
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


def unexplained(room):
    """The functions, classes and methods under this name that have no docstring, nor a base's."""
    for name, value in vars(importlib.import_module(room)).items():
        ours = (getattr(value, "__module__", None) or "").startswith("minigrad")
        if name.startswith("_") or not callable(value) or not ours:
            continue
        own = {name: value}
        if inspect.isclass(value):
            own |= {f"{name}.{k}": getattr(value, k) for k in vars(value) if not k.startswith("_")}
        named = {k: v for k, v in own.items() if inspect.isroutine(v) or inspect.isclass(v) or isinstance(v, property)}
        yield from (k for k, v in named.items() if not inspect.getdoc(v))


@pytest.mark.parametrize("room", ["minigrad", *(f"minigrad.{room}" for room in minigrad._ROOMS)])
def test_all_that_users_call_is_explained(room):
    assert list(unexplained(room)) == []
