/* Philox4x32-10 against the known answers of the Random123 distribution (kat_vectors). */
#include <string.h>

#include "test.h"

static const struct {
    uint32_t counter[4], key[2], draws[4];
} answers[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

void suite_rng(void)
{
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        uint32_t draws[4];
        test_begin("philox4x32 counter=%08x... key=%08x...", answers[i].counter[0], answers[i].key[0]);
        cnn_philox4x32(answers[i].counter, answers[i].key, draws);
        test_expect(memcmp(draws, answers[i].draws, sizeof draws) == 0, "drew %08x %08x %08x %08x", draws[0], draws[1],
                    draws[2], draws[3]);
        test_end();
    }
}
