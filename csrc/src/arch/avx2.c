/* All bodies for avx2. Only functions in this file use it: the rest of the library stays at the baseline. */
#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include "arch/add_avx2.h"
#include "arch/dot_avx2.h"
#include "arch/simd_avx2.h"

#include "arch/bodies.h"

const cnn_kernels cnn_kernels_avx2 = CNN_KERNEL_TABLE("avx2");

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int cnn_avx2_is_for_x86_64; /* a translation unit may not be empty */
#endif
