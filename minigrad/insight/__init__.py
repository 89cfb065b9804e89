"""Seeing what happens: pictures of a training run."""
from .curves import plot_confusion_matrix, plot_history
