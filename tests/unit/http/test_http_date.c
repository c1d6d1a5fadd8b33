/* HTTP-dates: how they are written, and what is read as one. */

#include "http/http_date.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ARRAY_LEN(array) (sizeof(array) / sizeof(array)[0])

static const int64_t NOW_S = 1700000000; /* Tue, 14 Nov 2023 22:13:20 GMT */

static void dates_are_imf_fixdates(void **state)
{
    (void)state;
    static const struct {
        int64_t time_s;
        const char *text;
    } rows[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {1709164799, "Wed, 28 Feb 2024 23:59:59 GMT"},
        {4102444800, "Fri, 01 Jan 2100 00:00:00 GMT"},
        {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
        {-1, "Wed, 31 Dec 1969 23:59:59 GMT"},
        {253402300800, "Thu, 01 Jan 1970 00:00:00 GMT"}, /* the year 10000 */
        {INT64_MAX, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {INT64_MIN, "Thu, 01 Jan 1970 00:00:00 GMT"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[HTTP_DATE_LEN + 1] = "";
        http_date_format(rows[i].time_s, text);
        assert_string_equal(text, rows[i].text);
    }
}

static bool parse(const char *text, int64_t now_s, int64_t *time_s)
{
    return http_date_parse(text, strlen(text), now_s, time_s);
}

static void dates_in_all_three_formats_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t time_s;
    } rows[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777}, /* the three examples of RFC 9110 section 5.6.7 */
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"Wed Nov 16 08:49:37 1994", 784975777}, /* two digits of the day in the asctime format */
        {"Sun Nov 06 08:49:37 1994", 784111777},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
        {"Fri, 13 Dec 1901 20:45:51 GMT", -2147483649}, /* does not fit 32 bits */
        {"Tue, 19 Jan 2038 03:14:08 GMT", 2147483648},
        {"Tue, 29 Feb 2000 00:00:00 GMT", 951782400}, /* leap years */
        {"Thu, 29 Feb 2024 23:59:59 GMT", 1709251199},
        {"Fri, 01 Mar 2024 00:00:00 GMT", 1709251200},
        {"Mon, 01 Mar 2100 00:00:00 GMT", 4107542400},
        {"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800}, /* a leap second is the next day's first */
        {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
        {"Mon, 01 Jan 0001 00:00:00 GMT", -62135596800},
        {"Sat, 01 Jan 0000 00:00:00 GMT", -62167219200},
        {"Mon, 06 Nov 1994 08:49:37 GMT", 784111777}, /* the wrong day's name is not looked into */
        {"Monday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Wednesday, 06-Nov-94 08:49:37 GMT", 784111777},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t time_s = 12345;
        if (!parse(rows[i].text, NOW_S, &time_s) || time_s != rows[i].time_s) {
            fail_msg("%s: %lld", rows[i].text, (long long)time_s);
        }
    }
}

static void what_is_no_date_is_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        "0",
        "-1",
        "784111777",
        "Sun",
        "Sunday",
        "Sunday, ",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 ",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 gmt", /* dates are case-sensitive */
        "Sun, 06 nov 1994 08:49:37 GMT",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "SUN, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun,  6 Nov 1994 08:49:37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Wed, 29 Feb 1995 08:49:37 GMT",
        "Mon, 29 Feb 2100 08:49:37 GMT",
        "Sun, 32 Dec 1994 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 anF 1994 08:49:37 GMT", /* across two names of the table */
        "unM, 06 Nov 1994 08:49:37 GMT",
        "Sun, DD Nov 1994 08:49:37 GMT", /* the letters of our own patterns */
        "Sun, 06 NNN 1994 08:49:37 GMT",
        "Sun, 06 Nov YYYY hh:mm:ss GMT",
        "Sun NNN _D hh:mm:ss YYYY",
        "Sun, -6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov +994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday, 06 Nov 94 08:49:37 GMT",
        "Sunday 06-Nov-94 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Funday, 06-Nov-94 08:49:37 GMT",
        "Sunday, 31-Nov-94 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov   6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun Nov 6  08:49:37 1994",
        "Sun Nov _6 08:49:37 1994",
        "Sun Nov  0 08:49:37 1994",
        "Sun Nov  6 08:49:37 94",
        "Fri, 31 Dec 9999 23:59:60 GMT", /* is in the year 10000 */
        "Fri Dec 31 23:59:60 9999",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t time_s = 12345;
        if (parse(rows[i], NOW_S, &time_s) || time_s != 12345) {
            fail_msg("\"%s\" was taken for a date", rows[i]);
        }
    }
}

static void every_byte_of_a_date_matters(void **state)
{
    (void)state;
    static const char *const rows[] = {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                                       "Sun Nov  6 08:49:37 1994"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t len = strlen(rows[i]);
        for (size_t at = 0; at < len; at++) {
            char text[64];
            int64_t time_s;
            memcpy(text, rows[i], len + 1);
            text[at] = '#';
            if (parse(text, NOW_S, &time_s)) {
                fail_msg("%s", text);
            }
            assert_false(http_date_parse(rows[i], at, NOW_S, &time_s)); /* cut off */
        }
    }
}

static int64_t make_time(int year, int month, int day, int hour, int minute, int second)
{
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute,
                    .tm_sec = second};
    return timegm(&tm);
}

