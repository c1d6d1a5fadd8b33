/* The Range field: its syntax, what of it is satisfiable, what is ignored, and how ranges that overlap become one. */

#include "http/range.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ARRAY_LEN(array) (sizeof(array) / sizeof(array)[0])

enum { TEXT_MAX = 4096 };

/* The verdict and the set as text: "ignored", "unsatisfiable" or "first-last first-last ...". Valid until the next
 * call. The value is read from the end of a block of its own length, so that the sanitizer sees what reads on. */
static const char *read_value(const char *value, size_t len, uint64_t size)
{
    static char text[RANGES_MAX * 42 + 1];
    char *exact = malloc(len);
    assert_true(exact != NULL || len == 0);
    memcpy(exact, value, len);
    struct range_set set;
    memset(&set, 0xa5, sizeof set);
    struct range_set before = set;
    enum range_verdict verdict = range_parse(exact, len, size, &set);
    free(exact);
    if (verdict != RANGE_SATISFIABLE) {
        assert_memory_equal(&set, &before, sizeof set);
        return verdict == RANGE_IGNORED ? "ignored" : "unsatisfiable";
    }
    assert_in_range(set.count, 1, RANGES_MAX);
    size_t used = 0;
    for (size_t i = 0; i < set.count; i++) {
        assert_true(set.ranges[i].len > 0);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%llu-%llu", i == 0 ? "" : " ",
                                 (unsigned long long)set.ranges[i].first,
                                 (unsigned long long)(set.ranges[i].first + set.ranges[i].len - 1));
    }
    return text;
}

struct row {
    const char *value;
    uint64_t size;
    const char *wanted;
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *got = read_value(rows[i].value, strlen(rows[i].value), rows[i].size);
        if (strcmp(got, rows[i].wanted) != 0) {
            fail_msg("%s of %llu: %s, not %s", rows[i].value, (unsigned long long)rows[i].size, got, rows[i].wanted);
        }
    }
}

/* RFC 9110 section 14.1.2, its examples among them. */
static void each_form_of_range_is_read(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"bytes=0-499", 10000, "0-499"},
        {"bytes=500-999", 10000, "500-999"},
        {"bytes=-500", 10000, "9500-9999"},
        {"bytes=9500-", 10000, "9500-9999"},
        {"bytes=0-0,-1", 10000, "0-0 9999-9999"},
        {"bytes= 0-999, 4500-5499, -1000", 10000, "0-999 4500-5499 9000-9999"},
        {"bytes=500-600,601-999", 10000, "500-600 601-999"},
        {"bytes=0-", 10000, "0-9999"},
        {"bytes=0-0", 1, "0-0"},
        {"bytes=-1", 1, "0-0"},
        {"bytes=007-0009", 10000, "7-9"},
        {"bytes=5-6,1-2", 10, "5-6 1-2"}, /* in the order asked for (section 15.3.7.2) */
    };
    check_rows(rows, ARRAY_LEN(rows));
}

/* RFC 9110 section 14.1.2: the end is where the representation ends. */
static void ranges_are_clipped_to_the_representation(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"bytes=0-9", 10, "0-9"},
        {"bytes=0-10", 10, "0-9"},
        {"bytes=9-9", 10, "9-9"},
        {"bytes=9-", 10, "9-9"},
        {"bytes=9-1000", 10, "9-9"},
        {"bytes=-9", 10, "1-9"},
        {"bytes=-10", 10, "0-9"},
        {"bytes=-11", 10, "0-9"},
        {"bytes=0-8", 10, "0-8"},
        {"bytes=-100000000000000000000000000", 10, "0-9"},
        {"bytes=3-100000000000000000000000000", 10, "3-9"},
        {"bytes=3-18446744073709551615", 10, "3-9"},
        {"bytes=3-18446744073709551616", 10, "3-9"},
        {"bytes=9223372036854775806-", INT64_MAX, "9223372036854775806-9223372036854775806"},
        {"bytes=0-18446744073709551615", UINT64_MAX, "0-18446744073709551614"},
        {"bytes=18446744073709551614-", UINT64_MAX, "18446744073709551614-18446744073709551614"},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

