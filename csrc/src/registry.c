/* The op registry: one row per op, from CNN_OPS in cnn.h. */
#include "internal.h"
#include "workspace.h"

static const cnn_op_info ops[] = {
#define CNN_OP_ROW(name, geometry, flags, workspace, operands)                                                         \
    {#name, #geometry, operands, flags, cnn_##workspace##_workspace, cnn_##name, cnn_ref_##name},
    CNN_OPS(CNN_OP_ROW)
#undef CNN_OP_ROW
};

const cnn_op_info *cnn_op_find(int op) { return op >= 0 && op < CNN_OP_COUNT ? &ops[op] : NULL; }

cnn_workspace cnn_no_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    (void)geometry, (void)batch;
    return (cnn_workspace){0, 0};
}
