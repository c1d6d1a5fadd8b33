#ifndef EVSERVE_TESTS_PARSE_WAYS_H
#define EVSERVE_TESTS_PARSE_WAYS_H

/* For tests of http/h1/parser*.c: parse a request head in every way it can arrive (whole, byte by byte, in steps, split
 * in two at every boundary), with every variant, flush against a page that must not be touched; all ways must agree. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "http/h1/parser_scalar.h"
#include "http/h1/parser_variants.h"
#include "http/limits.h"
#include "tests/lib/guard_page.h"

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

enum { FIELDS_MAX = 1000 };

/* One parse: everything that must not depend on how the bytes arrived. */
struct outcome {
    enum parse_verdict verdict;
    struct parser parser;
    struct head head;
    struct field fields[FIELDS_MAX];
};

static struct guarded guarded;
static bool parses_https; /* the connection is one of https */

static inline int set_up(void **state)
{
    (void)state;
    guarded_init(&guarded);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    guarded_done(&guarded);
    return 0;
}

static inline void begin(struct outcome *out)
{
    memset(out, 0xa5, offsetof(struct outcome, fields[8])); /* what was in the memory before must not matter */
    out->head.fields = out->fields;
    out->head.field_capacity = FIELDS_MAX;
    parser_reset(&out->parser);
    out->parser.is_secured = parses_https;
}

/* The first len bytes have arrived; they lie elsewhere than last time. */
static inline void arrive(struct outcome *out, parse_head_fn fn, const struct limits *limits, const char *text,
                          size_t len)
{
    out->verdict = fn(&out->parser, &out->head, limits, guarded_at_end(&guarded, text, len), len);
}

static inline void parse_whole(struct outcome *out, parse_head_fn fn, const struct limits *limits, const char *text,
                               size_t len)
{
    begin(out);
    arrive(out, fn, limits, text, len);
}

static inline void parse_at_start(struct outcome *out, parse_head_fn fn, const struct limits *limits, const char *text,
                                  size_t len)
{
    begin(out);
    out->verdict = fn(&out->parser, &out->head, limits, guarded_at_start(&guarded, text, len), len);
}

static inline void parse_split(struct outcome *out, parse_head_fn fn, const struct limits *limits, const char *text,
                               size_t len, size_t first_len)
{
    begin(out);
    arrive(out, fn, limits, text, first_len);
    if (out->verdict == PARSE_INCOMPLETE) {
        arrive(out, fn, limits, text, len);
    }
}

static inline void parse_in_steps(struct outcome *out, parse_head_fn fn, const struct limits *limits, const char *text,
                                  size_t len, size_t step)
{
    begin(out);
    for (size_t there = 0; there < len + step; there += step) {
        arrive(out, fn, limits, text, there < len ? there : len);
        if (out->verdict != PARSE_INCOMPLETE) {
            return;
        }
    }
}

/* The fields of the two are the same in name, value and place, and so is what depends on them. */
static inline void assert_same_fields(const struct head *a, const struct head *b)
{
    assert_int_equal(a->field_count, b->field_count);
    for (int i = 0; i < a->field_count; i++) {
        assert_memory_equal(&a->fields[i], &b->fields[i], sizeof a->fields[i]);
    }
    assert_memory_equal(a->first, b->first, sizeof a->first);
}

static inline void assert_same_slice(struct slice a, struct slice b)
{
    assert_int_equal(a.offset, b.offset);
    assert_int_equal(a.len, b.len);
}

static inline void assert_same(const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->verdict, b->verdict);
    if (a->verdict == PARSE_ERROR) {
        assert_int_equal(a->parser.status, b->parser.status);
        assert_string_equal(a->parser.reason, b->parser.reason);
        return;
    }
    if (a->verdict == PARSE_INCOMPLETE) {
        assert_int_equal(a->parser.pos, b->parser.pos);
        assert_int_equal(parser_has_begun(&a->parser), parser_has_begun(&b->parser));
        return;
    }
    const struct head *x = &a->head;
    const struct head *y = &b->head;
    assert_int_equal(x->len, y->len);
    assert_int_equal(x->method, y->method);
    assert_int_equal(x->minor_version, y->minor_version);
    assert_int_equal(x->keep_alive, y->keep_alive);
    assert_int_equal(x->has_length, y->has_length);
    assert_int_equal(x->chunked, y->chunked);
    assert_int_equal(x->expect_continue, y->expect_continue);
    assert_int_equal(x->is_asterisk, y->is_asterisk);
    assert_int_equal(x->has_query, y->has_query);
    assert_int_equal(x->path_is_plain, y->path_is_plain);
    assert_int_equal(x->content_length, y->content_length);
    assert_same_slice(x->method_text, y->method_text);
    assert_same_slice(x->target, y->target);
    assert_same_slice(x->path, y->path);
    assert_same_slice(x->query, y->query);
    assert_same_slice(x->authority, y->authority);
    assert_same_fields(x, y);
}

/* Parse in every way there is; all must say what the scalar variant says of the whole, which goes to *reference. */
static inline void parse_every_way(struct outcome *reference, const struct limits *limits, const char *text, size_t len)
{
    static struct outcome other;
    parse_head_fn fn;

    parse_whole(reference, parse_head_scalar, limits, text, len);
    for (unsigned n = 0; (fn = parse_head_variant(n, NULL)) != NULL; n++) {
        parse_whole(&other, fn, limits, text, len);
        assert_same(reference, &other);
        parse_at_start(&other, fn, limits, text, len);
        assert_same(reference, &other);
        for (size_t step = 1; step < 4; step++) {
            parse_in_steps(&other, fn, limits, text, len, step);
            assert_same(reference, &other);
        }
        for (size_t i = 0; i <= len; i++) {
            parse_split(&other, fn, limits, text, len, i);
            assert_same(reference, &other);
        }
    }
}

#endif
