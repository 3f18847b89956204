/* Geometries by name: to print what failed, and to read the shape files of the benchmark. */
#ifndef CNN_TEST_GEOMETRY_H
#define CNN_TEST_GEOMETRY_H

#include "cnn.h"

enum { GEOMETRY_TEXT = 400 };

/* Writes "h=9 w=7 ..."; zero fields are left out. */
void geometry_print(cnn_geometry_kind kind, const cnn_geometry *geometry, char text[GEOMETRY_TEXT]);

/* Sets the field of that name; false when the kind has no such field. */
bool geometry_set(cnn_geometry_kind kind, cnn_geometry *geometry, const char *field, double value);

/* Strides, dilations and groups of one where a shape leaves them at zero, OH and OW from the rest (rounded down). */
void geometry_complete(cnn_geometry_kind kind, cnn_geometry *geometry);

/* Floating-point operations of an op whose time is arithmetic (convolution, linear), else 0. */
double geometry_flops(int op, const cnn_geometry *geometry, ptrdiff_t batch);

#endif
