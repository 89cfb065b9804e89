// What a window sees of images (planes, height, width), laid down and added back, and the largest of it.
//
// On the way back many places of the window have seen one entry.  If each place added to it, they would have to wait for each
// other; so each entry has a thread instead, that looks up the places and adds up, always in the same order.
struct Window { int height, width, kh, kw, sh, sw, dh, dw, top, left, H, W; };             // as in geometry.py

// A thread has entry k of `count` in one plane (or sample), which some blocks share; so only the plane needs 64 bits.
#define EACH(plane, k, count) \
    unsigned blocks = (count - 1) / blockDim.x + 1, k = blockIdx.x % blocks * blockDim.x + threadIdx.x; \
    long long plane = blockIdx.x / blocks; \
    if (k >= count) return

// The place along an axis whose entry k of the kernel falls on `at`, -1 if there is none.
__device__ int place(int at, int k, int before, int stride, int dilation, int places) {
    int reach = at + before - k * dilation;
    return reach >= 0 && reach % stride == 0 && reach / stride < places ? reach / stride : -1;
}

// columns[n, (c, i, j), (p, q)] = x[n, c, what entry (i, j) of the kernel sees at place (p, q)], 0 outside the image; the steps
// from n to n, and from row to row, are given.  A thread has one entry of `columns`.
extern "C" __global__ void lay_down(T *columns, const T *x, const Window w, unsigned count, int channels, long long sample_apart,
                                    long long row_apart) {
    EACH(n, k, count);
    unsigned places = w.H * w.W, at = k % places, row = k / places;
    int j = row % w.kw, i = row / w.kw % w.kh, c = row / w.kw / w.kh;
    int p = at / w.W, q = at % w.W, up = p * w.sh + i * w.dh - w.top, across = q * w.sw + j * w.dw - w.left;
    bool inside = up >= 0 && up < w.height && across >= 0 && across < w.width;
    columns[n * sample_apart + row * row_apart + at] = inside ? x[((n * channels + c) * w.height + up) * w.width + across] : (T)0.f;
}

// The gradient of that: x[plane, up, across] is the sum of the entries of columns (plane, i, j, p, q) that were read from there.
extern "C" __global__ void add_up(T *x, const T *columns, const Window w, unsigned count) {
    EACH(plane, k, count);
    int across = k % w.width, up = k / w.width;
    columns += plane * w.kh * w.kw * w.H * w.W;
    wide sum = 0;
    for (int i = 0; i < w.kh; i++) {
        int p = place(up, i, w.top, w.sh, w.dh, w.H);
        if (p < 0) continue;
        for (int j = 0; j < w.kw; j++) {
            int q = place(across, j, w.left, w.sw, w.dw, w.W);
            if (q >= 0) sum += (wide)columns[((long long)(i * w.kw + j) * w.H + p) * w.W + q];
        }
    }
    x[plane * count + k] = (T)sum;
}

// The largest entry at each place, and which it was: its number in the image.  Of equal ones the first; nan is the largest.
extern "C" __global__ void max_pool(T *y, int *chosen, const T *x, const Window w, unsigned count) {
    EACH(plane, k, count);
    int q = k % w.W, p = k / w.W, best = -1;
    x += plane * w.height * w.width;
    wide top = -__int_as_float(0x7f800000);
    for (int i = 0; i < w.kh; i++) {
        int up = p * w.sh + i * w.dh - w.top;
        if (up < 0 || up >= w.height) continue;
        for (int j = 0; j < w.kw; j++) {
            int across = q * w.sw + j * w.dw - w.left;
            if (across < 0 || across >= w.width) continue;
            wide here = (wide)x[up * w.width + across];
            if (best < 0 || here > top || here != here && top == top) {
                top = here;
                best = up * w.width + across;
            }
        }
    }
    y[plane * count + k] = (T)top;
    chosen[plane * count + k] = best;
}

// Each entry of x has a thread, that adds up g at the places where it was chosen.
extern "C" __global__ void max_pool_backward(T *gx, const T *g, const int *chosen, const Window w, unsigned count) {
    EACH(plane, k, count);
    int across = k % w.width, up = k / w.width;
    long long first = plane * w.H * w.W;
    wide sum = 0;
    for (int i = 0; i < w.kh; i++) {
        int p = place(up, i, w.top, w.sh, w.dh, w.H);
        if (p < 0) continue;
        for (int j = 0; j < w.kw; j++) {
            int q = place(across, j, w.left, w.sw, w.dw, w.W);
            long long at = first + p * w.W + q;
            if (q >= 0 && chosen[at] == up * w.width + across) sum += (wide)g[at];
        }
    }
    gx[plane * count + k] = (T)sum;
}
