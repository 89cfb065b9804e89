// -log softmax(x)[target] of x (rows, n), with class weights and label smoothing.  A block has one row.
#include "block.cuh"

// loss, share (what the row counts for in a mean), the largest x and log Σ exp(x - largest), of each row.  A target that is no class gives nan: it has
// been noticed already, and will be refused when the host next waits (cuda_checks.py).
extern "C" __global__ void cross_entropy(wide *loss, wide *share, wide *tops, wide *log_sum, const T *x, const long long *target,
                                         const wide *weight, long long ignore, wide smoothing, int n) {
    long long row = blockIdx.x, label = target[row];
    x += row * n;
    wide top = -INF, sum = 0, everywhere = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) top = Max()(top, (wide)x[i]);
    top = block_max(top);
    top = top == -INF ? 0 : top;
    for (int i = threadIdx.x; i < n; i += blockDim.x) sum += exp((wide)x[i] - top);
    wide total = log(block_sum(sum));
    if (smoothing > 0) {
        for (int i = threadIdx.x; i < n; i += blockDim.x) everywhere += (top - (wide)x[i] + total) * (weight ? weight[i] : 1);
        everywhere = block_sum(everywhere);
    }
    if (threadIdx.x) return;
    bool counted = label != ignore, known = label >= 0 && label < n;
    wide own = !counted ? 0 : !known ? INF - INF : weight ? weight[label] : 1;
    loss[row] = counted && known ? (1 - smoothing) * own * (top - (wide)x[label] + total) + smoothing / n * everywhere : own;
    share[row] = own;
    tops[row] = top;
    log_sum[row] = total;
}

// softmax(x) · (hit + Σ spread) - (hit at the label) - spread, where hit is what moves the label's own logit and spread what
// smoothing asks of each class.  `g` has one number for each row, or only one, for their mean or sum; `total` is what the
// mean was divided by, or null.
extern "C" __global__ void cross_entropy_backward(T *gx, const T *g, const wide *total, const T *x, const wide *tops, const wide *log_sum,
                                                  const wide *share, const long long *target, const wide *weight,
                                                  const wide *weight_sum, long long ignore, wide smoothing, int n, int g_apart) {
    long long row = blockIdx.x, label = target[row];
    wide each = total && *total == 0 ? 0 : (wide)g[row * g_apart] / (total ? *total : 1);     // nothing counts: nothing moves
    wide hit = (1 - smoothing) * each * share[row], spread = label == ignore ? 0 : smoothing / n * each;
    wide all = hit + spread * (weight_sum ? *weight_sum : n);
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        wide d = exp((wide)x[row * n + i] - tops[row] - log_sum[row]) * all - (i == label ? hit : 0);
        gx[row * n + i] = (T)(d - spread * (weight ? weight[i] : 1));
    }
}
