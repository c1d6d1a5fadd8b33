/* http/host/tls_plan.c and evs_certificates.c: what is asked for, and whose wish wins. */

#include "http/host/tls_plan.h"

#include "evserve.h"
#include "http/host/evs_certificates.h"
#include "tests/lib/contexts_scene.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct tls_plan plan, other;
static char err[1024];

static int set_up(void **state)
{
    (void)state;
    contexts_scene_reset();
    tls_plan_init(&plan);
    tls_plan_init(&other);
    err[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tls_plan_done(&plan);
    tls_plan_done(&other);
    fake_mem_fail_after(0, false);
    return fake_mem_live() == 0 && contexts_scene.made == 0 ? 0 : -1;
}

static void add(struct tls_plan *to, const char *file, const char *place)
{
    const struct tls_certificate certificate = {.cert_file = file, .key_file = "key.pem"};
    assert_int_equal(tls_plan_add(to, &certificate, place, err, sizeof err), 0);
}

static void certificates_and_settings_are_copied(void **state)
{
    (void)state;
    char name[] = "*.a", file[] = "cert.pem", version[] = "1.3", place[] = "site.lua:3";
    const struct tls_certificate certificate = {.name = name, .cert_file = file, .is_client_optional = false};
    const struct tls_settings settings = {.min_version = version};
    assert_int_equal(tls_plan_add(&plan, &certificate, place, err, sizeof err), 0);
    assert_int_equal(tls_plan_set(&plan, &settings, err, sizeof err), 0);
    memset(name, 'x', 3);
    memset(file, 'x', 8);
    memset(version, 'x', 3);
    memset(place, 'x', 10);
    assert_int_equal(plan.count, 1);
    assert_string_equal(plan.certificates[0].name, "*.a");
    assert_string_equal(plan.certificates[0].cert_file, "cert.pem");
    assert_null(plan.certificates[0].key_file);
    assert_string_equal(plan.places[0], "site.lua:3");
    assert_string_equal(plan.settings.min_version, "1.3");
}

static void contradictions_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct tls_certificate certificate;
        const char *reason;
    } rows[] = {
        {{.key_file = "k"}, "there is no certificate"},
        {{.cert_file = "c", .cert_pem = "c"}, "the certificate is given twice"},
        {{.cert_file = "c", .key_file = "k", .key_pem = "k"}, "the key is given twice"},
        {{.cert_file = "c", .client_ca_file = "a", .client_ca_pem = "a"}, "client_ca is given twice"},
        {{.cert_file = "c", .is_client_optional = true}, "client_ca does not say who may sign it"},
        {{.cert_file = "c", .name = ""}, "the name is empty"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(tls_plan_add(&plan, &rows[i].certificate, NULL, err, sizeof err), -EINVAL);
        assert_non_null(strstr(err, rows[i].reason));
    }
    assert_int_equal(plan.count, 0);
}

static void a_setting_has_one_value(void **state)
{
    (void)state;
    const struct tls_settings first = {.min_version = "1.3", .ciphers = "A"};
    const struct tls_settings same = {.min_version = "1.3", .groups = "X25519"};
    const struct tls_settings another = {.min_version = "1.2"};
    const struct tls_settings unknown = {.min_version = "1.1"};
    const struct tls_settings empty = {.groups = ""};
    assert_int_equal(tls_plan_set(&plan, &first, err, sizeof err), 0);
    assert_int_equal(tls_plan_set(&plan, &same, err, sizeof err), 0);
    assert_string_equal(plan.settings.groups, "X25519");
    assert_int_equal(tls_plan_set(&plan, &another, err, sizeof err), -EEXIST);
    assert_string_equal(err, "min_version holds for all certificates, and is \"1.3\" already");
    assert_int_equal(tls_plan_set(&other, &unknown, err, sizeof err), -EINVAL);
    assert_string_equal(err, "min_version: \"1.2\" or \"1.3\" expected, not \"1.1\"");
    assert_int_equal(tls_plan_set(&other, &empty, err, sizeof err), -EINVAL);
}

static void too_many_certificates_are_refused(void **state)
{
    (void)state;
    const struct tls_certificate certificate = {.cert_file = "c"};
    for (int i = 0; i < TLS_CERTIFICATES_MAX; i++) {
        add(&plan, "c", NULL);
    }
    assert_int_equal(tls_plan_add(&plan, &certificate, NULL, err, sizeof err), -ENOSPC);
}

