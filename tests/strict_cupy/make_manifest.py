"""Write manifest.json: what CuPy has, and which arguments it takes.

Run it where CuPy is installed; it needs no GPU.
"""

import inspect
import json
from importlib import import_module
from pathlib import Path

import cupy

MODULES = (
    "cupy",
    "cupy.linalg",
    "cupy.lib",
    "cupy.lib.stride_tricks",
    "cupy.random",
    "cupy.fft",
    "cupyx.scipy.special",
)
SIGNS = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def described(thing: object) -> str | list[str] | None:
    """What a name stands for; for a function its parameters, None where Python cannot tell them."""
    if isinstance(thing, cupy.ufunc):
        return "ufunc"
    if inspect.ismodule(thing) or inspect.isclass(thing) or not callable(thing):
        return "module" if inspect.ismodule(thing) else "class" if inspect.isclass(thing) else "value"
    try:
        return [SIGNS.get(p.kind, "") + p.name for p in inspect.signature(thing).parameters.values()]
    except (ValueError, TypeError):
        return None


def public(thing: object) -> list[str]:
    return sorted(name for name in dir(thing) if not name.startswith("_"))


def main() -> None:
    modules = {
        path: {name: described(getattr(import_module(path), name)) for name in public(import_module(path))}
        for path in MODULES
    }
    names = ",\n".join(
        f'"{path}": {{\n' + ",\n".join(f"{json.dumps(n)}: {json.dumps(d)}" for n, d in table.items()) + "}"
        for path, table in modules.items()
    )
    methods = ",\n".join(map(json.dumps, public(cupy.ndarray)))
    text = f'{{"version": "{cupy.__version__}",\n"ndarray": [\n{methods}],\n"modules": {{\n{names}}}}}\n'
    Path(__file__).with_name("manifest.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
