// Softmax and its logarithm, along one axis.
//
// A block has one row: n numbers, `apart` from each other in memory (1 if the row lies along the last axis), of which each thread
// takes every blockDim.x-th.  It walks over its row three times: for the largest number, for the sum, and to write.  Only the first
// time it comes from the GPU's memory, then from the cache.
#include "block.cuh"

// Where entry i of this block's row lies.
__device__ long long place(int i, int n, long long apart) {
    long long row = blockIdx.x;
    return (row / apart * n + i) * apart + row % apart;
}

__device__ wide largest(const T *x, int n, long long apart) {
    wide top = -INF;
    for (int i = threadIdx.x; i < n; i += blockDim.x) top = Max()(top, (wide)x[place(i, n, apart)]);
    return block_max(top);
}

// The sum of exp(x - top), which cannot overflow.
__device__ wide sum_of_exp(const T *x, wide top, int n, long long apart) {
    wide sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) sum += exp((wide)x[place(i, n, apart)] - top);
    return block_sum(sum);
}

extern "C" __global__ void softmax(T *y, const T *x, int n, long long apart) {
    wide top = largest(x, n, apart), sum = sum_of_exp(x, top, n, apart);
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        long long at = place(i, n, apart);
        y[at] = (T)(exp((wide)x[at] - top) / sum);
    }
}

extern "C" __global__ void log_softmax(T *y, const T *x, int n, long long apart) {
    wide top = largest(x, n, apart), log_sum = log(sum_of_exp(x, top, n, apart));
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        long long at = place(i, n, apart);
        y[at] = (T)((wide)x[at] - top - log_sum);
    }
}

// y · (g - Σ g·y)
extern "C" __global__ void softmax_backward(T *gx, const T *g, const T *y, int n, long long apart) {
    wide sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        long long at = place(i, n, apart);
        sum += (wide)g[at] * (wide)y[at];
    }
    sum = block_sum(sum);
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        long long at = place(i, n, apart);
        gx[at] = (T)((wide)y[at] * ((wide)g[at] - sum));
    }
}

// g - exp(y) · Σ g
extern "C" __global__ void log_softmax_backward(T *gx, const T *g, const T *y, int n, long long apart) {
    wide sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) sum += (wide)g[place(i, n, apart)];
    sum = block_sum(sum);
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        long long at = place(i, n, apart);
        gx[at] = (T)((wide)g[at] - exp((wide)y[at]) * sum);
    }
}
