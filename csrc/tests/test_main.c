/* Runs every suite, or those named on the command line. The last line is "N passed, N failed". */
#include "test.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct {
    char text[1024];
    bool failed;
    int passed, failures;
} state;

void test_begin(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(state.text, sizeof state.text, format, arguments);
    va_end(arguments);
    state.failed = false;
}

bool test_expect(bool holds, const char *format, ...)
{
    if (holds) return true;
    if (!state.failed) printf("FAILED %s\n", state.text);
    state.failed = true;
    va_list arguments;
    va_start(arguments, format);
    printf("       ");
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    return false;
}

void test_end(void)
{
    if (state.failed)
        state.failures++;
    else
        state.passed++;
    fflush(stdout);
}

static const struct {
    const char *name;
    suite *run;
} suites[] = {{"rng", suite_rng},
              {"registry", suite_registry},
              {"dispatch", suite_dispatch},
              {"ops", suite_ops},
              {"edges", suite_edges},
              {"gradients", suite_gradients},
              {"sgemm", suite_sgemm},
              {"images", suite_images},
              {"warp", suite_warp},
              {"program", suite_program},
              {"description", suite_description},
              {"cold", suite_cold},
              {"threads", suite_threads},
              {"pace", suite_pace},
              {"bench", suite_bench}};
enum { SUITES = sizeof suites / sizeof suites[0] };

static bool wanted(const char *name, int count, char **names)
{
    for (int i = 0; i < count; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return count == 0;
}

int main(int argc, char **argv)
{
    if (!cnn_get_isa()) {
        fprintf(stderr, "error: CNN_ISA=%s names an instruction set that is not to be had\n", cnn_requested_isa());
        return 2;
    }
    for (int i = 0; i < SUITES; i++) {
        if (!wanted(suites[i].name, argc - 1, argv + 1)) continue;
        const int before = state.passed;
        suites[i].run();
        printf("%-10s %d passed\n", suites[i].name, state.passed - before);
    }
    printf("%d passed, %d failed\n", state.passed, state.failures);
    return state.failures != 0;
}
