// Layer normalisation over the last axis, and the sums over rows that gradients of weights are.
#include "block.cuh"

// A block has one row of x (rows, n).  `weight` and `bias` may be null.
extern "C" __global__ void layer_norm(T *y, wide *mean, wide *inverse_std, const T *x, const T *weight, const T *bias, int n,
                                      wide eps) {
    long long row = blockIdx.x;
    x += row * n;
    y += row * n;
    wide sum = 0, square = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) sum += (wide)x[i];
    wide middle = block_sum(sum) / n;
    for (int i = threadIdx.x; i < n; i += blockDim.x) square += ((wide)x[i] - middle) * ((wide)x[i] - middle);
    wide scale = 1 / sqrt(block_sum(square) / n + eps);
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        wide unit = ((wide)x[i] - middle) * scale;
        y[i] = (T)(unit * (weight ? (wide)weight[i] : 1) + (bias ? (wide)bias[i] : 0));
    }
    if (threadIdx.x == 0) {
        mean[row] = middle;
        inverse_std[row] = scale;
    }
}

// inverse_std · (d - mean(d) - unit · mean(d · unit)), where d = g · weight and unit is x normalised.  A block has one row.
extern "C" __global__ void layer_norm_backward(T *gx, const T *g, const T *x, const T *weight, const wide *mean,
                                               const wide *inverse_std, int n) {
    long long row = blockIdx.x;
    x += row * n;
    g += row * n;
    gx += row * n;
    wide middle = mean[row], scale = inverse_std[row], sum = 0, along = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        wide d = (wide)g[i] * (weight ? (wide)weight[i] : 1);
        sum += d;
        along += d * ((wide)x[i] - middle) * scale;
    }
    sum = block_sum(sum) / n;
    along = block_sum(along) / n;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        wide d = (wide)g[i] * (weight ? (wide)weight[i] : 1);
        gx[i] = (T)(scale * (d - sum - ((wide)x[i] - middle) * scale * along));
    }
}

// For each of n columns, the sum over some rows of g, and of g · unit if x is given: part 0 and part 1 of (2, chunks, n).
//
// A block has 32 columns and one chunk of the rows; thread (i, j) takes column i of every 8th row, so that a warp reads 32 numbers
// that lie side by side.  Nobody else writes where it writes, so that nothing needs to be atomic.
extern "C" __global__ void column_sums(wide *sums, const T *g, const T *x, const wide *mean, const wide *inverse_std,
                                       long long rows, int n, int rows_each) {
    __shared__ wide part[2][8][32];
    int column = blockIdx.x * 32 + threadIdx.x;
    long long end = min((long long)(blockIdx.y + 1) * rows_each, rows);
    wide sum = 0, along = 0;
    if (column < n)
        for (long long row = (long long)blockIdx.y * rows_each + threadIdx.y; row < end; row += 8) {
            wide d = (wide)g[row * n + column];
            sum += d;
            if (x) along += d * ((wide)x[row * n + column] - mean[row]) * inverse_std[row];
        }
    part[0][threadIdx.y][threadIdx.x] = sum;
    part[1][threadIdx.y][threadIdx.x] = along;
    __syncthreads();
    if (column < n && threadIdx.y < (x ? 2 : 1)) {
        sum = 0;
        for (int j = 0; j < 8; j++) sum += part[threadIdx.y][j][threadIdx.x];
        sums[((long long)threadIdx.y * gridDim.y + blockIdx.y) * n + column] = sum;
    }
}
