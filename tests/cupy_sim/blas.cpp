/* The matrix products of cuBLAS, slowly: CuPy loads this as libcublas.

   Matrices are stored by columns, as Fortran has them; products are summed in float64.  __init__.py adds all other functions that
   CuPy asks for; they answer that they are not supported. */
#include <cstdint>
#include <cstring>
#include <vector>

enum Type { FLOAT32 = 0, FLOAT64 = 1, FLOAT16 = 2, BFLOAT16 = 14 };
enum Status { SUCCESS = 0, NOT_SUPPORTED = 15 };
static bool is_wide(int compute) { return compute == 70 || compute == 71 || compute == FLOAT64; }      // of alpha and beta

static float from_bfloat16(uint16_t bits) { uint32_t wide = (uint32_t)bits << 16; float x; memcpy(&x, &wide, 4); return x; }
static uint16_t to_bfloat16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return x != x ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

struct Matrix {                         // one of a batch
    char *data; int type; long long columns_apart;
    static int itemsize(int type) { return type == FLOAT64 ? 8 : type == FLOAT32 ? 4 : 2; }
    char *at(long long i, long long j) const { return data + (j * columns_apart + i) * itemsize(type); }
    double get(long long i, long long j) const {
        char *p = at(i, j);
        switch (type) {
            case FLOAT64: return *(double *)p;
            case FLOAT16: return (float)*(_Float16 *)p;
            case BFLOAT16: return from_bfloat16(*(uint16_t *)p);
            default: return *(float *)p;
        }
    }
    void set(long long i, long long j, double x) const {
        char *p = at(i, j);
        switch (type) {
            case FLOAT64: *(double *)p = x; break;
            case FLOAT16: *(_Float16 *)p = (_Float16)x; break;
            case BFLOAT16: *(uint16_t *)p = to_bfloat16((float)x); break;
            default: *(float *)p = (float)x;
        }
    }
};

static bool known(int type) { return type == FLOAT32 || type == FLOAT64 || type == FLOAT16 || type == BFLOAT16; }

// C = alpha · op(A) op(B) + beta · C, with op(A) (m, k) and op(B) (k, n).
static int gemm(int transpose_a, int transpose_b, int m, int n, int k, double alpha, Matrix A, Matrix B, double beta, Matrix C) {
    if (!known(A.type) || !known(B.type) || !known(C.type)) return NOT_SUPPORTED;
    std::vector<double> a((size_t)m * k), b((size_t)k * n);
    for (int i = 0; i < m; i++) for (int l = 0; l < k; l++) a[(size_t)i * k + l] = transpose_a ? A.get(l, i) : A.get(i, l);
    for (int j = 0; j < n; j++) for (int l = 0; l < k; l++) b[(size_t)j * k + l] = transpose_b ? B.get(j, l) : B.get(l, j);
    for (int j = 0; j < n; j++) for (int i = 0; i < m; i++) {
        double sum = 0;
        for (int l = 0; l < k; l++) sum += a[(size_t)i * k + l] * b[(size_t)j * k + l];
        C.set(i, j, alpha * sum + (beta != 0 ? beta * C.get(i, j) : 0));       // beta 0: C may hold anything, nan included
    }
    return SUCCESS;
}

static int strided(int ta, int tb, int m, int n, int k, double alpha, const void *A, int at, int lda, long long a_apart,
                   const void *B, int bt, int ldb, long long b_apart, double beta, void *C, int ct, int ldc, long long c_apart,
                   int batch) {
    int status = SUCCESS;
    for (int i = 0; i < batch && !status; i++)
        status = gemm(ta, tb, m, n, k, alpha, {(char *)A + i * a_apart * Matrix::itemsize(at), at, lda},
                      {(char *)B + i * b_apart * Matrix::itemsize(bt), bt, ldb}, beta,
                      {(char *)C + i * c_apart * Matrix::itemsize(ct), ct, ldc});
    return status;
}

static double scalar(const void *p, int compute) { return is_wide(compute) ? *(const double *)p : *(const float *)p; }

