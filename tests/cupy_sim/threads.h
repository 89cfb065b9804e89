/* How the threads of a block run on one CPU core: as fibers, if they have barriers, and one after the other if not.

   A fiber is a stack of its own; a barrier keeps where its thread is and goes on with the next one.  device.h includes this. */
#pragma once

#ifdef __SANITIZE_ADDRESS__             // it marks the borders of variables, which are in the way on a stack that is used again
extern "C" void __asan_unpoison_memory_region(const volatile void *, size_t);
#else
inline void __asan_unpoison_memory_region(const volatile void *, size_t) {}
#endif

namespace sim {

[[noreturn]] inline void stop(const char *why) { fprintf(stderr, "simulated CUDA: %s\n", why); abort(); }

// Keep the calling fiber's stack pointer in *from, and go on where `to` was kept.  (swapcontext makes a system call each time.)
extern "C" void cupy_sim_switch(void **from, void *to);
__asm__(".weak cupy_sim_switch\n.type cupy_sim_switch,@function\ncupy_sim_switch:\n"
        " push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n mov %rsp,(%rdi)\n"
        " mov %rsi,%rsp\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n ret\n");

const int MOST_THREADS = 1024, STACK = 64 * 1024;
enum State { READY, AT_BARRIER, AT_WARP, DONE };
struct Fiber { void *stack_pointer; char *stack; uint3 thread; State state; };
static std::vector<Fiber> fibers;
static void *scheduler;                 // its stack pointer, while a fiber runs
static int current = -1;
static bool with_fibers = false;
static std::vector<char> shared_memory;
static uint64_t lanes[MOST_THREADS + 32];                       // what the threads show each other in a shuffle

inline char *dynamic_shared_memory() { return shared_memory.data(); }
inline int thread_number() { return with_fibers ? current : 0; }

inline void wait(State state) {
    int me = current;
    fibers[me].state = state;
    cupy_sim_switch(&fibers[me].stack_pointer, scheduler);
    current = me;
    threadIdx = fibers[me].thread;
}
inline void barrier() {
    if (with_fibers) wait(AT_BARRIER);
    else if (blockDim.count() > 1) stop("a barrier in a kernel whose source seemed to have none");
}
inline void warp_barrier() { if (with_fibers) wait(AT_WARP); }

// The value of the thread at place `source` of this one's warp.
template <class T> T shuffle(T value, int source, bool in_range) {
    static_assert(sizeof(T) <= 8, "shuffles are of 8 bytes at most");
    int me = thread_number(), asked = me / 32 * 32 + source;
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(T));
    lanes[me] = bits;
    warp_barrier();
    if (in_range && asked < (int)blockDim.count()) memcpy(&value, &lanes[asked], sizeof(T));
    warp_barrier();
    return value;
}

// A bit for each thread of the warp for which `yes` is true.
inline unsigned ballot(bool yes) {
    int me = thread_number(), first = me / 32 * 32, end = std::min(first + 32, (int)blockDim.count());
    lanes[me] = yes;
    warp_barrier();
    unsigned bits = 0;
    for (int i = first; i < end; i++) bits |= (unsigned)(lanes[i] && fibers[i].state != DONE) << (i - first);
    warp_barrier();
    return with_fibers ? bits : yes;
}

template <class Body> struct Entry {    // where a fiber begins, and ends
    static Body *body;
    static void run() {
        (*body)();
        fibers[current].state = DONE;
        void *never_again;
        cupy_sim_switch(&never_again, scheduler);
    }
};
template <class Body> Body *Entry<Body>::body = nullptr;

inline uint3 place(unsigned i, dim3 b) { return {i % b.x, i / b.x % b.y, i / (b.x * b.y)}; }

template <class Body> void prepare(int i, dim3 b) {
    Fiber &f = fibers[i];
    if (!f.stack) f.stack = (char *)malloc(STACK);
    __asan_unpoison_memory_region(f.stack, STACK);
    f.state = READY;
    f.thread = place(i, b);
    void **top = (void **)(((uintptr_t)f.stack + STACK) & ~(uintptr_t)15) - 1;
    *--top = (void *)&Entry<Body>::run;
    for (int saved_register = 0; saved_register < 6; saved_register++) *--top = nullptr;
    f.stack_pointer = top;
}

