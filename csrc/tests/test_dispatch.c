/* Choosing the instruction set; every available one computes what the twins compute. */
#include <string.h>

#include "kernels.h"
#include "test.h"

/* What is said of a set by its name is what its kernels were compiled with. */
static void register_tiles(void)
{
    test_begin("an unknown instruction set has no register tile");
    test_expect(cnn_register_tile_of("no-such-set") == NULL, "there is one");
    test_end();

    test_begin("sets of other machines have register tiles too");
    static const char *const sets[] = {"portable", "avx2", "avx512", "neon"};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        const cnn_register_tile *tile = cnn_register_tile_of(sets[i]);
        test_expect(tile && tile->rows > 0 && tile->columns % CNN_PANEL == 0, "%s has none", sets[i]);
    }
    test_end();
}

static void register_tile_in_use(void)
{
    bool reference;
    const cnn_kernels *kernels = cnn_kernels_current(&reference);
    const cnn_register_tile *tile = cnn_register_tile_of(cnn_get_isa());
    test_begin("register tile of %s", cnn_get_isa());
    test_expect(tile->rows == kernels->tile_rows && tile->columns == kernels->tile_groups * CNN_PANEL &&
                    tile->width == kernels->vector_width,
                "it is said to be %d x %d of vectors of %d", tile->rows, tile->columns, tile->width);
    test_end();
}

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

/* Where the set in use has VNNI: it can be left, and the ops are the same without it. */
static void without_vnni(void)
{
    if (!cnn_uses_vnni()) return;
    test_begin("%s without VNNI", cnn_get_isa());
    cnn_set_vnni(false);
    test_expect(!cnn_uses_vnni(), "it is still used");
    test_end();
    check_int8_ops();
    cnn_set_vnni(true);
}

void suite_dispatch(void)
{
    choice();
    register_tiles();
    const char *before = cnn_get_isa();
    for (int i = 0; cnn_available_isa(i); i++) {
        const char *name = cnn_available_isa(i);
        test_begin("set_isa %s", name);
        test_expect(cnn_set_isa(name) == CNN_OK && strcmp(cnn_get_isa(), name) == 0, "it is %s", cnn_get_isa());
        test_expect(cnn_fma_burst(10) > 0.0, "no FLOPs");
        const float numbers[130] = {0};
        test_expect(cnn_read_burst(numbers, 130, 3) == 3 * 128 * sizeof *numbers, "not 128 floats three times");
        test_end();
        register_tile_in_use();
        without_vnni();
        if (strcmp(name, before) != 0 && strcmp(name, "reference") != 0) check_all_ops();
    }
    cnn_set_isa(before);
}
