/* http/metrics_own.c and metrics_own_text.c: limits, shards, and memory that is short. */

#include "http/metrics_own.h"

#include "core/log.h"
#include "http/metrics_own_text.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { SHARDS = 2 }; /* of reactors */

static struct metrics_own *own;
static char err[1024];
static unsigned lines;      /* in the log */
static char last_line[512]; /* of it */

static void note_line(void *arg, int level, const char *line)
{
    (void)arg;
    assert_int_equal(level, LOG_WARN);
    lines++;
    snprintf(last_line, sizeof last_line, "%s", line);
}

static const struct log noting = {.sink = note_line, .level = LOG_DEBUG};

static int set_up(void **state)
{
    (void)state;
    lines = 0;
    return metrics_own_create(&own, SHARDS, &noting);
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    metrics_own_destroy(own);
    return fake_mem_live() == 0 ? 0 : -1;
}

static struct own_metric *define(enum metric_kind kind, const char *name, const char *label)
{
    struct own_metric *metric = NULL;
    const struct own_definition definition = {
        .kind = kind, .name = name, .help = "H.", .labels = {label}, .label_count = label == NULL ? 0 : 1};
    assert_int_equal(metrics_own_define(own, &definition, &metric, err, sizeof err), 0);
    return metric;
}

static int add(struct own_metric *metric, unsigned shard, double number, const char *label)
{
    const struct own_value value = {label, label == NULL ? 0 : strlen(label)};
    return own_metric_add(metric, shard, number, &value);
}

/* The whole text, which is valid until the next call. */
static const char *written(void)
{
    static char copy[200000];
    struct metrics_text text;
    metrics_text_init(&text, false);
    metrics_own_write(&text, own);
    assert_true(metrics_text_end(&text));
    size_t len = write_buffer_len(&text.out);
    assert_true(len < sizeof copy);
    memcpy(copy, len == 0 ? "" : write_buffer_data(&text.out), len);
    copy[len] = '\0';
    metrics_text_done(&text);
    return copy;
}

static void sets_of_all_shards_are_summed(void **state)
{
    (void)state;
    struct own_metric *metric = define(METRIC_COUNTER, "a_total", "kind");
    for (unsigned shard = 0; shard <= SHARDS + 1; shard++) { /* one too many is the last one's */
        assert_int_equal(add(metric, shard, 1, "book"), 0);
    }
    assert_int_equal(add(metric, 1, 0.5, "disc"), 0);
    assert_string_equal(written(), "# HELP a_total H.\n# TYPE a_total counter\n"
                                   "a_total{kind=\"book\"} 4\na_total{kind=\"disc\"} 0.5\n");
}

static void metric_is_defined_once(void **state)
{
    (void)state;
    struct own_metric *metric = define(METRIC_GAUGE, "a", "kind"), *other = NULL;
    assert_ptr_equal(define(METRIC_GAUGE, "a", "kind"), metric);
    assert_ptr_equal(metrics_own_get(own, 0), metric);
    assert_null(metrics_own_get(own, 1));
    const struct own_definition definition = {.kind = METRIC_GAUGE, .name = "a", .help = "H."};
    assert_int_equal(metrics_own_define(own, &definition, &other, err, sizeof err), -EEXIST);
    assert_null(other);
    assert_string_equal(err,
                        "a: there is a gauge of this name already, with labels kind; it lasts until the server stops, "
                        "so use another name, or restart the server");
}

/* Their families would have the same name in OpenMetrics. */
static void counter_and_gauge_do_not_share_a_name(void **state)
{
    (void)state;
    struct own_metric *other = NULL;
    define(METRIC_GAUGE, "a", NULL);
    define(METRIC_COUNTER, "b_total", NULL);
    define(METRIC_GAUGE, "a_b", NULL);
    const struct own_definition counter = {.kind = METRIC_COUNTER, .name = "a_total", .help = "H."};
    const struct own_definition histogram = {.kind = METRIC_HISTOGRAM, .name = "b", .help = "H."};
    assert_int_equal(metrics_own_define(own, &counter, &other, err, sizeof err), -EEXIST);
    assert_int_equal(metrics_own_define(own, &histogram, &other, err, sizeof err), -EEXIST);
    assert_null(other);
}