/* RFC 9110 sections 14.1.2 and 15.5.17. */
static void what_begins_behind_the_end_is_unsatisfiable(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"bytes=10-", 10, "unsatisfiable"},
        {"bytes=10-10", 10, "unsatisfiable"},
        {"bytes=10-20,30-", 10, "unsatisfiable"},
        {"bytes=-0", 10, "unsatisfiable"},
        {"bytes=-000", 10, "unsatisfiable"},
        {"bytes=18446744073709551615-", 10, "unsatisfiable"},
        {"bytes=18446744073709551616-", 10, "unsatisfiable"}, /* would be byte 0 if it wrapped around */
        {"bytes=184467440737095516160-", 10, "unsatisfiable"},
        {"bytes=18446744073709551620-18446744073709551621", 10, "unsatisfiable"},
        {"bytes=36893488147419103232-", 10, "unsatisfiable"},
        {"bytes=0-", 0, "unsatisfiable"},
        {"bytes=0-0", 0, "unsatisfiable"},
        {"bytes=-0", 0, "unsatisfiable"},
        /* those that can be satisfied are */
        {"bytes=10-,0-1", 10, "0-1"},
        {"bytes=0-1,10-", 10, "0-1"},
        {"bytes=-0,5-,99-100", 10, "5-9"},
        /* the last bytes of nothing: satisfiable, yet not to be put into a Content-Range */
        {"bytes=-1", 0, "ignored"},
        {"bytes=0-,-5", 0, "ignored"},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

/* RFC 9110 section 14.2: a unit that is not understood must be ignored, what is invalid may be. */
static void other_units_and_invalid_sets_are_ignored(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"", 10, "ignored"},
        {"b", 10, "ignored"},
        {"bytes", 10, "ignored"},
        {"bytes=", 10, "ignored"},
        {"bytes=,", 10, "ignored"},
        {"bytes= , ,", 10, "ignored"},
        {"0-1", 10, "ignored"},
        {"=0-1", 10, "ignored"},
        {"byte=0-1", 10, "ignored"},
        {"bytess=0-1", 10, "ignored"},
        {"seconds=0-1", 10, "ignored"},
        {"items=0-1", 10, "ignored"},
        {"bytes =0-1", 10, "ignored"},
        {"bytes:0-1", 10, "ignored"},
        {"bytes 0-1", 10, "ignored"},
        {" bytes=0-1", 10, "ignored"},
        {"bytes==0-1", 10, "ignored"},
        {"bytes=-", 10, "ignored"},
        {"bytes=--1", 10, "ignored"},
        {"bytes=1--", 10, "ignored"},
        {"bytes=1--2", 10, "ignored"},
        {"bytes=1", 10, "ignored"},
        {"bytes=1-2-3", 10, "ignored"},
        {"bytes=1 -2", 10, "ignored"},
        {"bytes=1- 2", 10, "ignored"},
        {"bytes=- 2", 10, "ignored"},
        {"bytes=0x1-2", 10, "ignored"},
        {"bytes=+1-2", 10, "ignored"},
        {"bytes=1-+2", 10, "ignored"},
        {"bytes=a-b", 10, "ignored"},
        {"bytes=1-b", 10, "ignored"},
        {"bytes=1.5-2", 10, "ignored"},
        {"bytes=0-1;2-3", 10, "ignored"},
        {"bytes=0-1 2-3", 10, "ignored"},
        {"bytes=0-1,bytes=2-3", 10, "ignored"},
        {"bytes=0-1,x", 10, "ignored"},
        {"bytes=x,0-1", 10, "ignored"},
        {"bytes=2-1", 10, "ignored"}, /* section 14.1.1: last-pos is less than first-pos */
        {"bytes=0-1,2-1", 10, "ignored"},
        {"bytes=20-19", 10, "ignored"}, /* invalid before it is unsatisfiable */
        {"bytes=99-,1", 10, "ignored"},
        {"bytes=18446744073709551616-1", 10, "ignored"},
    };
    check_rows(rows, ARRAY_LEN(rows));
    assert_string_equal(read_value("bytes=0-1\0", 10, 10), "ignored");
    assert_string_equal(read_value("bytes=0-1\xff", 10, 10), "ignored");
}

