/* Choosing the instruction set; every available one computes what the twins compute. */
#include <string.h>

#include "test.h"

static void choice(void)
{
    char before[32] = "";
    strncpy(before, cnn_get_isa(), sizeof before - 1);

    test_begin("an unknown instruction set is refused");
    test_expect(cnn_set_isa("no-such-set") == CNN_BAD_ISA, "it was accepted");
    test_expect(strcmp(cnn_get_isa(), before) == 0, "the set in use became %s", cnn_get_isa());
    test_end();

    test_begin("reference and portable are always there");
    test_expect(strcmp(cnn_available_isa(0), "reference") == 0, "first is %s", cnn_available_isa(0));
    test_expect(strcmp(cnn_available_isa(1), "portable") == 0, "second is %s", cnn_available_isa(1));
    test_end();
}

void suite_dispatch(void)
{
    choice();
    const char *before = cnn_get_isa();
    for (int i = 0; cnn_available_isa(i); i++) {
        const char *name = cnn_available_isa(i);
        test_begin("set_isa %s", name);
        test_expect(cnn_set_isa(name) == CNN_OK && strcmp(cnn_get_isa(), name) == 0, "it is %s", cnn_get_isa());
        test_expect(cnn_fma_burst(10) > 0.0, "no FLOPs");
        const float numbers[130] = {0};
        test_expect(cnn_read_burst(numbers, 130, 3) == 3 * 128 * sizeof *numbers, "not 128 floats three times");
        test_end();
        if (strcmp(name, before) != 0 && strcmp(name, "reference") != 0) check_all_ops();
    }
    cnn_set_isa(before);
}
