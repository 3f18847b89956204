/* Operands of any op, sized by its geometry and filled from a counter-based generator: for tests and benchmark. */
#ifndef CNN_TEST_OPERANDS_H
#define CNN_TEST_OPERANDS_H

#include "cnn.h"

typedef struct operand {
    const char *name;
    cnn_operand_type type;
    bool output; /* every element is overwritten without being read; copy_channels leaves the rest alone */
    ptrdiff_t count;
    size_t bytes;
    void *data; /* NULL: absent */
} operand;

typedef struct operand_set {
    int op, count;
    operand operands[CNN_MAX_OPERANDS];
} operand_set;

/* What random values look like. Integers are small: sums of their products are exact, and equal values are common. */
typedef enum operand_values { VALUES_UNIFORM, VALUES_WIDE, VALUES_INTEGER } operand_values;

/* Names, types and sizes of an op's operands; no data yet. */
operand_set operands_describe(int op, const cnn_geometry *geometry, ptrdiff_t batch);

/* Allocates every operand to its exact size, on CNN_ALIGNMENT bytes: AddressSanitizer finds one element too far. An
 * operand without elements (argmax of a convolution without pooling) stays absent. */
void operands_allocate(operand_set *set);
void operands_free(operand_set *set);

/* A copy with memory of its own, the same operands absent. Operands that share memory share it in the copy. */
operand_set operands_copy(const operand_set *set);

/* Fills inputs; outputs get NaN (bytes of 0xA5 for u8), so that an element that is not written shows. */
void operands_fill(operand_set *set, const cnn_geometry *geometry, operand_values values, uint64_t seed);

/* Element `index` of the uniform stream (seed, stream) in [0, 1). */
double random_uniform(uint64_t seed, uint32_t stream, uint64_t index);

#endif
