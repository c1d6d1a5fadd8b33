/* A host without OpenSSL of its own: the library is loaded when the first server with TLS starts. The tests are in this
 * order, since there is no way back from a library that is loaded. */

#include "tests/lib/host.h"

#include <stdbool.h>

enum { STARTERS = 8, STARTS = 20 };

static const char no_certificate[] = "there is no certificate for it";

static bool is_loaded(void)
{
    char line[1024];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    while (!found && fgets(line, sizeof line, maps) != NULL) {
        found = strstr(line, "/libssl.so") != NULL;
    }
    fclose(maps);
    return found;
}

static void server_without_tls_does_not_load_it(void **state)
{
    (void)state;
    if (is_loaded()) {
        skip(); /* EVSERVE_TLS_LINKED */
    }
    host_serve();
    host_expect("/nothing", "404 Not Found\n");
    assert_false(is_loaded());
}

/* Starts a server in a sandbox, and then asks for one with TLS. */
static void *start_behind_a_sandbox(void *arg)
{
    char *err = arg;
    struct evserve_config config = host.config;
    config.root = host.folder;
    config.sandbox = EVSERVE_SANDBOX_REQUIRE;
    evserve *server = evserve_start(&config, err, EVSERVE_ERROR_MAX);
    if (server == NULL) {
        return NULL;
    }
    config.sandbox = 0;
    config.listen = "127.0.0.1:0?tls";
    evserve *second = evserve_start(&config, err, EVSERVE_ERROR_MAX);
    evserve_free(second);
    evserve_free(server);
    return NULL;
}

static void sandbox_of_another_server_keeps_it_away(void **state)
{
    (void)state;
    char err[EVSERVE_ERROR_MAX] = "";
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, start_behind_a_sandbox, err), 0);
    pthread_join(thread, NULL);
    if (is_loaded() || strstr(err, "kernel") != NULL || strstr(err, "built without") != NULL) {
        skip(); /* EVSERVE_TLS_LINKED, or no whole sandbox here, or no TLS */
    }
    if (strstr(err, "cannot be loaded inside a sandbox: start the first server with HTTPS before") == NULL) {
        fail_msg("%s", err);
    }
}

static void *start_often(void *arg)
{
    const struct evserve_config *config = arg;
    char err[EVSERVE_ERROR_MAX];
    int wrong = 0;
    for (int i = 0; i < STARTS; i++) {
        wrong += evserve_start(config, err, sizeof err) != NULL;
        wrong += strstr(err, no_certificate) == NULL;
    }
    return (void *)(intptr_t)wrong;
}

static void threads_may_all_be_the_first(void **state)
{
    (void)state;
    pthread_t threads[STARTERS];
    struct evserve_config config = host.config;
    config.listen = "127.0.0.1:0?tls";
    for (int i = 0; i < STARTERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, start_often, &config), 0);
    }
    for (int i = 0; i < STARTERS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_int_equal((intptr_t)wrong, 0);
    }
    assert_true(is_loaded());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(server_without_tls_does_not_load_it),
        HOST_TEST(sandbox_of_another_server_keeps_it_away),
        HOST_TEST(threads_may_all_be_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
