/* Naive twins of ops/conv2d_int8.c, linear_int8.c and codes.c: exact integers, rounded once. */
#include "basics.h"

/* value / divisor to the nearest whole number, a half to the even one; divisor above 0 */
static int64_t nearest(int64_t value, int64_t divisor)
{
    int64_t whole = value / divisor, rest = value % divisor;
    if (rest < 0) whole--, rest += divisor;
    if (rest > divisor - rest || (rest == divisor - rest && whole % 2 != 0)) whole++;
    return whole;
}

static uint8_t code_of(int64_t value, ptrdiff_t zero, ptrdiff_t low, ptrdiff_t high)
{
    const int64_t code = value + zero;
    return (uint8_t)(code < low ? low : code > high ? high : code);
}

void cnn_ref_quantize(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_quantize_geometry *g = &call->geometry->quantize;
    uint8_t *dst = call->operands[CNN_quantize_dst];
    const float *src = call->operands[CNN_quantize_src];
    for (ptrdiff_t i = 0; i < call->batch * g->count; i++) {
        const float quotient = src[i] / g->scale;
        const double code = nearbyint((double)quotient) + (double)g->zero;
        dst[i] = (uint8_t)(!(code > 0.0) ? 0.0 : code > 255.0 ? 255.0 : code);
    }
}

void cnn_ref_dequantize(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_quantize_geometry *g = &call->geometry->quantize;
    float *dst = call->operands[CNN_dequantize_dst];
    const uint8_t *src = call->operands[CNN_dequantize_src];
    for (ptrdiff_t i = 0; i < call->batch * g->count; i++) dst[i] = g->scale * (float)(src[i] - g->zero);
}

/* ---- products ----------------------------------------------------------------------------------------------------- */

/* Where the weight lies by which output channel oc multiplies channel c of its group at tap (y, x): see cnn.h. */
static ptrdiff_t weight_at(const cnn_conv2d_int8_geometry *g, ptrdiff_t oc, ptrdiff_t c, ptrdiff_t y, ptrdiff_t x)
{
    const ptrdiff_t ic = g->ic / g->groups;
    ptrdiff_t columns = g->oc / g->groups, runs, length, run, at;
    if (g->groups > 1 && ic == 1 && columns == 1)
        columns = g->oc, runs = 1, length = g->kh * g->kw, run = 0, at = y * g->kw + x;
    else if (g->groups > 1 || g->dilation_w > 1)
        runs = g->kh * g->kw, length = ic, run = y * g->kw + x, at = c;
    else
        runs = g->kh, length = g->kw * ic, run = y, at = x * ic + c;
    const ptrdiff_t panel = oc / columns * cnn_ceil_div(columns, 16) + oc % columns / 16;
    const ptrdiff_t quads = cnn_ceil_div(length, 4);
    return (((panel * runs + run) * quads + at / 4) * 16 + oc % columns % 16) * 4 + at % 4;
}

/* Codes outside of the map are the code of 0. The sum wraps round as one of 32 bits. */
static int32_t sum_of(const cnn_conv2d_int8_geometry *g, const uint8_t *sample, const int8_t *weights, ptrdiff_t oc,
                      ptrdiff_t oh, ptrdiff_t ow)
{
    const ptrdiff_t ic = g->ic / g->groups, first = oc / (g->oc / g->groups) * ic;
    uint32_t sum = 0;
    for (ptrdiff_t y = 0; y < g->kh; y++)
        for (ptrdiff_t x = 0; x < g->kw; x++)
            for (ptrdiff_t c = 0; c < ic; c++) {
                const ptrdiff_t h = oh * g->stride_h - g->pad_top + y * g->dilation_h;
                const ptrdiff_t w = ow * g->stride_w - g->pad_left + x * g->dilation_w;
                const bool inside = h >= 0 && h < g->h && w >= 0 && w < g->w;
                const ptrdiff_t code = inside ? sample[(h * g->w + w) * g->ic + first + c] : g->zero_src;
                sum += (uint32_t)(code * weights[weight_at(g, oc, c, y, x)]);
            }
    return (int32_t)sum;
}

