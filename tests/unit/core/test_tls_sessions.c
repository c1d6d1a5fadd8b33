/* Sessions with servers that may be resumed: how many, for how long, for whom. On the fake clock. */

#include "core/tls_sessions.h"

#include "core/tls_clients.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <openssl/ssl.h>

#include <cmocka.h>

static struct tls_clients *loader; /* has loaded OpenSSL */
static struct tls_sessions *sessions;

static SSL_SESSION *make_session(int version, unsigned char number)
{
    SSL_SESSION *session = SSL_SESSION_new();
    assert_non_null(session);
    assert_int_equal(SSL_SESSION_set1_id(session, &number, 1), 1);
    assert_int_equal(SSL_SESSION_set_protocol_version(session, version), 1);
    return session;
}

static void put(uint64_t context, const char *server, int version, unsigned char number)
{
    tls_sessions_put(sessions, context, server, make_session(version, number));
}

/* The number of the session that is taken, or -1. */
static int take(uint64_t context, const char *server)
{
    SSL_SESSION *session = tls_sessions_take(sessions, context, server);
    unsigned len = 0;
    int number = session == NULL ? -1 : SSL_SESSION_get_id(session, &len)[0];
    SSL_SESSION_free(session);
    return number;
}

static int set_up(void **state)
{
    (void)state;
    char err[256];
    fake_sys_reset();
    assert_int_equal(tls_clients_create(&loader, NULL, err, sizeof err), 0);
    sessions = tls_sessions_create();
    return sessions == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    tls_sessions_destroy(sessions);
    tls_clients_destroy(loader);
    return fake_mem_live() == 0 ? 0 : -1;
}

static void latest_session_of_the_same_server_and_context_is_taken(void **state)
{
    (void)state;
    put(1, "one", TLS1_3_VERSION, 1);
    put(1, "one", TLS1_3_VERSION, 2);
    put(1, "two", TLS1_3_VERSION, 3);
    put(2, "one", TLS1_3_VERSION, 4);
    assert_int_equal(take(1, "one"), 2);
    assert_int_equal(take(1, "one"), 1);
    assert_int_equal(take(1, "one"), -1); /* each once */
    assert_int_equal(take(2, "one"), 4);
    assert_int_equal(take(1, "two"), 3);
    assert_int_equal(take(1, "three"), -1);
}

static void session_of_tls_1_2_is_used_again(void **state)
{
    (void)state;
    put(1, "one", TLS1_2_VERSION, 1);
    assert_int_equal(take(1, "one"), 1);
    assert_int_equal(take(1, "one"), 1);
    tls_sessions_forget(sessions, 1, "one");
    assert_int_equal(take(1, "one"), -1);
}

static void server_has_four_and_all_have_256(void **state)
{
    (void)state;
    char server[16];
    for (int i = 0; i <= TLS_SESSIONS_OF_SERVER; i++) {
        put(1, "one", TLS1_3_VERSION, (unsigned char)i);
    }
    for (int i = TLS_SESSIONS_OF_SERVER; i > 0; i--) {
        assert_int_equal(take(1, "one"), i);
    }
    assert_int_equal(take(1, "one"), -1); /* the first one has gone */
    for (int i = 0; i < TLS_SESSIONS_MAX; i++) {
        snprintf(server, sizeof server, "s%d", i);
        put(1, server, TLS1_2_VERSION, (unsigned char)i);
    }
    assert_int_equal(take(1, "s0"), 0);
    put(1, "one more", TLS1_2_VERSION, 7);
    assert_int_equal(take(1, "s0"), -1);
    assert_int_equal(take(1, "s1"), 1);
    assert_int_equal(take(1, "one more"), 7);
}

static void session_is_kept_for_an_hour(void **state)
{
    (void)state;
    put(1, "one", TLS1_2_VERSION, 1);
    fake_sys_advance_ms(TLS_SESSION_KEPT_S * INT64_C(1000) - 1000);
    assert_int_equal(take(1, "one"), 1);
    fake_sys_advance_ms(1000);
    assert_int_equal(take(1, "one"), -1);
}

static void without_memory_nothing_is_kept(void **state)
{
    (void)state;
    SSL_SESSION *session = make_session(TLS1_3_VERSION, 1);
    fake_mem_fail_after(1, false);
    tls_sessions_put(sessions, 1, "one", session);
    fake_mem_fail_after(0, false);
    assert_int_equal(take(1, "one"), -1);
}

int main(void)
{
#define SESSION_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        SESSION_TEST(latest_session_of_the_same_server_and_context_is_taken),
        SESSION_TEST(session_of_tls_1_2_is_used_again),
        SESSION_TEST(server_has_four_and_all_have_256),
        SESSION_TEST(session_is_kept_for_an_hour),
        SESSION_TEST(without_memory_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
