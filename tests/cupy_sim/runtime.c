/* A CUDA runtime and driver whose device memory is the memory of this process, and whose streams do everything at once.

   The functions have the C signatures under which CuPy's own modules call each other (see __init__.py); the last argument of
   most is Cython's and means nothing.  A module is a shared library made by compiler.py, a kernel is a function in it. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What the tests may read and set, by ctypes. */
long long launches, allocations, uploads, downloads, waits;
int capturing;                          /* what a stream answers that is asked whether it is being recorded */

#define NOTHING(name, ...) PyObject *name(__VA_ARGS__) { Py_RETURN_NONE; }
#define WAIT(name, ...) PyObject *name(__VA_ARGS__) { waits++; Py_RETURN_NONE; }
#define NUMBER(name, value, ...) int name(__VA_ARGS__) { return value; }

/* Devices: one, an H100 in all that CuPy asks of it. */
enum { MAX_THREADS = 1, SHARED_MEMORY = 8, WARP = 10, PROCESSORS = 16, MAJOR = 75, MINOR = 76, OPT_IN_SHARED_MEMORY = 97,
       MEMORY_POOLS = 115 };

int deviceGetAttribute(int attribute, int device, int skip) {
    switch (attribute) {
        case SHARED_MEMORY: return 49152;
        case WARP: return 32;
        case PROCESSORS: return 132;
        case MAJOR: return 9;
        case MINOR: return 0;
        case OPT_IN_SHARED_MEMORY: return 232448;
        case MEMORY_POOLS: return 0;
        default: return 1024;           /* MAX_THREADS, and limits nothing depends on */
    }
}
NUMBER(getDevice, 0, int skip)
NUMBER(getDeviceCount, 1, int skip)
NUMBER(driverGetVersion, 13020, int skip)
NUMBER(deviceCanAccessPeer, 0, int device, int peer, int skip)
NOTHING(setDevice, int device, int skip)
WAIT(deviceSynchronize, int skip)
NOTHING(_ensure_context, void)

PyObject *check_status(int status, int skip) {
    if (status) return PyErr_Format(PyExc_RuntimeError, "simulated CUDA: status %d", status);
    Py_RETURN_NONE;
}

/* Memory: filled with 0xFF, which is nan, so that reading what was never written shows. */
intptr_t malloc_(size_t size) {
    void *p;
    if (posix_memalign(&p, 512, size ? size : 512)) { PyErr_NoMemory(); return 0; }
    allocations++;
    return (intptr_t)memset(p, 0xFF, size);
}
intptr_t device_malloc(size_t size, int skip) { return malloc_(size); }
intptr_t mallocAsync(size_t size, intptr_t stream, int skip) { return malloc_(size); }
intptr_t hostAlloc(size_t size, unsigned flags, int skip) { return malloc_(size); }
PyObject *device_free(intptr_t p, int skip) { free((void *)p); Py_RETURN_NONE; }
PyObject *freeAsync(intptr_t p, intptr_t stream, int skip) { free((void *)p); Py_RETURN_NONE; }
PyObject *freeHost(intptr_t p, int skip) { free((void *)p); Py_RETURN_NONE; }
NUMBER(pointerGetMemoryType, 0, intptr_t p, int skip)
PyObject *memGetInfo(int skip) { return Py_BuildValue("(nn)", (Py_ssize_t)8 << 30, (Py_ssize_t)16 << 30); }

static PyObject *copy(intptr_t to, intptr_t from, size_t size, int kind) {
    enum { TO_DEVICE = 1, TO_HOST = 2 };
    uploads += kind == TO_DEVICE;
    downloads += kind == TO_HOST;
    memmove((void *)to, (void *)from, size);
    Py_RETURN_NONE;
}
PyObject *device_memcpy(intptr_t to, intptr_t from, size_t size, int kind, int skip) { return copy(to, from, size, kind); }
PyObject *memcpyAsync(intptr_t to, intptr_t from, size_t size, int kind, intptr_t stream, int skip) {
    return copy(to, from, size, kind);
}
PyObject *device_memset(intptr_t p, int value, size_t size, int skip) { memset((void *)p, value, size); Py_RETURN_NONE; }
PyObject *memsetAsync(intptr_t p, int value, size_t size, intptr_t stream, int skip) {
    memset((void *)p, value, size);
    Py_RETURN_NONE;
}

