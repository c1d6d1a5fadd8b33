/* Formats of the access log, and the lines that they make (http/access_format.c, access_line.c, access_escape.c). The
 * input is a format, and behind a newline what a client has sent instead of a request. A format is refused with a text,
 * or makes one line, which fits into its room, whose escaped part is printable ASCII, or in JSON has no control
 * character. */

#include "http/access_escape.h"
#include "http/access_format.h"
#include "http/access_line.h"
#include "http/access_memo.h"
#include "tests/lib/fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM = 4096 };

/* One value, into less and less room: it never ends outside of it, nor in an escape. */
static void check_value(const char *value, size_t len, bool is_json)
{
    static char whole[6 * GUARDED_BYTES + 16], cut[64 + 16];
    char *end = access_escape(whole, whole + sizeof whole - 16, value, len, is_json);
    for (const char *at = whole; at < end; at++) {
        unsigned char byte = (unsigned char)*at;
        FUZZ_MUST(byte >= ' ' && byte != 0x7f && (is_json || byte < 0x7f));
    }
    for (size_t room = 0; room <= 64; room++) {
        char *cut_end = access_escape(cut, cut + room, value, len, is_json);
        FUZZ_MUST(cut_end <= cut + room);
        FUZZ_MUST((size_t)(cut_end - cut) <= (size_t)(end - whole));
        FUZZ_MUST(memcmp(cut, whole, (size_t)(cut_end - cut)) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > GUARDED_BYTES) {
        return 0;
    }
    const char *input = (const char *)data;
    const char *newline = len == 0 ? NULL : memchr(input, '\n', len);
    size_t text_len = newline == NULL ? len : (size_t)(newline - input);
    size_t raw_len = newline == NULL ? 0 : len - text_len - 1;
    const char *raw = guarded_at_end(fuzz_guarded(), newline == NULL ? "" : newline + 1, raw_len);
    check_value(raw, raw_len, false);
    check_value(raw, raw_len, true);

    char *text = malloc(text_len + 1);
    FUZZ_MUST(text != NULL);
    if (text_len > 0) {
        memcpy(text, input, text_len);
    }
    text[text_len] = '\0';
    struct access_format *format = NULL;
    char err[512] = "";
    if (access_format_parse(&format, text, err, sizeof err) == 0) {
        static char line[ROOM + ACCESS_LINE_SLACK];
        struct access_memo memo = {0};
        const struct access_entry entry = {.raw = raw, .raw_len = raw_len, .status = 400, .now_s = 1};
        const char *end = access_line_write(format, &entry, &memo, line, ROOM);
        FUZZ_MUST(end > line && end <= line + ROOM);
        FUZZ_MUST(memchr(line, '\n', ROOM) == end - 1);
        access_format_put(format);
    } else {
        FUZZ_MUST(err[0] != '\0' && format == NULL);
    }
    free(text);
    return 0;
}
