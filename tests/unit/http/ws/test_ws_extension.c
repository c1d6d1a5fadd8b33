/* http/ws/ws_extension.c: offers of clients, malformed ones, and what is agreed on. */

#include "http/ws/ws_extension.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* What a handshake with one field responds: "malformed", "" without compression, or the value. */
static const char *respond(const char *value, bool may_keep)
{
    static char text[WS_EXTENSION_MAX + 1];
    struct ws_offer offer = {0};
    struct ws_deflate_terms terms;
    if (!ws_extension_read(&offer, value, strlen(value))) {
        return "malformed";
    }
    if (!offer.is_there) {
        return "";
    }
    ws_extension_agree(&terms, &offer, may_keep);
    text[ws_extension_write(text, &terms)] = '\0';
    return text;
}

#define DEFLATE  "permessage-deflate"
#define SFORGETS "; server_no_context_takeover"
#define CFORGETS "; client_no_context_takeover"

static void offers_are_answered(void **state)
{
    static const struct {
        const char *offer, *response;
    } cases[] = {
        {"permessage-deflate", DEFLATE},
        {" permessage-deflate\t", DEFLATE},
        {"permessage-deflate; client_max_window_bits", DEFLATE "; client_max_window_bits=12"},
        {"permessage-deflate ;client_max_window_bits = 15", DEFLATE "; client_max_window_bits=12"},
        {"permessage-deflate; client_max_window_bits=10", DEFLATE "; client_max_window_bits=10"},
        {"permessage-deflate; client_max_window_bits=8", DEFLATE "; client_max_window_bits=8"},
        {"permessage-deflate; client_max_window_bits=\"9\"", DEFLATE "; client_max_window_bits=9"},
        {"permessage-deflate; client_max_window_bits=\"1\\1\"", DEFLATE "; client_max_window_bits=11"},
        {"permessage-deflate; server_max_window_bits=9", DEFLATE "; server_max_window_bits=9"},
        {"permessage-deflate; server_max_window_bits=15", DEFLATE "; server_max_window_bits=15"},
        {"permessage-deflate; server_no_context_takeover", DEFLATE SFORGETS},
        {"permessage-deflate; client_no_context_takeover", DEFLATE CFORGETS},
        {"permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; "
         "client_max_window_bits",
         DEFLATE SFORGETS CFORGETS "; server_max_window_bits=10"},
        /* the first offer that we can take */
        {"permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=9",
         DEFLATE "; server_max_window_bits=9"},
        {"permessage-deflate; server_no_context_takeover, permessage-deflate", DEFLATE SFORGETS},
        {"x-webkit-deflate-frame, foo; bar=\"baz\", ,permessage-deflate", DEFLATE},
        /* none of them */
        {"", ""},
        {",", ""},
        {" , ,\t", ""},
        {"foo", ""},
        {"permessage-deflat", ""},
        {"permessage-deflate2", ""},
        {"Permessage-Deflate", ""},
        {"permessage-deflate; foo", ""},
        {"permessage-deflate; server_no_context_takeover=1", ""},
        {"permessage-deflate; client_no_context_takeover=\"x\"", ""},
        {"permessage-deflate; server_no_context_takeover; server_no_context_takeover", ""},
        {"permessage-deflate; client_no_context_takeover; client_no_context_takeover", ""},
        {"permessage-deflate; client_max_window_bits; client_max_window_bits=10", ""},
        {"permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", ""},
        {"permessage-deflate; server_max_window_bits", ""},
        {"permessage-deflate; server_max_window_bits=8", ""},
        {"permessage-deflate; server_max_window_bits=16", ""},
        {"permessage-deflate; server_max_window_bits=010", ""},
        {"permessage-deflate; server_max_window_bits=1x", ""},
        {"permessage-deflate; server_max_window_bits=\"10000000000000000000\"", ""},
        {"permessage-deflate; client_max_window_bits=7", ""},
        {"permessage-deflate; client_max_window_bits=16", ""},
        {"permessage-deflate; client_max_window_bits=0", ""},
        /* no list of extensions */
        {"permessage-deflate;", "malformed"},
        {"permessage-deflate; =1", "malformed"},
        {"permessage-deflate; a=", "malformed"},
        {"permessage-deflate; a=\"", "malformed"},
        {"permessage-deflate; a=\"\"", "malformed"},
        {"permessage-deflate; a=\"b", "malformed"},
        {"permessage-deflate; a=\"b\\", "malformed"},
        {"permessage-deflate; a=\"b c\"", "malformed"},
        {"permessage-deflate; a=\"b\"c", "malformed"},
        {"permessage-deflate foo", "malformed"},
        {"permessage-deflate, foo bar", "malformed"},
        {"permessage-deflate, \"foo\"", "malformed"},
        {"=", "malformed"},
        {";", "malformed"},
        {"foo\x80", "malformed"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(respond(cases[i].offer, true), cases[i].response);
    }
}

static void without_memory_for_contexts_both_sides_forget(void **state)
{
    (void)state;
    assert_string_equal(respond("permessage-deflate; client_max_window_bits", false), DEFLATE SFORGETS CFORGETS);
    assert_string_equal(respond("permessage-deflate; server_max_window_bits=9", false),
                        DEFLATE SFORGETS CFORGETS "; server_max_window_bits=9");
}

static void the_longest_response_fits(void **state)
{
    struct ws_deflate_terms terms = {.says_server_bits = true,
                                     .says_client_bits = true,
                                     .server_bits = 15,
                                     .client_bits = 15};
    char text[WS_EXTENSION_MAX];
    (void)state;
    assert_in_range(ws_extension_write(text, &terms), 100, sizeof text);
}

static void a_second_field_goes_on_with_the_list(void **state)
{
    struct ws_offer offer = {0};
    (void)state;
    assert_true(ws_extension_read(&offer, "permessage-deflate; foo", 23));
    assert_false(offer.is_there);
    assert_true(ws_extension_read(&offer, "permessage-deflate; server_max_window_bits=11", 45));
    assert_true(offer.is_there);
    assert_true(ws_extension_read(&offer, "permessage-deflate; server_max_window_bits=12", 45));
    assert_int_equal(offer.server_bits, 11);
    assert_false(ws_extension_read(&offer, "a b", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offers_are_answered),
        cmocka_unit_test(without_memory_for_contexts_both_sides_forget),
        cmocka_unit_test(the_longest_response_fits),
        cmocka_unit_test(a_second_field_goes_on_with_the_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
