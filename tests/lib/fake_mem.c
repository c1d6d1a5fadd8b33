/* Each block carries its size in front of it. The counters are atomic, because reactor_post() allocates on the thread
 * of its caller. */

#include "tests/lib/fake_mem.h"

#include "core/mem.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIVE UINT64_C(0x616c697665626c6b)

/* What lies before the caller's bytes. */
struct header {
    _Alignas(max_align_t) size_t size; /* asked for */
    uint64_t mark;                     /* ALIVE until it is freed */
};

static atomic_size_t live, live_bytes;
static atomic_uint_least64_t calls;
static atomic_uint_least64_t fail_at; /* number of the call that fails, 0 for none */
static atomic_bool fail_forever, failed;

void fake_mem_fail_after(uint64_t n, bool forever)
{
    failed = false;
    fail_forever = forever;
    fail_at = n == 0 ? 0 : calls + n;
}

bool fake_mem_failed(void)
{
    return failed;
}

size_t fake_mem_live(void)
{
    return live;
}

size_t fake_mem_live_bytes(void)
{
    return live_bytes;
}

uint64_t fake_mem_calls(void)
{
    return calls;
}

void *mem_alloc(size_t size)
{
    uint64_t call = ++calls;
    if (fail_at != 0 && (call == fail_at || (fail_forever && call > fail_at))) {
        failed = true;
        return NULL;
    }
    struct header *header = malloc(sizeof *header + size);
    if (header == NULL) {
        return NULL;
    }
    *header = (struct header){.size = size, .mark = ALIVE};
    live++;
    live_bytes += size;
    return memset(header + 1, 0xa5, size); /* nobody may count on zeroes */
}

void *mem_zalloc(size_t size)
{
    void *block = mem_alloc(size);
    return block == NULL ? NULL : memset(block, 0, size);
}

void *mem_resize(void *block, size_t size)
{
    void *moved = mem_alloc(size);
    if (moved != NULL && block != NULL) {
        size_t old = ((struct header *)block - 1)->size;
        memcpy(moved, block, old < size ? old : size);
        mem_free(block);
    }
    return moved;
}

char *mem_copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = mem_alloc(size);
    return copy == NULL ? NULL : memcpy(copy, text, size);
}

void mem_free(void *block)
{
    if (block == NULL) {
        return;
    }
    struct header *header = (struct header *)block - 1;
    if (header->mark != ALIVE) {
        fprintf(stderr, "fake_mem: %p is not a live block\n", block);
        abort();
    }
    header->mark = 0;
    live--;
    live_bytes -= header->size;
    free(header);
}
