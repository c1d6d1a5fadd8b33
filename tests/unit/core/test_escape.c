/* Text for each place in a page: pairs of bytes, what stands in each place, and texts without a meaning there. */

#include "core/escape.h"
#include "core/utf8.h"
#include "core/write_buffer.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The text of len bytes, escaped, in a buffer that the next call uses again. */
static const char *escape(enum escape_place place, const char *text, size_t len, size_t *out_len)
{
    static char made[4096];
    struct write_buffer out;
    write_buffer_init(&out);
    assert_int_equal(escape_append(&out, place, text, len), 0);
    *out_len = write_buffer_len(&out);
    assert_true(*out_len < sizeof made);
    if (*out_len > 0) {
        memcpy(made, write_buffer_data(&out), *out_len);
    }
    made[*out_len] = '\0';
    write_buffer_done(&out);
    return made;
}

static void texts_of_each_place(void **state)
{
    (void)state;
    static const struct {
        enum escape_place place;
        const char *text, *escaped;
    } cases[] = {
        {ESCAPE_HTML, "", ""},
        {ESCAPE_HTML, "plain \xc3\xa9", "plain \xc3\xa9"},
        {ESCAPE_HTML, "<a href=\"x\">'&amp;", "&lt;a href=&quot;x&quot;&gt;&#39;&amp;amp;"},
        {ESCAPE_HTML, "\xff<\xe2\x80", "\xef\xbf\xbd&lt;\xef\xbf\xbd\xef\xbf\xbd"},
        {ESCAPE_URL, "/a b?c=d&e#\xc3\xa9%20%2x%", "/a%20b?c=d&e#%C3%A9%20%252x%25"},
        {ESCAPE_URL, "http://[::1]/\\", "http://[::1]/%5C"},
        {ESCAPE_PATH, "a/b:c?d#e%20", "a/b:c%3Fd%23e%2520"},
        {ESCAPE_SEGMENT, "a/b:c", "a/b%3Ac"},
        {ESCAPE_QUERY, "a b&c=d+e/f~", "a%20b%26c%3Dd%2Be%2Ff~"},
        {ESCAPE_JSON, "{\"a\":\"</script>&\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa\"}",
         "{\"a\":\"\\u003c\\/script\\u003e\\u0026\\u2028\\u2029\xe2\x80\xaa\"}"},
        {ESCAPE_STRING, "it's \"`\\/<>&$=\n\x7f\xe2\x80\xa8",
         "it\\u0027s \\u0022\\u0060\\\\\\/\\u003c\\u003e\\u0026"
         "\\u0024\\u003d\\u000a\\u007f\\u2028"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len;
        assert_string_equal(escape(cases[i].place, cases[i].text, strlen(cases[i].text), &len), cases[i].escaped);
        bool stays = strcmp(cases[i].text, cases[i].escaped) == 0;
        assert_int_equal(escape_span(cases[i].place, cases[i].text, strlen(cases[i].text)) == strlen(cases[i].text),
                         stays);
    }
}

/* Of every third pair of bytes nothing comes out that means something in the place, and what comes out is UTF-8. */
static void pairs_of_bytes(void **state)
{
    (void)state;
    static const char *const never[ESCAPE_COUNT] = {
        [ESCAPE_HTML] = "<>\"'",
        [ESCAPE_URL] = " \"<>\\^`{|}\n\r\t",
        [ESCAPE_PATH] = " \"<>\\^`{|}\n\r\t?#",
        [ESCAPE_SEGMENT] = " \"<>\\^`{|}\n\r\t?#:",
        [ESCAPE_QUERY] = " \"<>\\^`{|}\n\r\t?#:/&=+;'",
        [ESCAPE_JSON] = "<>&",
        [ESCAPE_STRING] = "<>&\"'`$\n\r=",
    };
    for (unsigned pair = 0; pair < 0x10000; pair += 3) {
        const char text[2] = {(char)(pair >> 8), (char)(pair & 0xff)};
        for (int place = 0; place < ESCAPE_COUNT; place++) {
            size_t len;
            const char *made = escape((enum escape_place)place, text, sizeof text, &len);
            assert_int_equal(strcspn(made, never[place]), len);
            for (size_t at = 0; at < len;) {
                size_t sequence = utf8_len((const unsigned char *)made + at, len - at);
                assert_true(sequence > 0);
                at += sequence;
            }
        }
    }
}

static void urls_that_lead_to_pages(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_safe;
    } cases[] = {
        {"", true},
        {"/", true},
        {"a/b:c", true},
        {"?a:b", true},
        {"#a:b", true},
        {"//example.org", true},
        {"HTTP://x", true},
        {"https:", true},
        {"mailto:a@b", true},
        {":", false},
        {"javascript:x", false},
        {" http:x", false},
        {"java\tscript:x", false},
        {"data:x", false},
        {"httpss:x", false},
        {"blob:x", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(escape_is_safe_url(cases[i].text, strlen(cases[i].text)), cases[i].is_safe);
    }
    assert_false(escape_is_safe_url("\0http:", 6));
    assert_false(escape_is_safe_url("javascript\0:", 12));
}

static void memory_runs_out(void **state)
{
    (void)state;
    char text[3000];
    memset(text, '<', sizeof text);
    for (uint64_t n = 1;; n++) {
        struct write_buffer out;
        write_buffer_init(&out);
        fake_mem_fail_after(n, false);
        int rv = escape_append(&out, ESCAPE_HTML, text, sizeof text);
        bool has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_int_equal(rv, has_failed ? -ENOMEM : 0);
        write_buffer_done(&out);
        assert_int_equal(fake_mem_live(), 0);
        if (!has_failed) {
            assert_true(n > 1);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_of_each_place),
        cmocka_unit_test(pairs_of_bytes),
        cmocka_unit_test(urls_that_lead_to_pages),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
