/* Request heads (http/h1/parser*.c). The input is what a client sends. Parsed whole by the scalar variant, and then in
 * random pieces, by every variant, flush against a page that must not be touched: all say the same, under default
 * limits and under the least. What is complete lies within its head, its fields are what
 * http/field_line.c finds in it, and a path that is called plain is its own normal form. */

#include "http/field_line.h"
#include "http/h1/parser_variants.h"
#include "http/url.h"
#include "tests/lib/fuzz.h"
#include "tests/lib/parse_ways.h"

static struct outcome whole, other;

static bool is_within(struct slice slice, const struct head *head)
{
    return slice.len == 0 || (slice.offset < head->len && slice.len <= head->len - slice.offset);
}

/* A path that is called plain is its own normal form. */
static void check_plain(const char *path, size_t len)
{
    static char normal[GUARDED_BYTES];
    const char *reason;
    FUZZ_MUST(len > 0 && url_normalise_path(path, len, normal, sizeof normal, &reason) == (ssize_t)len);
    FUZZ_MUST(memcmp(path, normal, len) == 0);
}

/* The fields are what the scanner of field lines finds behind the request line. */
static void check_fields(const struct head *head, const char *text)
{
    const char *line_end = memmem(text + head->method_text.offset, head->len - head->method_text.offset, "\r\n", 2);
    struct field_line line = {.pos = (uint32_t)(line_end - text) + 2};
    FUZZ_MUST(line_end != NULL);
    for (unsigned i = 0; i < head->field_count; i++) {
        struct field field;
        FUZZ_MUST(field_line_scan(&line, text, head->len, &field) == FIELD_LINE_WHOLE);
        FUZZ_MUST(memcmp(&field.name, &head->fields[i].name, sizeof field.name) == 0);
        /* the value of Host may have been replaced by that of the target */
        FUZZ_MUST(i + 1 == head->first[FIELD_HOST] ||
                  memcmp(&field.value, &head->fields[i].value, sizeof field.value) == 0);
    }
    FUZZ_MUST(field_line_scan(&line, text, head->len, NULL) == FIELD_LINE_EMPTY && line.pos == head->len);
}

static void check_complete(const struct head *head, const struct limits *limits, const char *text, size_t len)
{
    FUZZ_MUST(head->len <= len && head->len >= 4 && memcmp(text + head->len - 2, "\r\n", 2) == 0);
    FUZZ_MUST(head->field_count <= limits->max_fields);
    FUZZ_MUST(head->method < METHOD_COUNT && head->minor_version <= 1);
    FUZZ_MUST(!head->chunked || !head->has_length);
    FUZZ_MUST(is_within(head->method_text, head) && is_within(head->target, head) && is_within(head->path, head));
    FUZZ_MUST(is_within(head->query, head) && is_within(head->authority, head));
    check_fields(head, text);
    if (head->path_is_plain) {
        check_plain(text + head->path.offset, head->path.len);
    }
    for (int i = 0; i < head->field_count; i++) {
        struct field field = head->fields[i];
        FUZZ_MUST(is_within(field.name, head) && is_within(field.value, head) && field.name.len > 0);
        for (uint32_t n = 0; n < field.value.len; n++) {
            unsigned char c = (unsigned char)text[field.value.offset + n];
            FUZZ_MUST(c == '\t' || (c >= ' ' && c != 0x7f));
        }
    }
}

static void parse_in_pieces(parse_head_fn fn, const struct limits *limits, const char *text, size_t len,
                            struct fuzz_dice *dice)
{
    begin(&other);
    arrive(&other, fn, limits, text, 0);
    for (size_t there = 0; there < len && other.verdict == PARSE_INCOMPLETE;) {
        there += fuzz_piece(dice, len - there);
        arrive(&other, fn, limits, text, there);
    }
    assert_same(&whole, &other);
}

static void check(const struct limits *limits, const char *text, size_t len, struct fuzz_dice *dice)
{
    parse_head_fn fn;
    parse_whole(&whole, parse_head_scalar, limits, text, len);
    if (whole.verdict == PARSE_COMPLETE) {
        check_complete(&whole.head, limits, text, len);
    }
    for (unsigned n = 0; (fn = parse_head_variant(n, NULL)) != NULL; n++) {
        parse_whole(&other, fn, limits, text, len);
        assert_same(&whole, &other);
        parse_at_start(&other, fn, limits, text, len);
        assert_same(&whole, &other);
        parse_in_pieces(fn, limits, text, len, dice);
        parse_in_pieces(fn, limits, text, len, dice);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct limits limits;
    struct fuzz_dice dice = fuzz_dice_of(data, len);
    guarded = *fuzz_guarded();
    if (len > GUARDED_BYTES) {
        return 0;
    }
    limits_init(&limits);
    check(&limits, (const char *)data, len, &dice);
    limits.max_request_line_bytes = 64;
    limits.max_header_bytes_bytes = 128;
    limits.max_fields = 4;
    check(&limits, (const char *)data, len, &dice);
    return 0;
}