/* Certificates of the host take the place of the script's, setting by setting and certificates as a whole. */
static void wishes_of_the_host_win(void **state)
{
    (void)state;
    struct tls_plan joined;
    const struct tls_settings mine = {.ciphers = "HOST", .ciphers_place = "host"};
    const struct tls_settings its = {.ciphers = "SCRIPT", .ciphers_place = "site.lua:3", .min_version = "1.3"};
    const struct tls_settings again = {.ciphers = "SCRIPT", .ciphers_place = "site.lua:4"};
    tls_plan_init(&joined);
    add(&other, "script.pem", "site.lua:3");
    assert_int_equal(tls_plan_set(&plan, &mine, err, sizeof err), 0);
    assert_int_equal(tls_plan_set(&other, &its, err, sizeof err), 0);
    assert_int_equal(tls_plan_set(&other, &again, err, sizeof err), 0);
    assert_string_equal(other.settings.ciphers_place, "site.lua:3");
    assert_int_equal(tls_plan_join(&joined, &plan, &other), 0); /* the host has none */
    assert_int_equal(joined.count, 1);
    assert_string_equal(joined.certificates[0].cert_file, "script.pem");
    assert_string_equal(joined.places[0], "site.lua:3");
    assert_string_equal(joined.settings.ciphers, "HOST");
    assert_string_equal(joined.settings.ciphers_place, "host");
    assert_string_equal(joined.settings.min_version, "1.3");
    tls_plan_done(&joined);

    add(&plan, "a.pem", NULL);
    add(&plan, "b.pem", NULL);
    assert_int_equal(tls_plan_join(&joined, &plan, &other), 0);
    assert_int_equal(joined.count, 2);
    assert_string_equal(joined.certificates[1].cert_file, "b.pem");
    tls_plan_done(&joined);
    assert_int_equal(tls_plan_join(&joined, &plan, NULL), 0);
    assert_int_equal(joined.count, 2);
    tls_plan_done(&joined);
}

static void a_context_is_made_or_the_reason_is_given(void **state)
{
    (void)state;
    struct tls_context *context = NULL;
    add(&plan, "a.pem", NULL);
    add(&plan, "b.pem", "site.lua:7");
    assert_int_equal(tls_plan_make(&plan, NULL, 9, NULL, &context, err, sizeof err), 0);
    assert_int_equal(contexts_scene.adds, 2);
    assert_int_equal(contexts_scene.base_fd, 9);
    tls_context_put(context);
    contexts_scene.bad = "b.pem";
    assert_int_equal(tls_plan_make(&plan, NULL, 9, NULL, &context, err, sizeof err), -ENOENT);
    assert_string_equal(err, "site.lua:7: b.pem: no such file");
    contexts_scene.bad = "a.pem";
    assert_int_equal(tls_plan_make(&plan, NULL, 9, NULL, &context, err, sizeof err), -ENOENT);
    assert_string_equal(err, "a.pem: no such file");
    contexts_scene.is_absent = true;
    assert_int_equal(tls_plan_make(&plan, NULL, 9, NULL, &context, err, sizeof err), -ENOTSUP);
    assert_string_equal(err, "no TLS in this build");
}

static int collect(void *arg, const char *path)
{
    strcat(arg, path);
    strcat(arg, " ");
    return strcmp(path, "stop") == 0 ? 7 : 0;
}

static void files_are_named(void **state)
{
    (void)state;
    char text[100] = "";
    const struct tls_certificate pem = {.cert_pem = "PEM", .client_ca_file = "ca.pem"};
    add(&plan, "a.pem", NULL);
    assert_int_equal(tls_plan_add(&plan, &pem, NULL, err, sizeof err), 0);
    assert_int_equal(tls_plan_each_file(&plan, collect, text), 0);
    assert_string_equal(text, "a.pem key.pem ca.pem ");
    add(&plan, "stop", NULL);
    add(&plan, "d.pem", NULL);
    text[0] = '\0';
    assert_int_equal(tls_plan_each_file(&plan, collect, text), 7);
    assert_string_equal(text, "a.pem key.pem ca.pem stop ");
}

