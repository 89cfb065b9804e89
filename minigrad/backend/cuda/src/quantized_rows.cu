// The products of a few rows x with weights in 8 and in 4 bits; shared/quantized.py says how these lie in memory.
//
// A warp has a row of weights, and reads it once for each row of x, after the first time from the cache.  The sums are `wide`.

__device__ wide warp_sum(wide sum) {
    for (int apart = 16; apart; apart /= 2) sum += __shfl_xor_sync(0xffffffff, sum, apart);
    return sum;
}

// y[m, i] = Σ x[m, j] weight[i, j] · scale[i] + bias[i], the bias unless it is null.
extern "C" __global__ void int8_rows(T *y, const T *x, const signed char *weight, const wide *scale, const T *bias,
                                     int count, int outputs, int features) {
    int i = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    bool ours = i < outputs;
    const signed char *row = weight + (long long)(ours ? i : 0) * features;
    for (int m = 0; m < count; m++, x += features, y += outputs) {
        wide sum = 0;
        for (int j = lane; j < features; j += 32) sum += (wide)x[j] * (wide)row[j];
        sum = warp_sum(sum);
        if (ours && !lane) y[i] = (T)(sum * scale[i] + (bias ? (wide)bias[i] : 0));
    }
}

// The same of int4: a group has 64 numbers in 32 bytes, one for each thread of the warp, and a scale.
extern "C" __global__ void int4_rows(T *y, const T *x, const unsigned char *weight, const wide *scale, const T *bias,
                                     int count, int outputs, int features) {
    int i = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32, groups = (features + 63) / 64;
    bool ours = i < outputs;
    const unsigned char *row = weight + (long long)(ours ? i : 0) * groups * 32;
    const wide *scales = scale + (long long)(ours ? i : 0) * groups;
    for (int m = 0; m < count; m++, x += features, y += outputs) {
        wide sum = 0;
        for (int group = 0; group < groups; group++) {
            int low = group * 64 + lane, high = low + 32, pair = row[group * 32 + lane];
            wide part = low < features ? (wide)x[low] * (wide)((pair & 15) - 8) : 0;
            if (high < features) part += (wide)x[high] * (wide)((pair >> 4) - 8);
            sum += part * scales[group];
        }
        sum = warp_sum(sum);
        if (ours && !lane) y[i] = (T)(sum + (bias ? (wide)bias[i] : 0));
    }
}
