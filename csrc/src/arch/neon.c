/* All bodies for the Advanced SIMD of aarch64, which every such CPU has. */
#if defined(__aarch64__)
#include "arch/dot_neon.h"
#include "arch/simd_neon.h"

#include "arch/bodies.h"

const cnn_kernels cnn_kernels_neon = CNN_KERNEL_TABLE("neon");
#else
typedef int cnn_neon_is_for_aarch64; /* a translation unit may not be empty */
#endif
