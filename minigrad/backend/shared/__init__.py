"""Fused forms of ops, written once for NumPy and CuPy: bare arrays in, bare arrays out, no Tensors anywhere.

Each op has a forward, which returns its result and the values it saves, and a backward, which returns one gradient per
input, or None if it is not wanted.  The saved values are small (a number per row); the rest is recomputed.  Kernels
never write into an input or into `g`.  `xp` is numpy or cupy.  The packages cpu/ and cuda/ replace some of these
kernels by faster ones; a file there has the name of the file here whose kernels it replaces.
"""

from ..record import Kernel
from . import attention, index, layers, losses, optimizers, products, random, recurrent

table = (
    products.table
    | layers.table
    | attention.table
    | losses.table
    | index.table
    | optimizers.table
    | recurrent.table
    | random.table
)
functions = {name: part for name, part in table.items() if not isinstance(part, Kernel)}
