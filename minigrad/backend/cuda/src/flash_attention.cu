// softmax(q kᵀ · scale + mask) v without the matrix of scores, which would have an entry for every query and key.
//
// A block has TILE queries of one head and goes through the keys, TILE at a time (Dao et al. 2022, FlashAttention).  Queries, keys
// and values are tiles in shared memory; the scores of one tile with another exist there only.  Softmax needs the largest score
// of a row and the sum of all exp(score - largest) before anything can be divided: both are kept so far, and when a larger score
// turns up, what was summed is scaled down to it (Milakov & Gimelshein 2018).  The way back computes the scores again, first
// for each query over all keys, then for each key over all queries, so that only one block adds to each gradient.
//
// 256 threads stand in a square of 16 × 16.  Thread (r, c) has every 16th row from r on, and every 16th column from c on.
#define N (TILE / 16)                           // rows, and keys, of a thread
#define M (D / 16)                              // columns of a thread; D is the size of a head, rounded up
#define WIDE (D + 1)                            // from row to row of a tile: odd, or the 16 threads of a row would queue for one bank
#define INF __int_as_float(0x7f800000)
#define FOR(i, n) _Pragma("unroll") for (int i = 0; i < n; i++)

struct Heads { T *data; long long batch, head, row; };       // an array (batch, head, row, column), with steps between entries
struct Call {                                   // as in cuda_attention.py; all fields have 8 bytes
    Heads q, k, v, y, gy, gq, gk, gv;
    const bool *allowed; const T *bias;         // the mask, of the one kind or the other, or neither
    long long mask_batch, mask_head, mask_row, mask_column;
    const bool *keep;                           // dropout of the weights, or null
    long long keep_batch, keep_head, keep_row, keep_column;
    wide *top, *log_sum, *dots;                 // for each query: its largest score, log Σ exp(score - top), and g · y
    long long queries, keys, size, value_size, causal, tiles, heads;
    double scale, kept;                         // kept: 1 / (1 - p)
};

// The blocks are numbered in one row, for only its first axis may be long in a grid: tiles of a head, heads of a batch, batches.
__device__ unsigned tile_of(const Call &a) { return blockIdx.x % (unsigned)a.tiles; }
__device__ long long head_of(const Call &a) { return blockIdx.x / (unsigned)a.tiles % (unsigned)a.heads; }
__device__ long long batch_of(const Call &a) { return blockIdx.x / (unsigned)a.tiles / (unsigned)a.heads; }

__device__ T *of_head(const Call &a, const Heads &x) { return x.data + batch_of(a) * x.batch + head_of(a) * x.head; }
__device__ long long head_row(const Call &a, int i) { return blockIdx.x / (unsigned)a.tiles * a.queries + i; }

__device__ void load(wide *tile, const Call &a, const Heads &x, int first, int rows, int columns) {
    for (int i = threadIdx.x; i < TILE * D; i += 256) {
        int row = i / D, column = i % D;
        bool inside = first + row < rows && column < columns;
        tile[row * WIDE + column] = inside ? (wide)of_head(a, x)[(first + row) * x.row + column] : 0;
    }
}

// a bᵀ: what each of this thread's rows of one tile has in common with its rows of another.
__device__ void products(wide (&s)[N][N], const wide *a, const wide *b) {
    int r = threadIdx.x / 16, c = threadIdx.x % 16;
    FOR(i, N) FOR(j, N) s[i][j] = 0;
    for (int x = 0; x < D; x++)
        FOR(i, N) FOR(j, N) s[i][j] += a[(r + 16 * i) * WIDE + x] * b[(c + 16 * j) * WIDE + x];
}

// The score of a query and a key, -INF if it may not look there.
__device__ wide score(const Call &a, wide product, int query, int key) {
    if (query >= a.queries || key >= a.keys || a.causal && key > query) return -INF;
    long long at = batch_of(a) * a.mask_batch + head_of(a) * a.mask_head + query * a.mask_row + key * a.mask_column;
    if (a.allowed && !a.allowed[at]) return -INF;
    return product * (wide)a.scale + (a.bias ? (wide)a.bias[at] : 0);
}

