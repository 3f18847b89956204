/* Answers how an op does its work, by asking the op. */
#include "blocking.h"

#include "internal.h"

static cnn_blocking_function *const blockings[CNN_OP_COUNT] = {
    [CNN_OP_conv2d_forward] = cnn_conv2d_forward_blocking,
    [CNN_OP_conv2d_backward_data] = cnn_conv2d_backward_data_blocking,
    [CNN_OP_conv2d_backward_weights] = cnn_conv2d_backward_weights_blocking,
    [CNN_OP_winograd_filter] = cnn_winograd_filter_blocking,
    [CNN_OP_winograd_filter_backward] = cnn_winograd_filter_blocking,
    [CNN_OP_winograd_forward] = cnn_winograd_forward_blocking,
    [CNN_OP_winograd_backward_data] = cnn_winograd_backward_data_blocking,
    [CNN_OP_winograd_backward_weights] = cnn_winograd_backward_weights_blocking,
    [CNN_OP_linear_forward] = cnn_linear_forward_blocking,
};

cnn_blocking cnn_op_blocking(int op, const cnn_geometry *geometry, ptrdiff_t batch)
{
    assert(op >= 0 && op < CNN_OP_COUNT && batch >= 1 && cnn_geometry_fits(cnn_op_find(op), geometry));
    return blockings[op] ? blockings[op](geometry, batch) : (cnn_blocking){.variant = CNN_VARIANT_USUAL};
}
