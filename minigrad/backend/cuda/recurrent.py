"""The recurrent kernels on a GPU: those of shared/, with the matrix products of gemm.py."""

from __future__ import annotations

from ..shared import recurrent
from .gemm import by_gemm

table = {name: by_gemm(kernel) for name, kernel in recurrent.table.items()}