// What dropout multiplies a weight by.
__device__ wide dropout(const Call &a, int query, int key) {
    if (!a.keep || query >= a.queries || key >= a.keys) return 1;
    long long at = batch_of(a) * a.keep_batch + head_of(a) * a.keep_head + query * a.keep_row + key * a.keep_column;
    return a.keep[at] ? (wide)a.kept : 0;
}

// Over the 16 threads that have a row.
__device__ wide row_max(wide x) { for (int far = 8; far; far /= 2) x = max(x, __shfl_xor_sync(~0u, x, far)); return x; }
__device__ wide row_sum(wide x) { for (int far = 8; far; far /= 2) x += __shfl_xor_sync(~0u, x, far); return x; }

extern "C" __global__ void __launch_bounds__(256, 2) attention(const __grid_constant__ Call a) {
    extern __shared__ wide shared[];
    wide *q = shared, *other = q + TILE * WIDE, *weights = other + TILE * WIDE;             // other: keys, then values
    int r = threadIdx.x / 16, c = threadIdx.x % 16, first = tile_of(a) * TILE;
    wide top[N], sum[N], y[N][M], s[N][N];      // so far: the largest score, Σ exp(score - top), Σ exp(score - top) · value
    FOR(i, N) { top[i] = -INF; sum[i] = 0; FOR(j, M) y[i][j] = 0; }
    load(q, a, a.q, first, a.queries, a.size);
    int end = a.causal ? min((long long)first + TILE, a.keys) : a.keys;
    for (int start = 0; start < end; start += TILE) {
        load(other, a, a.k, start, a.keys, a.size);
        __syncthreads();
        products(s, q, other);
        FOR(i, N) {
            wide before = top[i];
            FOR(j, N) {
                s[i][j] = score(a, s[i][j], first + r + 16 * i, start + c + 16 * j);
                top[i] = max(top[i], s[i][j]);
            }
            top[i] = row_max(top[i]);
            wide base = top[i] == -INF ? 0 : top[i], shrink = exp(before - base), part = 0;
            FOR(j, N) {
                wide weight = exp(s[i][j] - base);
                part += weight;
                weights[(r + 16 * i) * (TILE + 1) + c + 16 * j] = weight * dropout(a, first + r + 16 * i, start + c + 16 * j);
            }
            sum[i] = sum[i] * shrink + row_sum(part);
            FOR(j, M) y[i][j] *= shrink;
        }
        __syncthreads();                        // the weights are there, and the keys have been read
        load(other, a, a.v, start, a.keys, a.value_size);
        __syncthreads();
        for (int k = 0; k < TILE; k++)
            FOR(i, N) FOR(j, M) y[i][j] += weights[(r + 16 * i) * (TILE + 1) + k] * other[k * WIDE + c + 16 * j];
        __syncthreads();                        // the values have been read
    }
    FOR(i, N) {
        int query = first + r + 16 * i;
        if (query >= a.queries) continue;
        FOR(j, M) if (c + 16 * j < a.value_size)
            of_head(a, a.y)[query * a.y.row + c + 16 * j] = (T)(sum[i] > 0 ? y[i][j] / sum[i] : 0);
        if (c != 0) continue;
        a.top[head_row(a, query)] = sum[i] > 0 ? top[i] : 0;
        a.log_sum[head_row(a, query)] = sum[i] > 0 ? log(sum[i]) : INF;
    }
}

// dots[query] = g · y, which is Σ weight · (gradient of the weight).  A thread has one query.
extern "C" __global__ void __launch_bounds__(256, 2) attention_dots(const __grid_constant__ Call a) {
    long long query = (long long)tile_of(a) * 256 + threadIdx.x;
    if (query >= a.queries) return;
    wide sum = 0;
    for (int i = 0; i < a.value_size; i++)
        sum += (wide)of_head(a, a.gy)[query * a.gy.row + i] * (wide)of_head(a, a.y)[query * a.y.row + i];
    a.dots[head_row(a, query)] = sum;
}

