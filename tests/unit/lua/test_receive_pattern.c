/* lua/receive_pattern.c: what is cut out of bytes, however they come. */

#include "lua/receive_pattern.h"

#include "tests/lib/guard_page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct guarded guarded;
static uint32_t fallback[RECEIVE_DELIMITER_MAX];
static struct receive_delimiter delimiter;

/* A script that reads: the bytes that it has not taken, flush against a page that must not be touched. */
static const char *stream;
static size_t stream_len, taken, come;

static void begin(const char *text)
{
    stream = text;
    stream_len = strlen(text);
    taken = come = 0;
}

static struct receive_pattern until(const char *text, size_t count, bool is_inclusive)
{
    delimiter = (struct receive_delimiter){text, fallback, strlen(text), is_inclusive};
    receive_prepare(text, delimiter.len, fallback);
    return (struct receive_pattern){.kind = RECEIVE_UNTIL, .count = count, .most = 100, .delimiter = &delimiter};
}

static enum receive_verdict look(struct receive_pattern *pattern, struct receive_cut *cut)
{
    const char *bytes = guarded_at_end(&guarded, stream + taken, come - taken);
    return receive_look(pattern, bytes, come - taken, cut);
}

/* Read once, the bytes coming one by one. Returns the result, or NULL: more would be needed. */
static const char *read_once(struct receive_pattern *pattern, struct receive_cut *cut)
{
    static char text[200];
    enum receive_verdict verdict = look(pattern, cut);
    while (verdict == RECEIVE_MORE && come < stream_len) {
        come++;
        verdict = look(pattern, cut);
    }
    if (verdict != RECEIVE_DONE) {
        assert_int_equal(verdict, RECEIVE_MORE);
        return NULL;
    }
    memcpy(text, stream + taken, cut->len);
    text[cut->len] = '\0';
    taken += cut->taken;
    return text;
}

static void lines_end_at_newlines(void **state)
{
    (void)state;
    struct receive_pattern pattern = {.kind = RECEIVE_LINE, .most = 100};
    struct receive_cut cut;
    begin("+OK\r\n\n-ERR\nrest");
    assert_string_equal(read_once(&pattern, &cut), "+OK\r");
    assert_string_equal(read_once(&pattern, &cut), "");
    assert_string_equal(read_once(&pattern, &cut), "-ERR");
    assert_null(read_once(&pattern, &cut));
    receive_give_up(&pattern, come - taken, true, &cut);
    assert_int_equal(cut.len, 4);
    assert_int_equal(cut.taken, 4);
}

static void carriage_returns_are_dropped_from_lines(void **state)
{
    (void)state;
    char line[] = "\ra\r\rb\r";
    assert_int_equal(receive_drop_returns(line, 6), 2);
    assert_memory_equal(line, "ab", 2);
    assert_int_equal(receive_drop_returns(line, 2), 2);
    assert_int_equal(receive_drop_returns(NULL, 0), 0);
}

static void a_count_waits_for_all_and_any_for_one(void **state)
{
    (void)state;
    struct receive_pattern count = {.kind = RECEIVE_COUNT, .count = 4, .most = 100};
    struct receive_pattern any = {.kind = RECEIVE_ANY, .count = 3, .most = 100};
    struct receive_cut cut;
    begin("abcdefghijk");
    assert_string_equal(read_once(&count, &cut), "abcd");
    assert_string_equal(read_once(&any, &cut), "e");
    come = stream_len;
    assert_string_equal(read_once(&any, &cut), "fgh");
    assert_null(read_once(&count, &cut));
    receive_give_up(&count, come - taken, false, &cut);
    assert_int_equal(cut.taken, 3);
}

static void everything_ends_with_the_connection(void **state)
{
    (void)state;
    struct receive_pattern pattern = {.kind = RECEIVE_ALL, .most = 5};
    struct receive_cut cut;
    begin("abcde");
    assert_null(read_once(&pattern, &cut));
    receive_give_up(&pattern, 5, true, &cut);
    assert_int_equal(cut.len, 5);
    begin("abcdef");
    come = 6;
    assert_int_equal(look(&pattern, &cut), RECEIVE_TOO_LONG);
}

static void delimiters_that_begin_anew_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *stream, *text, *results[4]; /* and then no more */
    } cases[] = {
        {"abcabcabdabcabd", "abcabd", {"abc", ""}},
        {"ababcabdabcabe", "abcabdabcabe", {"ab"}},
        {"aaab", "aab", {"a"}},
        {"aaaaaa", "aa", {"", "", ""}},
        {"--boundar--boundary--boundary", "--boundary", {"--boundar", ""}},
        {"xx-y-", "-", {"xx", "y"}},
        {"nothing", "-", {NULL}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct receive_pattern pattern = until(cases[i].text, 0, false);
        struct receive_cut cut;
        size_t n = 0;
        begin(cases[i].stream);
        for (; cases[i].results[n] != NULL; n++) {
            assert_string_equal(read_once(&pattern, &cut), cases[i].results[n]);
            assert_true(cut.is_end);
        }
        assert_null(read_once(&pattern, &cut));
    }
}

static void an_inclusive_result_ends_with_the_delimiter(void **state)
{
    (void)state;
    struct receive_pattern pattern = until("abcabd", 0, true);
    struct receive_cut cut;
    begin("abcabcabdabcabd\n");
    assert_string_equal(read_once(&pattern, &cut), "abcabcabd");
    assert_string_equal(read_once(&pattern, &cut), "abcabd");
    assert_null(read_once(&pattern, &cut));
}