static void layer(const cnn_call *call, const cnn_conv2d_int8_geometry *g)
{
    uint8_t *dst = call->operands[CNN_conv2d_int8_dst];
    const uint8_t *src = call->operands[CNN_conv2d_int8_src];
    const int32_t *bias = call->operands[CNN_conv2d_int8_bias],
                  *multipliers = call->operands[CNN_conv2d_int8_multipliers],
                  *shifts = call->operands[CNN_conv2d_int8_shifts];
    for (ptrdiff_t n = 0; n < call->batch; n++)
        for (ptrdiff_t oh = 0; oh < g->oh; oh++)
            for (ptrdiff_t ow = 0; ow < g->ow; ow++)
                for (ptrdiff_t oc = 0; oc < g->oc; oc++) {
                    const int32_t sum =
                        sum_of(g, src + n * g->h * g->w * g->ic, call->operands[CNN_conv2d_int8_weights], oc, oh, ow);
                    const int64_t product = (int64_t)(int32_t)((uint32_t)sum + (uint32_t)bias[oc]) * multipliers[oc];
                    dst[((n * g->oh + oh) * g->ow + ow) * g->oc + oc] =
                        code_of(nearest(product, INT64_C(1) << (shifts[oc] & 63) % 63), g->zero_dst, g->low, g->high);
                }
}

void cnn_ref_conv2d_int8(const cnn_call *call, const cnn_worker *worker)
{
    if (cnn_is_first(worker)) layer(call, &call->geometry->conv2d_int8);
}

/* B^T d B, or A^T m A, of one dimension */
static void turned_four(int64_t out[4], const int64_t d[4])
{
    out[0] = d[0] - d[2], out[1] = d[1] + d[2], out[2] = d[2] - d[1], out[3] = d[1] - d[3];
}

static void turned_back(int64_t out[2], const int64_t m[4])
{
    out[0] = m[0] + m[1] + m[2], out[1] = m[1] - m[2] - m[3];
}

/* The sums of the 2x2 pixels from (oh, ow) on. */
static void tile_of(const cnn_conv2d_int8_geometry *g, const uint8_t *sample, const int16_t *filters, ptrdiff_t oc,
                    ptrdiff_t oh, ptrdiff_t ow, int64_t sums[2][2])
{
    const ptrdiff_t pairs = cnn_ceil_div(g->ic, 2);
    int64_t products[4][4] = {{0}};
    for (ptrdiff_t c = 0; c < g->ic; c++) {
        int64_t columns[4][4], turned[4];
        for (ptrdiff_t x = 0; x < 4; x++) {
            int64_t column[4];
            for (ptrdiff_t y = 0; y < 4; y++) {
                const ptrdiff_t h = oh + y - g->pad_top, w = ow + x - g->pad_left;
                const bool inside = h >= 0 && h < g->h && w >= 0 && w < g->w;
                column[y] = inside ? sample[(h * g->w + w) * g->ic + c] : (int64_t)g->zero_src;
            }
            turned_four(turned, column);
            for (int y = 0; y < 4; y++) columns[y][x] = turned[y];
        }
        for (int y = 0; y < 4; y++) {
            turned_four(turned, columns[y]);
            for (int x = 0; x < 4; x++)
                products[y][x] +=
                    turned[x] * filters[(((oc / 16 * 16 + 4 * y + x) * pairs + c / 2) * 16 + oc % 16) * 2 + c % 2];
        }
    }
    int64_t rows[4][2], pixels[2];
    for (int y = 0; y < 4; y++) turned_back(rows[y], products[y]);
    for (int x = 0; x < 2; x++) {
        const int64_t column[4] = {rows[0][x], rows[1][x], rows[2][x], rows[3][x]};
        turned_back(pixels, column);
        for (int y = 0; y < 2; y++) sums[y][x] = pixels[y] / 4;
    }
}

