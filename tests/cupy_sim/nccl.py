"""A stand-in for NCCL, beside simulated CuPy: the calls of `cupy.cuda.nccl`, made by MPI on the host.

Device memory is the host's here, so a pointer can be read.  Importing this puts it in the place of CuPy's own module.
"""

import ctypes
import sys
import types

import cupy
import numpy as np
from mpi4py import MPI

NAMES = "INT8 UINT8 INT32 UINT32 INT64 UINT64 FLOAT16 FLOAT32 FLOAT64 BFLOAT16".split()
KINDS = dict(enumerate("i1 u1 i4 u4 i8 u8 f2 f4 f8".split()))
OPS = "SUM", "PROD", "MAX", "MIN"
calls = []  # the names of all calls, in their order


def at(pointer, n, kind):
    """The array of `n` numbers at an address."""
    dtype = np.dtype(KINDS[kind]) if kind in KINDS else np.dtype("bfloat16")
    return np.frombuffer((ctypes.c_char * (n * dtype.itemsize)).from_address(pointer), dtype)


class NcclCommunicator:
    def __init__(self, size, unique_id, rank):
        assert isinstance(unique_id, bytes) and len(unique_id) == 128, "CuPy 14 takes the 128 bytes of an id"
        self.comm = MPI.COMM_WORLD.Dup()
        assert (self.comm.size, self.comm.rank) == (size, rank)
        assert len(set(self.comm.allgather(unique_id))) == 1, "all ranks have the id that one of them made"

    def _total(self, sent, n, kind, op):
        """Half precision is added up in float32 and rounded once for each rank, as NCCL may do."""
        calls.append(NAMES[kind])
        x = at(sent, n, kind)
        wide = x.astype(np.float32) if x.dtype.itemsize == 2 else x.copy()
        self.comm.Allreduce(MPI.IN_PLACE, wide, getattr(MPI, OPS[op]))
        return wide

    def allReduce(self, sent, received, n, kind, op, stream):
        at(received, n, kind)[:] = self._total(sent, n, kind, op)

    def reduce(self, sent, received, n, kind, op, root, stream):
        total = self._total(sent, n, kind, op)
        if self.comm.rank == root:
            at(received, n, kind)[:] = total

    def broadcast(self, sent, received, n, kind, root, stream):
        calls.append("broadcast")
        x = at(sent, n, kind).view(np.uint8).copy()
        self.comm.Bcast(x, root)
        at(received, n, kind).view(np.uint8)[:] = x

    def allGather(self, sent, received, n, kind, stream):
        calls.append("allGather")
        x = at(sent, n, kind).view(np.uint8).copy()
        self.comm.Allgather(x, at(received, n * self.comm.size, kind).view(np.uint8))


module = types.ModuleType("cupy.cuda.nccl")
module.NcclCommunicator = NcclCommunicator
module.get_unique_id = lambda: np.random.default_rng().bytes(128)
for group in (NAMES, OPS):
    for i, name in enumerate(group):
        setattr(module, f"NCCL_{name}", i)
sys.modules["cupy.cuda.nccl"] = cupy.cuda.nccl = module