static void pieces_have_their_size_up_to_the_delimiter(void **state)
{
    (void)state;
    static const char *const pieces[] = {"hell", "o, w", "orld", "! -a", "gent", "zh"};
    struct receive_pattern pattern = until("\r\n--abcedhb", 4, false);
    struct receive_cut cut;
    for (int whole = 0; whole < 2; whole++) {
        begin("hello, world! -agentzh\r\n--abcedhb blah blah");
        come = whole ? stream_len : 0;
        for (size_t i = 0; i < 6; i++) {
            assert_string_equal(read_once(&pattern, &cut), pieces[i]);
            assert_int_equal(cut.is_end, i == 5);
        }
        assert_memory_equal(stream + taken, " blah", 5);
        pattern.scanned = pattern.matched = 0;
    }
}

static void a_piece_that_ends_at_the_delimiter_leaves_an_empty_one(void **state)
{
    (void)state;
    struct receive_pattern pattern = until("--", 2, false);
    struct receive_cut cut;
    begin("abcd--");
    assert_string_equal(read_once(&pattern, &cut), "ab");
    assert_string_equal(read_once(&pattern, &cut), "cd");
    assert_string_equal(read_once(&pattern, &cut), "");
    assert_true(cut.is_end);
    assert_int_equal(taken, stream_len);

    pattern = until("--", 2, true);
    begin("abc--");
    assert_string_equal(read_once(&pattern, &cut), "ab");
    assert_string_equal(read_once(&pattern, &cut), "c--");
    assert_true(cut.is_end);
}

static void a_timeout_leaves_the_beginning_of_a_delimiter(void **state)
{
    (void)state;
    struct receive_pattern pattern = until("--end", 0, false);
    struct receive_cut cut;
    begin("abc--en");
    assert_null(read_once(&pattern, &cut));
    receive_give_up(&pattern, come - taken, false, &cut);
    assert_int_equal(cut.len, 3);
    assert_int_equal(cut.taken, 3);
    taken += cut.taken;
    stream = "abc--end";
    stream_len++;
    assert_string_equal(read_once(&pattern, &cut), "");
    assert_int_equal(taken, stream_len);

    begin("abc--en");
    assert_null(read_once(&pattern, &cut));
    receive_give_up(&pattern, come - taken, true, &cut);
    assert_int_equal(cut.len, 7);
}

static void results_have_a_limit(void **state)
{
    (void)state;
    struct receive_cut cut;
    struct receive_pattern line = {.kind = RECEIVE_LINE, .most = 3};
    begin("abc\nabcd\n");
    assert_string_equal(read_once(&line, &cut), "abc");
    come = stream_len;
    assert_int_equal(look(&line, &cut), RECEIVE_TOO_LONG);
    begin("abcd");
    come = stream_len;
    assert_int_equal(look(&line, &cut), RECEIVE_TOO_LONG);

    struct receive_pattern pattern = until("--", 0, false);
    pattern.most = 3;
    begin("abc--abcd--");
    assert_string_equal(read_once(&pattern, &cut), "abc");
    come = stream_len;
    assert_int_equal(look(&pattern, &cut), RECEIVE_TOO_LONG);
    pattern = until("--", 2, false); /* in pieces, it may be longer */
    pattern.most = 3;
    begin("abcd--");
    assert_string_equal(read_once(&pattern, &cut), "ab");
    assert_string_equal(read_once(&pattern, &cut), "cd");
}

/* The worst delimiter for a search that begins anew behind each failure; the test would take minutes then. */
static void the_time_is_linear(void **state)
{
    (void)state;
    enum { LEN = 50000, ROUNDS = 200 };
    static char text[LEN], bytes[LEN];
    memset(text, 'a', LEN);
    memset(bytes, 'a', LEN);
    text[LEN - 1] = 'b';
    delimiter = (struct receive_delimiter){text, fallback, LEN, false};
    clock_t start = clock();
    receive_prepare(text, LEN, fallback);
    for (int i = 0; i < ROUNDS; i++) {
        struct receive_pattern pattern = {.kind = RECEIVE_UNTIL, .most = LEN, .delimiter = &delimiter};
        struct receive_cut cut;
        bytes[i] = 'c';
        for (size_t len = 0; len <= LEN; len += 10) {
            assert_int_equal(receive_look(&pattern, bytes, len, &cut), RECEIVE_MORE);
        }
    }
    assert_true((clock() - start) / CLOCKS_PER_SEC < 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_end_at_newlines),
        cmocka_unit_test(carriage_returns_are_dropped_from_lines),
        cmocka_unit_test(a_count_waits_for_all_and_any_for_one),
        cmocka_unit_test(everything_ends_with_the_connection),
        cmocka_unit_test(delimiters_that_begin_anew_are_found),
        cmocka_unit_test(an_inclusive_result_ends_with_the_delimiter),
        cmocka_unit_test(pieces_have_their_size_up_to_the_delimiter),
        cmocka_unit_test(a_piece_that_ends_at_the_delimiter_leaves_an_empty_one),
        cmocka_unit_test(a_timeout_leaves_the_beginning_of_a_delimiter),
        cmocka_unit_test(results_have_a_limit),
        cmocka_unit_test(the_time_is_linear),
    };
    guarded_init(&guarded);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
