/* What sockets give scripts (lua/receive_pattern.c). The input is a byte that chooses what is asked for, one for how
 * many bytes, a delimiter behind its length, and what the peer sends, flush against a page that must not be touched.
 * The results are those of a plain reading of the whole, however the bytes come. */

#include "lua/receive_pattern.h"
#include "tests/lib/fuzz.h"

#include <string.h>

enum { FUZZ_DELIMITER_MAX = 32, RECEIVE_KINDS = RECEIVE_UNTIL + 1 };

struct asked {
    struct receive_pattern pattern;
    struct receive_delimiter delimiter;
    uint32_t fallback[FUZZ_DELIMITER_MAX];
    char text[FUZZ_DELIMITER_MAX];
};

/* Read what is asked for from the input. Returns the bytes used, 0: there are too few. */
static size_t read_asked(struct asked *asked, const uint8_t *data, size_t len)
{
    if (len < 4) {
        return 0;
    }
    size_t delimiter_len = data[2] % FUZZ_DELIMITER_MAX + 1;
    if (len < 3 + delimiter_len) {
        return 0;
    }
    memset(asked, 0, sizeof *asked);
    memcpy(asked->text, data + 3, delimiter_len);
    receive_prepare(asked->text, delimiter_len, asked->fallback);
    asked->delimiter = (struct receive_delimiter){asked->text, asked->fallback, delimiter_len, (data[0] & 0x80) != 0};
    asked->pattern = (struct receive_pattern){
        .kind = (enum receive_kind)(data[0] % 0x80 % RECEIVE_KINDS),
        .count = data[1],
        .most = GUARDED_BYTES,
        .delimiter = &asked->delimiter,
    };
    bool has_count = asked->pattern.kind == RECEIVE_COUNT || asked->pattern.kind == RECEIVE_ANY;
    if (has_count && asked->pattern.count == 0) {
        asked->pattern.count = 1;
    }
    return 3 + delimiter_len;
}

/* Where the delimiter begins, at or behind from, by trying each place; len: nowhere. */
static size_t find_plainly(const struct receive_delimiter *delimiter, const char *bytes, size_t from, size_t len)
{
    for (size_t at = from; at + delimiter->len <= len; at++) {
        if (memcmp(bytes + at, delimiter->text, delimiter->len) == 0) {
            return at;
        }
    }
    return len;
}

/* What a plain reading finds from from on, all bytes being there. Returns whether there is a result. */
static bool read_plainly(const struct receive_pattern *pattern, const char *bytes, size_t from, size_t len,
                         struct receive_cut *cut)
{
    size_t left = len - from, at = from;
    memset(cut, 0, sizeof *cut);
    switch (pattern->kind) {
    case RECEIVE_LINE:
        while (at < len && bytes[at] != '\n') {
            at++;
        }
        cut->len = at - from;
        cut->taken = cut->len + 1;
        return at < len;
    case RECEIVE_COUNT:
        cut->len = cut->taken = pattern->count;
        return left >= pattern->count;
    case RECEIVE_UNTIL:
        at = find_plainly(pattern->delimiter, bytes, from, len);
        if (at < len && (pattern->count == 0 || at - from < pattern->count)) {
            cut->is_end = true;
            cut->taken = at - from + pattern->delimiter->len;
            cut->len = pattern->delimiter->is_inclusive ? cut->taken : at - from;
            return true;
        }
        cut->len = cut->taken = pattern->count;
        return at < len;
    case RECEIVE_ANY:
    case RECEIVE_ALL:
        break;
    }
    return false;
}

/* Bytes come in pieces, and each result is what the plain reading finds. At the end of the bytes, and now and then
 * before, the reader gives up. */
static void read_in_pieces(struct receive_pattern pattern, const char *bytes, size_t len, struct fuzz_dice *dice,
                           bool times_out)
{
    size_t taken = 0, come = 0, got = 0; /* got: bytes of this result that the script has already, from timeouts */
    struct receive_cut cut, wanted;
    while (true) {
        enum receive_verdict verdict = receive_look(&pattern, bytes + taken, come - taken, &cut);
        FUZZ_MUST(verdict != RECEIVE_TOO_LONG);
        if (verdict == RECEIVE_DONE) {
            bool is_there = read_plainly(&pattern, bytes, taken - got, len, &wanted);
            FUZZ_MUST(cut.len <= cut.taken && cut.taken <= come - taken);
            if (pattern.kind == RECEIVE_ANY) {
                FUZZ_MUST(cut.len >= 1 && cut.len <= pattern.count && cut.taken == cut.len);
            } else if (got == 0) {
                bool is_piece = pattern.kind == RECEIVE_UNTIL && !cut.is_end;
                FUZZ_MUST(is_there || is_piece);
                FUZZ_MUST(cut.len == wanted.len && cut.taken == wanted.taken && cut.is_end == wanted.is_end);
            } else if (pattern.kind == RECEIVE_LINE || (pattern.kind == RECEIVE_UNTIL && pattern.count == 0)) {
                FUZZ_MUST(is_there && cut.taken + got == wanted.taken && cut.len + got == wanted.len);
            }
            taken += cut.taken;
            got = 0;
            continue;
        }
        if (come == len) {
            break;
        }
        if (times_out && fuzz_roll(dice, 4) == 0) {
            receive_give_up(&pattern, come - taken, false, &cut);
            FUZZ_MUST(cut.len == cut.taken && cut.taken <= come - taken);
            taken += cut.taken;
            got += cut.len;
        }
        come += fuzz_piece(dice, len - come);
    }
    FUZZ_MUST(got > 0 || !read_plainly(&pattern, bytes, taken, len, &wanted));
    receive_give_up(&pattern, come - taken, true, &cut);
    FUZZ_MUST(cut.len == len - taken && cut.taken == cut.len);
}

static void drop_plainly(const char *bytes, size_t len)
{
    static char line[GUARDED_BYTES], wanted[GUARDED_BYTES];
    size_t kept = 0;
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != '\r') {
            wanted[kept++] = bytes[i];
        }
    }
    memcpy(line, bytes, len);
    FUZZ_MUST(receive_drop_returns(line, len) == kept);
    FUZZ_MUST(memcmp(line, wanted, kept) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct asked asked;
    struct fuzz_dice dice = fuzz_dice_of(data, len);
    size_t used = read_asked(&asked, data, len);
    if (used == 0 || len - used > GUARDED_BYTES) {
        return 0;
    }
    const char *bytes = guarded_at_end(fuzz_guarded(), (const char *)data + used, len - used);
    read_in_pieces(asked.pattern, bytes, len - used, &dice, false);
    read_in_pieces(asked.pattern, bytes, len - used, &dice, true);
    drop_plainly(bytes, len - used);
    return 0;
}
