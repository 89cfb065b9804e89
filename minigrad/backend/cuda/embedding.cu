// The gradient of an embedding: rows of g added up by the id they were read for.  `ids` is sorted, and `order` says where in g
// the rows of each id are: so all rows of one id are found, and added, in the order in which they came.
//
// A block has one place of `ids`, each of its threads one column; those at the first place of a run of equal ids add up all of
// it.  An id out of range is left out: it has been noticed already (cuda_checks.py).
extern "C" __global__ void add_rows(T *gw, const T *g, const long long *ids, const long long *order, long long places,
                                    long long count, int width) {
    long long first = blockIdx.x, id = ids[first];
    int column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= width || id < 0 || id >= count || (first && ids[first - 1] == id)) return;
    wide sum = 0;
    for (long long k = first; k < places && ids[k] == id; k++) sum += (wide)g[order[k] * width + column];
    gw[id * width + column] = (T)sum;
}
