// What the threads of a block find out together: the sum, or the largest, of one number from each of them.
//
// The 32 threads of a warp show each other their numbers without any memory, in five rounds of pairs; then the warps leave one
// number each in the block's shared memory.  The order never changes, so that the same numbers have the same sum every time.

#define INF __int_as_float(0x7f800000)

struct Plus { __device__ wide operator()(wide a, wide b) const { return a + b; } };
struct Max { __device__ wide operator()(wide a, wide b) const { return a > b || a != a ? a : b; } };       // nan is the largest

template <class Op> __device__ wide over_block(wide x, Op op, wide nothing) {
    __shared__ wide of_warp[32];
    int lane = threadIdx.x % 32;
    for (int far = 16; far; far /= 2) x = op(x, __shfl_xor_sync(0xffffffff, x, far));
    __syncthreads();                            // until now somebody may have been reading the sum before this one
    if (lane == 0) of_warp[threadIdx.x / 32] = x;
    __syncthreads();
    x = lane < blockDim.x / 32 ? of_warp[lane] : nothing;
    for (int far = 16; far; far /= 2) x = op(x, __shfl_xor_sync(0xffffffff, x, far));
    return x;                                   // every warp has added up all of them, so every thread knows
}

__device__ wide block_sum(wide x) { return over_block(x, Plus(), 0); }
__device__ wide block_max(wide x) { return over_block(x, Max(), -INF); }
