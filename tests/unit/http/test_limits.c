/* http/limits.c and http/status.c: the tables, and the texts that become numbers. */

#include "http/limits.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "http/status.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

static uint64_t value_at(const struct limits *limits, const struct limit_info *info)
{
    uint64_t value;

    memcpy(&value, (const char *)limits + info->offset, sizeof value);
    return value;
}

static void defaults_are_within_the_range_of_their_row(void **state)
{
    struct limits limits;
    char err[128];

    (void)state;
    memset(&limits, 0xa5, sizeof limits);
    limits_init(&limits);
    assert_int_equal(sizeof limits, limit_table_len * sizeof(uint64_t));
    for (size_t i = 0; i < limit_table_len; i++) {
        const struct limit_info *info = &limit_table[i];
        assert_true(info->least <= info->initial && info->initial <= info->most);
        assert_int_equal(value_at(&limits, info), info->initial);
        assert_true(strlen(info->what) > 0);
    }
    assert_int_equal(limits_check(&limits, err, sizeof err), 0);
}

static void documented_defaults_hold(void **state)
{
    struct limits limits;

    (void)state;
    limits_init(&limits);
    assert_int_equal(limits.idle_timeout_ms, 30000);
    assert_int_equal(limits.header_timeout_ms, 60000);
    assert_int_equal(limits.write_cap_bytes, 256 * 1024);
}

static void small_numbers_look_like_seconds_for_timeouts_and_stops(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t value;
        bool looks;
    } rows[] = {
        {"idle_timeout", 30, true},    {"idle_timeout", 1, true},    {"idle_timeout", 999, true},
        {"write_timeout", 30, true},   {"handler_timeout", 5, true}, {"drain_timeout", 10, true},
        {"idle_timeout", 1000, false}, {"stream_timeout", 0, false}, {"drain_grace", 500, false},
        {"max_fields", 100, false},    {"max_body", 10, false},      {"drain_grace", 5, true},
        {"drain_delay", 8, true},      {"drain_delay", 99, true},    {"drain_delay", 100, false},
        {"drain_delay", 0, false},     {"tcp_keepalive", 0, false},  {"log_slow", 1, true},
        {"log_slow", 99, true},        {"log_slow", 100, false},     {"stall_warning", 9, true},
        {"stall_warning", 10, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(limit_looks_like_seconds(limits_find(rows[i].name), rows[i].value), rows[i].looks);
    }
}

static void each_limit_is_found_by_its_name_only(void **state)
{
    (void)state;
    for (size_t i = 0; i < limit_table_len; i++) {
        assert_ptr_equal(limits_find(limit_table[i].name), &limit_table[i]);
    }
    assert_null(limits_find(""));
    assert_null(limits_find("idle_timeou"));
    assert_null(limits_find("idle_timeout_ms"));
    assert_null(limits_find("Idle_timeout"));
}

static void limit_is_set_up_to_both_ends_of_its_range_and_not_beyond(void **state)
{
    (void)state;
    for (size_t i = 0; i < limit_table_len; i++) {
        const struct limit_info *info = &limit_table[i];
        struct limits limits;
        struct limits before;
        char err[256] = "";
        limits_init(&limits);
        assert_int_equal(limits_set(&limits, info, info->least, err, sizeof err), 0);
        assert_int_equal(value_at(&limits, info), info->least);
        assert_int_equal(limits_set(&limits, info, info->most, err, sizeof err), 0);
        assert_int_equal(value_at(&limits, info), info->most);
        before = limits;
        assert_int_equal(limits_set(&limits, info, info->most + 1, err, sizeof err), -ERANGE);
        assert_non_null(strstr(err, info->name));
        if (info->least > 0) {
            assert_int_equal(limits_set(&limits, info, info->least - 1, err, sizeof err), -ERANGE);
        }
        assert_memory_equal(&limits, &before, sizeof limits);
    }
}

