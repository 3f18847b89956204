/* How much shared and per-worker memory each op needs, named as in the registry. */
#ifndef CNN_WORKSPACE_H
#define CNN_WORKSPACE_H

#include "cnn.h"

cnn_workspace_function cnn_no_workspace, cnn_check_workspace, cnn_conv2d_forward_workspace,
    cnn_conv2d_backward_data_workspace, cnn_conv2d_backward_weights_workspace, cnn_linear_forward_workspace,
    cnn_linear_backward_data_workspace, cnn_linear_backward_weights_workspace, cnn_batchnorm_workspace,
    cnn_prelu_workspace, cnn_groupnorm_workspace, cnn_dropout_workspace, cnn_upsample2d_workspace,
    cnn_channel_sums_workspace, cnn_loss_workspace, cnn_pixel_loss_workspace, cnn_gradient_sums_workspace,
    cnn_winograd_filter_backward_workspace, cnn_winograd_forward_workspace, cnn_winograd_backward_data_workspace,
    cnn_winograd_backward_weights_workspace, cnn_conv2d_int8_workspace, cnn_linear_int8_workspace,
    cnn_winograd_int8_workspace;

#endif
