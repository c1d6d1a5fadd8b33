#ifndef EVSERVE_TESTS_GUARD_PAGE_H
#define EVSERVE_TESTS_GUARD_PAGE_H

/* Memory between two pages that nobody may touch: bytes laid flush against one of them turn a read of one byte too many
 * into a crash, which no sanitizer can miss. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { GUARDED_BYTES = 1 << 16 };

struct guarded {
    char *map;   /* with the guard pages */
    char *first; /* first byte behind the guard page before */
    char *end;   /* first byte of the guard page behind */
    size_t len;  /* of map */
};

static inline void guarded_init(struct guarded *guarded)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    guarded->len = GUARDED_BYTES + 2 * page;
    guarded->map = mmap(NULL, guarded->len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(guarded->map, MAP_FAILED);
    guarded->first = guarded->map + page;
    guarded->end = guarded->first + GUARDED_BYTES;
    assert_int_equal(mprotect(guarded->first, GUARDED_BYTES, PROT_READ | PROT_WRITE), 0);
}

static inline void guarded_done(struct guarded *guarded)
{
    munmap(guarded->map, guarded->len);
}

/* A copy of the bytes with nothing readable behind it. */
static inline char *guarded_at_end(struct guarded *guarded, const char *bytes, size_t len)
{
    return memcpy(guarded->end - len, bytes, len);
}

/* A copy of the bytes with nothing readable before it. */
static inline char *guarded_at_start(struct guarded *guarded, const char *bytes, size_t len)
{
    return memcpy(guarded->first, bytes, len);
}

#endif
