/* All bodies in plain C: what runs where nothing better is known. */
#include "arch/dot_portable.h"
#include "arch/simd_portable.h"

#include "arch/bodies.h"

const cnn_kernels cnn_kernels_portable = CNN_KERNEL_TABLE("portable");
