/* Reading of the Range field.
 *
 * One pass over the text, which stops at the first thing that is wrong. Each range is clipped to the representation and
 * merged into the set as it is read. Numbers have no limit in the syntax (RFC 9110 section 14.1.2): those that do not
 * fit count as the largest that does, which no representation reaches. */

#include "http/range.h"

#include "core/ascii.h"
#include "http/char_class.h"

#include <stdbool.h>
#include <string.h>

struct cursor {
    const char *at, *end;
    bool has_empty_suffix; /* the client wants a suffix of a representation without bytes */
};

/* Recipients read "#" lists with white space around commas, and with elements that are empty (RFC 9110 section
 * 5.6.1.2). */
static void skip_blanks(struct cursor *cursor)
{
    while (cursor->at < cursor->end && char_is_space(*cursor->at)) {
        cursor->at++;
    }
}

static bool take(struct cursor *cursor, char c)
{
    if (cursor->at == cursor->end || *cursor->at != c) {
        return false;
    }
    cursor->at++;
    return true;
}

static bool take_number(struct cursor *cursor, uint64_t *number)
{
    const char *start = cursor->at;
    *number = 0;
    for (; cursor->at < cursor->end && char_is_digit(*cursor->at); cursor->at++) {
        uint64_t digit = (uint64_t)(*cursor->at - '0');
        if (__builtin_mul_overflow(*number, UINT64_C(10), number) || __builtin_add_overflow(*number, digit, number)) {
            *number = UINT64_MAX;
        }
    }
    return cursor->at > start;
}

/* Read int-range or suffix-range and clip it to size. A range that cannot be satisfied gets no bytes. Returns whether
 * the syntax is right. */
static bool take_range(struct cursor *cursor, uint64_t size, struct byte_range *range)
{
    uint64_t first = 0;
    uint64_t last = UINT64_MAX;
    if (take(cursor, '-')) {
        uint64_t suffix = 0;
        bool is_suffix = take_number(cursor, &suffix);
        cursor->has_empty_suffix = cursor->has_empty_suffix || (suffix > 0 && size == 0);
        suffix = suffix < size ? suffix : size;
        *range = (struct byte_range){.first = size - suffix, .len = suffix};
        return is_suffix;
    }
    if (!take_number(cursor, &first) || !take(cursor, '-')) {
        return false;
    }
    if (take_number(cursor, &last)) {
        if (last < first) {
            return false;
        }
    } else {
        last = UINT64_MAX;
    }
    *range = (struct byte_range){.first = first, .len = 0};
    if (first < size) {
        range->len = (last < size ? last + 1 : size) - first;
    }
    return true;
}

static bool overlap(const struct byte_range *one, const struct byte_range *other)
{
    return one->first < other->first + other->len && other->first < one->first + one->len;
}

/* The least range that has the bytes of both. */
static struct byte_range unite(const struct byte_range *one, const struct byte_range *other)
{
    uint64_t one_end = one->first + one->len;
    uint64_t other_end = other->first + other->len;
    uint64_t first = one->first < other->first ? one->first : other->first;
    return (struct byte_range){.first = first, .len = (one_end > other_end ? one_end : other_end) - first};
}

/* Add a range, or unite it with those that it overlaps. One pass is enough: a range that overlaps neither of two ranges
 * does not overlap their union. */
static void add_range(struct range_set *set, struct byte_range range)
{
    size_t kept = 0;
    size_t place = set->count;
    for (size_t i = 0; i < set->count; i++) {
        if (!overlap(&set->ranges[i], &range)) {
            set->ranges[kept++] = set->ranges[i];
            continue;
        }
        range = unite(&set->ranges[i], &range);
        if (place == set->count) {
            place = kept++;
        }
    }
    if (place == set->count) {
        place = kept++;
    }
    set->ranges[place] = range;
    set->count = kept;
}

enum range_verdict range_parse(const char *text, size_t len, uint64_t size, struct range_set *set)
{
    static const char unit[] = "bytes="; /* units are compared without case (RFC 9110 section 14.1) */
    if (len < sizeof unit - 1 || !ascii_equals(text, unit, sizeof unit - 1)) {
        return RANGE_IGNORED;
    }
    struct cursor cursor = {.at = text + sizeof unit - 1, .end = text + len};
    struct range_set found; /* not cleared: it is long */
    found.count = 0;
    size_t asked = 0;
    for (;;) {
        skip_blanks(&cursor);
        if (cursor.at < cursor.end && *cursor.at != ',') {
            struct byte_range range;
            if (asked++ == RANGES_MAX || !take_range(&cursor, size, &range)) {
                return RANGE_IGNORED;
            }
            if (range.len > 0) {
                add_range(&found, range);
            }
            skip_blanks(&cursor);
        }
        if (cursor.at == cursor.end) {
            break;
        }
        if (!take(&cursor, ',')) {
            return RANGE_IGNORED;
        }
    }
    if (found.count > 0) {
        set->count = found.count;
        memcpy(set->ranges, found.ranges, found.count * sizeof found.ranges[0]);
        return RANGE_SATISFIABLE;
    }
    /* Such a suffix is satisfiable, but no Content-Range can express it: the response is the whole representation. */
    return asked == 0 || cursor.has_empty_suffix ? RANGE_IGNORED : RANGE_UNSATISFIABLE;
}
