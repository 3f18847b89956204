/* Naive twin of ops/sgemm.c: three loops, sums in double. */
#include "basics.h"

void cnn_ref_sgemm(bool transpose_a, bool transpose_b, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, float alpha,
                   const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb, float beta, float *c, ptrdiff_t ldc)
{
    for (ptrdiff_t i = 0; i < m; i++)
        for (ptrdiff_t j = 0; j < n; j++) {
            double sum = 0.0;
            for (ptrdiff_t p = 0; p < k; p++) {
                const double x = transpose_a ? a[p * lda + i] : a[i * lda + p];
                const double y = transpose_b ? b[j * ldb + p] : b[p * ldb + j];
                sum += x * y;
            }
            const double kept = beta == 0.0f ? 0.0 : (double)beta * c[i * ldc + j];
            c[i * ldc + j] = (float)(alpha * sum + kept);
        }
}
