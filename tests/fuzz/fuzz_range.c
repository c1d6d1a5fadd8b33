/* The Range field (http/range.c). The input is its value, flush against a page that must not be touched, and is read
 * against representations of many sizes. Ranges lie within the representation and have no byte in common; and for a
 * small one they have exactly the bytes that a plain reading of RFC 9110 section 14.1.2 gives, one byte at a time. */

#include "http/range.h"
#include "tests/lib/fuzz.h"

#include <string.h>
#include <strings.h>

enum { SMALL = 26 };

/* What a plain reading says: which bytes are asked for. */
struct plain {
    enum range_verdict verdict;
    bool is_asked[SMALL];
};

/* A number, the largest there is when it does not fit. Returns whether there is one. */
static bool read_number(char **at, unsigned long long *number)
{
    bool is_number = **at >= '0' && **at <= '9';
    *number = is_number ? strtoull(*at, at, 10) : 0;
    return is_number;
}

/* One element of the list, without the white space around it. Returns whether its syntax is right. */
static bool read_element(struct plain *plain, char *text, size_t len)
{
    char *at = text;
    unsigned long long first, last;
    bool has_first = read_number(&at, &first);
    if (*at++ != '-') {
        return false;
    }
    bool has_last = read_number(&at, &last);
    if (at != text + len || (!has_first && !has_last) || (has_first && has_last && last < first)) {
        return false;
    }
    if (!has_first) {
        first = last >= SMALL ? 0 : SMALL - last;
    }
    for (unsigned i = 0; i < SMALL; i++) {
        plain->is_asked[i] = plain->is_asked[i] || (i >= first && (i <= last || !has_first || !has_last));
    }
    return true;
}

/* The same for a slice, which has no NUL behind it. */
static bool read_slice(struct plain *plain, const char *text, size_t len)
{
    char *copy = strndup(text, len);
    FUZZ_MUST(copy != NULL);
    bool is_right = strlen(copy) == len && read_element(plain, copy, len);
    free(copy);
    return is_right;
}

static void read_plainly(struct plain *plain, const char *text, size_t len)
{
    unsigned elements = 0;
    bool is_any = false;
    *plain = (struct plain){.verdict = RANGE_IGNORED};
    if (len < 6 || strncasecmp(text, "bytes=", 6) != 0) {
        return;
    }
    for (size_t start = 6; start <= len;) {
        size_t end = start;
        while (end < len && text[end] != ',') {
            end++;
        }
        size_t next = end + 1;
        while (start < end && (text[start] == ' ' || text[start] == '\t')) {
            start++;
        }
        while (start < end && (text[end - 1] == ' ' || text[end - 1] == '\t')) {
            end--;
        }
        if (start < end && (++elements > RANGES_MAX || !read_slice(plain, text + start, end - start))) {
            return;
        }
        start = next;
    }
    for (int i = 0; i < SMALL; i++) {
        is_any = is_any || plain->is_asked[i];
    }
    plain->verdict = is_any ? RANGE_SATISFIABLE : elements > 0 ? RANGE_UNSATISFIABLE : RANGE_IGNORED;
}

static void check_set(const struct range_set *set, uint64_t size)
{
    FUZZ_MUST(set->count > 0 && set->count <= RANGES_MAX);
    for (size_t i = 0; i < set->count; i++) {
        const struct byte_range *one = &set->ranges[i];
        FUZZ_MUST(one->len > 0 && one->first < size && one->len <= size - one->first);
        for (size_t n = 0; n < i; n++) {
            const struct byte_range *other = &set->ranges[n];
            FUZZ_MUST(one->first >= other->first + other->len || other->first >= one->first + one->len);
        }
    }
}

static void check_small(const char *text, size_t len)
{
    struct plain plain;
    struct range_set set;
    enum range_verdict verdict = range_parse(text, len, SMALL, &set);
    bool is_given[SMALL] = {false};
    read_plainly(&plain, text, len);
    FUZZ_MUST(verdict == plain.verdict);
    for (size_t i = 0; verdict == RANGE_SATISFIABLE && i < set.count; i++) {
        memset(is_given + set.ranges[i].first, true, set.ranges[i].len);
    }
    FUZZ_MUST(verdict != RANGE_SATISFIABLE || memcmp(is_given, plain.is_asked, sizeof is_given) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint64_t sizes[] = {0, 1, SMALL, 100000, UINT64_C(1) << 32, INT64_MAX};
    if (len > GUARDED_BYTES) {
        return 0;
    }
    const char *text = guarded_at_end(fuzz_guarded(), (const char *)data, len);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct range_set set, before;
        memset(&set, 0xa5, sizeof set);
        before = set;
        if (range_parse(text, len, sizes[i], &set) == RANGE_SATISFIABLE) {
            check_set(&set, sizes[i]);
        } else {
            FUZZ_MUST(memcmp(&set, &before, sizeof set) == 0);
        }
    }
    check_small(text, len);
    return 0;
}
