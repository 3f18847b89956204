/* Which operands of a program are cold. */
#include "internal.h"
#include "test.h"

enum { MB = 1 << 20 };

/* Four maps in the arena, of which the third is larger than a third-level cache, and a parameter. */
enum { A, B, LARGE, SMALL, PARAMETER, OPERANDS };

static const cnn_operand operands[OPERANDS] = {[A] = {CNN_SPACE_ARENA, 0, 2 * MB},
                                               [B] = {CNN_SPACE_ARENA, 2 * MB, 2 * MB},
                                               [LARGE] = {CNN_SPACE_ARENA, 4 * MB, 40 * MB},
                                               [SMALL] = {CNN_SPACE_ARENA, 44 * MB, 2 * MB},
                                               [PARAMETER] = {CNN_SPACE_PARAMETERS, 0, 2 * MB}};

/* An instruction of two operands; only these count. */
static cnn_instruction of(int first, int second)
{
    cnn_instruction instruction = {.operands = {first, second}};
    for (int i = 2; i < CNN_MAX_OPERANDS; i++) instruction.operands[i] = -1;
    return instruction;
}

static void expect_cold(const char *what, int64_t arena, const cnn_instruction *instructions, ptrdiff_t count,
                        const unsigned *expected)
{
    unsigned cold[8];
    const cnn_program_description d = {.instructions = instructions,
                                       .instruction_count = count,
                                       .operands = operands,
                                       .operand_count = OPERANDS,
                                       .max_batch = 1,
                                       .space_bytes = {[CNN_SPACE_ARENA] = arena}};
    test_begin("cold operands: %s", what);
    if (test_expect(cnn_find_cold(&d, cold), "no memory"))
        for (ptrdiff_t i = 0; i < count; i++)
            test_expect(cold[i] == expected[i], "instruction %td: %#x, not %#x", i, cold[i], expected[i]);
    test_end();
}

void suite_cold(void)
{
    const cnn_instruction around[] = {of(A, B), of(LARGE, SMALL), of(A, SMALL)};
    expect_cold("what lies between two uses drives out, from run to run too", 46 * MB, around, 3,
                (unsigned[]){0x2, 0x0, 0x1});
    expect_cold("an arena that a cache holds", 11 * MB, (cnn_instruction[]){of(A, B), of(A, B)}, 2, (unsigned[]){0, 0});
    const cnn_instruction small[] = {of(A, B), of(SMALL, B), of(A, SMALL)};
    expect_cold("a large arena of which little is used", 46 * MB, small, 3, (unsigned[]){0, 0, 0});
    const cnn_instruction parameter[] = {of(PARAMETER, A), of(LARGE, LARGE)};
    expect_cold("a parameter", 46 * MB, parameter, 2, (unsigned[]){0x2, 0x0});
    expect_cold("no instructions", 46 * MB, parameter, 0, NULL);
}
