/* http/h1/chunked.c: chunked bodies (RFC 9112 section 7.1). Each row is parsed whole, byte by byte and split in two at
 * every boundary, flush against a page that must not be touched, and followed by other bytes. */

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "http/h1/chunked.h"
#include "http/limits.h"
#include "tests/lib/guard_page.h"

enum { CONTENT_MAX = 1 << 16 };

/* One body: everything that must not depend on how the bytes arrived. */
struct outcome {
    enum parse_verdict verdict;
    struct chunk_parser parser;
    size_t used;               /* bytes taken, until the body ended or was refused */
    size_t len;                /* of content */
    char content[CONTENT_MAX]; /* what the pieces made up */
};

static struct guarded guarded;

static int set_up(void **state)
{
    (void)state;
    guarded_init(&guarded);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    guarded_done(&guarded);
    return 0;
}

static void begin(struct outcome *out)
{
    memset(&out->parser, 0xa5, sizeof out->parser); /* what was in the memory before must not matter */
    out->used = 0;
    out->len = 0;
    out->verdict = PARSE_INCOMPLETE;
    chunk_parser_reset(&out->parser);
}

/* The next len bytes have arrived. */
static void arrive(struct outcome *out, const struct limits *limits, const char *text, size_t len)
{
    const char *data = guarded_at_end(&guarded, text, len);

    while (out->verdict == PARSE_INCOMPLETE && len > 0) {
        size_t used = SIZE_MAX;
        struct slice piece = {UINT32_MAX, UINT32_MAX};
        out->verdict = parse_chunked(&out->parser, limits, data, len, &used, &piece);
        assert_true(used > 0 && used <= len);
        assert_true(piece.len <= used && (piece.len == 0 || piece.offset + piece.len == used));
        assert_true(out->len + piece.len <= CONTENT_MAX);
        memcpy(out->content + out->len, data + piece.offset, piece.len);
        out->len += piece.len;
        out->used += used;
        data += used;
        len -= used;
    }
}

static void parse_in_steps(struct outcome *out, const struct limits *limits, const char *text, size_t len, size_t step)
{
    begin(out);
    for (size_t at = 0; at < len; at += step) {
        arrive(out, limits, text + at, step < len - at ? step : len - at);
    }
}

static void assert_same(const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->verdict, b->verdict);
    assert_int_equal(a->used, b->used);
    assert_int_equal(a->len, b->len);
    assert_memory_equal(a->content, b->content, a->len);
    if (a->verdict == PARSE_ERROR) {
        assert_int_equal(a->parser.status, b->parser.status);
        assert_string_equal(a->parser.reason, b->parser.reason);
    }
}

static void parse_every_way(struct outcome *whole, const struct limits *limits, const char *text, size_t len)
{
    static struct outcome other;

    parse_in_steps(whole, limits, text, len, len + 1);
    for (size_t step = 1; step < 4; step++) {
        parse_in_steps(&other, limits, text, len, step);
        assert_same(whole, &other);
    }
    for (size_t i = 0; i <= len; i++) {
        begin(&other);
        arrive(&other, limits, text, i);
        arrive(&other, limits, text + i, len - i);
        assert_same(whole, &other);
    }
}

/* "abc" for a complete body, "abc..." for an incomplete one, "400 reason". */
static void dump(char *out, const struct outcome *outcome)
{
    if (outcome->verdict == PARSE_ERROR) {
        sprintf(out, "%d %s", outcome->parser.status, outcome->parser.reason);
    } else {
        sprintf(out, "%.*s%s", (int)outcome->len, outcome->content, outcome->verdict == PARSE_COMPLETE ? "" : "...");
    }
}

struct row {
    const char *section; /* of RFC 9112 */
    const char *text;    /* what arrives */
    size_t len;          /* of text, which may hold NUL */
    const char *wanted;  /* what dump() has to say */
};