// If all threads from `first` to `end` that still run wait for the same thing, let them go on.
inline bool release(int first, int end, State state) {
    bool any = false;
    for (int i = first; i < end; i++) {
        if (fibers[i].state == DONE) continue;
        if (fibers[i].state != state) return false;
        any = true;
    }
    for (int i = first; any && i < end; i++) if (fibers[i].state != DONE) fibers[i].state = READY;
    return any;
}

template <class Body> void run_block(dim3 b, Body &body) {
    static const char *order = getenv("CUPY_SIM_ORDER");
    const bool reversed = order && !strcmp(order, "reversed");
    const int n = b.count();
    Entry<Body>::body = &body;
    if ((int)fibers.size() < n) fibers.resize(n);
    for (int i = 0; i < n; i++) prepare<Body>(i, b);
    for (;;) {
        bool progress = false, running = false;
        for (int j = 0; j < n; j++) {
            current = reversed ? n - 1 - j : j;
            if (fibers[current].state != READY) continue;
            threadIdx = fibers[current].thread;
            cupy_sim_switch(&scheduler, fibers[current].stack_pointer);
            progress = true;
        }
        for (int warp = 0; warp < n; warp += 32) progress |= release(warp, std::min(warp + 32, n), AT_WARP);
        progress |= release(0, n, AT_BARRIER);
        for (int i = 0; i < n; i++) running |= fibers[i].state != DONE;
        if (!running) return;
        if (!progress) stop("deadlock: some threads of a block wait at a barrier that others never reach");
    }
}

template <class Body> void launch(dim3 grid, dim3 block, size_t shared, bool barriers, Body body) {
    if (block.count() > MOST_THREADS) stop("more than 1024 threads in a block");
    gridDim = grid;
    blockDim = block;
    shared_memory.assign(shared + 16, 0x7f);                    // nonsense, until it is written
    with_fibers = barriers && block.count() > 1;
    for (unsigned z = 0; z < grid.z; z++) for (unsigned y = 0; y < grid.y; y++) for (unsigned x = 0; x < grid.x; x++) {
        blockIdx = {x, y, z};
        if (with_fibers) { run_block(block, body); continue; }
        for (unsigned i = 0; i < block.count(); i++) {
            threadIdx = place(i, block);
            body();
        }
    }
}

template <class... A, size_t... I> void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*reinterpret_cast<std::remove_reference_t<A> *>(arguments[I])...);
}

// What runtime.c calls: sizes are those of the grid, then of a block.
template <class... A> void run(void (*kernel)(A...), const unsigned *sizes, size_t shared, bool barriers, void **arguments) {
    launch(dim3(sizes[0], sizes[1], sizes[2]), dim3(sizes[3], sizes[4], sizes[5]), shared, barriers,
           [&] { call(kernel, arguments, std::index_sequence_for<A...>{}); });
}

}  // namespace sim

inline void __syncthreads() { sim::barrier(); }
inline void __syncwarp(unsigned = ~0u) { sim::warp_barrier(); }
inline void __threadfence() {}
inline void __threadfence_block() {}
template <class T> T __shfl_sync(unsigned, T v, int from, int width = 32) {
    int lane = sim::thread_number() % 32;
    return sim::shuffle(v, lane / width * width + from % width, true);
}
template <class T> T __shfl_down_sync(unsigned, T v, unsigned by, int width = 32) {
    int lane = sim::thread_number() % 32;
    return sim::shuffle(v, lane + by, lane % width + (int)by < width);
}
template <class T> T __shfl_up_sync(unsigned, T v, unsigned by, int width = 32) {
    int lane = sim::thread_number() % 32;
    return sim::shuffle(v, lane - (int)by, lane % width >= (int)by);
}
template <class T> T __shfl_xor_sync(unsigned, T v, int mask, int width = 32) {
    int lane = sim::thread_number() % 32;
    return sim::shuffle(v, lane ^ mask, (lane ^ mask) / width == lane / width);
}
inline unsigned __ballot_sync(unsigned, int yes) { return sim::ballot(yes); }
inline int __any_sync(unsigned, int yes) { return sim::ballot(yes) != 0; }
inline int __all_sync(unsigned, int yes) { return sim::ballot(!yes) == 0; }