extern "C" {
typedef void *Handle;
int cublasCreate_v2(Handle *handle) { *handle = (void *)1; return SUCCESS; }
int cublasDestroy_v2(Handle) { return SUCCESS; }
int cublasGetVersion_v2(Handle, int *version) { *version = 130200; return SUCCESS; }
int cublasSetStream_v2(Handle, void *) { return SUCCESS; }
int cublasGetStream_v2(Handle, void **stream) { *stream = nullptr; return SUCCESS; }
int cublasSetWorkspace_v2(Handle, void *, size_t) { return SUCCESS; }
static int math_mode, pointer_mode;
int cublasSetMathMode(Handle, int mode) { math_mode = mode; return SUCCESS; }
int cublasGetMathMode(Handle, int *mode) { *mode = math_mode; return SUCCESS; }
int cublasSetPointerMode_v2(Handle, int mode) { pointer_mode = mode; return SUCCESS; }
int cublasGetPointerMode_v2(Handle, int *mode) { *mode = pointer_mode; return SUCCESS; }

int cublasGemmStridedBatchedEx(Handle, int ta, int tb, int m, int n, int k, const void *alpha, const void *A, int at, int lda,
                               long long a_apart, const void *B, int bt, int ldb, long long b_apart, const void *beta, void *C,
                               int ct, int ldc, long long c_apart, int batch, int compute, int algorithm) {
    return strided(ta, tb, m, n, k, scalar(alpha, compute), A, at, lda, a_apart, B, bt, ldb, b_apart, scalar(beta, compute),
                   C, ct, ldc, c_apart, batch);
}
int cublasGemmEx(Handle, int ta, int tb, int m, int n, int k, const void *alpha, const void *A, int at, int lda, const void *B,
                 int bt, int ldb, const void *beta, void *C, int ct, int ldc, int compute, int algorithm) {
    return strided(ta, tb, m, n, k, scalar(alpha, compute), A, at, lda, 0, B, bt, ldb, 0, scalar(beta, compute), C, ct, ldc, 0,
                   1);
}
int cublasSgemmEx(Handle, int ta, int tb, int m, int n, int k, const float *alpha, const void *A, int at, int lda, const void *B,
                  int bt, int ldb, const float *beta, void *C, int ct, int ldc) {
    return strided(ta, tb, m, n, k, *alpha, A, at, lda, 0, B, bt, ldb, 0, *beta, C, ct, ldc, 0, 1);
}

// Those with the type of their numbers in their names.
#define TYPED(letter, T, type) \
int cublas##letter##gemm_v2(Handle, int ta, int tb, int m, int n, int k, const T *alpha, const T *A, int lda, const T *B, \
                            int ldb, const T *beta, T *C, int ldc) { \
    return strided(ta, tb, m, n, k, *alpha, A, type, lda, 0, B, type, ldb, 0, *beta, C, type, ldc, 0, 1); \
} \
int cublas##letter##gemmStridedBatched(Handle, int ta, int tb, int m, int n, int k, const T *alpha, const T *A, int lda, \
                                       long long a_apart, const T *B, int ldb, long long b_apart, const T *beta, T *C, int ldc, \
                                       long long c_apart, int batch) { \
    return strided(ta, tb, m, n, k, *alpha, A, type, lda, a_apart, B, type, ldb, b_apart, *beta, C, type, ldc, c_apart, batch); \
} \
int cublas##letter##gemmBatched(Handle, int ta, int tb, int m, int n, int k, const T *alpha, const T **A, int lda, const T **B, \
                                int ldb, const T *beta, T **C, int ldc, int batch) { \
    int status = SUCCESS; \
    for (int i = 0; i < batch && !status; i++) \
        status = strided(ta, tb, m, n, k, *alpha, A[i], type, lda, 0, B[i], type, ldb, 0, *beta, C[i], type, ldc, 0, 1); \
    return status; \
}
TYPED(S, float, FLOAT32)
TYPED(D, double, FLOAT64)
}
