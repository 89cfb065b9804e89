"""Dropout masks drawn on the GPU, bit for bit NumPy's default generator's, so that a seed means the same run.

That generator, PCG64 (O'Neill 2014), steps s ← a·s + c modulo 2¹²⁸ and scrambles each s into 64 bits.  n steps at once
are again such a step, s ← aⁿ·s + c·(aⁿ-1)/(a-1), so every thread can jump to its first state, and the generator on the
host is advanced by the numbers drawn.  Only a few numbers are copied, and the host does not wait.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..record import Array
from ..shared import random

MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645  # a, of PCG64
WORDS_PER_THREAD = 16  # of 64 bits: enough to amortise the jump
BLOCK = 256

SOURCE = r"""
typedef unsigned long long u64;
struct u128 { u64 high, low; };

__device__ u128 plus(u128 a, u128 b) {
    u64 low = a.low + b.low;
    return {a.high + b.high + (low < a.low), low};
}
__device__ u128 times(u128 a, u128 b) {
    return {__umul64hi(a.low, b.low) + a.high * b.low + a.low * b.high, a.low * b.low};
}
__device__ u128 jump(u128 state, u128 a, u128 c, u64 steps) {
    u128 power = {0, 1}, sum = {0, 0};          // steps so far: s -> power s + sum
    for (; steps; steps >>= 1) {
        if (steps & 1) { power = times(power, a); sum = plus(times(sum, a), c); }
        c = times(plus(a, {0, 1}), c);          // (a, c) for twice as many
        a = times(a, a);
    }
    return plus(times(power, state), sum);
}

extern "C" __global__ void keep_mask(unsigned char *keep, u64 count, unsigned threshold, u128 state, u128 a, u128 c,
                                     u128 leap_a, u128 leap_c) {
    u64 word = (u64)blockIdx.x * blockDim.x + threadIdx.x, threads = (u64)gridDim.x * blockDim.x;
    for (state = jump(state, a, c, word + 1); 4 * word < count; word += threads) {
        u64 x = state.high ^ state.low;
        unsigned turn = state.high >> 58;
        x = x >> turn | x << (-turn & 63);
        unsigned four = 0;                      // booleans, a byte each
        for (int i = 0; i < 4; i++) four |= (unsigned)((x >> 16 * i & 0xffff) >= threshold) << 8 * i;
        if (4 * word + 4 <= count) ((unsigned *)keep)[word] = four;
        else for (int i = 0; 4 * word + i < count; i++) keep[4 * word + i] = four >> 8 * i;
        state = plus(times(state, leap_a), leap_c);
    }
}
"""


def keep_mask(xp, bits: np.random.BitGenerator, shape: tuple, threshold: int) -> Array:
    """What shared/random.py draws on the CPU, computed on the GPU for NumPy's default generator."""
    if type(bits) is not np.random.PCG64:
        return random.keep_mask(xp, bits, shape, threshold)
    keep = xp.empty(shape, bool)
    words = -(-keep.size // 4)
    state = bits.state
    start, c = state["state"]["state"], state["state"]["inc"]
    a_words, c_words = leap(words, c)
    state["state"]["state"] = (a_words * start + c_words) % 2**128
    bits.state = state
    if words:
        blocks = -(-words // (WORDS_PER_THREAD * BLOCK))
        numbers = (start, MULTIPLIER, c, *leap(blocks * BLOCK, c))
        _kernel()((blocks,), (BLOCK,), (keep, np.uint64(keep.size), np.uint32(threshold), *map(_u128, numbers)))
    return keep


def leap(steps: int, c: int) -> tuple[int, int]:
    """(aⁿ, c·(aⁿ-1)/(a-1)) modulo 2¹²⁸: n steps as one."""
    # Less one it is divisible by a - 1, and the quotient is right modulo 2¹²⁸.
    power = pow(MULTIPLIER, steps, (MULTIPLIER - 1) << 128)
    return power % 2**128, (power - 1) // (MULTIPLIER - 1) * c % 2**128


def _u128(number: int) -> Any:
    return np.array((number >> 64, number % 2**64), [("high", np.uint64), ("low", np.uint64)])[()]


@functools.cache
def _kernel():
    import cupy

    return cupy.RawKernel(SOURCE, "keep_mask")


table = {"keep_mask": keep_mask}
