/* http/metrics_text.c: the text of both formats, escapes, and the limit of its length. */

#include "http/metrics_text.h"

#include "tests/lib/fake_mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct metrics_text text;

static void expect_text(const char *wanted)
{
    assert_true(metrics_text_end(&text));
    size_t len = write_buffer_len(&text.out);
    assert_int_equal(len, strlen(wanted));
    assert_memory_equal(write_buffer_data(&text.out), wanted, len);
    metrics_text_done(&text);
}

static void family_is_help_type_and_samples(void **state)
{
    (void)state;
    const struct metric_label labels[] = {{"route", "/users/:id"}, {"code", "200"}};
    metrics_text_init(&text, false);
    metrics_text_family(&text, METRIC_COUNTER, "a_total", "Some.");
    metrics_text_count(&text, labels, 2, UINT64_MAX);
    metrics_text_family(&text, METRIC_GAUGE, "b", "Others.");
    metrics_text_number(&text, NULL, 0, -0.25);
    expect_text("# HELP a_total Some.\n# TYPE a_total counter\n"
                "a_total{route=\"/users/:id\",code=\"200\"} 18446744073709551615\n"
                "# HELP b Others.\n# TYPE b gauge\nb -0.25\n");
}

static void openmetrics_names_counters_without_total_and_ends(void **state)
{
    (void)state;
    metrics_text_init(&text, true);
    metrics_text_family(&text, METRIC_COUNTER, "a_total", "The \"a\".");
    metrics_text_count(&text, NULL, 0, 1);
    metrics_text_family(&text, METRIC_GAUGE, "grand_total", "No counter.");
    metrics_text_family(&text, METRIC_COUNTER, "_total", "No name.");
    expect_text("# HELP a The \\\"a\\\".\n# TYPE a counter\na_total 1\n"
                "# HELP grand_total No counter.\n# TYPE grand_total gauge\n"
                "# HELP _total No name.\n# TYPE _total counter\n# EOF\n");
}

static void values_of_labels_are_escaped_and_empty_ones_left_out(void **state)
{
    (void)state;
    const struct metric_label labels[] = {
        {"none", NULL}, {"a", "\\ \" \n"}, {"empty", ""}, {"b", "\xc3\xa4\xff\xc3"}, {"last", ""}};
    metrics_text_init(&text, false);
    metrics_text_family(&text, METRIC_GAUGE, "g", "a\\b\n\"c\"\xff");
    metrics_text_count(&text, labels, 5, 0);
    metrics_text_count(&text, labels, 1, 1);
    expect_text("# HELP g a\\\\b\\n\"c\"\xef\xbf\xbd\n# TYPE g gauge\n"
                "g{a=\"\\\\ \\\" \\n\",b=\"\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\"} 0\ng 1\n");
}

static void histogram_is_cumulative(void **state)
{
    (void)state;
    static const double bounds[] = {0.005, 1, 1e20};
    const uint64_t counts[] = {3, 0, 2, 1};
    const struct metric_label label = {"route", "/"};
    metrics_text_init(&text, false);
    metrics_text_family(&text, METRIC_HISTOGRAM, "h", "H.");
    metrics_text_histogram(&text, &label, 1, bounds, counts, 3, 1.5);
    expect_text("# HELP h H.\n# TYPE h histogram\n"
                "h_bucket{route=\"/\",le=\"0.005\"} 3\nh_bucket{route=\"/\",le=\"1.0\"} 3\n"
                "h_bucket{route=\"/\",le=\"1e+20\"} 5\nh_bucket{route=\"/\",le=\"+Inf\"} 6\n"
                "h_sum{route=\"/\"} 1.5\nh_count{route=\"/\"} 6\n");
}

static void numbers_that_are_not_finite_have_names(void **state)
{
    (void)state;
    metrics_text_init(&text, false);
    metrics_text_family(&text, METRIC_GAUGE, "g", "G.");
    metrics_text_number(&text, NULL, 0, (double)NAN);
    metrics_text_number(&text, NULL, 0, (double)INFINITY);
    metrics_text_number(&text, NULL, 0, -(double)INFINITY);
    expect_text("# HELP g G.\n# TYPE g gauge\ng NaN\ng +Inf\ng -Inf\n");
}

static void text_without_memory_is_not_whole(void **state)
{
    (void)state;
    fake_mem_fail_after(1, false);
    metrics_text_init(&text, true);
    metrics_text_family(&text, METRIC_GAUGE, "g", "G.");
    assert_false(metrics_text_end(&text));
    assert_false(text.is_full);
    metrics_text_done(&text);
}

static void text_is_limited(void **state)
{
    (void)state;
    metrics_text_init(&text, false);
    metrics_text_family(&text, METRIC_GAUGE, "g", "");
    size_t room = METRICS_TEXT_MAX - write_buffer_len(&text.out), line = strlen("g 1\n");
    while (room % line != 0) {
        metrics_text_count(&text, NULL, 0, 10);
        room -= line + 1;
    }
    for (; room > 0; room -= line) {
        metrics_text_count(&text, NULL, 0, 1);
    }
    assert_int_equal(write_buffer_len(&text.out), METRICS_TEXT_MAX);
    assert_true(metrics_text_end(&text));
    assert_false(text.is_full);
    metrics_text_count(&text, NULL, 0, 1);
    metrics_text_count(&text, NULL, 0, 1);
    assert_false(metrics_text_end(&text));
    assert_true(text.is_full);
    metrics_text_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(family_is_help_type_and_samples),
        cmocka_unit_test(openmetrics_names_counters_without_total_and_ends),
        cmocka_unit_test(values_of_labels_are_escaped_and_empty_ones_left_out),
        cmocka_unit_test(histogram_is_cumulative),
        cmocka_unit_test(numbers_that_are_not_finite_have_names),
        cmocka_unit_test(text_without_memory_is_not_whole),
        cmocka_unit_test(text_is_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
