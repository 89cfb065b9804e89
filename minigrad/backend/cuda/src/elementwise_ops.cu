// One thread for each entry of an array: GELU and dropout.

#define EACH(i, size) \
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; \
    if (i >= size) return

// Φ(x), the normal distribution function; or nearly, as sigmoid(a x + b x³).
__device__ wide phi(wide x, bool by_tanh, wide a, wide b) {
    return by_tanh ? tanh((a + b * x * x) * x / 2) / 2 + (wide)0.5 : normcdf(x);
}

// The entry i of x, in rows of n, plus that of the bias, if there is one.  (A remainder in 64 bits takes as long as all the rest.)
__device__ wide biased(const T *x, const T *bias, long long i, int n) {
    return bias ? (wide)x[i] + (wide)bias[i >> 32 ? i % n : (unsigned)i % n] : (wide)x[i];
}

// Its density, exp(-x²/2) / √(2π), with what rounding takes from x².  (Beyond 40 it is 0.)
__device__ wide density(wide x) {
    wide t = min(max(x, (wide)-40), (wide)40), square = t * t, rest = fma(t, t, -square);
    return exp(-square / 2) * (1 - rest / 2) * (wide)0.39894228040143268;
}

extern "C" __global__ void gelu(T *y, const T *from, const T *bias, long long size, int n, bool by_tanh, wide a, wide b) {
    EACH(i, size);
    wide x = biased(from, bias, i, n);
    y[i] = (T)(x * phi(x, by_tanh, a, b));
}

extern "C" __global__ void gelu_backward(T *gx, const T *g, const T *from, const T *bias, long long size, int n, bool by_tanh,
                                         wide a, wide b) {
    EACH(i, size);
    wide x = biased(from, bias, i, n), p = phi(x, by_tanh, a, b);
    wide slope = by_tanh ? p * (1 - p) * (a + 3 * b * x * x) : density(x);      // of Φ
    gx[i] = (T)((wide)g[i] * (p + x * slope));
}

extern "C" __global__ void dropout(T *y, const T *x, const bool *keep, long long size, wide scale) {
    EACH(i, size);
    y[i] = (T)(keep[i] ? (wide)x[i] * scale : 0);
}
