"""Data-parallel training by several processes, called ranks, each of which computes a part of every batch.

`mpiexec -n 4 python train.py` starts four ranks; a program that uses the `Trainer` needs no change.  The ranks
communicate through `world()`; a single process is rank 0 of 1.
"""

from .communicator import Communicator, RankError, printing_once, world
from .functional import all_reduce
from .reducer import GradientReducer
from .shards import Shards

__all__ = ["Communicator", "GradientReducer", "RankError", "Shards", "all_reduce", "printing_once", "world"]