static void without_memory_nothing_is_left_behind(void **state)
{
    (void)state;
    const struct tls_certificate certificate = {.name = "a", .cert_file = "c", .key_file = "k"};
    const struct tls_settings settings = {.min_version = "1.3", .groups = "g"};
    int failed = 0;
    for (size_t n = 0;; n++, failed++) {
        struct tls_plan joined;
        tls_plan_init(&joined);
        fake_mem_fail_after(n + 1, false);
        int rv = tls_plan_add(&plan, &certificate, "p", err, sizeof err);
        rv = rv < 0 ? rv : tls_plan_set(&plan, &settings, err, sizeof err);
        rv = rv < 0 ? rv : tls_plan_join(&joined, &plan, NULL);
        fake_mem_fail_after(0, false);
        tls_plan_done(&joined);
        tls_plan_done(&plan);
        assert_int_equal(fake_mem_live(), 0);
        if (rv == 0) {
            break;
        }
        assert_int_equal(rv, -ENOMEM);
    }
    assert_true(failed >= 10);
}

static void config_becomes_a_plan(void **state)
{
    (void)state;
    const struct evs_certificate certificates[] = {
        {.cert_file = "a.pem", .key_file = "k.pem"},
        {.name = "b", .cert_pem = "PEM", .key_pem = "KEY", .client_ca_pem = "CA", .client_optional = 1},
        {.name = "c", .cert_file = "c.pem", .key_file = "k.pem"},
        {.cert_file = NULL},
    };
    struct evserve_config config = {.size = sizeof config, .certificates = certificates, .tls_min_version = "1.3"};
    assert_int_equal(evs_certificates_read(&plan, &config, err, sizeof err), 0);
    assert_int_equal(plan.count, 3);
    assert_string_equal(plan.certificates[0].key_file, "k.pem");
    assert_string_equal(plan.certificates[1].key_pem, "KEY");
    assert_null(plan.places[0]); /* its file says which one it is */
    assert_string_equal(plan.places[1], "evserve_config.certificates[1]");
    assert_string_equal(plan.places[2], "evserve_config.certificates[2]");
    assert_true(plan.certificates[1].is_client_optional);
    assert_false(plan.certificates[0].is_client_optional);
    assert_string_equal(plan.settings.min_version, "1.3");
}

static void mistakes_in_a_config_name_the_member(void **state)
{
    (void)state;
    const struct evs_certificate forgotten[] = {{.cert_file = "a"}, {.key_file = "k"}, {.cert_file = NULL}};
    struct evserve_config config = {.size = sizeof config, .certificates = forgotten};
    assert_int_equal(evs_certificates_check(&config, err, sizeof err), -EINVAL);
    assert_string_equal(err, "evserve_config.certificates[1]: there is no certificate: give a file or PEM text");
    config = (struct evserve_config){.size = sizeof config, .tls_min_version = "1"};
    assert_int_equal(evs_certificates_check(&config, err, sizeof err), -EINVAL);
    assert_string_equal(err, "evserve_config.tls_min_version: \"1.2\" or \"1.3\" expected, not \"1\"");
    config = (struct evserve_config){.size = sizeof config};
    assert_int_equal(evs_certificates_check(&config, err, sizeof err), 0);
    config.tls_dev_anywhere = 1;
    assert_int_equal(evs_certificates_check(&config, err, sizeof err), -EINVAL);
    config.tls_dev = "a.test,b c";
    assert_int_equal(evs_certificates_check(&config, err, sizeof err), -EINVAL);
    assert_non_null(strstr(err, "evserve_config.tls_dev: \"b c\" is neither"));
    config.tls_dev = "a.test";
    assert_int_equal(evs_certificates_check(&config, err, sizeof err), 0);
    const struct evs_certificate good[] = {{.cert_file = "a"}, {.cert_file = NULL}};
    config.certificates = good;
    assert_int_equal(evs_certificates_check(&config, err, sizeof err), -EINVAL);
    assert_non_null(strstr(err, "evserve_config.certificates: one or the other"));
    config.certificates = &good[1]; /* an empty array is none */
    assert_int_equal(evs_certificates_check(&config, err, sizeof err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(certificates_and_settings_are_copied, set_up, tear_down),
        cmocka_unit_test_setup_teardown(contradictions_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_setting_has_one_value, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many_certificates_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wishes_of_the_host_win, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_context_is_made_or_the_reason_is_given, set_up, tear_down),
        cmocka_unit_test_setup_teardown(files_are_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_memory_nothing_is_left_behind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(config_becomes_a_plan, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mistakes_in_a_config_name_the_member, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
