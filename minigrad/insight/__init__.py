"""Seeing what happens: a backward pass in words, as a picture and as a program; a model as a table, a run as curves; and whether
a model is the one it was copied from."""
from .curves import plot_confusion_matrix, plot_history
from .debugging import debug
from .explain import Explanation, explain
from .graph import Graph, graph, picture
from .parity import Parity, parity
from .recording import recording
from .source import to_numpy_source
from .summary import Summary, summary
