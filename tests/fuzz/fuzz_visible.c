/* Text that is shown (core/visible.h). The input is read flush against a page that must not be touched: what comes out
 * needs no escape any more, has no newline and no control character but tabs, stays within its bound, and ends where
 * the input ends when there is room. */

#include "core/visible.h"
#include "tests/lib/fuzz.h"

#include <string.h>

static void check_copy(const char *text, size_t len, size_t room, enum visible_manner manner)
{
    static char out[6 * GUARDED_BYTES + 1];
    size_t taken;
    size_t used = visible_copy(out, room, text, len, manner, &taken);
    FUZZ_MUST(used < room && out[used] == '\0' && taken <= len);
    FUZZ_MUST(room < sizeof out || taken == len);
    FUZZ_MUST(visible_span(out, used, VISIBLE_LINE) == used);
    for (size_t i = 0; i < used; i++) {
        FUZZ_MUST((out[i] & 0x80) != 0 || out[i] == '\t' || (out[i] >= ' ' && out[i] < 0x7f));
    }
    if (taken < len) {
        FUZZ_MUST(room - 1 - used < VISIBLE_PIECE_MAX - 1); /* no more was left out than did not fit */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > GUARDED_BYTES) {
        return 0;
    }
    const char *text = guarded_at_end(fuzz_guarded(), (const char *)data, len);
    check_copy(text, len, 6 * GUARDED_BYTES + 1, VISIBLE_LINE);
    check_copy(text, len, 6 * GUARDED_BYTES + 1, VISIBLE_QUOTED);
    check_copy(text, len, len == 0 ? 1 : 1 + (uint8_t)text[0], VISIBLE_LINE);
    FUZZ_MUST(visible_span(text, len, VISIBLE_LINE) <= visible_span(text, len, VISIBLE_LINES));
    return 0;
}
