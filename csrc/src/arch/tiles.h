/* The register tile of every instruction set: rows, groups of CNN_PANEL columns, floats of a vector. Here and not in
 * simd_*.h, because a plan for a set can be made where it is not to be had. */
#ifndef CNN_ARCH_TILES_H
#define CNN_ARCH_TILES_H

#define PORTABLE_WIDTH 4
#define PORTABLE_TILE_ROWS 2
#define PORTABLE_TILE_GROUPS 1

#define AVX2_WIDTH 8
#define AVX2_TILE_ROWS 6
#define AVX2_TILE_GROUPS 1

#define AVX512_WIDTH 16
#define AVX512_TILE_ROWS 14
#define AVX512_TILE_GROUPS 2

#define NEON_WIDTH 4
#define NEON_TILE_ROWS 6
#define NEON_TILE_GROUPS 1

#endif
