/* Where the memory of programs and products comes from. */
#if defined(__linux__)
#define _DEFAULT_SOURCE /* madvise */
#include <sys/mman.h>
#endif
#include <stdlib.h>

#include "internal.h"

/* What fills large pages is laid on them: Winograd's transforms, which go through many small ones at a time, are a
 * fifth faster, and a block that takes up a whole second-level cache has its place in all of that. */
enum { LARGE_PAGE = 2 << 20 };

void *cnn_allocate(size_t bytes)
{
    /* aligned_alloc wants a multiple of the alignment; zero bytes still give a pointer */
    const size_t alignment = bytes >= LARGE_PAGE / 2 ? LARGE_PAGE : CNN_ALIGNMENT;
    if (bytes > SIZE_MAX - LARGE_PAGE) return NULL;
    const size_t whole = ((bytes ? bytes : 1) + alignment - 1) / alignment * alignment;
    void *memory = aligned_alloc(alignment, whole);
#if defined(MADV_HUGEPAGE)
    if (memory && alignment == LARGE_PAGE) (void)madvise(memory, whole, MADV_HUGEPAGE); /* a wish: failing is no harm */
#endif
    if (memory) memset(memory, 0, whole); /* touches the pages once, here */
    return memory;
}
