/* Naive twins of ops/winograd*.c. The transforms are matrix products in double; matrices come from the definition, see
 * csrc/winograd/generate.py. */
#include "ref/activations.h"
#include "ref/panels.h"

enum { MOST = 8 }; /* rows of a matrix: tile + kernel - 1, see the points below */

static const double finite_points[MOST + 1][MOST] = {
    [4] = {0.0, 1.0, -1.0},
    [6] = {0.0, 0.625, -0.625, 1.5, -1.5},
    [8] = {0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5},
};

typedef struct matrix {
    ptrdiff_t rows, columns;
    double at[MOST][MOST];
} matrix;

static matrix zeros(ptrdiff_t rows, ptrdiff_t columns) { return (matrix){rows, columns, {{0.0}}}; }

/* Whether a position is computed of a tile of which the last `less` outputs are not wanted: all but as many before the
 * last, infinity. */
static bool is_kept(ptrdiff_t alpha, ptrdiff_t less, ptrdiff_t row)
{
    return row == alpha - 1 || row < alpha - 1 - less;
}

/* B^T: coefficients of the product of (x - q) over the points q other than that of the row; (p - q) in place of it for a
 * point that is left out, since the filter's divisor has it. Rows left out are zero. */
static matrix input_matrix(ptrdiff_t alpha, ptrdiff_t less)
{
    matrix m = zeros(alpha, alpha);
    for (ptrdiff_t row = 0; row < alpha; row++) {
        if (!is_kept(alpha, less, row)) continue;
        double *c = m.at[row];
        c[0] = 1.0;
        for (ptrdiff_t l = 0; l < alpha - 1; l++) {
            if (l == row) continue;
            const double q = finite_points[alpha][l];
            if (is_kept(alpha, less, l))
                for (ptrdiff_t i = alpha - 1; i >= 0; i--) c[i] = (i ? c[i - 1] : 0.0) - q * c[i];
            else if (row < alpha - 1)
                for (ptrdiff_t i = 0; i < alpha; i++) c[i] *= finite_points[alpha][row] - q;
        }
    }
    return m;
}

/* Powers of the points: A for `columns` outputs, and with the divisors G for as many taps. Of A, the last `less` columns
 * and as many points are left out. */
static matrix evaluation_matrix(ptrdiff_t alpha, ptrdiff_t columns, ptrdiff_t less, bool divided)
{
    matrix m = zeros(alpha, columns);
    const ptrdiff_t wanted = columns - less;
    for (ptrdiff_t row = 0; row < alpha - 1; row++) {
        if (!is_kept(alpha, less, row)) continue;
        const double point = finite_points[alpha][row];
        double value = 1.0;
        for (ptrdiff_t l = 0; divided && l < alpha - 1; l++)
            if (l != row) value /= point - finite_points[alpha][l];
        for (ptrdiff_t i = 0; i < wanted; i++, value *= point) m.at[row][i] = value;
    }
    m.at[alpha - 1][wanted - 1] = 1.0;
    return m;
}

static matrix transposed(const matrix *a)
{
    matrix m = zeros(a->columns, a->rows);
    for (ptrdiff_t i = 0; i < m.rows; i++)
        for (ptrdiff_t j = 0; j < m.columns; j++) m.at[i][j] = a->at[j][i];
    return m;
}

/* m x n^T */
static matrix around(const matrix *m, const matrix *x, const matrix *n)
{
    matrix half = zeros(m->rows, x->columns), result = zeros(m->rows, n->rows);
    for (ptrdiff_t i = 0; i < m->rows; i++)
        for (ptrdiff_t j = 0; j < x->columns; j++)
            for (ptrdiff_t k = 0; k < m->columns; k++) half.at[i][j] += m->at[i][k] * x->at[k][j];
    for (ptrdiff_t i = 0; i < m->rows; i++)
        for (ptrdiff_t j = 0; j < n->rows; j++)
            for (ptrdiff_t k = 0; k < n->columns; k++) result.at[i][j] += half.at[i][k] * n->at[j][k];
    return result;
}

/* Where the transformed filter of row k and a column lies: [pairs of panels][alpha^2][panels of the pair][k][16]. */
static ptrdiff_t filter_index(ptrdiff_t columns, ptrdiff_t depth, ptrdiff_t positions, ptrdiff_t position, ptrdiff_t k,
                              ptrdiff_t column)
{
    const ptrdiff_t panels = panel_columns(columns) / CNN_PANEL, panel = column / CNN_PANEL, pair = panel / 2;
    const ptrdiff_t in_pair = cnn_min(2, panels - 2 * pair);
    return ((2 * pair * positions + position * in_pair + panel % 2) * depth + k) * CNN_PANEL + column % CNN_PANEL;
}

