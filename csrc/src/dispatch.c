/* Which instruction set runs: the best that the CPU has, unless CNN_ISA or cnn_set_isa() says otherwise. */
#include <pthread.h>
#include <stdlib.h>

#include "arch/tiles.h"
#include "internal.h"

typedef struct isa {
    const char *name;
    const cnn_kernels *kernels;
    bool reference;
} isa;

#if defined(__x86_64__)
static bool has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
static bool has_avx512(void)
{
    __builtin_cpu_init();
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif
static bool always(void) { return true; }

/* Worst first: the default is the last that the CPU has. */
static const struct {
    isa isa;
    bool (*available)(void);
} candidates[] = {
    {{"reference", &cnn_kernels_portable, true}, always},
    {{"portable", &cnn_kernels_portable, false}, always},
#if defined(__x86_64__)
    {{"avx2", &cnn_kernels_avx2, false}, has_avx2},
    {{"avx512", &cnn_kernels_avx512, false}, has_avx512},
#elif defined(__aarch64__)
    {{"neon", &cnn_kernels_neon, false}, always},
#endif
};
enum { CANDIDATES = sizeof candidates / sizeof candidates[0] };

static const isa *_Atomic chosen;

static const isa *find(const char *name)
{
    for (int i = 0; i < CANDIDATES; i++)
        if (strcmp(candidates[i].isa.name, name) == 0 && candidates[i].available()) return &candidates[i].isa;
    return NULL;
}

static const isa *best(void)
{
    const isa *found = NULL;
    for (int i = 0; i < CANDIDATES; i++)
        if (candidates[i].available()) found = &candidates[i].isa;
    return found;
}

const char *cnn_requested_isa(void)
{
    const char *name = getenv("CNN_ISA");
    return name && *name ? name : NULL;
}

static const isa *current(void)
{
    if (!chosen) chosen = cnn_requested_isa() ? find(cnn_requested_isa()) : best();
    return chosen;
}

cnn_status cnn_set_isa(const char *name)
{
    const isa *found = name ? find(name) : best();
    if (!found) return CNN_BAD_ISA;
    chosen = found;
    return CNN_OK;
}

const char *cnn_get_isa(void) { return current() ? current()->name : NULL; }

const char *cnn_available_isa(int index)
{
    for (int i = 0; i < CANDIDATES; i++)
        if (candidates[i].available() && index-- == 0) return candidates[i].isa.name;
    return NULL;
}

const cnn_register_tile *cnn_register_tile_of(const char *name)
{
    static const struct {
        const char *name;
        cnn_register_tile tile;
    } sets[] = {
        {"reference", {PORTABLE_TILE_ROWS, PORTABLE_TILE_GROUPS * CNN_PANEL, PORTABLE_WIDTH}},
        {"portable", {PORTABLE_TILE_ROWS, PORTABLE_TILE_GROUPS * CNN_PANEL, PORTABLE_WIDTH}},
        {"avx2", {AVX2_TILE_ROWS, AVX2_TILE_GROUPS * CNN_PANEL, AVX2_WIDTH}},
        {"avx512", {AVX512_TILE_ROWS, AVX512_TILE_GROUPS * CNN_PANEL, AVX512_WIDTH}},
        {"neon", {NEON_TILE_ROWS, NEON_TILE_GROUPS * CNN_PANEL, NEON_WIDTH}},
    };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        if (strcmp(sets[i].name, name) == 0) return &sets[i].tile;
    return NULL;
}

/* ---- VNNI: instructions of some CPUs of AVX-512 that multiply bytes. Nothing but integer inference takes them. ------ */

#if defined(__x86_64__)
static cnn_kernels with_vnni;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_table(void)
{
    with_vnni = cnn_kernels_avx512;
    cnn_kernels_use_vnni(&with_vnni);
}

static bool has_vnni(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512vnni");
}
#endif

static int _Atomic vnni = -1; /* -1: as CNN_VNNI says */

void cnn_set_vnni(bool wanted) { vnni = wanted; }

bool cnn_uses_vnni(void)
{
#if defined(__x86_64__)
    if (vnni < 0) {
        const char *said = getenv("CNN_VNNI");
        vnni = !(said && strcmp(said, "0") == 0);
    }
    return vnni && current() && current()->kernels == &cnn_kernels_avx512 && has_vnni();
#else
    return false;
#endif
}

const cnn_kernels *cnn_kernels_current(bool *reference)
{
    const isa *now = current();
    if (!now) return NULL;
    *reference = now->reference;
#if defined(__x86_64__)
    if (cnn_uses_vnni()) {
        pthread_once(&once, make_table);
        return &with_vnni;
    }
#endif
    return now->kernels;
}