/* RFC 9110 section 5.6.7: what appears to be more than 50 years in the future is in the past. */
static void two_digits_of_a_year_are_at_most_50_years_ahead(void **state)
{
    (void)state;
    static const struct {
        int now_year;
        const char *text;
        int year;
    } rows[] = {
        {1994, "Monday, 15-Jun-94 12:00:00 GMT", 1994}, {1994, "Monday, 15-Jun-43 12:00:00 GMT", 2043},
        {1994, "Monday, 15-Jun-44 11:59:59 GMT", 2044}, {1994, "Monday, 15-Jun-44 12:00:00 GMT", 2044},
        {1994, "Monday, 15-Jun-44 12:00:01 GMT", 1944}, {1994, "Monday, 16-Jun-44 00:00:00 GMT", 1944},
        {1994, "Monday, 15-Jun-45 12:00:00 GMT", 1945}, {1999, "Monday, 15-Jun-00 12:00:00 GMT", 2000},
        {1999, "Monday, 15-Jun-49 12:00:00 GMT", 2049}, {2000, "Monday, 15-Jun-99 12:00:00 GMT", 1999},
        {2024, "Monday, 15-Jun-74 12:00:00 GMT", 2074}, {2024, "Monday, 15-Jun-75 12:00:00 GMT", 1975},
        {2049, "Monday, 15-Jun-99 12:00:00 GMT", 2099}, {2050, "Monday, 15-Jun-00 12:00:00 GMT", 2100},
        {2050, "Monday, 15-Jun-99 12:00:00 GMT", 2099}, {2051, "Monday, 15-Jun-02 12:00:00 GMT", 2002},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t now_s = make_time(rows[i].now_year, 6, 15, 12, 0, 0);
        int64_t time_s = 0;
        assert_true(parse(rows[i].text, now_s, &time_s));
        struct tm tm;
        time_t time = time_s;
        assert_non_null(gmtime_r(&time, &tm));
        if (tm.tm_year + 1900 != rows[i].year) {
            fail_msg("in %d, %s is in %d", rows[i].now_year, rows[i].text, tm.tm_year + 1900);
        }
    }
}

static void leap_day_of_a_two_digit_year_depends_on_the_century(void **state)
{
    (void)state;
    int64_t time_s = 0;
    assert_true(parse("Tuesday, 29-Feb-00 00:00:00 GMT", make_time(1994, 6, 15, 0, 0, 0), &time_s));
    assert_int_equal(time_s, make_time(2000, 2, 29, 0, 0, 0));
    assert_false(parse("Tuesday, 29-Feb-00 00:00:00 GMT", make_time(1940, 6, 15, 0, 0, 0), &time_s));
}

static void dates_agree_with_the_c_library_for_every_day(void **state)
{
    (void)state;
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int64_t first_s = make_time(1601, 1, 1, 0, 0, 0);
    int64_t last_s = make_time(2401, 1, 1, 0, 0, 0);
    for (int64_t wanted_s = first_s; wanted_s < last_s; wanted_s += 86400 - 1) {
        struct tm tm;
        time_t time = wanted_s;
        assert_non_null(gmtime_r(&time, &tm));
        char text[64];
        snprintf(text, sizeof text, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", days + (size_t)tm.tm_wday * 3,
                 tm.tm_mday, months + (size_t)tm.tm_mon * 3, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
        int64_t time_s = 0;
        if (!parse(text, NOW_S, &time_s) || time_s != wanted_s) {
            fail_msg("%s", text);
        }
    }
}

/* The century comes from the wall clock, which may say anything. */
static void years_of_four_digits_are_all_that_there_are(void **state)
{
    (void)state;
    static const int64_t first_s = -62167219200, last_s = 253402300799, last_of_int_s = 67768036191676799;
    static const struct {
        int64_t now_s;
        const char *text;
        bool is_date;
        int64_t time_s;
    } rows[] = {
        {last_s, "Friday, 31-Dec-99 23:59:59 GMT", true, last_s},
        {last_s, "Friday, 31-Dec-99 23:59:60 GMT", false, 0},
        {last_s, "Saturday, 01-Jan-00 00:00:00 GMT", false, 0}, /* of the year 10000 */
        {last_s, "Saturday, 01-Jan-50 00:00:00 GMT", true, 251824464000},
        {first_s, "Saturday, 01-Jan-00 00:00:00 GMT", true, first_s},
        {first_s, "Saturday, 01-Jan-51 00:00:00 GMT", false, 0}, /* more than 50 years ahead, and nothing before */
        {first_s - 1, "Thursday, 01-Jan-70 00:00:00 GMT", true, 0},
        {last_s + 1, "Thursday, 01-Jan-70 00:00:00 GMT", true, 0},
        {last_of_int_s, "Thursday, 01-Jan-70 00:00:00 GMT", true, 0},
        {INT64_MIN, "Thursday, 01-Jan-70 00:00:00 GMT", true, 0},
        {INT64_MAX, "Thursday, 01-Jan-70 00:00:00 GMT", true, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t time_s = 0;
        if (parse(rows[i].text, rows[i].now_s, &time_s) != rows[i].is_date || time_s != rows[i].time_s) {
            fail_msg("at %lld, %s: %lld", (long long)rows[i].now_s, rows[i].text, (long long)time_s);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_are_imf_fixdates),
        cmocka_unit_test(dates_in_all_three_formats_are_read),
        cmocka_unit_test(what_is_no_date_is_refused),
        cmocka_unit_test(every_byte_of_a_date_matters),
        cmocka_unit_test(two_digits_of_a_year_are_at_most_50_years_ahead),
        cmocka_unit_test(leap_day_of_a_two_digit_year_depends_on_the_century),
        cmocka_unit_test(years_of_four_digits_are_all_that_there_are),
        cmocka_unit_test(dates_agree_with_the_c_library_for_every_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
