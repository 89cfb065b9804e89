// The gradient of an embedding: rows of g added up by the id they were read for.  `ids` is sorted, and `order` says where in g
// the rows of each id are: so all rows of one id are found, and added, in the order in which they came.
//
// A block has a chunk of `ids`, `each` places, each of its threads one column.  A run of equal ids that lies in one chunk is
// written at once.  Of a longer one (ids of a token's type are all 0) each chunk leaves a part, and `add_chunks` adds those up.
// An id out of range is left out: it has been noticed already (cuda_checks.py).

// parts: (2, chunks, width): what a chunk adds to a run that began before it, and to one that goes on after it.
extern "C" __global__ void add_rows(T *gw, wide *parts, const T *g, const long long *ids, const long long *order,
                                    long long places, long long count, int width, int each) {
    long long first = (long long)blockIdx.x * each, end = min(first + each, places);
    int column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= width) return;
    bool began = !first || ids[first - 1] != ids[first];     // here, and not in a chunk before
    wide sum = 0;
    for (long long k = first; k < end; k++) {
        long long id = ids[k];
        bool ends = k + 1 == places || ids[k + 1] != id;
        sum += (wide)g[order[k] * width + column];
        if (!ends && k + 1 < end) continue;
        if (began && ends) { if (id >= 0 && id < count) gw[id * width + column] = (T)sum; }
        else parts[((long long)began * gridDim.x + blockIdx.x) * width + column] = sum;
        began = true;
        sum = 0;
    }
}

// A block has a chunk: if a run begins in it and goes on, this adds up its parts.
extern "C" __global__ void add_chunks(T *gw, const wide *parts, const long long *ids, long long places, long long count,
                                      int width, int each) {
    long long first = (long long)blockIdx.x * each, end = min(first + each, places), id = ids[end - 1];
    int column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= width || end == places || ids[end] != id || first && ids[first - 1] == id || id < 0 || id >= count) return;
    wide sum = parts[((long long)gridDim.x + blockIdx.x) * width + column];
    for (long long chunk = blockIdx.x + 1; chunk * each < places && ids[chunk * each] == id; chunk++)
        sum += parts[chunk * width + column];
    gw[id * width + column] = (T)sum;
}