void cnn_ref_winograd_int8(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_conv2d_int8_geometry *g = &call->geometry->conv2d_int8;
    uint8_t *dst = call->operands[CNN_winograd_int8_dst];
    const uint8_t *src = call->operands[CNN_winograd_int8_src];
    const int32_t *bias = call->operands[CNN_winograd_int8_bias],
                  *multipliers = call->operands[CNN_winograd_int8_multipliers],
                  *shifts = call->operands[CNN_winograd_int8_shifts];
    for (ptrdiff_t n = 0; n < call->batch; n++)
        for (ptrdiff_t oh = 0; oh < g->oh; oh++)
            for (ptrdiff_t ow = 0; ow < g->ow; ow++)
                for (ptrdiff_t oc = 0; oc < g->oc; oc++) {
                    int64_t sums[2][2];
                    tile_of(g, src + n * g->h * g->w * g->ic, call->operands[CNN_winograd_int8_weights], oc, oh, ow,
                            sums);
                    const int32_t sum = (int32_t)((uint32_t)sums[0][0] + (uint32_t)bias[oc]);
                    dst[((n * g->oh + oh) * g->ow + ow) * g->oc + oc] =
                        code_of(nearest((int64_t)sum * multipliers[oc], INT64_C(1) << (shifts[oc] & 63) % 63),
                                g->zero_dst, g->low, g->high);
                }
}

/* A linear layer is a convolution of one pixel; its operands have the same places. */
void cnn_ref_linear_int8(const cnn_call *call, const cnn_worker *worker)
{
    const cnn_linear_int8_geometry *g = &call->geometry->linear_int8;
    const cnn_conv2d_int8_geometry pixel = {.h = 1,
                                            .w = 1,
                                            .ic = g->k,
                                            .oc = g->n,
                                            .kh = 1,
                                            .kw = 1,
                                            .oh = 1,
                                            .ow = 1,
                                            .stride_h = 1,
                                            .stride_w = 1,
                                            .dilation_h = 1,
                                            .dilation_w = 1,
                                            .groups = 1,
                                            .zero_src = g->zero_src,
                                            .zero_dst = g->zero_dst,
                                            .low = g->low,
                                            .high = g->high};
    if (cnn_is_first(worker)) layer(call, &pixel);
}

/* ---- pooling ------------------------------------------------------------------------------------------------------- */

void cnn_ref_maxpool2d_int8(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_pool2d_geometry *g = &call->geometry->pool2d;
    uint8_t *dst = call->operands[CNN_maxpool2d_int8_dst];
    const uint8_t *src = call->operands[CNN_maxpool2d_int8_src];
    for (ptrdiff_t i = 0; i < call->batch * g->oh * g->ow * g->c; i++) {
        const ptrdiff_t c = i % g->c, ow = i / g->c % g->ow, oh = i / g->c / g->ow % g->oh,
                        n = i / g->c / g->ow / g->oh;
        dst[i] = 0;
        for (ptrdiff_t y = 0; y < g->kh; y++)
            for (ptrdiff_t x = 0; x < g->kw; x++) {
                const ptrdiff_t h = oh * g->stride_h - g->pad_top + y, w = ow * g->stride_w - g->pad_left + x;
                if (h < 0 || h >= g->h || w < 0 || w >= g->w) continue;
                const uint8_t code = src[((n * g->h + h) * g->w + w) * g->c + c];
                if (code > dst[i]) dst[i] = code;
            }
    }
}

