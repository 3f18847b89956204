/* dst (M x N) = act(src (M x K) * weights (K x N) + bias), with weights in panels [N/16][K][16]: fully connected layers, and
 * 1x1 convolutions, which are one for every pixel. */
#ifndef CNN_OPS_PRODUCT_H
#define CNN_OPS_PRODUCT_H

#include "internal.h"

typedef struct cnn_product {
    float *dst;
    const float *src, *weights, *bias; /* bias: NULL or [N] */
    ptrdiff_t m, k, n;
    cnn_activation activation;
} cnn_product;

/* Bytes of a worker's scratch that a product over k needs. */
size_t cnn_product_scratch(ptrdiff_t k);

/* Which way a product of so many rows is computed. */
cnn_variant cnn_product_variant(ptrdiff_t m);

/* Every worker of the team calls it. */
void cnn_product_run(const cnn_product *product, const cnn_worker *worker);

#endif
