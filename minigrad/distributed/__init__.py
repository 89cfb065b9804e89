"""Several processes that train one model, each on its share of every batch: ranks, as MPI calls them.

`mpiexec -n 4 python train.py` starts four of them; nothing in a program that uses the `Trainer` changes.
`world()` is what they talk through: the communicator of all ranks, and of one process alone the rank 0 of 1.
"""

from .communicator import Communicator, RankError, printing_once, world
from .reducer import GradientReducer
from .shards import Shards

__all__ = ["Communicator", "GradientReducer", "RankError", "Shards", "printing_once", "world"]
