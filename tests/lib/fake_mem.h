#ifndef EVSERVE_TESTS_FAKE_MEM_H
#define EVSERVE_TESTS_FAKE_MEM_H

/* All of core/mem.h over malloc(3), for tests: counts what is alive and fails on request. A resize always moves the
 * block, so that a pointer kept across it is found by the sanitizer; freeing what is not a live block aborts. Any
 * thread may allocate and free; the functions below are for the test's own thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Make the n-th allocation from now (1 is the next one) return NULL; with forever, all after it as well. An allocation
 * is a call of mem_alloc(), mem_zalloc(), mem_resize() or mem_copy_text(). 0 takes a wish back. */
void fake_mem_fail_after(uint64_t n, bool forever);

/* Whether the last wish has made an allocation fail. Ends the loop over "the n-th allocation". */
bool fake_mem_failed(void);

size_t fake_mem_live(void);       /* blocks that are not freed */
size_t fake_mem_live_bytes(void); /* bytes asked for in these blocks */
uint64_t fake_mem_calls(void);    /* allocations since the start, refused ones included */

#endif
