/* Conditions on entity tags and dates.
 *
 * A condition that cannot be read never yields 304: a list of entity tags covers nothing from its first malformed
 * element on, and a date that is no HTTP-date is as if it were not there, as RFC 9110 sections 13.1.3 and 13.1.4
 * demand. So a client with an odd idea of the syntax gets the whole response, or 412 if it sent If-Match. */

#include "http/conditional.h"

#include "core/ascii.h"
#include "core/sys.h"
#include "http/char_class.h"
#include "http/http_date.h"

#include <string.h>

/* Entity tags. */

/* The length of the entity tag that text begins with, or 0 (RFC 9110 section 8.8.3). */
static size_t etag_length(const char *text, size_t len)
{
    size_t i = len >= 2 && text[0] == 'W' && text[1] == '/' ? 2 : 0;
    if (i >= len || text[i] != '"') {
        return 0;
    }
    for (i++; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"') {
            return i + 1;
        }
        if (c < 0x21 || c == 0x7f) {
            return 0;
        }
    }
    return 0;
}

static bool is_weak(const char *etag)
{
    return etag[0] == 'W';
}

static bool etags_match(const char *one, size_t one_len, const char *other, size_t other_len,
                        enum etag_comparison comparison)
{
    if (comparison == ETAG_STRONG && (is_weak(one) || is_weak(other))) {
        return false;
    }
    size_t skip_one = is_weak(one) ? 2 : 0;
    size_t skip_other = is_weak(other) ? 2 : 0;
    return one_len - skip_one == other_len - skip_other &&
           memcmp(one + skip_one, other + skip_other, one_len - skip_one) == 0;
}

bool conditional_list_covers(const char *list, size_t len, const char *etag, size_t etag_len,
                             enum etag_comparison comparison)
{
    if (len == 1 && list[0] == '*') {
        return true;
    }
    for (size_t i = char_skip_space(list, len, 0); i < len; i = char_skip_space(list, len, i)) {
        if (list[i] == ',') { /* empty elements are legal (RFC 9110 section 5.6.1.2) */
            i++;
            continue;
        }
        size_t found = etag_length(list + i, len - i);
        size_t end = char_skip_space(list, len, i + found);
        if (found == 0 || (end < len && list[end] != ',')) {
            return false;
        }
        if (etags_match(list + i, found, etag, etag_len, comparison)) {
            return true;
        }
        i = end;
    }
    return false;
}

/* Conditions. */

static bool has_name_of(const struct field *field, const struct field *other, const char *data)
{
    return field->name.len == other->name.len &&
           ascii_equals(data + field->name.offset, data + other->name.offset, field->name.len);
}

/* The next line of the same field after field, or NULL. */
static const struct field *next_line(const struct head *head, const char *data, const struct field *field)
{
    for (const struct field *next = field + 1; next < head->fields + head->field_count; next++) {
        if (has_name_of(next, field, data)) {
            return next;
        }
    }
    return NULL;
}

static const struct field *first_line(const struct head *head, enum known_field name)
{
    return head->first[name] == 0 ? NULL : &head->fields[head->first[name] - 1];
}

/* Whether a list, which may be spread over several lines (RFC 9110 section 5.3), covers the representation's tag. */
static bool covers_etag(const struct head *head, const char *data, const struct field *line,
                        const struct validators *validators, enum etag_comparison comparison)
{
    for (; line != NULL; line = next_line(head, data, line)) {
        if (conditional_list_covers(data + line->value.offset, line->value.len, validators->etag, validators->etag_len,
                                    comparison)) {
            return true;
        }
    }
    return false;
}

/* Read the date of a condition. Returns false if the condition is to be ignored: it is missing, repeated or no
 * HTTP-date, or the representation has no date. */
static bool read_date(const struct head *head, const char *data, enum known_field name,
                      const struct validators *validators, int64_t *date_s)
{
    const struct field *line = first_line(head, name);
    return line != NULL && validators->has_last_modified && next_line(head, data, line) == NULL &&
           http_date_parse(data + line->value.offset, line->value.len, sys_wall_time_s(), date_s);
}

enum precondition conditional_evaluate(const struct head *head, const char *data, const struct validators *validators)
{
    bool is_read = head->method == METHOD_GET || head->method == METHOD_HEAD;
    const struct field *if_match = first_line(head, FIELD_IF_MATCH);
    const struct field *if_none_match = first_line(head, FIELD_IF_NONE_MATCH);
    int64_t date_s = 0;

    if (if_match != NULL) { /* step 1 */
        if (!covers_etag(head, data, if_match, validators, ETAG_STRONG)) {
            return PRECONDITION_FAILED;
        }
    } else if (read_date(head, data, FIELD_IF_UNMODIFIED_SINCE, validators, &date_s)) { /* step 2 */
        if (validators->last_modified_s > date_s) {
            return PRECONDITION_FAILED;
        }
    }
    if (if_none_match != NULL) { /* step 3 */
        if (covers_etag(head, data, if_none_match, validators, ETAG_WEAK)) {
            return is_read ? PRECONDITION_NOT_MODIFIED : PRECONDITION_FAILED;
        }
    } else if (is_read && read_date(head, data, FIELD_IF_MODIFIED_SINCE, validators, &date_s)) { /* step 4 */
        if (validators->last_modified_s == date_s) { /* an earlier one is another version: a release rolled back */
            return PRECONDITION_NOT_MODIFIED;
        }
    }
    return PRECONDITION_HOLDS;
}

static bool is_strong_date(int64_t last_modified_s, int64_t now_s)
{
    return last_modified_s < now_s;
}

/* Whether a value of If-Range, which is one entity tag or one date, names the representation. */
static bool names_version(const char *value, size_t len, const struct validators *validators)
{
    if (etag_length(value, len) == len && len > 0) {
        return etags_match(value, len, validators->etag, validators->etag_len, ETAG_STRONG);
    }
    int64_t now_s = sys_wall_time_s();
    int64_t date_s = 0;
    return validators->has_last_modified && http_date_parse(value, len, now_s, &date_s) &&
           date_s == validators->last_modified_s && is_strong_date(date_s, now_s);
}

const struct field *conditional_range(const struct head *head, const char *data, const struct validators *validators)
{
    const struct field *range = first_line(head, FIELD_RANGE);
    if (range == NULL || head->method != METHOD_GET || next_line(head, data, range) != NULL) {
        return NULL;
    }
    const struct field *if_range = first_line(head, FIELD_IF_RANGE);
    bool holds = if_range == NULL || (next_line(head, data, if_range) == NULL &&
                                      names_version(data + if_range->value.offset, if_range->value.len, validators));
    return holds ? range : NULL;
}
