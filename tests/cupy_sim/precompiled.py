"""What CuPy's wheel brings as finished CUDA code, or asks of cuRAND and cuSOLVER, in NumPy.

These are sorting, the numbers behind cupy.random, and the functions of cupy.linalg.
"""

import ctypes
from types import ModuleType

import numpy as np


def memory(address: int, dtype: object, *shape: int) -> np.ndarray:
    """The array that lies at an address of the simulated device."""
    count = int(np.prod(shape))
    return np.frombuffer((ctypes.c_char * (np.dtype(dtype).itemsize * count)).from_address(address), dtype).reshape(
        shape
    )


# cupy.cuda.thrust: every row of the last axis by itself, equal entries staying in order


def sort(dtype, data, keys, shape):
    memory(data, dtype, *shape).sort(axis=-1, kind="stable")


def argsort(dtype, index, data, keys, shape):
    values = memory(data, dtype, *shape)
    order = values.argsort(axis=-1, kind="stable")
    memory(index, np.intp, *shape)[...] = order
    values[...] = np.take_along_axis(values, order, -1)


def lexsort(dtype, index, keys, count, n):
    memory(index, np.intp, n)[:] = np.lexsort(memory(keys, dtype, count, n))


def curand() -> ModuleType:
    """cupy_backends.cuda.libs.curand: other numbers than a GPU's, of the same distributions."""
    generators = {}

    def create(method):
        generators[len(generators) + 1] = np.random.default_rng(0)
        return len(generators)

    def seed(generator, value):
        generators[generator] = np.random.default_rng(value)

    def filled(dtype, draw):
        def fill(generator, address, n, *parameters):
            memory(address, dtype, n)[:] = draw(generators[generator], n, *parameters)

        return fill

    def nothing(*arguments):
        pass

    module = ModuleType("cupy_backends.cuda.libs.curand")
    methods = dict(DEFAULT=100, XORWOW=101, MRG32K3A=121, MTGP32=141, MT19937=142, PHILOX4_32_10=161)
    vars(module).update(
        {f"CURAND_RNG_PSEUDO_{name}": number for name, number in methods.items()},
        createGenerator=create,
        setPseudoRandomGeneratorSeed=seed,
        destroyGenerator=nothing,
        setGeneratorOffset=nothing,
        setStream=nothing,
        generate=filled("u4", lambda rng, n: rng.integers(0, 2**32, n, "u4")),
        generateLongLong=filled("u8", lambda rng, n: rng.integers(0, 2**64, n, "u8")),
        generateUniform=filled("f4", lambda rng, n: 1 - rng.random(n, "f4")),
        generateUniformDouble=filled("f8", lambda rng, n: 1 - rng.random(n)),
        generateNormal=filled("f4", lambda rng, n, mean, std: rng.normal(mean, std, n)),
        generateNormalDouble=filled("f8", lambda rng, n, mean, std: rng.normal(mean, std, n)),
    )
    return module


def replace_solvers() -> None:
    """Put NumPy's functions in the place of cupy.linalg's that ask cuSOLVER or cuBLAS's solvers.

    Where NumPy raises, cuSOLVER leaves anything at all, here what belongs to the identity matrix, and a status.  CuPy
    looks at it only if it is told to (cupyx.errstate).
    """
    import cupy
    from cupy.linalg import _decomposition, _eigenvalue, _norms, _solve, _util

    def solver(name):
        compute = getattr(np.linalg, name)

        def solve(*arrays, **options):
            _util._assert_cupy_array(arrays[0])
            if name == "solve" and arrays[1].ndim > 1 and arrays[0].shape[:-1] != arrays[1].shape[:-1]:
                raise ValueError("a must have (..., M, M) shape and b must have (..., M, K) for multidimensional b")
            host = [cupy.asnumpy(a) if isinstance(a, cupy.ndarray) else a for a in arrays]
            status = 0
            try:
                found = compute(*host, **options)
            except np.linalg.LinAlgError:
                status, eye = 1, np.eye(*host[0].shape[-2:], dtype=host[0].dtype)
                found = compute(np.broadcast_to(eye, host[0].shape), *host[1:], **options)
            _util._check_cusolver_dev_info_if_synchronization_allowed(name, cupy.asarray([status]))
            return tuple(map(cupy.asarray, found)) if isinstance(found, tuple) else cupy.asarray(found)

        return solve

    where = {
        _decomposition: ("cholesky", "qr", "svd"),
        _eigenvalue: ("eigh", "eigvalsh"),
        _norms: ("slogdet",),
        _solve: ("inv", "solve"),
    }
    for module, names in where.items():
        for name in names:
            setattr(module, name, solver(name))
            setattr(cupy.linalg, name, getattr(module, name))