/* The rows of dst are input channels and its columns output channels; backward it is the other way round. */
static void transform_filters(const cnn_conv2d_geometry *g, float *dst, const float *weights, bool backward)
{
    const ptrdiff_t alpha = g->tile + g->kh - 1, positions = alpha * alpha, taps = g->kh * g->kw;
    const ptrdiff_t depth = backward ? g->oc : g->ic, columns = backward ? g->ic : g->oc;
    const matrix transform = evaluation_matrix(alpha, g->kh, 0, true);
    for (ptrdiff_t k = 0; k < depth; k++)
        for (ptrdiff_t column = 0; column < panel_columns(columns); column++) {
            matrix filter = zeros(g->kh, g->kw);
            for (ptrdiff_t tap = 0; tap < taps && column < columns; tap++) {
                const ptrdiff_t ic = backward ? column : k, oc = backward ? k : column;
                const ptrdiff_t from = backward ? taps - 1 - tap : tap;
                filter.at[tap / g->kw][tap % g->kw] =
                    weights[panel_index(g->oc, taps * g->ic, 0, from * g->ic + ic, oc)];
            }
            const matrix result = around(&transform, &filter, &transform);
            for (ptrdiff_t position = 0; position < positions; position++)
                dst[filter_index(columns, depth, positions, position, k, column)] =
                    (float)result.at[position / alpha][position % alpha];
        }
}

void cnn_ref_winograd_filter(const cnn_call *call, const cnn_worker *worker)
{
    if (cnn_is_first(worker))
        transform_filters(&call->geometry->conv2d, call->operands[CNN_winograd_filter_dst],
                          call->operands[CNN_winograd_filter_weights], false);
}

void cnn_ref_winograd_filter_backward(const cnn_call *call, const cnn_worker *worker)
{
    if (cnn_is_first(worker))
        transform_filters(&call->geometry->conv2d, call->operands[CNN_winograd_filter_backward_dst],
                          call->operands[CNN_winograd_filter_backward_weights], true);
}

/* A correlation of stride 1 in the transformed domain; src is what it reads, pooled when it has argmax. */
typedef struct correlation {
    const float *src, *filter;
    const uint8_t *argmax;
    ptrdiff_t h, w, c, pad_top, pad_left, columns, tile, kernel;
} correlation;

static double source_at(const correlation *r, ptrdiff_t n, ptrdiff_t h, ptrdiff_t w, ptrdiff_t c)
{
    const ptrdiff_t step = r->argmax ? 2 : 1, rows = r->h / step, columns = r->w / step;
    if (h < 0 || w < 0 || h >= rows * step || w >= columns * step) return 0.0;
    const ptrdiff_t at = ((n * rows + h / step) * columns + w / step) * r->c + c;
    return !r->argmax || r->argmax[at] == h % 2 * 2 + w % 2 ? r->src[at] : 0.0;
}

/* The tile of outputs whose first is (top, left), of a map of which `rows` and `columns` are wanted */
static matrix tile_at(const correlation *r, ptrdiff_t n, ptrdiff_t top, ptrdiff_t left, ptrdiff_t column,
                      ptrdiff_t rows, ptrdiff_t columns)
{
    const ptrdiff_t alpha = r->tile + r->kernel - 1;
    const ptrdiff_t below = cnn_max(0, top + r->tile - rows), beside = cnn_max(0, left + r->tile - columns);
    const matrix down = input_matrix(alpha, below), along = input_matrix(alpha, beside);
    const matrix lower = evaluation_matrix(alpha, r->tile, below, false);
    const matrix right = evaluation_matrix(alpha, r->tile, beside, false);
    const matrix from_lower = transposed(&lower), from_right = transposed(&right);
    matrix products = zeros(alpha, alpha);
    for (ptrdiff_t c = 0; c < r->c; c++) {
        matrix patch = zeros(alpha, alpha);
        for (ptrdiff_t i = 0; i < alpha; i++)
            for (ptrdiff_t j = 0; j < alpha; j++)
                patch.at[i][j] = source_at(r, n, top - r->pad_top + i, left - r->pad_left + j, c);
        const matrix spread = around(&down, &patch, &along);
        for (ptrdiff_t i = 0; i < alpha; i++)
            for (ptrdiff_t j = 0; j < alpha; j++)
                products.at[i][j] += spread.at[i][j] *
                                     r->filter[filter_index(r->columns, r->c, alpha * alpha, i * alpha + j, c, column)];
    }
    return around(&from_lower, &products, &from_right);
}

