/* How ops cut their work, where there is something to tell: named as in the registry. */
#ifndef CNN_BLOCKING_H
#define CNN_BLOCKING_H

#include "cnn.h"

cnn_blocking_function cnn_conv2d_forward_blocking, cnn_conv2d_backward_data_blocking,
    cnn_conv2d_backward_weights_blocking, cnn_winograd_filter_blocking, cnn_winograd_forward_blocking,
    cnn_winograd_backward_data_blocking, cnn_winograd_backward_weights_blocking, cnn_linear_forward_blocking;

#endif
