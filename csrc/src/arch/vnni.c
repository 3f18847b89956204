/* The bodies that multiply bytes, for AVX-512 VNNI. All others are those of avx512: floats have the same bits. */
#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"))),        \
                             apply_to = function)
#else
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#endif
#include "arch/dot_vnni.h"

#include "bodies/int8_dot.h"

void cnn_kernels_use_vnni(cnn_kernels *table)
{
    table->code_bytes = sizeof(dot_code);
    table->copy_codes = copy_codes;
    table->fill_codes = fill_codes;
    table->dot = dot;
    table->dot_depthwise = dot_depthwise;
}

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int cnn_vnni_is_for_x86_64; /* a translation unit may not be empty */
#endif
