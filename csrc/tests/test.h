/* A test is a case with expectations; a suite is a function that runs cases. Failures print the case in full. */
#ifndef CNN_TEST_H
#define CNN_TEST_H

#include "cnn.h"

#if defined(__GNUC__)
#define TEST_PRINTF(text, rest) __attribute__((format(printf, text, rest)))
#else
#define TEST_PRINTF(text, rest)
#endif

/* Opens a case; the text names it with every parameter. */
void test_begin(const char *format, ...) TEST_PRINTF(1, 2);
/* One expectation of the open case; the text says what was found. Returns `holds`. */
bool test_expect(bool holds, const char *format, ...) TEST_PRINTF(2, 3);
/* Closes the case: it passed when every expectation held. */
void test_end(void);

typedef void suite(void);
suite suite_rng, suite_registry, suite_dispatch, suite_ops, suite_edges, suite_gradients, suite_sgemm, suite_images,
    suite_warp, suite_program, suite_description, suite_cold, suite_threads, suite_pace, suite_bench;

/* Every op over its table of shapes with the current instruction set: twin, 1, 2, 3 and 5 threads. */
void check_all_ops(void);
void check_int8_ops(void); /* ... and those of integer inference alone */

#endif
