/* http/host/worker.c: certificates that change on disk are in use within a minute, on the clock of the fake kernel.
 * The keeper's own tests have what may go wrong; here are its timer, its threads' turn and real handshakes. */

#include "http/host/worker.h"

#include "evserve.h"
#include "http/host/tls_keeper.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/file_tree.h"
#include "tests/lib/tls_scene.h"

#include <errno.h>
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

static bool is_logged(const char *text)
{
    return strstr(log_text, text) != NULL;
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
    assert_true(is_logged("cert0.pem renewed: one.test, until 2040-"));
    log_text[0] = '\0';
    pass_ms(5 * TLS_LOOK_MS);
    assert_string_equal(log_text, "");
}

static void look(void)
{
    log_text[0] = '\0';
    pass_ms(TLS_LOOK_MS);
}

/* Links are switched one after the other. */
static void the_way_of_certbot(void **state)
{
    (void)state;
    tree_add_file(&tree, "old-cert.pem", first.cert_pem);
    tree_add_file(&tree, "old-key.pem", first.key_pem);
    tree_add_file(&tree, "new-cert.pem", other.cert_pem);
    tree_add_file(&tree, "new-key.pem", other.key_pem);
    tree_add_link(&tree, "cert0.pem", "old-cert.pem");
    tree_add_link(&tree, "key0.pem", "old-key.pem");
    write_pair(1, &first);
    start();
    tree_unlink(&tree, "cert0.pem");
    tree_add_link(&tree, "cert0.pem", "new-cert.pem"); /* caught halfway: a key of another kind */
    look();
    assert_true(is_logged("certificate in use is kept") && is_logged("key0.pem"));
    assert_string_equal(shown("one.test"), "first.test");
    look();
    assert_string_equal(log_text, "");
    tree_unlink(&tree, "key0.pem");
    look();
    assert_string_equal(log_text, ""); /* a file that is being replaced */
    tree_add_link(&tree, "key0.pem", "new-key.pem");
    look();
    assert_true(is_logged(" renewed: "));
    assert_string_equal(shown("one.test"), "other.test");
    assert_string_equal(shown("two.test"), "first.test");
}

/* Files are truncated, and written in place. */
static void the_way_of_acme_sh(void **state)
{
    (void)state;
    write_pair(0, &first);
    write_pair(1, &first);
    start();
    tree_write(&tree, "cert0.pem", "", 0);
    look();
    assert_true(is_logged("no certificate in") && is_logged("cert0.pem"));
    tree_write(&tree, "cert0.pem", second.cert_pem, strlen(second.cert_pem) / 2);
    look();
    assert_true(is_logged("cert0.pem") && !is_logged("no certificate in")); /* another reason */
    assert_string_equal(shown("one.test"), "first.test");
    tree_write(&tree, "cert0.pem", second.cert_pem, strlen(second.cert_pem));
    look();
    assert_string_equal(shown("one.test"), "second.test");
}

/* The key comes first; the certificate an hour later. */
static void a_key_that_comes_long_before_its_certificate(void **state)
{
    (void)state;
    write_pair(0, &first);
    write_pair(1, &first);
    start();
    tree_replace_file(&tree, "key0.pem", other.key_pem);
    look();
    assert_true(is_logged("does not belong to"));
    log_text[0] = '\0';
    for (int i = 0; i < 60; i++) {
        pass_ms(TLS_LOOK_MS);
    }
    assert_string_equal(log_text, "");
    assert_string_equal(shown("one.test"), "first.test");
    tree_replace_file(&tree, "cert0.pem", other.cert_pem);
    look();
    assert_string_equal(shown("one.test"), "other.test");
}

static void a_file_that_is_gone_for_a_while(void **state)
{
    (void)state;
    write_pair(0, &first);
    write_pair(1, &first);
    start();
    tree_unlink(&tree, "cert0.pem");
    tree_unlink(&tree, "key0.pem");
    look();
    assert_string_equal(log_text, "");
    log_text[0] = '\0';
    assert_int_equal(evserve_reload(server, NULL, 0), 0); /* which reads it all the same */
    assert_true(is_logged("cannot read the certificate") && is_logged("cert0.pem"));
    assert_string_equal(shown("one.test"), "first.test");
    write_pair(0, &second);
    look();
    assert_string_equal(shown("one.test"), "second.test");
}

static void a_file_that_may_not_be_read_is_tried_again(void **state)
{
    (void)state;
    write_pair(0, &first);
    write_pair(1, &first);
    start();
    write_pair(0, &second);
    fake_sys_fail_op(FAKE_OPEN, 10, 1, -EACCES); /* eight look at the files, the next two stamp them */
    look();
    assert_true(is_logged("cert0.pem: Permission denied"));
    assert_string_equal(shown("one.test"), "first.test");
    log_text[0] = '\0';
    for (int i = 0; i < TLS_RETRY_LOOKS; i++) {
        pass_ms(TLS_LOOK_MS);
    }
    assert_true(is_logged(" renewed: "));
    assert_string_equal(shown("one.test"), "second.test");
}

static void a_broken_pair_keeps_back_no_other(void **state)
{
    (void)state;
    write_pair(0, &first);
    write_pair(1, &first);
    start();
    tree_replace_file(&tree, "key0.pem", "nonsense");
    write_pair(1, &second);
    look();
    assert_true(is_logged("key0.pem") && is_logged("cert1.pem renewed: two.test, until "));
    assert_string_equal(shown("one.test"), "first.test");
    assert_string_equal(shown("two.test"), "second.test");
    write_pair(1, &other);
    look();
    assert_true(is_logged(" renewed: ") && !is_logged("key0.pem"));
    assert_string_equal(shown("one.test"), "first.test");
    assert_string_equal(shown("two.test"), "other.test");
    log_text[0] = '\0';
    assert_int_equal(evserve_reload(server, NULL, 0), 0);
    assert_true(is_logged("key0.pem"));
    write_pair(0, &other);
    look();
    assert_string_equal(shown("one.test"), "other.test");
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
        cmocka_unit_test_setup_teardown(the_way_of_certbot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_way_of_acme_sh, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_that_comes_long_before_its_certificate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_gone_for_a_while, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_may_not_be_read_is_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_broken_pair_keeps_back_no_other, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
