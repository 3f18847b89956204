/* The table of op cases: shapes chosen to hit every tail. */
#ifndef CNN_TEST_OP_CASES_H
#define CNN_TEST_OP_CASES_H

#include "common/operands.h"

typedef struct op_case {
    int op;
    cnn_geometry geometry;
    ptrdiff_t batch;
    operand_values values;
    unsigned absent; /* bit i: operand i is NULL */
    int alias;       /* operand 0 shares the memory of this one; 0: of none */
} op_case;

void each_op_case(void (*visit)(const op_case *));

/* Those of integer inference, which are among them. */
void each_int8_case(void (*visit)(const op_case *));

#endif