void cnn_ref_avgpool2d_int8(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_avgpool2d_int8_geometry *g = &call->geometry->avgpool2d_int8;
    uint8_t *dst = call->operands[CNN_avgpool2d_int8_dst];
    const uint8_t *src = call->operands[CNN_avgpool2d_int8_src];
    for (ptrdiff_t i = 0; i < call->batch * g->oh * g->ow * g->c; i++) {
        const ptrdiff_t c = i % g->c, ow = i / g->c % g->ow, oh = i / g->c / g->ow % g->oh,
                        n = i / g->c / g->ow / g->oh;
        int64_t sum = 0, count = 0;
        for (ptrdiff_t y = 0; y < g->kh; y++)
            for (ptrdiff_t x = 0; x < g->kw; x++) {
                const ptrdiff_t h = oh * g->stride_h - g->pad_top + y, w = ow * g->stride_w - g->pad_left + x;
                const bool inside = h >= 0 && h < g->h && w >= 0 && w < g->w;
                const bool padding = !inside && h < g->h + g->pad_top && w < g->w + g->pad_left;
                if (inside) sum += src[((n * g->h + h) * g->w + w) * g->c + c] - g->zero_src;
                count += inside || (padding && g->count_include_pad);
            }
        /* 2^45 and above beside a product below 2^40 for each element of the count: nothing is left */
        const ptrdiff_t shift = cnn_min(g->shift, 45);
        dst[i] = code_of(nearest(sum * g->multiplier, count << shift), g->zero_dst, g->low, g->high);
    }
}

/* ---- others --------------------------------------------------------------------------------------------------------- */

void cnn_ref_add_int8(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_add_int8_geometry *g = &call->geometry->add_int8;
    uint8_t *dst = call->operands[CNN_add_int8_dst];
    const uint8_t *a = call->operands[CNN_add_int8_a], *b = call->operands[CNN_add_int8_b];
    for (ptrdiff_t i = 0; i < call->batch * g->count; i++) {
        const int64_t sum = (a[i] - g->zero_a) * g->multiplier_a + (b[i] - g->zero_b) * g->multiplier_b;
        dst[i] = code_of(nearest(sum, INT64_C(1) << g->shift), g->zero_dst, g->low, g->high);
    }
}

void cnn_ref_lookup_int8(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    uint8_t *dst = call->operands[CNN_lookup_int8_dst];
    const uint8_t *src = call->operands[CNN_lookup_int8_src], *table = call->operands[CNN_lookup_int8_table];
    for (ptrdiff_t i = 0; i < call->batch * call->geometry->lookup.count; i++) dst[i] = table[src[i]];
}

void cnn_ref_copy_channels_int8(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_slice_geometry *g = &call->geometry->slice;
    uint8_t *dst = call->operands[CNN_copy_channels_int8_dst];
    const uint8_t *src = call->operands[CNN_copy_channels_int8_src];
    for (ptrdiff_t row = 0; row < call->batch * g->rows; row++)
        for (ptrdiff_t c = 0; c < g->channels; c++)
            dst[row * g->dst_stride + g->dst_offset + c] = src[row * g->src_stride + g->src_offset + c];
}

void cnn_ref_nchw_to_nhwc_int8(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_image_geometry *g = &call->geometry->image;
    uint8_t *dst = call->operands[CNN_nchw_to_nhwc_int8_dst];
    const uint8_t *src = call->operands[CNN_nchw_to_nhwc_int8_src];
    for (ptrdiff_t n = 0; n < call->batch; n++)
        for (ptrdiff_t c = 0; c < g->c; c++)
            for (ptrdiff_t at = 0; at < g->h * g->w; at++)
                dst[(n * g->h * g->w + at) * g->c + c] = src[(n * g->c + c) * g->h * g->w + at];
}

void cnn_ref_nhwc_to_nchw_int8(const cnn_call *call, const cnn_worker *worker)
{
    if (!cnn_is_first(worker)) return;
    const cnn_image_geometry *g = &call->geometry->image;
    uint8_t *dst = call->operands[CNN_nhwc_to_nchw_int8_dst];
    const uint8_t *src = call->operands[CNN_nhwc_to_nchw_int8_src];
    for (ptrdiff_t n = 0; n < call->batch; n++)
        for (ptrdiff_t c = 0; c < g->c; c++)
            for (ptrdiff_t at = 0; at < g->h * g->w; at++)
                dst[(n * g->c + c) * g->h * g->w + at] = src[(n * g->h * g->w + at) * g->c + c];
}
