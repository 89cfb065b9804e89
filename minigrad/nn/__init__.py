"""Layers and the tree they make."""
from . import init
from .attention import GroupedQueryAttention, KVCache, MultiheadAttention
from .container import Group, Sequential
from .layers import (
    GELU,
    Dropout,
    Embedding,
    Flatten,
    LayerNorm,
    LeakyReLU,
    Linear,
    LogSoftmax,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from .module import Buffer, Module, Parameter, walk
from .norm import BatchNorm1d, BatchNorm2d, GroupNorm, RMSNorm
from .position import LearnedPositions, RelativePositionBias, RotaryPositions, SinusoidalPositions
from .recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from .transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