// For a tile of queries and one of keys: the weights after dropout, and the gradients of the products q kᵀ.
__device__ void way_back(const Call &a, wide *weights, wide *gscores, const wide *q, const wide *k, const wide *gy, const wide *v,
                         int first_query, int first_key) {
    int r = threadIdx.x / 16, c = threadIdx.x % 16;
    wide s[N][N], gweights[N][N];
    products(s, q, k);
    products(gweights, gy, v);
    FOR(i, N) {
        int query = first_query + r + 16 * i;
        wide top = query < a.queries ? a.top[head_row(a, query)] : 0, log_sum = query < a.queries ? a.log_sum[head_row(a, query)] : INF;
        wide dot = query < a.queries ? a.dots[head_row(a, query)] : 0;
        FOR(j, N) {
            int key = first_key + c + 16 * j, at = (r + 16 * i) * (TILE + 1) + c + 16 * j;
            wide weight = exp(score(a, s[i][j], query, key) - top - log_sum), kept = dropout(a, query, key);
            if (weights) weights[at] = weight * kept;
            gscores[at] = weight * (gweights[i][j] * kept - dot) * (wide)a.scale;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 2) attention_gq(const __grid_constant__ Call a) {
    extern __shared__ wide shared[];
    wide *q = shared, *gy = q + TILE * WIDE, *k = gy + TILE * WIDE, *v = k + TILE * WIDE, *gscores = v + TILE * WIDE;
    int r = threadIdx.x / 16, c = threadIdx.x % 16, first = tile_of(a) * TILE;
    wide gq[N][M];
    FOR(i, N) FOR(j, M) gq[i][j] = 0;
    load(q, a, a.q, first, a.queries, a.size);
    load(gy, a, a.gy, first, a.queries, a.value_size);
    int end = a.causal ? min((long long)first + TILE, a.keys) : a.keys;
    for (int start = 0; start < end; start += TILE) {
        load(k, a, a.k, start, a.keys, a.size);
        load(v, a, a.v, start, a.keys, a.value_size);
        __syncthreads();
        way_back(a, nullptr, gscores, q, k, gy, v, first, start);
        __syncthreads();
        for (int x = 0; x < TILE; x++)
            FOR(i, N) FOR(j, M) gq[i][j] += gscores[(r + 16 * i) * (TILE + 1) + x] * k[x * WIDE + c + 16 * j];
        __syncthreads();
    }
    FOR(i, N) FOR(j, M) if (first + r + 16 * i < a.queries && c + 16 * j < a.size)
        of_head(a, a.gq)[(first + r + 16 * i) * a.gq.row + c + 16 * j] = (T)gq[i][j];
}

extern "C" __global__ void __launch_bounds__(256, 2) attention_gkv(const __grid_constant__ Call a) {
    extern __shared__ wide shared[];
    wide *q = shared, *gy = q + TILE * WIDE, *k = gy + TILE * WIDE, *v = k + TILE * WIDE;
    wide *gscores = v + TILE * WIDE, *weights = gscores + TILE * (TILE + 1);
    int r = threadIdx.x / 16, c = threadIdx.x % 16, first = tile_of(a) * TILE;
    wide gk[N][M], gv[N][M];
    FOR(i, N) FOR(j, M) gk[i][j] = gv[i][j] = 0;
    load(k, a, a.k, first, a.keys, a.size);
    load(v, a, a.v, first, a.keys, a.value_size);
    for (int start = a.causal ? first : 0; start < a.queries; start += TILE) {              // earlier queries do not look here
        load(q, a, a.q, start, a.queries, a.size);
        load(gy, a, a.gy, start, a.queries, a.value_size);
        __syncthreads();
        way_back(a, weights, gscores, q, k, gy, v, start, first);
        __syncthreads();
        for (int x = 0; x < TILE; x++)
            FOR(i, N) FOR(j, M) {
                gk[i][j] += gscores[x * (TILE + 1) + r + 16 * i] * q[x * WIDE + c + 16 * j];
                gv[i][j] += weights[x * (TILE + 1) + r + 16 * i] * gy[x * WIDE + c + 16 * j];
            }
        __syncthreads();
    }
    FOR(i, N) FOR(j, M) {
        int key = first + r + 16 * i, column = c + 16 * j;
        if (key < a.keys && column < a.size) of_head(a, a.gk)[key * a.gk.row + column] = (T)gk[i][j];
        if (key < a.keys && column < a.value_size) of_head(a, a.gv)[key * a.gv.row + column] = (T)gv[i][j];
    }
}
