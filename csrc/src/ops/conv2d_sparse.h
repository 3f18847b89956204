/* Gradients of a convolution straight from the gradient of its fused pooling, see conv2d_sparse.c. Functions of the
 * same names and meaning as those of the ops that call them when `fits` says so. */
#ifndef CNN_OPS_CONV2D_SPARSE_H
#define CNN_OPS_CONV2D_SPARSE_H

#include "internal.h"

bool cnn_sparse_weights_fits(const cnn_conv2d_geometry *g);
cnn_workspace cnn_sparse_weights_workspace(const cnn_conv2d_geometry *g, ptrdiff_t batch);
void cnn_sparse_weights(const cnn_call *call, const cnn_worker *worker);

/* The same with channels as lanes, see conv2d_pick.c. */
bool cnn_pick_fits(const cnn_conv2d_geometry *g);
cnn_workspace cnn_pick_workspace(const cnn_conv2d_geometry *g, ptrdiff_t batch);
void cnn_pick_weights(const cnn_call *call, const cnn_worker *worker);

bool cnn_sparse_data_fits(const cnn_conv2d_geometry *g);
cnn_workspace cnn_sparse_data_workspace(const cnn_conv2d_geometry *g, ptrdiff_t batch);
void cnn_sparse_data(const cnn_call *call, const cnn_worker *worker);

#endif
