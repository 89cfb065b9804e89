// One step of an optimiser, of many parameters at once.
//
// A step for each parameter by itself would be hundreds of kernels that last no longer than it takes to start them.  Here row y
// of the grid is one parameter, and the blocks in it share out its entries.
#define MOST 64                                 // parameters, so that their addresses fit into a kernel's arguments (4 KB)

struct Tensors { T *param[MOST]; const T *grad[MOST]; T *first[MOST], *second[MOST]; long long size[MOST]; };

#define EACH_ENTRY(i, t, k) \
    int k = blockIdx.y; \
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < t.size[k]; i += (long long)gridDim.x * blockDim.x)

// Adam (Kingma & Ba 2015, algorithm 1): `unbias` is √(1 - beta2^step), `rate` is lr · unbias / (1 - beta1^step).  `shrink` is
// what AdamW multiplies a weight by, `decay` what Adam adds of it to the gradient.  `rest1` and `rest2` are 1 - beta1 and
// 1 - beta2, which the host has computed in float64: in float32 there are five digits less of them.
extern "C" __global__ void adam(const __grid_constant__ Tensors t, wide rest1, wide beta2, wide rest2, wide eps, wide rate,
                                wide unbias, wide shrink, wide decay) {
    EACH_ENTRY(i, t, k) {
        wide w = (wide)t.param[k][i] * shrink, g = (wide)t.grad[k][i] + decay * w;
        wide m = (wide)t.first[k][i], v = (wide)t.second[k][i];
        m += rest1 * (g - m);
        v = beta2 * v + rest2 * g * g;
        t.param[k][i] = (T)(w - rate * m / (sqrt(v) + eps * unbias));
        t.first[k][i] = (T)m;
        t.second[k][i] = (T)v;
    }
}

// `first` is the velocity, or null without momentum.  At the first step of all it is the gradient itself.  `rest` is 1 - dampening.
extern "C" __global__ void sgd(const __grid_constant__ Tensors t, wide lr, wide momentum, wide rest, wide decay, bool nesterov,
                               bool begins) {
    EACH_ENTRY(i, t, k) {
        wide w = (wide)t.param[k][i], g = (wide)t.grad[k][i] + decay * w;
        if (t.first[k]) {
            wide velocity = begins ? g : momentum * (wide)t.first[k][i] + rest * g;
            t.first[k][i] = (T)velocity;
            g = nesterov ? g + momentum * velocity : velocity;
        }
        t.param[k][i] = (T)(w - lr * g);
    }
}