static void unit_is_compared_without_case(void **state) /* RFC 9110 section 14.1 */
{
    (void)state;
    static const struct row rows[] = {{"BYTES=0-1", 10, "0-1"}, {"Bytes=-1", 10, "9-9"}, {"bYtEs=1-", 10, "1-9"}};
    check_rows(rows, ARRAY_LEN(rows));
}

static void lists_are_read_as_recipients_must(void **state) /* RFC 9110 section 5.6.1.2 */
{
    (void)state;
    static const struct row rows[] = {
        {"bytes=0-1,3-4", 10, "0-1 3-4"},  {"bytes=0-1, 3-4", 10, "0-1 3-4"},
        {"bytes=0-1 ,3-4", 10, "0-1 3-4"}, {"bytes=0-1\t,\t 3-4", 10, "0-1 3-4"},
        {"bytes=,0-1", 10, "0-1"},         {"bytes=0-1,", 10, "0-1"},
        {"bytes=0-1,,3-4", 10, "0-1 3-4"}, {"bytes=, ,0-1, ,\t,3-4, ,", 10, "0-1 3-4"},
        {"bytes=\t0-1", 10, "0-1"},        {"bytes=0-1 ", 10, "0-1"},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

/* RFC 9110 section 15.3.7.2: ranges that overlap are united, in the place of the earliest. */
static void ranges_that_overlap_become_one(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"bytes=0-5,3-8", 100, "0-8"},
        {"bytes=3-8,0-5", 100, "0-8"},
        {"bytes=0-5,5-8", 100, "0-8"},     /* one byte in common */
        {"bytes=0-5,6-8", 100, "0-5 6-8"}, /* none: they only touch */
        {"bytes=6-8,0-5", 100, "6-8 0-5"},
        {"bytes=0-99,10-20", 100, "0-99"},
        {"bytes=10-20,0-99", 100, "0-99"},
        {"bytes=7-7,7-7,7-7", 100, "7-7"},
        {"bytes=0-,0-,0-,0-", 100, "0-99"},
        {"bytes=-10,-20,-30", 100, "70-99"},
        {"bytes=90-,-20", 100, "80-99"},
        {"bytes=50-59,0-9,55-70", 100, "50-70 0-9"},
        {"bytes=50-59,0-9,5-70", 100, "0-70"}, /* bridges two */
        {"bytes=80-89,0-9,40-49,5-45,90-99", 100, "80-89 0-49 90-99"},
        {"bytes=40-49,80-89,0-9,5-45", 100, "0-49 80-89"},
        {"bytes=0-1,4-5,8-9,1-8", 100, "0-9"},
        {"bytes=20-29,0-9,10-19,40-49,9-20", 100, "0-29 40-49"},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

/* Ranges of one byte each, with a gap between them; or all the same. */
static const char *write_ranges(size_t count, bool is_same)
{
    static char value[TEXT_MAX];
    size_t used = (size_t)snprintf(value, sizeof value, "bytes=");
    for (size_t i = 0; i < count; i++) {
        unsigned first = is_same ? 0 : 2 * (unsigned)i;
        used += (size_t)snprintf(value + used, sizeof value - used, "%s%u-%u", i == 0 ? "" : ",", first, first);
    }
    return value;
}

/* RFC 9110 sections 14.2 and 17.15. */
static void more_than_ranges_max_are_ignored(void **state)
{
    (void)state;
    char wanted[TEXT_MAX];
    size_t used = 0;
    for (size_t i = 0; i < RANGES_MAX; i++) {
        used += (size_t)snprintf(wanted + used, sizeof wanted - used, "%s%zu-%zu", i == 0 ? "" : " ", 2 * i, 2 * i);
    }
    const char *value = write_ranges(RANGES_MAX, false);
    assert_string_equal(read_value(value, strlen(value), 1000), wanted);
    value = write_ranges(RANGES_MAX + 1, false);
    assert_string_equal(read_value(value, strlen(value), 100), "ignored");
    assert_string_equal(read_value(value, strlen(value), 0), "ignored"); /* also of those that nothing satisfies */
    value = write_ranges(RANGES_MAX, true);
    assert_string_equal(read_value(value, strlen(value), 100), "0-0");
    assert_string_equal(read_value(value, strlen(value), 0), "unsatisfiable");
    value = write_ranges(RANGES_MAX + 1, true);
    assert_string_equal(read_value(value, strlen(value), 100), "ignored");
}

/* A naive reading of the same rules, for representations of up to 64 bytes. */

enum { NAIVE_MAX = 64, NAIVE_SIZE_MAX = 64 };

struct naive {
    bool is_valid;
    size_t count;              /* ranges that were asked for */
    bool has_suffix;           /* one of them is a suffix that is not 0 */
    uint64_t bytes[NAIVE_MAX]; /* of each range: a bit for each byte it has */
};

static uint64_t naive_bits(unsigned first, unsigned last, unsigned size)
{
    uint64_t bits = 0;
    for (unsigned i = first; i <= last && i < size; i++) {
        bits |= UINT64_C(1) << i;
    }
    return bits;
}

/* Numbers have at most three digits here. */
static void naive_element(struct naive *naive, const char *element, unsigned size)
{
    char first[8] = "";
    char last[8] = "";
    int end = -1;
    if (sscanf(element, "%5[0-9]-%5[0-9]%n", first, last, &end) != 2 || element[end] != '\0') {
        last[0] = first[0] = '\0';
        end = -1;
        if (sscanf(element, "%5[0-9]-%n", first, &end) != 1 || end < 0 || element[end] != '\0') {
            first[0] = '\0';
            end = -1;
            if (sscanf(element, "-%5[0-9]%n", last, &end) != 1 || element[end] != '\0') {
                naive->is_valid = false;
                return;
            }
        }
    }
    unsigned low = (unsigned)atoi(first);
    unsigned high = (unsigned)atoi(last);
    uint64_t bits;
    if (first[0] == '\0') {
        naive->has_suffix = naive->has_suffix || high > 0;
        bits = high == 0 ? 0 : naive_bits(high > size ? 0 : size - high, size, size);
    } else if (last[0] == '\0') {
        bits = naive_bits(low, NAIVE_SIZE_MAX, size);
    } else {
        naive->is_valid = naive->is_valid && low <= high;
        bits = naive_bits(low, high, size);
    }
    naive->bytes[naive->count++] = bits;
}

static void naive_read(struct naive *naive, const char *value, unsigned size)
{
    *naive = (struct naive){.is_valid = strncmp(value, "bytes=", 6) == 0};
    char copy[TEXT_MAX];
    snprintf(copy, sizeof copy, "%s", naive->is_valid ? value + 6 : "");
    for (char *rest = copy, *element; (element = strsep(&rest, ",")) != NULL;) {
        element += strspn(element, " \t");
        size_t len = strlen(element);
        while (len > 0 && strchr(" \t", element[len - 1]) != NULL) {
            element[--len] = '\0';
        }
        if (len > 0) {
            naive_element(naive, element, size);
        }
    }
}

/* Unite until nothing overlaps; an empty place stands for what went into an earlier one. */
static void naive_unite(struct naive *naive)
{
    for (bool is_changed = true; is_changed;) {
        is_changed = false;
        for (size_t i = 0; i < naive->count; i++) {
            for (size_t j = i + 1; j < naive->count; j++) {
                if ((naive->bytes[i] & naive->bytes[j]) != 0) {
                    naive->bytes[i] |= naive->bytes[j];
                    naive->bytes[j] = 0;
                    is_changed = true;
                }
            }
        }
    }
}

static const char *naive_text(const char *value, unsigned size)
{
    static char text[NAIVE_MAX * 8];
    struct naive naive;
    naive_read(&naive, value, size);
    if (!naive.is_valid || naive.count == 0 || naive.count > RANGES_MAX) {
        return "ignored";
    }
    naive_unite(&naive);
    size_t used = 0;
    for (size_t i = 0; i < naive.count; i++) {
        if (naive.bytes[i] != 0) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%d-%d", used == 0 ? "" : " ",
                                     __builtin_ctzll(naive.bytes[i]), 63 - __builtin_clzll(naive.bytes[i]));
        }
    }
    return used > 0 ? text : size == 0 && naive.has_suffix ? "ignored" : "unsatisfiable";
}

