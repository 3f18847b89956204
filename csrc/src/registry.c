/* The op registry: one row per op, from CNN_OPS in cnn.h. */
#include "internal.h"
#include "workspace.h"

#define CNN_OPERAND_ROW(op, name, type, use, extent) {#name, type, use, extent},
#define CNN_OPERAND_ROWS(name, geometry, limits, flags, workspace, operands)                                           \
    _Static_assert(CNN_##name##_OPERANDS <= CNN_MAX_OPERANDS, "an op has more operands than a call can hold");         \
    static const cnn_operand_info name##_operands[] = {CNN_OPERANDS_##operands(CNN_OPERAND_ROW, name)};
CNN_OPS(CNN_OPERAND_ROWS)
#undef CNN_OPERAND_ROWS
#undef CNN_OPERAND_ROW

static const cnn_op_info ops[] = {
#define CNN_OP_ROW(name, geometry, limits, flags, workspace, operands)                                                 \
    {#name,                                                                                                            \
     CNN_GEOMETRY_##geometry,                                                                                          \
     cnn_##limits##_limits,                                                                                            \
     flags,                                                                                                            \
     cnn_##workspace##_workspace,                                                                                      \
     name##_operands,                                                                                                  \
     CNN_##name##_OPERANDS,                                                                                            \
     cnn_##name,                                                                                                       \
     cnn_ref_##name},
    CNN_OPS(CNN_OP_ROW)
#undef CNN_OP_ROW
};

const cnn_op_info *cnn_op_find(int op) { return op >= 0 && op < CNN_OP_COUNT ? &ops[op] : NULL; }

static const char *const activations[] = {NULL,
#define CNN_ACTIVATION_NAME(name, NAME) #name,
                                          CNN_ACTIVATIONS(CNN_ACTIVATION_NAME)
#undef CNN_ACTIVATION_NAME
};

const char *cnn_activation_name(int activation)
{
    return activation >= 0 && activation <= CNN_ACTIVATION_FUSED_MOST ? activations[activation] : NULL;
}

cnn_workspace cnn_no_workspace(const cnn_geometry *geometry, ptrdiff_t batch)
{
    (void)geometry, (void)batch;
    return (cnn_workspace){0, 0};
}
