/* http/host/worker.c: certificates that change on disk are in use within a minute, on the clock of the fake kernel.
 * The keeper's own tests have what may go wrong; here are its timer, its threads' turn and real handshakes. */

#include "http/host/worker.h"

#include "evserve.h"
#include "http/host/tls_keeper.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/file_tree.h"
#include "tests/lib/tls_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct made first, second, other;
static struct file_tree tree;
static evserve *server;
static struct tls_client client;
static char log_text[8192];
static char cert_path[2][128], key_path[2][128];

static void keep(void *arg, int level, const char *line)
{
    (void)arg;
    (void)level;
    size_t used = strlen(log_text);
    snprintf(log_text + used, sizeof log_text - used, "%s\n", line);
}

static void step(void)
{
    for (int i = 0; i < 4; i++) {
        assert_int_equal(evserve_poll(server, 0), 1);
    }
}

static int set_up(void **state)
{
    (void)state;
    fake_sys_reset();
    tree_make(&tree);
    log_text[0] = '\0';
    for (int i = 0; i < 2; i++) {
        snprintf(cert_path[i], sizeof cert_path[i], "%s/cert%d.pem", tree.path, i);
        snprintf(key_path[i], sizeof key_path[i], "%s/key%d.pem", tree.path, i);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    evserve_free(server);
    server = NULL;
    int fds = fake_sys_open_fds();
    fake_sys_reset();
    tree_remove(&tree);
    return fds == 0 && fake_mem_live() == 0 ? 0 : -1;
}

static void write_pair(int n, const struct made *made)
{
    char name[32];
    snprintf(name, sizeof name, "cert%d.pem", n);
    tree_replace_file(&tree, name, made->cert_pem);
    snprintf(name, sizeof name, "key%d.pem", n);
    tree_replace_file(&tree, name, made->key_pem);
}

static void start(void)
{
    const struct evs_certificate certificates[] = {
        {.name = "one.test", .cert_file = cert_path[0], .key_file = key_path[0]},
        {.name = "two.test", .cert_file = cert_path[1], .key_file = key_path[1]},
        {.cert_file = NULL},
    };
    const struct evserve_config config = {.size = sizeof config,
                                          .listen = "127.0.0.1:0?tls",
                                          .root = tree.path,
                                          .log = keep,
                                          .certificates = certificates};
    char err[EVSERVE_ERROR_MAX] = "";
    server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fail_msg("%s", err);
    }
}

/* The name in the certificate that a client of this server name is shown. */
static const char *shown(const char *name)
{
    static char seen[64];
    tls_client_init(&client, TLS1_3_VERSION, step);
    tls_client_connect(&client, fake_peer_connect(fake_sys_listener_fd()), name);
    tls_client_run(&client);
    snprintf(seen, sizeof seen, "%s", tls_client_saw(&client));
    tls_client_done(&client);
    step();
    return seen;
}

static void pass_ms(int64_t ms)
{
    fake_sys_advance_ms(ms);
    step();
}

static void a_change_on_disk_is_in_use_within_a_minute(void **state)
{
    (void)state;
    write_pair(0, &first);
    write_pair(1, &first);
    start();
    assert_string_equal(shown("one.test"), "first.test");
    write_pair(0, &second);
    pass_ms(TLS_LOOK_MS - 1000);
    assert_string_equal(shown("one.test"), "first.test");
    pass_ms(1000);
    assert_string_equal(shown("one.test"), "second.test");
    assert_non_null(strstr(log_text, "have changed and are in use now"));
    log_text[0] = '\0';
    pass_ms(5 * TLS_LOOK_MS);
    assert_string_equal(log_text, "");
}

static int make_certificates(void **state)
{
    (void)state;
    made_create(&first, KEY_EC, "first.test", NULL);
    made_create(&second, KEY_EC, "second.test", NULL);
    made_create(&other, KEY_RSA, "other.test", NULL);
    return 0;
}

static int free_certificates(void **state)
{
    (void)state;
    made_done(&first);
    made_done(&second);
    made_done(&other);
    made_keys_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_change_on_disk_is_in_use_within_a_minute, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
