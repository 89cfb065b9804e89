"""Layers and the tree they make."""
from . import init
from .attention import MultiheadAttention
from .container import Group, Sequential
from .layers import (
    GELU,
    Dropout,
    Embedding,
    Flatten,
    LayerNorm,
    Linear,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from .norm import BatchNorm1d, BatchNorm2d, GroupNorm, RMSNorm
from .module import Buffer, Module, Parameter, walk
