"""Tools for looking inside a backward pass or a model.

A backward pass is shown in words, as a picture and as a NumPy program, a model as a table; and there is a debug mode.

`parity`, which compares two models, and the plots of a training run are also available under this name.
"""

from importlib import import_module
from typing import Any

from .debugging import debug
from .explain import Explanation, explain
from .graph import Graph, graph, picture
from .recording import recording
from .source import to_numpy_source
from .summary import Summary, summary

_ELSEWHERE = {
    "parity": "parity",
    "Parity": "parity",
    "plot_history": "train.plots",
    "plot_confusion_matrix": "train.plots",
}


def __getattr__(name: str) -> Any:
    """`parity` and the plots live in packages of their own, which are imported when first used."""
    if name in _ELSEWHERE:
        return getattr(import_module(f"minigrad.{_ELSEWHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
