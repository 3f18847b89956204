/* Every body, compiled for the instruction set of the including file, and the table of them. Include after the
 * simd_*.h of that set. */
#ifndef CNN_ARCH_BODIES_H
#define CNN_ARCH_BODIES_H

#include "bodies/activation.h"
#include "bodies/burst.h"
#include "bodies/depthwise.h"
#include "bodies/dropout.h"
#include "bodies/factors.h"
#include "bodies/few_rows.h"
#include "bodies/gemm_tile.h"
#include "bodies/images.h"
#include "bodies/int8.h"
#include "bodies/int8_dot.h"
#include "bodies/lanes.h"
#include "bodies/layout.h"
#include "bodies/loss.h"
#include "bodies/norm.h"
#include "bodies/optimizer.h"
#include "bodies/pack.h"
#include "bodies/pick.h"
#include "bodies/pool.h"
#include "bodies/prelu.h"
#include "bodies/softmax.h"
#include "bodies/sparse.h"
#include "bodies/sums.h"
#include "bodies/upsample.h"
#include "bodies/warp.h"
#include "bodies/winograd.h"
#include "bodies/winograd_int8.h"

#define CNN_KERNEL_ENTRY(name, parameters) .name = name,
#define CNN_KERNEL_TABLE(isa_name)                                                                                     \
    {                                                                                                                  \
        .isa = isa_name, .tile_rows = SIMD_TILE_ROWS, .tile_groups = SIMD_TILE_GROUPS, .vector_width = SIMD_WIDTH,     \
        .fma_chains = SIMD_FMA_CHAINS, .code_bytes = sizeof(dot_code), CNN_KERNELS(CNN_KERNEL_ENTRY)                   \
    }

#endif