/* A page with the same labels twice is no valid page, and clients may choose the values. */
static void values_that_look_the_same_are_one_set(void **state)
{
    (void)state;
    struct own_metric *metric = define(METRIC_COUNTER, "a_total", "kind");
    char value[OWN_VALUE_MAX + 8];
    memset(value, 'x', sizeof value);
    strcpy(value + OWN_VALUE_MAX - 1, "\xc3\xa4"); /* a character that does not fit is left out */
    assert_int_equal(add(metric, 0, 1, value), 0);
    strcpy(value + OWN_VALUE_MAX - 1, "\xff");
    assert_int_equal(add(metric, 0, 1, value), 0);
    value[OWN_VALUE_MAX - 1] = '\0';
    assert_int_equal(add(metric, 1, 1, value), 0);
    assert_int_equal(add(metric, 0, 1, "\xff"), 0);
    assert_int_equal(add(metric, 1, 1, "\xfe"), 0);
    assert_int_equal(add(metric, 0, 1, "\xef\xbf\xbd"), 0);
    char wanted[512];
    snprintf(wanted, sizeof wanted,
             "# HELP a_total H.\n# TYPE a_total counter\n"
             "a_total{kind=\"%s\"} 3\na_total{kind=\"\xef\xbf\xbd\"} 3\n",
             value);
    assert_string_equal(written(), wanted);
}

static void names_have_a_limit(void **state)
{
    (void)state;
    char name[OWN_NAME_MAX + 2], help[OWN_HELP_MAX + 2];
    struct own_metric *metric;
    memset(name, 'a', sizeof name);
    memset(help, 'h', sizeof help);
    name[OWN_NAME_MAX] = help[OWN_HELP_MAX] = '\0';
    struct own_definition definition = {
        .kind = METRIC_GAUGE, .name = name, .help = help, .labels = {name}, .label_count = 1};
    assert_int_equal(metrics_own_define(own, &definition, &metric, err, sizeof err), 0);
    help[OWN_HELP_MAX] = 'h';
    help[OWN_HELP_MAX + 1] = '\0';
    definition.name = "b";
    assert_int_equal(metrics_own_define(own, &definition, &metric, err, sizeof err), -EINVAL);
    help[OWN_HELP_MAX] = '\0';
    name[OWN_NAME_MAX] = 'a';
    name[OWN_NAME_MAX + 1] = '\0';
    assert_int_equal(metrics_own_define(own, &definition, &metric, err, sizeof err), -EINVAL);
    definition.name = name;
    definition.label_count = 0;
    assert_int_equal(metrics_own_define(own, &definition, &metric, err, sizeof err), -EINVAL);
}

static void metrics_have_a_limit(void **state)
{
    (void)state;
    struct own_metric *metric;
    for (int i = 0; i <= OWN_METRICS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%d", i);
        const struct own_definition definition = {.kind = METRIC_GAUGE, .name = name, .help = "H."};
        assert_int_equal(metrics_own_define(own, &definition, &metric, err, sizeof err),
                         i < OWN_METRICS_MAX ? 0 : -ENOSPC);
    }
}

static void bounds_have_a_limit(void **state)
{
    (void)state;
    double bounds[OWN_BOUNDS_MAX + 1];
    struct own_metric *metric;
    for (int i = 0; i <= OWN_BOUNDS_MAX; i++) {
        bounds[i] = i;
    }
    struct own_definition definition = {
        .kind = METRIC_HISTOGRAM, .name = "a", .help = "H.", .bounds = bounds, .bound_count = OWN_BOUNDS_MAX};
    assert_int_equal(metrics_own_define(own, &definition, &metric, err, sizeof err), 0);
    assert_int_equal(own_metric_add(metric, 0, OWN_BOUNDS_MAX, NULL), 0);
    assert_non_null(strstr(written(), "a_bucket{le=\"31.0\"} 0\na_bucket{le=\"+Inf\"} 1\na_sum 32\na_count 1\n"));
    definition.name = "b";
    definition.bound_count++;
    assert_int_equal(metrics_own_define(own, &definition, &metric, err, sizeof err), -EINVAL);
}

