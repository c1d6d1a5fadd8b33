/* core/tls_parts.c: which bytes of which parts become one record. */

#include "core/tls_parts.h"

#include "core/tls_pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { R = TLS_RECORD_BYTES, PARTS_MAX = 4, RECORDS_MAX = 5 };

static char bytes[4 * R], gathered[R];

static void parts_become_records(void **state)
{
    (void)state;
    static const struct {
        size_t parts[PARTS_MAX], skipped, records[RECORDS_MAX]; /* ends with 0 */
        unsigned in_place;                                      /* bit n: the n-th record is not gathered */
    } rows[] = {
        {{1}, 0, {1}, 1},
        {{R}, 0, {R}, 1},
        {{R + 1}, 0, {R, 1}, 3},
        {{1, 2, 3}, 0, {6}, 0},
        {{R, 2, 3}, 0, {R, 5}, 1},
        {{1, R}, 0, {R, 1}, 2},           /* all but the last byte is copied */
        {{1, R, 1}, 0, {R, 2}, 0},        /* and the rest goes with what follows */
        {{R + 2, R, 1}, 0, {R, R, 3}, 1}, /* likewise */
        {{3, 4}, 3, {4}, 1},              /* what was skipped takes no room */
        {{3, 4}, 2, {5}, 0},
        {{3, 4}, 7, {0}, 0},
        {{2 * R, 1}, R, {R, 1}, 3},
        {{0}, 0, {0}, 0},
    };
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (char)(i * 7 + i / 251);
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct iovec iov[2 * PARTS_MAX];
        size_t count = 0, place = 0;
        for (size_t n = 0; n < PARTS_MAX && rows[i].parts[n] > 0; n++) {
            iov[count++] = (struct iovec){bytes + place, rows[i].parts[n]};
            iov[count++] = (struct iovec){NULL, 0}; /* parts may be empty */
            place += rows[i].parts[n];
        }
        struct tls_parts parts = {.parts = iov, .count = count == 0 ? 0 : count - 1};
        place = rows[i].skipped;
        tls_parts_skip(&parts, place);
        for (size_t n = 0; n == 0 || rows[i].records[n - 1] > 0; n++) {
            struct tls_piece piece = tls_parts_next(&parts, gathered);
            assert_int_equal(piece.len, rows[i].records[n]);
            if (piece.len > 0) {
                assert_memory_equal(piece.data, bytes + place, piece.len);
                assert_int_equal(piece.data != gathered, rows[i].in_place >> n & 1);
            }
            place += piece.len;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_become_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
