/* What CUDA C++ takes for granted on a GPU, for g++ on a CPU (x86-64): compiler.py puts this before every kernel.

   A kernel is a function that is called once for each thread (threads.h says how).  Not here: what exists in hardware only (tensor
   cores, textures, asynchronous copies), inline PTX, cooperative groups, and a memory in which writes of others arrive late. */
#pragma once
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __shared__ static
#define __forceinline__ inline
#define __noinline__
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

using std::abs; using std::isfinite; using std::isinf; using std::isnan; using std::max; using std::min; using std::signbit;
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
struct int2 { int x, y; };
struct int4 { int x, y, z, w; };
struct uint2 { unsigned x, y; };
struct uint3 { unsigned x, y, z; };
struct uint4 { unsigned x, y, z, w; };
struct float2 { float x, y; };
struct float3 { float x, y, z; };
struct alignas(16) float4 { float x, y, z, w; };
struct double2 { double x, y; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
    unsigned count() const { return x * y * z; }
};

static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
static const int warpSize = 32;

#include "threads.h"

// Bits

#define SIM_SAME_BITS(name, From, To) inline To name(From x) { \
    To y; \
    static_assert(sizeof x == sizeof y, "both have as many bits"); \
    memcpy(&y, &x, sizeof x); \
    return y; \
}
SIM_SAME_BITS(__float_as_int, float, int)
SIM_SAME_BITS(__int_as_float, int, float)
SIM_SAME_BITS(__float_as_uint, float, unsigned)
SIM_SAME_BITS(__uint_as_float, unsigned, float)
SIM_SAME_BITS(__double_as_longlong, double, long long)
SIM_SAME_BITS(__longlong_as_double, long long, double)
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
template <class T> T __ldg(const T *p) { return *p; }

// Atomics: one thread runs at a time, so that nothing can come between.

template <class T> T sim_exchange(T *p, T value) { T old = *p; *p = value; return old; }
#define SIM_ADD(T) inline T atomicAdd(T *p, T v) { return sim_exchange(p, (T)(*p + v)); }
SIM_ADD(int) SIM_ADD(unsigned) SIM_ADD(unsigned long long) SIM_ADD(float) SIM_ADD(double)
#define SIM_ATOMICS(T) \
    inline T atomicExch(T *p, T v) { return sim_exchange(p, v); } \
    inline T atomicCAS(T *p, T expected, T v) { return sim_exchange(p, *p == expected ? v : *p); } \
    inline T atomicMax(T *p, T v) { return sim_exchange(p, v > *p ? v : *p); } \
    inline T atomicMin(T *p, T v) { return sim_exchange(p, v < *p ? v : *p); } \
    inline T atomicAnd(T *p, T v) { return sim_exchange(p, *p & v); } \
    inline T atomicOr(T *p, T v) { return sim_exchange(p, *p | v); } \
    inline T atomicXor(T *p, T v) { return sim_exchange(p, *p ^ v); }
SIM_ATOMICS(int) SIM_ATOMICS(unsigned) SIM_ATOMICS(unsigned long long)
inline float atomicExch(float *p, float v) { return sim_exchange(p, v); }

// Arithmetic: what a GPU does approximately is exact here

inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline double rsqrt(double x) { return 1 / ::sqrt(x); }
inline double normcdf(double x) { return ::erfc(-x / ::sqrt(2.0)) / 2; }
inline float normcdf(float x) { return (float)normcdf((double)x); }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __saturatef(float x) { return x < 0 ? 0 : x > 1 ? 1 : x; }
inline float norm3df(float x, float y, float z) { return sqrtf(x * x + y * y + z * z); }
inline double sinpi(double x) { return sin(M_PI * x); }
inline double cospi(double x) { return cos(M_PI * x); }

// Floats of 16 bits, in place of cuda_fp16.h and cuda_bf16.h: as much as CuPy's headers and the package's kernels use

struct __half_raw { unsigned short x; };
struct half {
    _Float16 v;
    half() = default;
    half(const half &) = default;
    half &operator=(const half &) = default;
    half(float x) : v((_Float16)x) {}
    explicit half(double x) : v((_Float16)x) {}
    explicit half(bool x) : v((_Float16)(float)x) {}
    explicit half(int x) : v((_Float16)x) {}
    explicit half(unsigned x) : v((_Float16)x) {}
    explicit half(long long x) : v((_Float16)x) {}
    explicit half(unsigned long long x) : v((_Float16)x) {}
    explicit half(const __half_raw &raw) { memcpy(&v, &raw, 2); }
    operator float() const { return (float)v; }
    explicit operator __half_raw() const { __half_raw raw; memcpy(&raw, &v, 2); return raw; }
};
typedef half __half;
SIM_SAME_BITS(__half_as_ushort, half, unsigned short)
SIM_SAME_BITS(__ushort_as_half, unsigned short, half)
inline float __half2float(half x) { return x; }
inline half __float2half(float x) { return x; }
inline half __float2half_rn(float x) { return x; }

struct __nv_bfloat16 {
    unsigned short bits;
    __nv_bfloat16() : bits(0) {}
    __nv_bfloat16(float x) {
        unsigned wide = __float_as_uint(x);
        bits = std::isnan(x) ? wide >> 16 | 0x40 : (wide + 0x7fff + (wide >> 16 & 1)) >> 16;       // rounds to even
    }
    operator float() const { return __uint_as_float((unsigned)bits << 16); }
};
SIM_SAME_BITS(__bfloat16_as_ushort, __nv_bfloat16, unsigned short)
SIM_SAME_BITS(__ushort_as_bfloat16, unsigned short, __nv_bfloat16)
inline float __bfloat162float(__nv_bfloat16 x) { return x; }
inline __nv_bfloat16 __float2bfloat16(float x) { return x; }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return x; }
inline bool __hisnan(__nv_bfloat16 x) { return std::isnan((float)x); }
inline int __hisinf(__nv_bfloat16 x) { return std::isinf((float)x); }
