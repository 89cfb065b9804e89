"""NumPy's answers: the CPU backend, always present."""
import math
import numpy

from . import Backend, register
try:
    from . import kernels, numpy_kernels, recurrent_kernels
    table, erf = kernels.table | recurrent_kernels.table | numpy_kernels.table, numpy_kernels.erf
except (ImportError, AttributeError):
    table, erf = {}, numpy.vectorize(math.erf)

cpu = register(Backend(
    name="cpu", xp=numpy, array=numpy.ndarray, to_numpy=lambda array: array, erf=erf, kernels=table))