#define ROW(section, text, wanted)                                                                                     \
    {                                                                                                                  \
        section, text, sizeof(text) - 1, wanted                                                                        \
    }

static void check_row(const struct row *row)
{
    static struct outcome out;
    static struct outcome longer;
    static char said[CONTENT_MAX];
    char followed[2048];
    struct limits limits;

    limits_init(&limits);
    parse_every_way(&out, &limits, row->text, row->len);
    dump(said, &out);
    if (strcmp(said, row->wanted) != 0) {
        print_error("%s: %s\n", row->section, row->text);
    }
    assert_string_equal(said, row->wanted);
    if (out.verdict == PARSE_COMPLETE) {
        assert_int_equal(out.used, row->len);
        memcpy(followed, row->text, row->len);
        strcpy(followed + row->len, "GET / HTTP/1.1\r\n");
        parse_every_way(&longer, &limits, followed, row->len + 16);
        assert_same(&out, &longer);
    }
}

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        check_row(&rows[i]);
    }
}

static void chunked_bodies_are_read_as_the_rfc_says(void **state)
{
    static const struct row rows[] = {
        ROW("7.1", "0\r\n\r\n", ""),
        ROW("7.1", "3\r\nabc\r\n0\r\n\r\n", "abc"),
        ROW("7.1", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde"),
        ROW("7.1", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
        ROW("7.1", "1F\r\n0123456789abcdef0123456789abcde\r\n000\r\n\r\n", "0123456789abcdef0123456789abcde"),
        ROW("7.1", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"),
        ROW("7.1", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
        ROW("7.1", "0000000000000003\r\nabc\r\n0000000000000000\r\n\r\n", "abc"), /* sixteen digits, no more */
        ROW("7.1", "00000000000000003\r\nabc\r\n", "400 chunk size has too many digits"),
        ROW("7.1", "10000000000000000\r\n", "400 chunk size has too many digits"),
        ROW("7.1", "ffffffffffffffff\r\nabc", "abc..."),
        ROW("7.1", "\r\nabc", "400 chunk without a size"),
        ROW("7.1", ";a\r\n", "400 chunk without a size"),
        ROW("7.1", " 3\r\nabc", "400 chunk without a size"),
        ROW("7.1", "-3\r\nabc", "400 chunk without a size"),
        ROW("7.1", "+3\r\nabc", "400 chunk without a size"),
        ROW("7.1", "g\r\nabc", "400 chunk without a size"),
        ROW("7.1", "@\r\n", "400 chunk without a size"),
        ROW("7.1", "`\r\n", "400 chunk without a size"),
        ROW("7.1", "\0\r\n", "400 chunk without a size"),
        ROW("7.1", "0x3\r\nabc", "400 invalid character in chunk size"),
        ROW("7.1", "3g\r\nabc", "400 invalid character in chunk size"),
        ROW("7.1", "3.\r\nabc", "400 invalid character in chunk size"),
        ROW("7.1", "3,3\r\nabc", "400 invalid character in chunk size"),
        ROW("7.1", "3\0\r\nabc", "400 invalid character in chunk size"),
        ROW("7.1", "3_\r\nabc", "400 invalid character in chunk size"),
        ROW("7.1", "3\nabc\r\n", "400 line feed without carriage return"),
        ROW("7.1", "3\rabc\r\n", "400 carriage return without line feed"),
        ROW("7.1", "3\r\rabc\r\n", "400 carriage return without line feed"),
        ROW("7.1", "3\r\nabcd\r\n0\r\n\r\n", "400 chunk does not end after its size"),
        ROW("7.1", "3\r\nab\r\n0\r\n\r\n", "400 chunk does not end after its size"),
        ROW("7.1", "3\r\nabc0\r\n\r\n", "400 chunk does not end after its size"),
        ROW("7.1", "3\r\nabc\n0\r\n\r\n", "400 chunk does not end after its size"),
        ROW("7.1", "3\r\nabc\r0\r\n\r\n", "400 chunk does not end after its size"),
        ROW("7.1", "3\r\nabc\r\r\n0\r\n\r\n", "400 chunk does not end after its size"),
        ROW("7.1", "3\r\nabc\r\n\r\n0\r\n\r\n", "400 chunk without a size"),
        ROW("7.1", "3", "..."),
        ROW("7.1", "3\r\nab", "ab..."),
        ROW("7.1", "3\r\nabc\r", "abc..."),
        ROW("7.1", "3\r\nabc\r\n0\r\n\r", "abc..."),
    };

    (void)state;
    check_rows(rows, sizeof rows / sizeof rows[0]);
}

static void chunk_extensions_are_ignored_but_cannot_hide_a_line_end(void **state)
{
    static const struct row rows[] = {
        ROW("7.1.1", "3;a\r\nabc\r\n0;b=c\r\n\r\n", "abc"),
        ROW("7.1.1", "3;a=b;c=\"d\"\r\nabc\r\n0\r\n\r\n", "abc"),
        ROW("7.1.1", "3 \t; a = b\r\nabc\r\n0\r\n\r\n", "abc"),
        ROW("7.1.1", "3;a=\"b;c\\\"d\\\\\"\r\nabc\r\n0\r\n\r\n", "abc"),
        ROW("7.1.1", "3;a=\"\xc3\xa9\"\r\nabc\r\n0\r\n\r\n", "abc"),
        ROW("7.1.1", "3;\r\nabc\r\n0\r\n\r\n", "abc"),
        ROW("7.1.1", "3;a=\"b\r\nabc\r\n0\r\n\r\n", "400 quoted string in chunk extension does not end"),
        ROW("7.1.1", "3;a=\"b\\\r\nabc\r\n0\r\n\r\n", "400 quoted string in chunk extension does not end"),
        ROW("7.1.1", "3;a=\"b\\\"\r\nabc\r\n0\r\n\r\n", "400 quoted string in chunk extension does not end"),
        ROW("7.1.1", "3;a=\"b\n\"\r\nabc\r\n0\r\n\r\n", "400 line feed without carriage return"),
        ROW("7.1.1", "3;a\nabc\r\n0\r\n\r\n", "400 line feed without carriage return"),
        ROW("7.1.1", "3;a\rabc\r\n0\r\n\r\n", "400 carriage return without line feed"),
        ROW("7.1.1", "3;a\0\r\nabc", "400 control character in chunk extension"),
        ROW("7.1.1", "3;a\x7f\r\nabc", "400 control character in chunk extension"),
        ROW("7.1.1", "3 \r\nabc\r\n0\r\n\r\n", "400 white space after the chunk size"),
        ROW("7.1.1", "3\t\r\nabc\r\n0\r\n\r\n", "400 white space after the chunk size"),
        ROW("7.1.1", "3 3\r\nabc\r\n0\r\n\r\n", "400 white space after the chunk size"),
        ROW("7.1.1", "3 \nabc", "400 line feed without carriage return"),
    };

    (void)state;
    check_rows(rows, sizeof rows / sizeof rows[0]);
}

static void trailers_are_checked_and_dropped(void **state)
{
    static const struct row rows[] = {
        ROW("7.1.2", "1\r\na\r\n0\r\na: b\r\n\r\n", "a"),
        ROW("7.1.2", "1\r\na\r\n0\r\na:\r\nb:\t \r\n!#$%&'*+-.^_`|~09azAZ: \xff\x80\t\"\r\n\r\n", "a"),
        ROW("7.1.2", "0\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\nHost: a\r\nHost: b\r\n\r\n", ""),
        ROW("7.1.2", "0\r\na\r\n\r\n", "400 invalid character in trailer name"),
        ROW("7.1.2", "0\r\na : b\r\n\r\n", "400 invalid character in trailer name"),
        ROW("7.1.2", "0\r\na b: c\r\n\r\n", "400 invalid character in trailer name"),
        ROW("7.1.2", "0\r\na\0: c\r\n\r\n", "400 invalid character in trailer name"),
        ROW("7.1.2", "0\r\n: b\r\n\r\n", "400 trailer line does not begin with a field name"),
        ROW("7.1.2", "0\r\n a: b\r\n\r\n", "400 trailer line does not begin with a field name"),
        ROW("5.2", "0\r\na: b\r\n c\r\n\r\n", "400 trailer line does not begin with a field name"),
        ROW("7.1.2", "0\r\n\n", "400 line feed without carriage return"),
        ROW("7.1.2", "0\r\na: b\n\r\n", "400 line feed without carriage return"),
        ROW("7.1.2", "0\r\na: b\0\r\n\r\n", "400 control character in trailer value"),
        ROW("7.1.2", "0\r\na: b\x7f\r\n\r\n", "400 control character in trailer value"),
        ROW("7.1.2", "0\r\na: b\rc\r\n\r\n", "400 carriage return without line feed"),
        ROW("7.1.2", "0\r\n\rGET", "400 carriage return without line feed"),
        ROW("7.1.2", "0\r\na: b\r\n", "..."),
    };

    (void)state;
    check_rows(rows, sizeof rows / sizeof rows[0]);
}

static void chunk_extension_has_a_limit_of_its_own_in_each_chunk(void **state)
{
    static struct outcome out;
    static char text[4 * CHUNK_EXTENSION_MAX];
    struct limits limits;

    (void)state;
    limits_init(&limits);
    for (int more = 0; more <= 1; more++) {
        /* Two chunks: the second extension begins to count anew. */
        size_t len = 0;
        for (int i = 0; i < 2; i++) {
            len += (size_t)sprintf(text + len, "1 ;%0*d\r\nx\r\n", CHUNK_EXTENSION_MAX - 2 + more * i, 0);
        }
        len += (size_t)sprintf(text + len, "0\r\n\r\n");
        parse_every_way(&out, &limits, text, len);
        assert_int_equal(out.verdict, more == 0 ? PARSE_COMPLETE : PARSE_ERROR);
        if (more == 1) {
            assert_int_equal(out.parser.status, 400);
            assert_string_equal(out.parser.reason, "chunk extension too long");
            assert_int_equal(out.len, 1);
        }
    }
}

/* Chunks of content_len bytes, each with an extension of so many bytes ("; " and digits), until the content comes short
 * of the extensions by excess; then the last chunk. */
static size_t format_excess(char *text, size_t content_len, size_t extension_len, size_t excess)
{
    size_t len = 0;
    for (size_t sum = 0; sum < excess; sum += extension_len - content_len) {
        size_t more = excess - sum < extension_len - content_len ? excess - sum + content_len : extension_len;
        len += (size_t)sprintf(text + len, "%zx;%0*d\r\n%0*d\r\n", content_len, (int)more - 1, 0, (int)content_len, 0);
    }
    return len + (size_t)sprintf(text + len, "0\r\n\r\n");
}

static void chunk_extensions_of_a_body_are_bounded_by_its_content(void **state)
{
    static struct outcome out;
    static char text[8 * CHUNK_EXCESS_MAX];
    static const struct {
        size_t content_len, extension_len; /* of each chunk */
    } rows[] = {{1, CHUNK_EXTENSION_MAX}, {1, 100}, {500, CHUNK_EXTENSION_MAX}};
    struct limits limits;

    (void)state;
    limits_init(&limits);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        /* What the last extension exceeds is only made up for by the content behind it. */
        size_t at_limit = CHUNK_EXCESS_MAX - rows[i].content_len;
        for (size_t more = 0; more <= 1; more++) {
            size_t len = format_excess(text, rows[i].content_len, rows[i].extension_len, at_limit + more);
            parse_in_steps(&out, &limits, text, len, len);
            assert_int_equal(out.verdict, more == 0 ? PARSE_COMPLETE : PARSE_ERROR);
            if (more == 1) {
                assert_int_equal(out.parser.status, 400);
                assert_string_equal(out.parser.reason, "chunk extensions longer than the content");
            }
        }
    }
}

static void chunk_extensions_shorter_than_the_content_have_no_end(void **state)
{
    struct chunk_parser chunk;
    struct limits limits;
    struct slice piece;
    size_t used;
    static const char bytes[] = "5;abcd\r\nhello\r\n";

    (void)state;
    limits_init(&limits);
    chunk_parser_reset(&chunk);
    for (int i = 0; i < 100000; i++) {
        for (size_t at = 0; at < sizeof bytes - 1; at += used) {
            assert_int_equal(parse_chunked(&chunk, &limits, bytes + at, sizeof bytes - 1 - at, &used, &piece),
                             PARSE_INCOMPLETE);
        }
    }
}

static void trailers_are_limited_like_fields(void **state)
{
    static const char text[] = "2;ext\r\nab\r\n0;ext\r\na: b\r\nc: d\r\n\r\n";
    static struct outcome out;
    struct limits limits;

    (void)state;
    limits_init(&limits);
    limits.max_fields = 2;
    limits.max_header_bytes_bytes = strlen("a: b\r\nc: d\r\n");
    parse_every_way(&out, &limits, text, sizeof text - 1);
    assert_int_equal(out.verdict, PARSE_COMPLETE);

    limits.max_fields = 1;
    parse_every_way(&out, &limits, text, sizeof text - 1);
    assert_int_equal(out.verdict, PARSE_ERROR);
    assert_int_equal(out.parser.status, 431);
    assert_string_equal(out.parser.reason, "too many trailer fields");

    limits.max_fields = 2;
    limits.max_header_bytes_bytes--;
    parse_every_way(&out, &limits, text, sizeof text - 1);
    assert_int_equal(out.verdict, PARSE_ERROR);
    assert_int_equal(out.parser.status, 431);
    assert_string_equal(out.parser.reason, "trailer fields too long");
}

static void endless_trailer_is_refused_at_the_limit(void **state)
{
    static struct outcome out;
    struct limits limits;

    (void)state;
    limits_init(&limits);
    begin(&out);
    arrive(&out, &limits, "0\r\na:", 5);
    for (uint64_t i = 2; i < limits.max_header_bytes_bytes; i++) {
        arrive(&out, &limits, "b", 1);
    }
    assert_int_equal(out.verdict, PARSE_INCOMPLETE);
    arrive(&out, &limits, "b", 1);
    assert_int_equal(out.verdict, PARSE_ERROR);
    assert_int_equal(out.parser.status, 431);
}

static void ended_body_takes_nothing_more(void **state)
{
    struct chunk_parser parser;
    struct limits limits;
    struct slice piece;
    size_t used;

    (void)state;
    limits_init(&limits);
    chunk_parser_reset(&parser);
    assert_int_equal(parse_chunked(&parser, &limits, "0\r\n\r\n1\r\n", 8, &used, &piece), PARSE_COMPLETE);
    assert_int_equal(used, 5);
    assert_int_equal(parse_chunked(&parser, &limits, "1\r\n", 3, &used, &piece), PARSE_COMPLETE);
    assert_int_equal(used, 0);
    assert_int_equal(piece.len, 0);

    chunk_parser_reset(&parser);
    assert_int_equal(parse_chunked(&parser, &limits, "x", 1, &used, &piece), PARSE_ERROR);
    assert_int_equal(parse_chunked(&parser, &limits, "0\r\n\r\n", 5, &used, &piece), PARSE_ERROR);
    assert_int_equal(used, 0);
    assert_int_equal(parser.status, 400);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* A body of random chunks; its content goes to *content. */
static size_t make_body(uint64_t *seed, char *text, char *content, size_t *content_len)
{
    static const char *const extensions[] = {"", ";a", " ; a=\"b;c\"", ";a=\"\\\"\""};
    size_t len = 0;

    *content_len = 0;
    for (uint64_t chunks = next_random(seed) % 6; chunks > 0; chunks--) {
        size_t size = 1 + next_random(seed) % 300;
        len += (size_t)sprintf(text + len, next_random(seed) & 1 ? "%zx%s\r\n" : "%04zX%s\r\n", size,
                               extensions[next_random(seed) % 4]);
        for (size_t i = 0; i < size; i++) {
            content[(*content_len)++] = text[len++] = "\r\n0;a\0"[next_random(seed) % 6];
        }
        len += (size_t)sprintf(text + len, "\r\n");
    }
    return len + (size_t)sprintf(text + len, next_random(seed) & 1 ? "0\r\n\r\n" : "00;x\r\na: b\r\n\r\n");
}

static void random_bodies_arrive_intact_in_random_parts(void **state)
{
    static struct outcome out;
    static char text[1 << 12];
    static char content[1 << 12];
    uint64_t seed = 0x243f6a8885a308d3;
    struct limits limits;

    (void)state;
    limits_init(&limits);
    for (int round = 0; round < 5000; round++) {
        size_t content_len;
        size_t len = make_body(&seed, text, content, &content_len);
        begin(&out);
        for (size_t at = 0; at < len;) {
            size_t part = next_random(&seed) % 50;
            part = part < len - at ? part : len - at;
            arrive(&out, &limits, text + at, part);
            at += part;
        }
        assert_int_equal(out.verdict, PARSE_COMPLETE);
        assert_int_equal(out.used, len);
        assert_int_equal(out.len, content_len);
        assert_memory_equal(out.content, content, content_len);
    }
}

static void mutated_bodies_are_judged_alike_however_they_arrive(void **state)
{
    static struct outcome whole;
    static struct outcome out;
    static char text[1 << 12];
    static char content[1 << 12];
    uint64_t seed = 0x13198a2e03707344;
    unsigned counts[3] = {0};
    struct limits limits;

    (void)state;
    limits_init(&limits);
    for (int round = 0; round < 5000; round++) {
        size_t content_len;
        size_t len = make_body(&seed, text, content, &content_len);
        for (int i = 0; i < 2; i++) {
            text[next_random(&seed) % len] = "\r\n 0a;:\"\\\0x"[next_random(&seed) % 11];
        }
        len -= next_random(&seed) % (len < 8 ? len : 8);
        parse_in_steps(&whole, &limits, text, len, len + 1);
        counts[whole.verdict]++;
        parse_in_steps(&out, &limits, text, len, 1);
        assert_same(&whole, &out);
        parse_in_steps(&out, &limits, text, len, 1 + next_random(&seed) % 64);
        assert_same(&whole, &out);
    }
    assert_true(counts[PARSE_COMPLETE] > 100 && counts[PARSE_INCOMPLETE] > 100 && counts[PARSE_ERROR] > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunked_bodies_are_read_as_the_rfc_says),
        cmocka_unit_test(chunk_extensions_are_ignored_but_cannot_hide_a_line_end),
        cmocka_unit_test(trailers_are_checked_and_dropped),
        cmocka_unit_test(chunk_extension_has_a_limit_of_its_own_in_each_chunk),
        cmocka_unit_test(chunk_extensions_of_a_body_are_bounded_by_its_content),
        cmocka_unit_test(chunk_extensions_shorter_than_the_content_have_no_end),
        cmocka_unit_test(trailers_are_limited_like_fields),
        cmocka_unit_test(endless_trailer_is_refused_at_the_limit),
        cmocka_unit_test(ended_body_takes_nothing_more),
        cmocka_unit_test(random_bodies_arrive_intact_in_random_parts),
        cmocka_unit_test(mutated_bodies_are_judged_alike_however_they_arrive),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
