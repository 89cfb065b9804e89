"""What CuPy's wheel brings as finished CUDA code, or asks of cuRAND: sorting, and the numbers behind cupy.random; in
NumPy.
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
