#ifndef EVSERVE_CORE_MEM_H
#define EVSERVE_CORE_MEM_H

/* The only allocator. Tests link tests/lib/fake_mem.c in its place, which counts live blocks and can make the n-th
 * allocation fail. Every function may return NULL, and every caller handles it. Any thread may call. */

#include <stddef.h>

void *mem_alloc(size_t size);               /* uninitialised */
void *mem_zalloc(size_t size);              /* zero-filled */
void *mem_resize(void *block, size_t size); /* on failure NULL, and block is unchanged; NULL block allocates */
char *mem_copy_text(const char *text);      /* a copy of a NUL-terminated text */
void mem_free(void *block);                 /* NULL is allowed */

#endif
