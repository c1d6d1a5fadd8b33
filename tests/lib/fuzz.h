#ifndef EVSERVE_TESTS_FUZZ_H
#define EVSERVE_TESTS_FUZZ_H

/* What fuzz targets share. A target is one file with one function, LLVMFuzzerTestOneInput(), which aborts when an
 * invariant does not hold; the sanitizers see to the rest. Nothing may be left from one input to the next, so that a
 * file is all that is needed to see a finding again. */

#include "tests/lib/fake_mem.h"
#include "tests/lib/guard_page.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* libFuzzer calls it, or lib/fuzz_main.c. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define FUZZ_MUST(condition)                                                                                           \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                             \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Choices that have no place in the input (where it is cut, for instance) are drawn from a generator that the input
 * itself seeds: so an input is plain text, and still always means the same. */
struct fuzz_dice {
    uint64_t state; /* xorshift64, never 0 */
};

static inline struct fuzz_dice fuzz_dice_of(const uint8_t *data, size_t len)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
    }
    return (struct fuzz_dice){.state = hash | 1};
}

/* A number from 0 to limit - 1. */
static inline size_t fuzz_roll(struct fuzz_dice *dice, size_t limit)
{
    dice->state ^= dice->state << 13;
    dice->state ^= dice->state >> 7;
    dice->state ^= dice->state << 17;
    return (size_t)(dice->state >> 33) % limit;
}

/* The length of the next piece of left bytes: mostly short, at times all. At least 1. */
static inline size_t fuzz_piece(struct fuzz_dice *dice, size_t left)
{
    size_t most = fuzz_roll(dice, 4) == 0 ? left : 1 + fuzz_roll(dice, 40);
    return 1 + fuzz_roll(dice, most < left ? most : left);
}

/* The pages that inputs lie flush against. */
static inline struct guarded *fuzz_guarded(void)
{
    static struct guarded guarded;
    if (guarded.map == NULL) {
        setenv("CMOCKA_TEST_ABORT", "1", 1); /* an assertion of a shared helper aborts, and so is a finding */
        guarded_init(&guarded);
    }
    return &guarded;
}

#endif