static void setting_one_limit_leaves_the_others_alone(void **state)
{
    struct limits limits;
    char err[128];

    (void)state;
    limits_init(&limits);
    assert_int_equal(limits_set(&limits, limits_find("max_fields"), 7, err, sizeof err), 0);
    for (size_t i = 0; i < limit_table_len; i++) {
        bool is_it = strcmp(limit_table[i].name, "max_fields") == 0;
        assert_int_equal(value_at(&limits, &limit_table[i]), is_it ? 7 : limit_table[i].initial);
    }
}

static void error_of_a_limit_out_of_range_says_what_is_allowed(void **state)
{
    struct limits limits;
    char err[256];

    (void)state;
    limits_init(&limits);
    limits_set(&limits, limits_find("idle_timeout"), 0, err, sizeof err);
    assert_string_equal(err, "idle_timeout: 0 is out of range (1 to 86400000 ms)");
    limits_set(&limits, limits_find("max_request_line"), 5, err, sizeof err);
    assert_string_equal(err, "max_request_line: 5 is out of range (64 to 65536 bytes)");
    limits_set(&limits, limits_find("max_fields"), UINT64_MAX, err, sizeof err);
    assert_string_equal(err, "max_fields: 18446744073709551615 is out of range (4 to 1000)");
}

static void keepalive_of_less_than_a_second_is_rejected_and_none_is_not(void **state)
{
    static const uint64_t rejected[] = {1, 60, 999};
    static const uint64_t taken[] = {0, 1000, 1001, 60000};
    struct limits limits;
    char err[256] = "";

    (void)state;
    limits_init(&limits);
    for (size_t i = 0; i < COUNT(rejected); i++) {
        assert_int_equal(limits_set(&limits, limits_find("tcp_keepalive"), rejected[i], err, sizeof err), -ERANGE);
        assert_int_equal(limits.tcp_keepalive_ms, 60000);
    }
    for (size_t i = 0; i < COUNT(taken); i++) {
        assert_int_equal(limits_set(&limits, limits_find("tcp_keepalive"), taken[i], err, sizeof err), 0);
        assert_int_equal(limits.tcp_keepalive_ms, taken[i]);
    }
    limits_set(&limits, limits_find("tcp_keepalive"), 60, err, sizeof err);
    assert_string_equal(err, "tcp_keepalive: 60 is out of range (0, or 1000 to 32400000 ms; 60 seconds are 60000, or "
                             "\"60s\" in a script)");
    assert_int_equal(limits_set(&limits, limits_find("idle_timeout"), 60, err, sizeof err), 0); /* milliseconds do */
}

static void texts_are_numbers_with_a_unit(void **state)
{
    static const struct {
        enum limit_unit unit;
        const char *text;
        uint64_t value;
    } rows[] = {
        {LIMIT_MS, "0", 0},
        {LIMIT_MS, "00", 0},
        {LIMIT_MS, "500ms", 500},
        {LIMIT_MS, "30s", 30000},
        {LIMIT_MS, "2m", 120000},
        {LIMIT_MS, "1h", 3600000},
        {LIMIT_MS, "007s", 7000},
        {LIMIT_BYTES, "4096", 4096},
        {LIMIT_BYTES, "64K", 65536},
        {LIMIT_BYTES, "64k", 65536},
        {LIMIT_BYTES, "1M", 1048576},
        {LIMIT_BYTES, "1m", 1048576},
        {LIMIT_BYTES, "1G", 1073741824},
        {LIMIT_BYTES, "1g", 1073741824},
        {LIMIT_COUNT, "100", 100},
        {LIMIT_COUNT, "18446744073709551615", UINT64_MAX},
        {LIMIT_BYTES, "17179869183G", 17179869183u * (UINT64_C(1) << 30)},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t value = 12345;
        char err[128] = "untouched";
        assert_int_equal(limits_parse_value(rows[i].unit, rows[i].text, &value, err, sizeof err), 0);
        assert_int_equal(value, rows[i].value);
        assert_string_equal(err, "untouched");
    }
}

