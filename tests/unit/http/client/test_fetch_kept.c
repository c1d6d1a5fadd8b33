/* Which request may have which kept connection, and how long one is kept. */

#include "core/kept_links.h"
#include "http/client/fetch_kept.h"
#include "http/client/fetch_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Requests to the same server that differ in one thing have different names; what a request alone is about has none. */
static void names_differ_where_connections_must_not_be_shared(void **state)
{
    const struct fetch_url http = {.host = "a", .port = 80}, port = {.host = "a", .port = 81};
    const struct fetch_url https = {.host = "a", .port = 443, .is_secured = true};
    const struct fetch_url path = {.host = "localhost", .port = 80, .unix_path = "/x"};
    const struct fetch requests[] = {
        {.url = http},
        {.url = port},
        {.url = {.host = "b", .port = 80}},
        {.url = path},
        {.url = {.host = "localhost", .port = 80}},
        {.url = http, .order.unix_path = "/x"},
        {.url = {.host = "a", .port = 443}},
        {.url = https},
        {.url = https, .order.trusts_anybody = true},
        {.url = https, .order.server_name = "b"},
        {.url = https, .order.ca_file = "b"},
        {.url = https, .order.cert_file = "b", .order.key_file = "c"},
        {.url = https, .order.cert_file = "b", .order.key_file = "d"},
    };
    char names[sizeof requests / sizeof requests[0]][FETCH_KEPT_NAME_MAX], again[FETCH_KEPT_NAME_MAX];
    size_t lens[sizeof requests / sizeof requests[0]];
    (void)state;
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        lens[i] = fetch_kept_name(&requests[i], names[i]);
        assert_true(lens[i] > 0);
        for (size_t k = 0; k < i; k++) {
            assert_false(lens[i] == lens[k] && memcmp(names[i], names[k], lens[i]) == 0);
        }
    }
    const struct fetch other = {.url = http, .order = {.method = "POST", .ca_file = "x", .server_name = "y"}};
    assert_int_equal(fetch_kept_name(&other, again), lens[0]); /* without TLS nothing of it counts */
    assert_memory_equal(again, names[0], lens[0]);
}

static void names_have_a_limit(void **state)
{
    static char path[FETCH_KEPT_NAME_MAX];
    char name[FETCH_KEPT_NAME_MAX];
    struct fetch fetch = {.url = {.host = "a", .port = 443, .is_secured = true}, .order.ca_file = path};
    size_t rest = fetch_kept_name(&fetch, name);
    (void)state;
    memset(path, 'x', FETCH_KEPT_NAME_MAX - rest);
    assert_int_equal(fetch_kept_name(&fetch, name), FETCH_KEPT_NAME_MAX);
    path[FETCH_KEPT_NAME_MAX - rest] = 'x';
    assert_int_equal(fetch_kept_name(&fetch, name), 0);
    assert_true((int)FETCH_KEPT_NAME_MAX <= (int)KEPT_NAME_MAX); /* so that each is kept */
}

static void server_says_for_how_long(void **state)
{
    static const struct {
        const char *value; /* of Keep-Alive; NULL: there is none */
        uint32_t ms;
    } rows[] = {
        {NULL, KEPT_IDLE_MS},         {"timeout=5", 4500},
        {"timeout=1, max=100", 500},  {"max=7, timeout=60", 59500},
        {"timeout=61", KEPT_IDLE_MS}, {"timeout=0", 1},
        {"timeout=", KEPT_IDLE_MS},   {"timeout=99999999999999999999999", KEPT_IDLE_MS},
        {"max=5", KEPT_IDLE_MS},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fetch_field field = {.name = "keep-alive", .name_len = strlen("keep-alive"), .value = rows[i].value};
        const struct fetch fetch = {.reply = {.fields = &field, .head.field_count = rows[i].value != NULL}};
        assert_int_equal(fetch_kept_ms(&fetch), rows[i].ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_differ_where_connections_must_not_be_shared),
        cmocka_unit_test(names_have_a_limit),
        cmocka_unit_test(server_says_for_how_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