static unsigned next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(*seed >> 33);
}

/* Mostly valid text, with a wrong byte now and then. */
static void write_random_value(char *value, uint64_t *seed)
{
    static const char wrong[] = "-, =x\t0";
    static const char *const gaps[] = {"", "", "", " ", "\t", ","};
    size_t used = (size_t)snprintf(value, TEXT_MAX, "bytes=");
    unsigned count = next_random(seed) % 5 == 0 ? next_random(seed) % 20 : next_random(seed) % 5;
    for (unsigned i = 0; i < count; i++) {
        unsigned form = next_random(seed) % 8;
        unsigned first = next_random(seed) % 70;
        unsigned last = next_random(seed) % 16 == 0 ? next_random(seed) % 70 : first + next_random(seed) % 12;
        const char *gap = gaps[next_random(seed) % ARRAY_LEN(gaps)];
        char from[8], to[8];
        snprintf(from, sizeof from, "%u", first);
        snprintf(to, sizeof to, "%u", form == 0 ? first % 20 : last);
        used += (size_t)snprintf(value + used, TEXT_MAX - used, "%s%s%s-%s%s", i == 0 ? "" : ",", gap,
                                 form == 0 ? "" : from, form == 1 ? "" : to, gap);
    }
    if (next_random(seed) % 8 == 0) {
        value[next_random(seed) % used] = wrong[next_random(seed) % (sizeof wrong - 1)];
    }
}