static void texts_that_are_no_number_with_a_unit_are_quoted_in_the_error(void **state)
{
    static const struct {
        enum limit_unit unit;
        const char *text;
        const char *err;
    } rows[] = {
        {LIMIT_MS, "", "\"\" is not a whole number with a unit (ms, s, m or h), such as \"30s\""},
        {LIMIT_MS, "s", "\"s\" is not a whole number with a unit (ms, s, m or h), such as \"30s\""},
        {LIMIT_MS, "500", "\"500\" is not a whole number with a unit (ms, s, m or h), such as \"30s\""},
        {LIMIT_MS, "1", "\"1\" is not a whole number with a unit (ms, s, m or h), such as \"30s\""},
        {LIMIT_MS, "1.5s", "\"1.5s\" is not a whole number with a unit (ms, s, m or h), such as \"30s\""},
        {LIMIT_MS, "-1s", "\"-1s\" is not a whole number with a unit (ms, s, m or h), such as \"30s\""},
        {LIMIT_MS, "+1s", "\"+1s\" is not a whole number with a unit (ms, s, m or h), such as \"30s\""},
        {LIMIT_MS, " 1s", "\" 1s\" is not a whole number with a unit (ms, s, m or h), such as \"30s\""},
        {LIMIT_MS, "1s ", "\"1s \" is not a whole number with a unit (ms, s, m or h), such as \"30s\""},
        {LIMIT_MS, "1 s", "\"1 s\" is not a whole number with a unit (ms, s, m or h), such as \"30s\""},
        {LIMIT_MS, "1d", "\"1d\" is not a whole number with a unit (ms, s, m or h), such as \"30s\""},
        {LIMIT_MS, "1S", "\"1S\" is not a whole number with a unit (ms, s, m or h), such as \"30s\""},
        {LIMIT_MS, "1K", "\"1K\" is not a whole number with a unit (ms, s, m or h), such as \"30s\""},
        {LIMIT_MS, "1h30m", "\"1h30m\" is not a whole number with a unit (ms, s, m or h), such as \"30s\""},
        {LIMIT_MS, "0x10", "\"0x10\" is not a whole number with a unit (ms, s, m or h), such as \"30s\""},
        {LIMIT_BYTES, "64KB", "\"64KB\" is not a whole number of bytes, or one with K, M or G, such as \"64K\""},
        {LIMIT_BYTES, "0.5M", "\"0.5M\" is not a whole number of bytes, or one with K, M or G, such as \"64K\""},
        {LIMIT_BYTES, "10s", "\"10s\" is not a whole number of bytes, or one with K, M or G, such as \"64K\""},
        {LIMIT_COUNT, "10K", "\"10K\" is not a whole number"},
        {LIMIT_FLAG, "1", "\"1\" is not true or false"},
        {LIMIT_COUNT, "ten", "\"ten\" is not a whole number"},
        {LIMIT_COUNT, "18446744073709551616", "\"18446744073709551616\" is too large"},
        {LIMIT_COUNT, "99999999999999999999999999", "\"99999999999999999999999999\" is too large"},
        {LIMIT_BYTES, "17179869184G", "\"17179869184G\" is too large"},
        {LIMIT_MS, "18446744073709551615s", "\"18446744073709551615s\" is too large"},
        {LIMIT_MS, "99999999999999999999x",
         "\"99999999999999999999x\" is not a whole number with a unit (ms, s, m or h), such as "
         "\"30s\""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t value = 12345;
        char err[128] = "";
        assert_int_equal(limits_parse_value(rows[i].unit, rows[i].text, &value, err, sizeof err), -EINVAL);
        assert_string_equal(err, rows[i].err);
        assert_int_equal(value, 12345);
    }
}

static void error_text_fits_the_buffer(void **state)
{
    char err[16];
    uint64_t value;

    (void)state;
    memset(err, 'x', sizeof err);
    assert_int_equal(limits_parse_value(LIMIT_MS, "a very long text that is no number", &value, err, 8), -EINVAL);
    assert_string_equal(err, "\"a very");
    assert_int_equal(err[8], 'x');
}

static void limits_that_contradict_each_other_are_named(void **state)
{
    struct limits limits;
    char err[256] = "";

    (void)state;
    limits_init(&limits);
    limits.write_high_mark_bytes = limits.write_cap_bytes;
    assert_int_equal(limits_check(&limits, err, sizeof err), 0);
    limits.write_high_mark_bytes++;
    assert_int_equal(limits_check(&limits, err, sizeof err), -EINVAL);
    assert_string_equal(err, "write_high_mark (262145 bytes) is above write_cap (262144 bytes)");
}

static void statuses_have_their_reason_phrase(void **state)
{
    static const struct {
        int status;
        const char *reason;
    } rows[] = {
        {100, "Continue"},
        {200, "OK"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {304, "Not Modified"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
        {299, "Unknown"},
        {102, "Processing"},
        {104, "Upload Resumption Supported"},
        {418, "I'm a Teapot"}, /* reserved (RFC 9110 section 15.5.19) for RFC 2324 */
        {510, "Not Extended"},
        {419, "Unknown"},
        {0, "Unknown"},
        {-1, "Unknown"},
        {600, "Unknown"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_string_equal(status_reason(rows[i].status), rows[i].reason);
    }
    static const int registered[] = {/* www.iana.org/assignments/http-status-codes, 2025 */
                                     100, 101, 102, 103, 104, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300,
                                     301, 302, 303, 304, 305, 306, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407,
                                     408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425,
                                     426, 428, 429, 431, 451, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511};
    size_t named = 0;
    for (size_t i = 0; i < COUNT(registered); i++) {
        assert_string_not_equal(status_reason(registered[i]), "Unknown");
    }
    for (int status = 100; status < 600; status++) {
        named += strcmp(status_reason(status), "Unknown") != 0;
        for (const char *p = status_reason(status); *p != '\0'; p++) {
            assert_true(*p >= ' ' && *p < 0x7f); /* it goes into a head as it is */
        }
    }
    assert_int_equal(named, COUNT(registered));
}

static void statuses_know_whether_a_body_follows(void **state)
{
    (void)state;
    assert_true(status_has_no_body(100) && status_has_no_body(199) && status_has_no_body(204) &&
                status_has_no_body(304));
    assert_false(status_has_no_body(200) || status_has_no_body(205) || status_has_no_body(303) ||
                 status_has_no_body(404));
    assert_false(status_is_final(100) || status_is_final(199) || status_is_final(600) || status_is_final(0));
    assert_true(status_is_final(200) && status_is_final(599));
}

static void shares_add_up_to_the_whole(void **state)
{
    (void)state;
    struct limits limits;
    limits_init(&limits);
    limits.max_connections = 100;
    limits.max_connections_per_address = 1;
    limits_share(&limits, 1);
    assert_int_equal(limits.max_connections, 100);
    limits_share(&limits, 3);
    assert_int_equal(limits.max_connections, 34);
    assert_int_equal(limits.max_connections_per_address, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_within_the_range_of_their_row),
        cmocka_unit_test(documented_defaults_hold),
        cmocka_unit_test(small_numbers_look_like_seconds_for_timeouts_and_stops),
        cmocka_unit_test(each_limit_is_found_by_its_name_only),
        cmocka_unit_test(limit_is_set_up_to_both_ends_of_its_range_and_not_beyond),
        cmocka_unit_test(setting_one_limit_leaves_the_others_alone),
        cmocka_unit_test(error_of_a_limit_out_of_range_says_what_is_allowed),
        cmocka_unit_test(keepalive_of_less_than_a_second_is_rejected_and_none_is_not),
        cmocka_unit_test(texts_are_numbers_with_a_unit),
        cmocka_unit_test(texts_that_are_no_number_with_a_unit_are_quoted_in_the_error),
        cmocka_unit_test(error_text_fits_the_buffer),
        cmocka_unit_test(limits_that_contradict_each_other_are_named),
        cmocka_unit_test(statuses_have_their_reason_phrase),
        cmocka_unit_test(statuses_know_whether_a_body_follows),
        cmocka_unit_test(shares_add_up_to_the_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
