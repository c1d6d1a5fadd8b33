/* http/h1/parser*.c: how request heads arrive, what is found in them, limits, and requests that chance made. The rules
 * are in test_parser_rules.c. */

#include <stdio.h>
#include <string.h>

#include "http/h1/parser_variants.h"
#include "tests/lib/parse_ways.h"

#define LINE "GET / HTTP/1.1\r\nHost: a\r\n"

/* Every byte value, at every place in a vector. */

static bool is_in(int c, const char *set)
{
    return c != 0 && strchr(set, c) != NULL;
}

static bool is_alnum(int c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_token_char(int c)
{
    return is_alnum(c) || is_in(c, "!#$%&'*+-.^_`|~");
}

static bool is_value_char(int c)
{
    return c == '\t' || (c >= ' ' && c != 0x7f);
}

static bool is_target_char(int c)
{
    return c > ' ' && c < 0x7f && c != '#';
}

/* Put every byte value into a text that is padded in front with 0 to 70 bytes and continued behind with as many; all
 * variants must take the byte or refuse it, as is_right says. */
static void check_every_byte(const char *before, const char *after, bool (*is_right)(int c))
{
    static struct outcome out;
    char text[512];
    struct limits limits;
    parse_head_fn fn;

    limits_init(&limits);
    for (int pad = 0; pad <= 70; pad++) {
        size_t at = (size_t)snprintf(text, sizeof text, "%s%.*s", before, pad,
                                     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        size_t len = at + 1 + (size_t)snprintf(text + at + 1, sizeof text - at - 1, "%s", after);
        for (int c = 0; c < 256; c++) {
            text[at] = (char)c;
            for (unsigned n = 0; (fn = parse_head_variant(n, NULL)) != NULL; n++) {
                parse_whole(&out, fn, &limits, text, len);
                assert_int_equal(out.verdict, is_right(c) ? PARSE_COMPLETE : PARSE_ERROR);
            }
        }
    }
}

static void every_byte_is_right_or_wrong_in_a_method(void **state)
{
    static struct outcome out;
    struct limits limits;
    parse_head_fn fn;
    char text[] = "xPOST / HTTP/1.0\r\n\r\n";

    (void)state;
    limits_init(&limits);
    for (int c = 0; c < 256; c++) {
        text[0] = (char)c;
        for (unsigned n = 0; (fn = parse_head_variant(n, NULL)) != NULL; n++) {
            parse_whole(&out, fn, &limits, text, strlen("xPOST / HTTP/1.0\r\n\r\n"));
            assert_int_equal(out.verdict, is_token_char(c) ? PARSE_COMPLETE : PARSE_ERROR);
            if (is_token_char(c)) {
                assert_int_equal(out.head.method, METHOD_OTHER);
            } else {
                assert_int_equal(out.parser.status, 400);
            }
        }
    }
}

static void every_byte_is_right_or_wrong_in_a_target(void **state)
{
    (void)state;
    check_every_byte("GET /", "a HTTP/1.0\r\n\r\n", is_target_char);
    check_every_byte("GET /?", "a HTTP/1.0\r\n\r\n", is_target_char);
    check_every_byte("GET /", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.0\r\n\r\n", is_target_char);
}

static bool is_right_in_name(int c)
{
    return is_token_char(c) || c == ':'; /* which ends the name: "aaa:b: c" */
}

static void every_byte_is_right_or_wrong_in_a_field_name(void **state)
{
    (void)state;
    check_every_byte("GET / HTTP/1.0\r\na", "b: c\r\n\r\n", is_right_in_name);
    check_every_byte("GET / HTTP/1.0\r\na", "b: c\r\na: b\r\nc: d\r\ne: f\r\ng: h\r\ni: j\r\nk: l\r\nm: n\r\n\r\n",
                     is_right_in_name);
}

static void every_byte_is_right_or_wrong_in_a_field_value(void **state)
{
    (void)state;
    check_every_byte("GET / HTTP/1.0\r\na: ", "b\r\n\r\n", is_value_char);
    check_every_byte("GET / HTTP/1.0\r\na: ", "b\r\na: b\r\nc: d\r\ne: f\r\ng: h\r\ni: j\r\nk: l\r\nm: n\r\n\r\n",
                     is_value_char);
}

/* Heads. */

static void known_fields_are_found_whatever_their_case(void **state)
{
    static const char *const names[FIELD_KNOWN_COUNT] = {
        [FIELD_HOST] = "Host",
        [FIELD_CONNECTION] = "Connection",
        [FIELD_CONTENT_LENGTH] = "Content-Length",
        [FIELD_TRANSFER_ENCODING] = "Transfer-Encoding",
        [FIELD_EXPECT] = "Expect",
        [FIELD_RANGE] = "Range",
        [FIELD_IF_MATCH] = "If-Match",
        [FIELD_IF_NONE_MATCH] = "If-None-Match",
        [FIELD_IF_MODIFIED_SINCE] = "If-Modified-Since",
        [FIELD_IF_UNMODIFIED_SINCE] = "If-Unmodified-Since",
        [FIELD_IF_RANGE] = "If-Range",
        [FIELD_ACCEPT_ENCODING] = "Accept-Encoding",
        [FIELD_CONTENT_TYPE] = "Content-Type",
        [FIELD_COOKIE] = "Cookie",
    };
    static struct outcome out;
    struct limits limits;
    parse_head_fn fn;

    (void)state;
    limits_init(&limits);
    for (unsigned n = 0; (fn = parse_head_variant(n, NULL)) != NULL; n++) {
        for (int known = 0; known < FIELD_KNOWN_COUNT; known++) {
            const char *value = known == FIELD_CONTENT_LENGTH      ? "5"
                                : known == FIELD_TRANSFER_ENCODING ? "chunked"
                                : known == FIELD_EXPECT            ? "100-continue"
                                                                   : "a";
            const char *before = known == FIELD_TRANSFER_ENCODING ? "GET / HTTP/1.1\r\nHost: y"
                                                                  : "GET / HTTP/1.0\r\nx: y";
            char name[32];
            char text[160];
            strcpy(name, names[known]);
            /* Each letter in its other case; and each byte one off, which makes it another field. */
            for (size_t i = 0; name[i] != '\0'; i++) {
                char old = name[i];
                const char changed[] = {old, (char)(old == '-' ? old : old ^ 0x20), (char)(old + 1)};
                for (size_t change = 0; change < sizeof changed; change++) {
                    name[i] = changed[change];
                    int len = snprintf(text, sizeof text, "%s\r\n%s: %s\r\n\r\n", before, name, value);
                    parse_whole(&out, fn, &limits, text, (size_t)len);
                    assert_int_equal(out.verdict, PARSE_COMPLETE);
                    assert_int_equal(out.head.first[known], change < 2 ? 2 : 0);
                }
                name[i] = old;
            }
        }
    }
}

static void first_field_of_a_name_is_the_one_that_is_found(void **state)
{
    static const char text[] = "GET / HTTP/1.0\r\nCookie: a\r\nX: b\r\nCookie: c\r\nRange: d\r\nrange: e\r\n\r\n";
    static struct outcome out;
    struct limits limits;

    (void)state;
    limits_init(&limits);
    parse_every_way(&out, &limits, text, sizeof text - 1);
    assert_int_equal(out.verdict, PARSE_COMPLETE);
    assert_int_equal(out.head.field_count, 5);
    assert_int_equal(out.head.first[FIELD_COOKIE], 1);
    assert_int_equal(out.head.first[FIELD_RANGE], 4);
    assert_int_equal(out.head.first[FIELD_HOST], 0);
}

static void fields_are_slices_without_the_white_space_around(void **state)
{
    static const char text[] = "GET / HTTP/1.0\r\nName: \t a b\tc \t \r\nempty:\r\nblank: \t\r\nx:y\r\n\r\n";
    static const char *const wanted[][2] = {{"Name", "a b\tc"}, {"empty", ""}, {"blank", ""}, {"x", "y"}};
    static struct outcome out;
    struct limits limits;

    (void)state;
    limits_init(&limits);
    parse_every_way(&out, &limits, text, sizeof text - 1);
    assert_int_equal(out.verdict, PARSE_COMPLETE);
    assert_int_equal(out.head.field_count, COUNT(wanted));
    for (size_t i = 0; i < COUNT(wanted); i++) {
        const struct field *field = &out.fields[i];
        assert_int_equal(field->name.len, strlen(wanted[i][0]));
        assert_memory_equal(text + field->name.offset, wanted[i][0], field->name.len);
        assert_int_equal(field->value.len, strlen(wanted[i][1]));
        assert_memory_equal(text + field->value.offset, wanted[i][1], field->value.len);
    }
}

static void slices_of_the_request_line_point_to_what_was_sent(void **state)
{
    static const char text[] = "\r\nGET http://h:1/p/q?a?b HTTP/1.0\r\n\r\n";
    static struct outcome out;
    struct limits limits;

    (void)state;
    limits_init(&limits);
    parse_every_way(&out, &limits, text, sizeof text - 1);
    const struct head *head = &out.head;
    assert_int_equal(out.verdict, PARSE_COMPLETE);
    assert_same_slice(head->method_text, (struct slice){2, 3});
    assert_same_slice(head->target, (struct slice){6, 18});
    assert_same_slice(head->authority, (struct slice){13, 3});
    assert_same_slice(head->path, (struct slice){16, 4});
    assert_same_slice(head->query, (struct slice){21, 3});
    assert_int_equal(head->len, sizeof text - 1);
}

/* A path that is plain needs no normalising; what makes it so comes at every place in a vector. */
static void plain_path_is_recognised(void **state)
{
    static const struct {
        const char *target; /* behind a path of 0 to 70 letters */
        bool is_plain;
    } rows[] = {
        {"/", true},    {"/a", true},     {"/a.b", true},  {"/a..", true},        {"/a?.%2e/../\\", true},
        {"//", true},   {"/a//b", true},  {"/a?", true},   {"/~a!$&'()*,", true}, {"/.", false},
        {"/..", false}, {"/.a", false},   {"/./a", false}, {"/a/../b", false},    {"/%61", false},
        {"/a%", false}, {"/a\\b", false}, {"/a/.", false}, {"/a/.?", false},      {"/aaaaaaaaaaaaaaaaaaa%", false},
    };
    static struct outcome out;
    char text[256];
    struct limits limits;

    (void)state;
    limits_init(&limits);
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (int pad = 0; pad <= 70; pad++) {
            int len = snprintf(text, sizeof text, "GET %s%.*s%s HTTP/1.0\r\n\r\n", pad > 0 ? "/" : "", pad,
                               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                               rows[i].target);
            parse_every_way(&out, &limits, text, (size_t)len);
            assert_int_equal(out.verdict, PARSE_COMPLETE);
            assert_int_equal(out.head.path_is_plain, rows[i].is_plain);
        }
    }
}

static void path_of_another_form_is_plain_only_behind_a_slash(void **state)
{
    static const struct {
        const char *line;
        bool is_plain;
    } rows[] = {
        {"GET http://a/b HTTP/1.0", true},   {"GET http://a HTTP/1.0", false}, {"GET http://a?b HTTP/1.0", false},
        {"GET http://a/ HTTP/1.0", true},    {"OPTIONS * HTTP/1.0", false},    {"OPTIONS http://a HTTP/1.0", false},
        {"GET http://a/.b HTTP/1.0", false},
    };
    static struct outcome out;
    char text[256];
    struct limits limits;

    (void)state;
    limits_init(&limits);
    for (size_t i = 0; i < COUNT(rows); i++) {
        int len = snprintf(text, sizeof text, "%s\r\n\r\n", rows[i].line);
        parse_every_way(&out, &limits, text, (size_t)len);
        assert_int_equal(out.verdict, PARSE_COMPLETE);
        assert_int_equal(out.head.path_is_plain, rows[i].is_plain);
    }
}

static void methods_are_found_by_name(void **state)
{
    (void)state;
    for (int method = 0; method < METHOD_OTHER; method++) {
        const char *name = method_name((enum method)method);
        char other[16];
        assert_int_equal(method_find(name, strlen(name)), method);
        strcpy(other, name);
        for (size_t i = 0; other[i] != '\0'; i++) {
            other[i] ^= 0x20;
            assert_int_equal(method_find(other, strlen(other)), METHOD_OTHER);
            other[i] ^= 0x20;
        }
        assert_int_equal(method_find(name, strlen(name) - 1), METHOD_OTHER);
    }
    assert_int_equal(method_find("", 0), METHOD_OTHER);
    assert_int_equal(method_find("PROPFIND", 8), METHOD_OTHER);
}

/* Arrival. */

static void parser_has_begun_with_the_first_byte_of_a_request_line(void **state)
{
    static struct outcome out;
    static const struct {
        const char *text; /* what has arrived */
        bool has_begun;
    } rows[] = {
        {"", false},     {"\r", false}, {"\r\n", false}, {"\r\n\r", false}, {"G", true},
        {"\r\nG", true}, {LINE, true},  {"\n", true},    {"\r\r", true},
    };
    struct limits limits;

    (void)state;
    limits_init(&limits);
    for (size_t i = 0; i < COUNT(rows); i++) {
        parse_in_steps(&out, parse_head_best(NULL), &limits, rows[i].text, strlen(rows[i].text), 1);
        assert_int_equal(parser_has_begun(&out.parser), rows[i].has_begun);
    }
}

static void refused_message_stays_refused(void **state)
{
    static struct outcome out;
    struct limits limits;
    parse_head_fn fn;

    (void)state;
    limits_init(&limits);
    for (unsigned n = 0; (fn = parse_head_variant(n, NULL)) != NULL; n++) {
        parse_whole(&out, fn, &limits, "GET  ", 5);
        assert_int_equal(out.verdict, PARSE_ERROR);
        arrive(&out, fn, &limits, "GET / HTTP/1.0\r\n\r\n", 18);
        assert_int_equal(out.verdict, PARSE_ERROR);
        assert_int_equal(out.parser.status, 400);
        assert_string_equal(out.parser.reason, "more than one space before the request target");
    }
}

/* An element that nothing has to interpret is overwritten as soon as the parser has looked at it: to look again would
 * find a byte that is wrong everywhere. */
static void bytes_are_looked_at_once(void **state)
{
    static struct outcome out;
    static char text[4096];
    struct limits limits;
    parse_head_fn fn;

    (void)state;
    limits_init(&limits);
    for (unsigned n = 0; (fn = parse_head_variant(n, NULL)) != NULL; n++) {
        for (size_t step = 1; step < 100; step += 7) {
            static const char line[] = "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?bbbbbbbbbbbbbbbbbbbb HTTP/1.0\r\n";
            size_t len = sizeof line - 1;
            memcpy(text, line, len);
            for (int i = 0; i < 10; i++) {
                len += (size_t)sprintf(text + len, "field-number-%d: %*s and some more words\r\n", i, 5 * i, "b");
            }
            len += (size_t)sprintf(text + len, "\r\n");

            begin(&out);
            size_t there = 0;
            do {
                there = there + step < len ? there + step : len;
                out.verdict = fn(&out.parser, &out.head, &limits, text, there);
                /* The request line is interpreted at its end: until then, the first letters and the version matter. */
                size_t version = sizeof line - 1 - strlen("HTTP/1.0\r\n");
                if (there >= sizeof line - 1) {
                    memset(text, '\0', there - 1);
                } else if (there > strlen("GET /a")) {
                    size_t seen = there - 1 < version ? there - 1 : version;
                    memset(text + strlen("GET /"), '\0', seen - strlen("GET /"));
                }
            } while (out.verdict == PARSE_INCOMPLETE && there < len);
            assert_int_equal(out.verdict, PARSE_COMPLETE);
            assert_int_equal(out.head.len, len);
            assert_int_equal(out.head.field_count, 10);
        }
    }
}

/* Limits. */

static void limits_are_noticed_before_the_element_ends(void **state)
{
    static struct outcome out;
    static char text[2048];
    struct limits limits;
    parse_head_fn fn;

    (void)state;
    limits_init(&limits);
    limits.max_request_line_bytes = 100;
    limits.max_header_bytes_bytes = 200;
    for (unsigned n = 0; (fn = parse_head_variant(n, NULL)) != NULL; n++) {
        memset(text, 'a', sizeof text);
        memcpy(text, "GET /", 5);
        parse_whole(&out, fn, &limits, text, 99);
        assert_int_equal(out.verdict, PARSE_INCOMPLETE);
        parse_whole(&out, fn, &limits, text, 100);
        assert_int_equal(out.verdict, PARSE_ERROR);
        assert_int_equal(out.parser.status, 414);
        parse_whole(&out, fn, &limits, text, sizeof text);
        assert_int_equal(out.parser.status, 414);

        memcpy(text, "GET / HTTP/1.0\r\na:", 18);
        parse_whole(&out, fn, &limits, text, 16 + 201); /* the empty line may still come */
        assert_int_equal(out.verdict, PARSE_INCOMPLETE);
        parse_whole(&out, fn, &limits, text, 16 + 202);
        assert_int_equal(out.verdict, PARSE_ERROR);
        assert_int_equal(out.parser.status, 431);
        parse_whole(&out, fn, &limits, text, sizeof text);
        assert_int_equal(out.parser.status, 431);
    }
}

static void empty_lines_do_not_count_against_the_request_line(void **state)
{
    static const char text[] = "\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n";
    static struct outcome out;
    struct limits limits;

    (void)state;
    limits_init(&limits);
    limits.max_request_line_bytes = strlen("GET / HTTP/1.0\r\n");
    parse_every_way(&out, &limits, text, sizeof text - 1);
    assert_int_equal(out.verdict, PARSE_COMPLETE);
}

static void many_fields_fit_up_to_the_limit(void **state)
{
    static struct outcome out;
    static char text[1 << 14];
    struct limits limits;
    parse_head_fn fn;

    (void)state;
    limits_init(&limits);
    limits.max_fields = FIELDS_MAX;
    for (unsigned n = 0; (fn = parse_head_variant(n, NULL)) != NULL; n++) {
        for (int count = FIELDS_MAX - 1; count <= FIELDS_MAX + 1; count++) {
            size_t len = (size_t)sprintf(text, "GET / HTTP/1.0\r\n");
            for (int i = 0; i < count; i++) {
                len += (size_t)sprintf(text + len, "a:b%d\r\n", i % 10);
            }
            len += (size_t)sprintf(text + len, "\r\n");
            parse_whole(&out, fn, &limits, text, len);
            assert_int_equal(out.verdict, count <= FIELDS_MAX ? PARSE_COMPLETE : PARSE_ERROR);
            if (count <= FIELDS_MAX) {
                assert_int_equal(out.head.field_count, count);
            } else {
                assert_int_equal(out.parser.status, 431);
            }
        }
    }
}

static void limit_lowered_in_mid_message_is_no_harm(void **state)
{
    static const char text[] = "GET /0123456789012345678901234567890123456789 HTTP/1.0\r\n\r\n";
    static struct outcome out;
    struct limits limits;
    parse_head_fn fn;

    (void)state;
    for (unsigned n = 0; (fn = parse_head_variant(n, NULL)) != NULL; n++) {
        limits_init(&limits);
        parse_whole(&out, fn, &limits, text, 30);
        assert_int_equal(out.verdict, PARSE_INCOMPLETE);
        limits.max_request_line_bytes = 10;
        arrive(&out, fn, &limits, text, 40);
        assert_int_equal(out.verdict, PARSE_ERROR);
        assert_int_equal(out.parser.status, 414);
    }
}

/* Random requests. */

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static const char *const valid_requests[] = {
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a/b?c=d HTTP/1.1\r\nHost: www.example.com:80\r\nConnection: keep-alive, te\r\nAccept: */*\r\n\r\n",
    "POST /form HTTP/1.1\r\nHost: [::1]:8080\r\nContent-Length: 42, 42\r\nExpect: 100-continue\r\n\r\n",
    "PUT http://a.b/c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: a\r\n\r\n",
    "\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\nCookie: a name that fills more than a vector; b=c; d=e; f=g; h=i\r\n\r\n",
    "DELETE /x HTTP/1.0\r\nConnection: Keep-Alive\r\nIf-Match: \"a\"\r\nIf-None-Match: *\r\nRange: bytes=0-\r\n\r\n",
};

/* Bytes that mean something somewhere, more often than the rest. */
static char random_byte(uint64_t *seed)
{
    static const char special[] = "\r\n \t:,;/?#%*\"\0\x7f\x80\xff"
                                  "a0HTP-.@[]";
    uint64_t random = next_random(seed);

    return random & 1 ? special[(random >> 8) % (sizeof special - 1)] : (char)(random >> 16);
}

static size_t mutate(uint64_t *seed, char *text, size_t len)
{
    size_t at = next_random(seed) % len;
    size_t count = 1 + next_random(seed) % 4;

    switch (next_random(seed) % 5) {
    case 0:
        text[at] = random_byte(seed);
        return len;
    case 1:
        memmove(text + at + 1, text + at, len - at);
        text[at] = random_byte(seed);
        return len + 1;
    case 2:
        count = count < len - at ? count : len - at - 1;
        memmove(text + at, text + at + count, len - at - count);
        return len - count;
    case 3:
        return at + 1;
    default:
        count = count < len - at ? count : len - at;
        memmove(text + at + count, text + at, len - at);
        return len + count;
    }
}

static void parse_random_parts(struct outcome *out, parse_head_fn fn, const struct limits *limits, const char *text,
                               size_t len, uint64_t *seed)
{
    size_t there = 0;

    begin(out);
    do {
        there += next_random(seed) % 40;
        arrive(out, fn, limits, text, there < len ? there : len);
    } while (out->verdict == PARSE_INCOMPLETE && there < len);
}

static void mutated_requests_are_judged_alike_by_all_variants_however_they_arrive(void **state)
{
    static struct outcome reference;
    static struct outcome out;
    char text[1024];
    uint64_t seed = 0x9e3779b97f4a7c15;
    unsigned counts[3] = {0};
    struct limits limits;
    parse_head_fn fn;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        const char *valid = valid_requests[(size_t)round % COUNT(valid_requests)];
        size_t len = strlen(valid);
        memcpy(text, valid, len);
        for (uint64_t mutations = next_random(&seed) % 4; mutations > 0; mutations--) {
            len = mutate(&seed, text, len);
        }
        limits_init(&limits);
        if (round % 5 == 0) {
            limits.max_request_line_bytes = next_random(&seed) % 60;
            limits.max_header_bytes_bytes = next_random(&seed) % 200;
            limits.max_fields = next_random(&seed) % 8;
        }
        parse_whole(&reference, parse_head_scalar, &limits, text, len);
        counts[reference.verdict]++;
        for (unsigned n = 0; (fn = parse_head_variant(n, NULL)) != NULL; n++) {
            parse_whole(&out, fn, &limits, text, len);
            assert_same(&reference, &out);
            parse_random_parts(&out, fn, &limits, text, len, &seed);
            assert_same(&reference, &out);
        }
    }
    /* The mutations are worth something only if all three verdicts are common. */
    assert_true(counts[PARSE_COMPLETE] > 1000 && counts[PARSE_INCOMPLETE] > 100 && counts[PARSE_ERROR] > 1000);
}

static void slices_stay_within_the_head_whatever_it_is(void **state)
{
    static struct outcome out;
    char text[1024];
    uint64_t seed = 42;
    struct limits limits;

    (void)state;
    limits_init(&limits);
    for (int round = 0; round < 20000; round++) {
        const char *valid = valid_requests[(size_t)round % COUNT(valid_requests)];
        size_t len = strlen(valid);
        memcpy(text, valid, len);
        len = mutate(&seed, text, len);
        parse_whole(&out, parse_head_best(NULL), &limits, text, len);
        if (out.verdict != PARSE_COMPLETE) {
            continue;
        }
        assert_true(out.head.len <= len);
        const struct slice slices[] = {out.head.method_text, out.head.target, out.head.path, out.head.query,
                                       out.head.authority};
        for (size_t i = 0; i < COUNT(slices); i++) {
            assert_true(slices[i].len == 0 || slices[i].offset + slices[i].len <= out.head.len);
        }
        for (int i = 0; i < out.head.field_count; i++) {
            assert_true(out.fields[i].name.len > 0);
            bool is_authority = out.fields[i].value.offset == out.head.authority.offset; /* of the target, for Host */
            assert_true(is_authority ||
                        out.fields[i].name.offset + out.fields[i].name.len < out.fields[i].value.offset);
            assert_true(out.fields[i].value.offset + out.fields[i].value.len < out.head.len);
        }
    }
}

static void best_variant_is_the_last_that_this_cpu_runs(void **state)
{
    static const char *const names[] = {"scalar", "sse4.2", "avx2"};
    const char *name = NULL;
    unsigned n = 0;

    (void)state;
    while (parse_head_variant(n, &name) != NULL) {
        assert_string_equal(name, names[n]);
        n++;
    }
    assert_true(n >= 1);
    assert_ptr_equal(parse_head_best(&name), parse_head_variant(n - 1, NULL));
    assert_string_equal(name, names[n - 1]);
    assert_ptr_equal(parse_head_variant(0, NULL), parse_head_scalar);
    assert_null(parse_head_variant(100, &name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_is_right_or_wrong_in_a_method),
        cmocka_unit_test(every_byte_is_right_or_wrong_in_a_target),
        cmocka_unit_test(every_byte_is_right_or_wrong_in_a_field_name),
        cmocka_unit_test(every_byte_is_right_or_wrong_in_a_field_value),
        cmocka_unit_test(known_fields_are_found_whatever_their_case),
        cmocka_unit_test(first_field_of_a_name_is_the_one_that_is_found),
        cmocka_unit_test(fields_are_slices_without_the_white_space_around),
        cmocka_unit_test(slices_of_the_request_line_point_to_what_was_sent),
        cmocka_unit_test(plain_path_is_recognised),
        cmocka_unit_test(path_of_another_form_is_plain_only_behind_a_slash),
        cmocka_unit_test(methods_are_found_by_name),
        cmocka_unit_test(parser_has_begun_with_the_first_byte_of_a_request_line),
        cmocka_unit_test(refused_message_stays_refused),
        cmocka_unit_test(bytes_are_looked_at_once),
        cmocka_unit_test(limits_are_noticed_before_the_element_ends),
        cmocka_unit_test(empty_lines_do_not_count_against_the_request_line),
        cmocka_unit_test(many_fields_fit_up_to_the_limit),
        cmocka_unit_test(limit_lowered_in_mid_message_is_no_harm),
        cmocka_unit_test(mutated_requests_are_judged_alike_by_all_variants_however_they_arrive),
        cmocka_unit_test(slices_stay_within_the_head_whatever_it_is),
        cmocka_unit_test(best_variant_is_the_last_that_this_cpu_runs),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
