/* Sums of products of codes and weights in plain C. The names are those of every arch/dot_*.h:
 *   DOT_CHANNELS   output channels whose sums a dot_sum holds, a part of a panel
 *   DOT_UNITS, DOT_PIXELS   of a register tile, at most: such parts side by side, and pixels
 *   dot_code       a code in memory
 *   DOT_SUMS       units times pixels, at most
 *   dot_start()    sums that start at the numbers of DOT_CHANNELS channels
 *   dot_weights()  four weights of each channel, dot_codes() four codes of a pixel
 *   dot_step()     adds their products, dot_store() writes the sums of DOT_CHANNELS channels
 * and of Winograd's algorithm, whose numbers have 16 bits and meet in pairs of input channels:
 *   PAIR_CHANNELS  output channels whose sums a pair_sum holds
 *   PAIR_TILES     of a register tile, at most, by a panel
 *   pair_step()    adds the products of the pair at x with the pairs of PAIR_CHANNELS channels, pair_store() writes the sums
 */
#ifndef CNN_DOT_H
#define CNN_DOT_H
#include <stdint.h>
#include <string.h>

#define DOT_CHANNELS 16
#define DOT_UNITS 1
#define DOT_PIXELS 2
#define DOT_SUMS 2

typedef uint8_t dot_code;
typedef struct dot_sum {
    uint32_t lanes[DOT_CHANNELS];
} dot_sum;
typedef struct dot_weight {
    int32_t lanes[4][DOT_CHANNELS];
} dot_weight;
typedef struct dot_quad {
    int32_t codes[4];
} dot_quad;

static inline dot_sum dot_start(const int32_t *p)
{
    dot_sum sum;
    memcpy(&sum, p, sizeof sum);
    return sum;
}
static inline dot_weight dot_weights(const int8_t *p)
{
    dot_weight w;
    for (int c = 0; c < DOT_CHANNELS; c++)
        for (int k = 0; k < 4; k++) w.lanes[k][c] = p[4 * c + k];
    return w;
}
static inline dot_quad dot_codes(const dot_code *p) { return (dot_quad){{p[0], p[1], p[2], p[3]}}; }
static inline dot_sum dot_step(dot_sum sum, dot_quad x, const dot_weight *w)
{
    for (int k = 0; k < 4; k++)
        for (int c = 0; c < DOT_CHANNELS; c++) sum.lanes[c] += (uint32_t)(x.codes[k] * w->lanes[k][c]);
    return sum;
}
static inline void dot_store(int32_t *p, dot_sum sum)
{
    for (int c = 0; c < DOT_CHANNELS; c++) p[c] = (int32_t)sum.lanes[c];
}

#define PAIR_CHANNELS 16
#define PAIR_TILES 1

typedef struct pair_sum {
    uint32_t lanes[PAIR_CHANNELS];
} pair_sum;
typedef struct pair_weights {
    int16_t lanes[2 * PAIR_CHANNELS];
} pair_weights;

static inline pair_weights pair_load(const int16_t *p)
{
    pair_weights w;
    memcpy(&w, p, sizeof w);
    return w;
}
static inline pair_sum pair_step(pair_sum sum, const int16_t *x, const pair_weights *w)
{
    for (int c = 0; c < PAIR_CHANNELS; c++)
        sum.lanes[c] += (uint32_t)(x[0] * w->lanes[2 * c] + x[1] * w->lanes[2 * c + 1]);
    return sum;
}
static inline pair_sum pair_zero(void) { return (pair_sum){{0}}; }
static inline void pair_store(int32_t *p, pair_sum sum) { memcpy(p, &sum, sizeof sum); }

#endif