static void sets_beyond_the_limit_are_counted_together(void **state)
{
    (void)state;
    struct own_metric *metric = define(METRIC_COUNTER, "a_total", "kind");
    for (int i = 0; i < OWN_SETS_MAX + 2; i++) {
        char value[16];
        snprintf(value, sizeof value, "v%d", i);
        assert_int_equal(add(metric, 0, 1, value), 0);
        assert_int_equal(add(metric, 1, 0, value), 0);
        assert_int_equal(lines, i < OWN_SETS_MAX ? 0 : 1); /* for both shards */
    }
    assert_string_equal(last_line, "metric a_total: there are more than 1000 sets of label values; a thread counts "
                                   "further ones together, as \"other\": use labels that have few values");
    assert_int_equal(add(metric, 0, 1, "v0"), 0); /* one that is there goes on */
    const char *text = written();
    assert_non_null(strstr(text, "a_total{kind=\"v0\"} 2\n"));
    assert_non_null(strstr(text, "a_total{kind=\"v999\"} 1\n"));
    assert_null(strstr(text, "v1000"));
    assert_non_null(strstr(text, "a_total{kind=\"other\"} 2\n"));
}

static void values_of_labels_are_cut(void **state)
{
    (void)state;
    struct own_metric *metric = define(METRIC_GAUGE, "a", "kind");
    char value[OWN_VALUE_MAX + 2], wanted[256];
    memset(value, 'x', sizeof value);
    value[OWN_VALUE_MAX + 1] = '\0';
    assert_int_equal(add(metric, 0, 1, value), 0);
    value[OWN_VALUE_MAX] = '\0';
    assert_int_equal(add(metric, 0, 1, value), 0);
    assert_int_equal(own_metric_add(metric, 0, 1, &(const struct own_value){"ab\0c", 4}), 0);
    snprintf(wanted, sizeof wanted, "a{kind=\"ab\"} 1\na{kind=\"%s\"} 2\n", value);
    assert_non_null(strstr(written(), wanted));
}

static void only_numbers_that_fit_are_counted(void **state)
{
    (void)state;
    struct own_metric *counter = define(METRIC_COUNTER, "a_total", NULL), *gauge = define(METRIC_GAUGE, "b", NULL);
    assert_int_equal(own_metric_add(counter, 0, -1, NULL), -EINVAL);
    assert_int_equal(own_metric_add(counter, 0, (double)NAN, NULL), -EINVAL);
    assert_int_equal(own_metric_set(counter, 0, 1, NULL), -EINVAL);
    assert_int_equal(own_metric_add(gauge, 0, -1, NULL), 0);
    assert_int_equal(own_metric_set(gauge, 0, 2, NULL), 0);
    assert_non_null(strstr(written(), "\na_total 0\n"));
    assert_non_null(strstr(written(), "\nb 2\n"));
}

static void without_memory_values_are_lost_and_nothing_else(void **state)
{
    (void)state;
    struct own_metric *metric = define(METRIC_GAUGE, "a", "kind");
    struct metrics_text text;
    fake_mem_fail_after(1, false);
    assert_int_equal(add(metric, 0, 1, "x"), -ENOMEM);
    assert_int_equal(add(metric, 0, 1, "x"), 0);
    metrics_text_init(&text, false);
    fake_mem_fail_after(1, false);
    metrics_own_write(&text, own);
    assert_false(metrics_text_end(&text));
    metrics_text_done(&text);
    fake_mem_fail_after(1, false);
    const struct own_definition definition = {.kind = METRIC_GAUGE, .name = "b", .help = "H."};
    assert_int_equal(metrics_own_define(own, &definition, &metric, err, sizeof err), -ENOMEM);
    assert_non_null(strstr(written(), "a{kind=\"x\"} 1\n"));
}

#define OWN_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OWN_TEST(sets_of_all_shards_are_summed),
        OWN_TEST(metric_is_defined_once),
        OWN_TEST(counter_and_gauge_do_not_share_a_name),
        OWN_TEST(values_that_look_the_same_are_one_set),
        OWN_TEST(names_have_a_limit),
        OWN_TEST(metrics_have_a_limit),
        OWN_TEST(bounds_have_a_limit),
        OWN_TEST(sets_beyond_the_limit_are_counted_together),
        OWN_TEST(values_of_labels_are_cut),
        OWN_TEST(only_numbers_that_fit_are_counted),
        OWN_TEST(without_memory_values_are_lost_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
