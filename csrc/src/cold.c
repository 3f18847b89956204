/* Which operands have left the caches by the time that their instruction runs.
 *
 * A program touches the same memory in the same order in every run. What it touches between two uses of an operand, the
 * end of a run and the beginning of the next included, drives that out. The arena is looked at in pieces, each with the
 * time when it was last touched.
 */
#include <stdlib.h>

#include "internal.h"

enum { PIECES = 1024, NEVER = -1 };

/* What drives out everything else: a core's share of a third-level cache, of which others leave less than its size. */
static const int64_t CACHE_BYTES = 12 << 20;

typedef struct history {
    int64_t piece;    /* bytes */
    ptrdiff_t *last;  /* [PIECES] */
    ptrdiff_t counts; /* of instructions so far */
} history;

typedef struct pieces {
    ptrdiff_t first, last;
} pieces;

static pieces pieces_of(const history *h, const cnn_operand *operand)
{
    return (pieces){(ptrdiff_t)(operand->offset / h->piece),
                    (ptrdiff_t)((operand->offset + operand->bytes + h->piece - 1) / h->piece)};
}

static void touch(history *h, const cnn_operand *operand)
{
    const pieces p = pieces_of(h, operand);
    for (ptrdiff_t i = p.first; i < p.last; i++) h->last[i] = h->counts;
}

/* Whether a cacheful was touched after any piece of this operand. */
static bool is_cold(const history *h, const cnn_operand *operand)
{
    const pieces p = pieces_of(h, operand);
    ptrdiff_t oldest = h->counts, since = 0;
    for (ptrdiff_t i = p.first; i < p.last; i++) oldest = h->last[i] < oldest ? h->last[i] : oldest;
    for (ptrdiff_t i = 0; i < PIECES; i++) since += h->last[i] > oldest;
    return since * h->piece >= CACHE_BYTES;
}

static const cnn_operand *in_arena(const cnn_program_description *d, ptrdiff_t instruction, int operand)
{
    const int index = d->instructions[instruction].operands[operand];
    return index >= 0 && d->operands[index].space == CNN_SPACE_ARENA ? &d->operands[index] : NULL;
}

static unsigned cold_operands(const cnn_program_description *d, const history *h, ptrdiff_t instruction)
{
    unsigned cold = 0;
    for (int i = 0; i < CNN_MAX_OPERANDS; i++) {
        const cnn_operand *operand = in_arena(d, instruction, i);
        if (operand && is_cold(h, operand)) cold |= 1u << i;
    }
    return cold;
}

bool cnn_find_cold(const cnn_program_description *d, unsigned *cold)
{
    memset(cold, 0, (size_t)d->instruction_count * sizeof *cold);
    const int64_t bytes = d->space_bytes[CNN_SPACE_ARENA];
    if (bytes < CACHE_BYTES) return true;
    history h = {.piece = (bytes + PIECES - 1) / PIECES, .last = malloc(PIECES * sizeof *h.last)};
    if (!h.last) return false;
    for (ptrdiff_t i = 0; i < PIECES; i++) h.last[i] = NEVER;
    for (int run = 0; run < 2; run++) /* the second finds what the first has left */
        for (ptrdiff_t k = 0; k < d->instruction_count; k++, h.counts++) {
            if (run == 1) cold[k] = cold_operands(d, &h, k);
            for (int i = 0; i < CNN_MAX_OPERANDS; i++) {
                const cnn_operand *operand = in_arena(d, k, i);
                if (operand) touch(&h, operand);
            }
        }
    free(h.last);
    return true;
}
