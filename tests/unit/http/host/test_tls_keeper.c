/* http/host/tls_keeper.c: whatever is wrong with new certificates, the old ones stay. */

#include "http/host/tls_keeper.h"

#include "core/log.h"
#include "tests/lib/contexts_scene.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct tls_keeper keeper;
static char err[TLS_FAILURE_MAX];
static char last_line[256];
static int lines;

static void take_line(void *arg, int level, const char *line)
{
    (void)arg;
    snprintf(last_line, sizeof last_line, "%s %s", log_level_name(level), line);
    lines++;
}

static const struct log log_of_test = {.sink = take_line, .level = LOG_INFO};

static int set_up(void **state)
{
    (void)state;
    contexts_scene_reset();
    fake_sys_reset();
    tls_keeper_init(&keeper, 5, &log_of_test);
    lines = 0;
    last_line[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tls_keeper_done(&keeper);
    fake_sys_reset();
    return fake_mem_live() == 0 && contexts_scene.made == 0 ? 0 : -1;
}

/* A plan of certificates, as "a.pem b.pem". */
static struct tls_plan plan_of(const char *files)
{
    struct tls_plan plan;
    char file[16];
    int len;
    tls_plan_init(&plan);
    for (; sscanf(files, " %15s%n", file, &len) == 1; files += len) {
        const struct tls_certificate certificate = {.cert_file = file};
        assert_int_equal(tls_plan_add(&plan, &certificate, NULL, err, sizeof err), 0);
    }
    return plan;
}

static void start(const char *files)
{
    struct tls_plan plan = plan_of(files);
    assert_int_equal(tls_keeper_start(&keeper, &plan, err, sizeof err), 0);
    assert_int_equal(plan.count, 0);
}

static int generation(void)
{
    struct tls_context *context = tls_keeper_get(&keeper);
    int number = contexts_scene_generation(context);
    tls_context_put(context);
    return number;
}

static void without_certificates_there_is_nothing(void **state)
{
    (void)state;
    assert_null(tls_keeper_get(&keeper));
    assert_false(tls_keeper_look(&keeper));
    assert_int_equal(lines, 0);
}

static void a_start_that_fails_says_why_and_keeps_nothing(void **state)
{
    (void)state;
    struct tls_plan plan = plan_of("a.pem");
    contexts_scene.bad = "a.pem";
    assert_int_equal(tls_keeper_start(&keeper, &plan, err, sizeof err), -ENOENT);
    assert_string_equal(err, "a.pem: no such file");
    assert_int_equal(plan.count, 0);
    assert_null(tls_keeper_get(&keeper));
    assert_int_equal(lines, 0); /* the caller reports it */
}

static void each_get_is_a_reference(void **state)
{
    (void)state;
    start("a.pem");
    struct tls_context *context = tls_keeper_get(&keeper);
    assert_int_equal(contexts_scene_refs(context), 2);
    assert_int_equal(contexts_scene.base_fd, 5);
    struct tls_plan plan = plan_of("b.pem");
    assert_true(tls_keeper_replace(&keeper, &plan)); /* connections still use the old one */
    assert_int_equal(contexts_scene_refs(context), 1);
    assert_int_equal(contexts_scene.former, 1);
    assert_int_equal(generation(), 2);
    tls_context_put(context);
    assert_int_equal(contexts_scene.made, 1);
}

static void a_reload_that_fails_keeps_the_former_ones(void **state)
{
    (void)state;
    start("a.pem");
    struct tls_plan plan = plan_of("b.pem");
    contexts_scene.bad = "b.pem";
    assert_false(tls_keeper_replace(&keeper, &plan));
    assert_int_equal(plan.count, 0);
    assert_int_equal(generation(), 1);
    assert_string_equal(keeper.plan.certificates[0].cert_file, "a.pem");
    assert_string_equal(last_line, "error the TLS certificates in use are kept: b.pem: no such file");
}

static void files_that_have_changed_are_read(void **state)
{
    (void)state;
    start("a.pem");
    assert_false(tls_keeper_look(&keeper));
    contexts_scene.is_stale = true;
    assert_true(tls_keeper_look(&keeper));
    assert_int_equal(generation(), 2);
    assert_string_equal(last_line, "info the TLS certificates have changed and are in use now");
    assert_false(tls_keeper_look(&keeper));
}

static void only_what_has_changed_is_read(void **state)
{
    (void)state;
    start("a.pem b.pem c.pem");
    contexts_scene.stale = "b.pem";
    assert_true(tls_keeper_look(&keeper));
    assert_int_equal(contexts_scene.adds, 1);
    assert_int_equal(contexts_scene.takes, 2);
}

static void a_broken_pair_keeps_back_no_other(void **state)
{
    (void)state;
    start("a.pem b.pem");
    contexts_scene.bad = "a.pem";
    contexts_scene.is_stale = true;
    assert_true(tls_keeper_look(&keeper));
    assert_int_equal(generation(), 2);
    assert_int_equal(contexts_scene.adds, 1);
    assert_int_equal(contexts_scene.takes, 1);
    assert_int_equal(lines, 2); /* that one is kept, and that the other one is in use */
    for (int i = 0; i < 3; i++) {
        contexts_scene.stale = "b.pem";
        assert_true(tls_keeper_look(&keeper));
        assert_int_equal(contexts_scene.adds, 1);
        assert_int_equal(lines, 3 + i); /* not a word of the broken one */
    }
    contexts_scene.bad = NULL;
    contexts_scene.stale = "a.pem";
    assert_true(tls_keeper_look(&keeper));
    assert_false(tls_context_has_behind(keeper.context));
}

/* Who reloads wants to hear again what is wrong. */
static void a_reload_reads_everything_and_says_what_it_keeps(void **state)
{
    (void)state;
    start("a.pem b.pem");
    contexts_scene.bad = "a.pem";
    for (int i = 0; i < 2; i++) {
        struct tls_plan plan = plan_of("b.pem a.pem c.pem"); /* in another order, and one more */
        assert_true(tls_keeper_replace(&keeper, &plan));
        assert_int_equal(contexts_scene.adds, 2);
        assert_int_equal(contexts_scene.takes, 1);
        assert_int_equal(lines, i + 1);
        assert_string_equal(last_line, "error the TLS certificate in use is kept: a.pem: no such file");
    }
    struct tls_plan plan = plan_of("c.pem"); /* the broken one is gone */
    assert_true(tls_keeper_replace(&keeper, &plan));
    assert_int_equal(lines, 2);
    assert_false(tls_context_has_behind(keeper.context));
}

static void a_reload_with_another_broken_certificate_still_renews_those_in_use(void **state)
{
    (void)state;
    start("a.pem b.pem");
    contexts_scene.bad = "new.pem";
    contexts_scene.stale = "b.pem";
    struct tls_plan plan = plan_of("a.pem new.pem b.pem");
    assert_true(tls_keeper_replace(&keeper, &plan));
    assert_int_equal(keeper.plan.count, 2);
    assert_int_equal(contexts_scene.adds, 1);
    assert_int_equal(contexts_scene.takes, 1);
    assert_int_equal(lines, 1);
    assert_string_equal(last_line, "error the TLS certificates in use are kept: new.pem: no such file");
}

/* A certificate with other options is another one: what was read before has not got them. */
static void a_reload_that_asks_for_more_does_not_keep_less(void **state)
{
    (void)state;
    start("a.pem");
    struct tls_plan plan;
    const struct tls_certificate stricter = {.cert_file = "a.pem", .client_ca_file = "ca.pem"};
    tls_plan_init(&plan);
    assert_int_equal(tls_plan_add(&plan, &stricter, NULL, err, sizeof err), 0);
    contexts_scene.bad = "a.pem";
    assert_false(tls_keeper_replace(&keeper, &plan));
    assert_int_equal(generation(), 1);
    assert_null(keeper.plan.certificates[0].client_ca_file);
}

static void a_look_that_fails_as_a_whole_is_logged_once_and_tried_again(void **state)
{
    (void)state;
    start("a.pem");
    contexts_scene.is_unfinished = true;
    for (int i = 0; i < 2; i++) {
        contexts_scene.is_stale = true;
        assert_false(tls_keeper_look(&keeper));
        assert_string_equal(last_line, "error the TLS certificates in use are kept: out of memory");
        assert_int_equal(lines, 1);
    }
    contexts_scene.is_unfinished = false;
    for (int i = 2; i < TLS_RETRY_LOOKS - 1; i++) {
        assert_false(tls_keeper_look(&keeper));
    }
    assert_true(tls_keeper_look(&keeper));
}

/* A broken pair may stay for days. */
static void a_failure_is_logged_once_until_its_reason_changes(void **state)
{
    (void)state;
    start("a.pem");
    contexts_scene.bad = "a.pem";
    for (int i = 0; i < 3; i++) {
        contexts_scene.is_stale = true;
        assert_false(tls_keeper_look(&keeper));
        assert_int_equal(lines, 1);
    }
    assert_int_equal(generation(), 1);
    contexts_scene.bad = NULL;
    contexts_scene.is_stale = true;
    assert_true(tls_keeper_look(&keeper));
    contexts_scene.bad = "a.pem";
    contexts_scene.is_stale = true;
    assert_false(tls_keeper_look(&keeper)); /* the same again is news */
    assert_int_equal(lines, 3);
    assert_string_equal(last_line, "error the TLS certificate in use is kept: a.pem: no such file");
}

/* Memory may have been short, or file descriptors. */
static void a_failure_is_tried_again_after_a_while(void **state)
{
    (void)state;
    start("a.pem");
    contexts_scene.bad = "a.pem";
    contexts_scene.is_stale = true;
    assert_false(tls_keeper_look(&keeper));
    contexts_scene.bad = NULL;
    int looks = 1;
    while (!tls_keeper_look(&keeper)) {
        assert_true(++looks < TLS_RETRY_LOOKS);
    }
    assert_int_equal(looks, TLS_RETRY_LOOKS - 1);
    for (int i = 0; i < 2 * TLS_RETRY_LOOKS; i++) {
        assert_false(tls_keeper_look(&keeper));
    }
}

static void the_log_reminds_of_an_expiry_once_a_day(void **state)
{
    (void)state;
    start("a.pem");
    for (int i = 1; i < TLS_REMIND_LOOKS; i++) {
        assert_false(tls_keeper_look(&keeper));
    }
    assert_int_equal(contexts_scene.warned, 0);
    assert_false(tls_keeper_look(&keeper));
    assert_int_equal(contexts_scene.warned, 1);
    assert_int_equal(contexts_scene.watched, TLS_REMIND_LOOKS); /* what is new is said at each look */
    assert_int_equal(generation(), 1);
}

static void a_renewal_that_has_a_line_of_its_own_needs_no_other(void **state)
{
    (void)state;
    start("a.pem b.pem");
    contexts_scene.is_other = true;
    contexts_scene.is_stale = true;
    assert_true(tls_keeper_look(&keeper));
    assert_int_equal(lines, 0); /* it is tls_context_log_renewed() that has written it */
    contexts_scene.is_other = false;
    contexts_scene.is_stale = true;
    assert_true(tls_keeper_look(&keeper));
    assert_string_equal(last_line, "info the TLS certificates have changed and are in use now");
}

static void files_that_cannot_be_read_are_said_once_root_is_given_up(void **state)
{
    (void)state;
    tls_keeper_settle(&keeper, false); /* no certificates */
    start("a.pem");
    fake_sys_fail_op(FAKE_OPEN, 0, 1, -EMFILE); /* this passes */
    tls_keeper_settle(&keeper, false);
    assert_int_equal(lines, 0);
    fake_sys_fail_op(FAKE_OPEN, 0, FAKE_FOREVER, -EACCES);
    tls_keeper_settle(&keeper, true);
    assert_true(keeper.is_confined);
    assert_int_equal(lines, 1);
    assert_non_null(strstr(last_line, "warn the user of the server (uid "));
    assert_non_null(strstr(last_line, ") cannot read a.pem (Permission denied): a renewed certificate is not found"));
    assert_false(tls_keeper_look(&keeper));
    assert_int_equal(lines, 1); /* the log has it */
}

static void a_look_that_fails_is_logged_once_until_it_works_again(void **state)
{
    (void)state;
    start("a.pem b.pem");
    for (int round = 1; round < 3; round++) {
        fake_sys_fail_op(FAKE_OPEN, 1, FAKE_FOREVER, -EACCES);
        for (int i = 0; i < 3; i++) {
            assert_false(tls_keeper_look(&keeper));
            assert_int_equal(lines, round);
        }
        fake_sys_reset(); /* without files, opening them fails with -EBADF: that is not about the files */
        assert_false(tls_keeper_look(&keeper));
    }
    assert_non_null(strstr(last_line, ".pem has changed: Permission denied; its certificate is kept as it was read"));
}

/* certbot, for one, replaces links: for a moment there is none. */
static void a_file_that_is_gone_for_a_moment_is_no_news(void **state)
{
    (void)state;
    start("a.pem");
    fake_sys_fail_op(FAKE_OPEN, 0, FAKE_FOREVER, -ENOENT);
    for (int i = 1; i < TLS_BLIND_LOOKS; i++) {
        assert_false(tls_keeper_look(&keeper));
        assert_int_equal(lines, 0);
    }
    assert_false(tls_keeper_look(&keeper));
    assert_false(tls_keeper_look(&keeper));
    assert_int_equal(lines, 1);
    assert_non_null(strstr(last_line, "error cannot look whether a.pem has changed: No such file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_certificates_there_is_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_start_that_fails_says_why_and_keeps_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_get_is_a_reference, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reload_that_fails_keeps_the_former_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(files_that_have_changed_are_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_what_has_changed_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_broken_pair_keeps_back_no_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reload_reads_everything_and_says_what_it_keeps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reload_with_another_broken_certificate_still_renews_those_in_use, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_reload_that_asks_for_more_does_not_keep_less, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_look_that_fails_as_a_whole_is_logged_once_and_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failure_is_logged_once_until_its_reason_changes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failure_is_tried_again_after_a_while, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_log_reminds_of_an_expiry_once_a_day, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_renewal_that_has_a_line_of_its_own_needs_no_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(files_that_cannot_be_read_are_said_once_root_is_given_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_look_that_fails_is_logged_once_until_it_works_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_gone_for_a_moment_is_no_news, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
