"""Seeing what happens: a backward pass in words, as a picture and as a program; a model as a table, a run as curves; and whether
a model is the one it was copied from."""
from importlib import import_module

from .debugging import debug
from .explain import Explanation, explain
from .graph import Graph, graph, picture
from .recording import recording
from .source import to_numpy_source
from .summary import Summary, summary

_ELSEWHERE = {"parity": "parity", "Parity": "parity", "plot_history": "train.plots", "plot_confusion_matrix": "train.plots"}


def __getattr__(name: str):
    """Whether a model is the one it was copied from, and pictures of a run, have rooms of their own, opened when first used."""
    if name in _ELSEWHERE:
        return getattr(import_module(f"minigrad.{_ELSEWHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
