/* Philox4x32-10: Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011), section 4.3. */
#include "rng.h"

void cnn_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t draws[4])
{
    philox4x32(counter, key, draws);
}
