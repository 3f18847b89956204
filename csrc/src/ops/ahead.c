#include "ops/ahead.h"

bool cnn_ahead_aim(cnn_ahead *ahead, ptrdiff_t first, ptrdiff_t tiles, ptrdiff_t steps)
{
    const ptrdiff_t bytes = tiles * ahead->size * ahead->size * ahead->channels * (ptrdiff_t)sizeof(float);
    if (tiles < 1 || bytes > CNN_FETCHED_AHEAD) return false;
    ahead->at = cnn_winograd_place_of(ahead->grid, first);
    ahead->tiles = tiles;
    ahead->steps = steps;
    ahead->due = 0;
    return true;
}

/* Inlined by force: gcc takes a function that only fetches for one without effect, and drops the call. */
static inline __attribute__((always_inline)) void fetch_tile(const cnn_ahead *a)
{
    const ptrdiff_t top = a->at.row * a->size, left = a->at.column * a->size;
    const ptrdiff_t rows = cnn_min(a->size, a->h - top), pixels = cnn_min(a->size, a->w - left);
    const bool whole = a->channels == a->c; /* the pixels of a row lie side by side */
    const ptrdiff_t runs = whole ? 1 : pixels, length = whole ? pixels * a->c : a->channels;
    const float *row = a->map + ((a->at.n * a->h + top) * a->w + left) * a->c + a->channel;
    for (ptrdiff_t y = 0; y < rows; y++, row += a->w * a->c)
        for (ptrdiff_t run = 0; run < runs; run++)
            for (ptrdiff_t k = 0; k < length; k += CNN_PANEL) __builtin_prefetch(row + run * a->c + k, 0, 2);
}

void cnn_ahead_step(cnn_ahead *ahead)
{
    for (ahead->due += ahead->tiles; ahead->due >= ahead->steps; ahead->due -= ahead->steps) {
        fetch_tile(ahead);
        cnn_winograd_next(ahead->grid, &ahead->at);
    }
}
