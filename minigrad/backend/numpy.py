"""NumPy's answers: the CPU backend, always present."""
import numpy

from . import Backend, kernels, numpy_kernels, recurrent_kernels, register

cpu = register(Backend(
    name="cpu", xp=numpy, array=numpy.ndarray, to_numpy=lambda array: array, erf=numpy_kernels.erf,
    share=numpy_kernels.share,
    kernels=kernels.table | recurrent_kernels.table | numpy_kernels.table))