/* Streams and events: handles that are only told apart. */
static intptr_t new_handle(void) { static intptr_t last = 0x1000; return ++last; }
intptr_t streamCreate(int skip) { return new_handle(); }
intptr_t streamCreateWithFlags(unsigned flags, int skip) { return new_handle(); }
intptr_t streamCreateWithPriority(unsigned flags, int priority, int skip) { return new_handle(); }
intptr_t eventCreate(int skip) { return new_handle(); }
intptr_t eventCreateWithFlags(unsigned flags, int skip) { return new_handle(); }
NOTHING(streamDestroy, intptr_t stream, int skip)
PyObject *streamQuery(intptr_t stream, int skip) { return PyLong_FromLong(0); } /* all is done */
WAIT(streamSynchronize, intptr_t stream, int skip)
NOTHING(streamWaitEvent, intptr_t stream, intptr_t event, int skip, void *optional)
NUMBER(streamIsCapturing, capturing, intptr_t stream, int skip)
NOTHING(eventDestroy, intptr_t event, int skip)
PyObject *eventQuery(intptr_t event, int skip) { return PyLong_FromLong(0); }
WAIT(eventSynchronize, intptr_t event, int skip)
NOTHING(eventRecord, intptr_t event, intptr_t stream, int skip)
float eventElapsedTime(intptr_t start, intptr_t end, int skip) { return 0.001f; }

/* Modules and kernels. */
intptr_t moduleLoadData(PyObject *path, int skip) {
    void *module = dlopen(PyBytes_AsString(path), RTLD_NOW | RTLD_LOCAL);
    if (!module) PyErr_SetString(PyExc_RuntimeError, dlerror());
    return (intptr_t)module;
}
static intptr_t find(intptr_t module, const char *prefix, PyObject *name) {
    char symbol[4096];
    snprintf(symbol, sizeof symbol, "%s%s", prefix, PyUnicode_AsUTF8(name));
    void *found = dlsym((void *)module, symbol);
    if (!found) PyErr_Format(PyExc_RuntimeError, "simulated CUDA: the module has no %s", symbol);
    return (intptr_t)found;
}
intptr_t moduleGetFunction(intptr_t module, PyObject *name, int skip) { return find(module, "launch_", name); }
intptr_t moduleGetGlobal(intptr_t module, PyObject *name, int skip) { return find(module, "", name); }
NOTHING(moduleUnload, intptr_t module, int skip)

PyObject *launchKernel(intptr_t kernel, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned shared_memory, intptr_t stream, intptr_t arguments, intptr_t extra, int skip) {
    unsigned sizes[6] = {gx, gy, gz, bx, by, bz};
    if (!gx || !gy || !gz || gx > 0x7fffffffu || gy > 65535 || gz > 65535 || !(bx * by * bz) || bx * by * bz > 1024 || bz > 64)
        return PyErr_Format(PyExc_RuntimeError, "simulated CUDA: no GPU has a grid of (%u, %u, %u) blocks of (%u, %u, %u)",
                            gx, gy, gz, bx, by, bz);
    launches++;
    ((void (*)(unsigned *, size_t, void **))kernel)(sizes, shared_memory, (void **)arguments);
    Py_RETURN_NONE;
}
NUMBER(funcGetAttribute, 1024, int attribute, intptr_t kernel, int skip)
NOTHING(funcSetAttribute, intptr_t kernel, int attribute, int value, int skip)
NUMBER(occupancyMaxActiveBlocksPerMultiprocessor, 4, intptr_t kernel, int block, size_t shared_memory, int skip)
PyObject *occupancyMaxPotentialBlockSize(intptr_t kernel, size_t shared_memory, int limit, int skip) {
    return Py_BuildValue("(ii)", 132, 256);
}