static void random_values_agree_with_a_naive_reading(void **state)
{
    (void)state;
    uint64_t seed = 9110;
    unsigned seen[3] = {0}; /* ignored, unsatisfiable, satisfiable: the values must not be of one kind */
    for (int i = 0; i < 200000; i++) {
        char value[TEXT_MAX];
        write_random_value(value, &seed);
        unsigned size = next_random(&seed) % 8 == 0 ? next_random(&seed) % 3
                                                    : next_random(&seed) % (NAIVE_SIZE_MAX + 1);
        const char *wanted = naive_text(value, size);
        const char *got = read_value(value, strlen(value), size);
        if (strcmp(got, wanted) != 0) {
            fail_msg("%s of %u: %s, not %s", value, size, got, wanted);
        }
        seen[got[0] == 'i' ? 0 : got[0] == 'u' ? 1 : 2]++;
    }
    assert_true(seen[0] > 5000 && seen[1] > 5000 && seen[2] > 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_form_of_range_is_read),
        cmocka_unit_test(ranges_are_clipped_to_the_representation),
        cmocka_unit_test(what_begins_behind_the_end_is_unsatisfiable),
        cmocka_unit_test(other_units_and_invalid_sets_are_ignored),
        cmocka_unit_test(unit_is_compared_without_case),
        cmocka_unit_test(lists_are_read_as_recipients_must),
        cmocka_unit_test(ranges_that_overlap_become_one),
        cmocka_unit_test(more_than_ranges_max_are_ignored),
        cmocka_unit_test(random_values_agree_with_a_naive_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
