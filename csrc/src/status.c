/* Status codes in words, the clock, and the search for NaN and Inf that error paths use. */
#define _POSIX_C_SOURCE 199309L
#include <time.h>

#include "internal.h"

const char *cnn_status_message(cnn_status status)
{
    switch (status) {
    case CNN_OK: return "ok";
    case CNN_OUT_OF_MEMORY: return "out of memory";
    case CNN_BAD_PROGRAM: return "an instruction does not fit the registry or its operands";
    case CNN_BAD_BATCH: return "the batch is empty or larger than the program was planned for";
    case CNN_BAD_THREADS: return "the number of threads is out of range";
    case CNN_BAD_ISA: return "the instruction set is unknown or this CPU lacks it";
    case CNN_NONFINITE_INPUT: return "the input holds NaN or infinity";
    case CNN_LABEL_OUT_OF_RANGE: return "a label is out of range";
    case CNN_NONFINITE_LOSS: return "the loss is NaN or infinite";
    case CNN_NONFINITE_GRADIENT: return "a gradient is NaN or infinite";
    case CNN_NONFINITE_OUTPUT: return "an instruction made NaN or infinity";
    case CNN_PART_DONE: return "the gradients of a part of the batch were added up";
    case CNN_BAD_WARP: return "a coefficient, an extent or the fill of a warp is out of range";
    }
    return "unknown status";
}

double cnn_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

ptrdiff_t cnn_find_nonfinite(const float *src, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++)
        if (!isfinite(src[i])) return i;
    return -1;
}