/* The first of equals wins; a NaN wins over everything before it. */
static float pooled(const matrix *y, ptrdiff_t i, ptrdiff_t j, uint8_t *where)
{
    float best = -INFINITY;
    for (int position = 0; position < 4; position++) {
        const float x = (float)y->at[i + position / 2][j + position % 2];
        if (!(x > best || isnan(x))) continue;
        best = x;
        *where = (uint8_t)position;
    }
    return best;
}

void cnn_ref_winograd_forward(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    float *dst = call->operands[CNN_winograd_forward_dst];
    uint8_t *argmax = call->operands[CNN_winograd_forward_argmax];
    const float *bias = call->operands[CNN_winograd_forward_bias];
    const correlation r = {
        .src = call->operands[CNN_winograd_forward_src],
        .filter = call->operands[CNN_winograd_forward_filter],
        .h = g->h,
        .w = g->w,
        .c = g->ic,
        .pad_top = g->pad_top,
        .pad_left = g->pad_left,
        .columns = g->oc,
        .tile = g->tile,
        .kernel = g->kh,
    };
    const ptrdiff_t step = g->pool ? 2 : 1, rows = g->oh / step, columns = g->ow / step;
    for (ptrdiff_t n = 0; n < call->batch; n++)
        for (ptrdiff_t top = 0; top < rows * step; top += g->tile)
            for (ptrdiff_t left = 0; left < columns * step; left += g->tile)
                for (ptrdiff_t oc = 0; oc < g->oc; oc++) {
                    matrix y = tile_at(&r, n, top, left, oc, rows * step, columns * step);
                    for (ptrdiff_t i = 0; i < g->tile; i++)
                        for (ptrdiff_t j = 0; j < g->tile; j++)
                            y.at[i][j] = ref_activation((cnn_activation)g->activation,
                                                        y.at[i][j] + (bias ? bias[oc] : 0.0), 0.0, 0.0);
                    for (ptrdiff_t i = 0; i < g->tile; i += step)
                        for (ptrdiff_t j = 0; j < g->tile; j += step) {
                            const ptrdiff_t h = (top + i) / step, w = (left + j) / step;
                            if (h >= rows || w >= columns) continue;
                            uint8_t where = 0;
                            const float x = g->pool ? pooled(&y, i, j, &where) : (float)y.at[i][j];
                            const bool off = g->activation == CNN_ACTIVATION_RELU && x <= 0.0f;
                            const ptrdiff_t at = ((n * rows + h) * columns + w) * g->oc + oc;
                            dst[at] = off ? 0.0f : x;
                            if (argmax) argmax[at] = off ? 255 : where;
                        }
                }
}

void cnn_ref_winograd_backward_data(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_conv2d_geometry *g = &call->geometry->conv2d;
    float *diff_src = call->operands[CNN_winograd_backward_data_diff_src];
    const float *mask = call->operands[CNN_winograd_backward_data_mask];
    const correlation r = {
        .src = call->operands[CNN_winograd_backward_data_diff_dst],
        .filter = call->operands[CNN_winograd_backward_data_filter],
        .argmax = call->operands[CNN_winograd_backward_data_argmax],
        .h = g->oh,
        .w = g->ow,
        .c = g->oc,
        .pad_top = g->kh - 1 - g->pad_top,
        .pad_left = g->kw - 1 - g->pad_left,
        .columns = g->ic,
        .tile = g->tile,
        .kernel = g->kh,
    };
    assert(!g->pool == !r.argmax);
    for (ptrdiff_t n = 0; n < call->batch; n++)
        for (ptrdiff_t top = 0; top < g->h; top += g->tile)
            for (ptrdiff_t left = 0; left < g->w; left += g->tile)
                for (ptrdiff_t ic = 0; ic < g->ic; ic++) {
                    const matrix x = tile_at(&r, n, top, left, ic, g->h, g->w);
                    for (ptrdiff_t i = 0; i < cnn_min(g->tile, g->h - top); i++)
                        for (ptrdiff_t j = 0; j < cnn_min(g->tile, g->w - left); j++) {
                            const ptrdiff_t at = ((n * g->h + top + i) * g->w + left + j) * g->ic + ic;
                            diff_src[at] = mask && mask[at] <= 0.0f ? 0.0f : (float)x.at[i][j];
                        }
                }
}

/* By the definition, without a transform */
void cnn_ref_winograd_backward_weights(const cnn_call *call, const cnn_worker *worker)
{
    cnn_ref_conv2d_backward_weights(call, worker);
}
