/* Conditions on entity tags and dates.
 *
 * A condition that cannot be read never yields 304: a list of entity tags covers nothing from its first malformed
 * element on, and a date that is no HTTP-date is as if it were not there, as RFC 9110 sections 13.1.3 and 13.1.4 have
 * it. So a client with an odd idea of the syntax gets the whole answer, or 412 where it asked for If-Match. */

#include "http/conditional.h"

#include "core/sys.h"

#include <string.h>
#include <strings.h>
#include <time.h>

/* Dates. */

enum { SECONDS_PER_DAY = 86400, DAYS_TO_EPOCH = 719162 }; /* from 1 January of the year 1 to 1 January 1970 */

struct date {
    int year, month, day; /* month 0 to 11, day from 1 */
    int hour, minute, second;
};

static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char day_names[] = "MonTueWedThuFriSatSun";
static const char *const long_day_names[] = {"Monday, ", "Tuesday, ",  "Wednesday, ", "Thursday, ",
                                             "Friday, ", "Saturday, ", "Sunday, "};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_leap_year(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int64_t date_to_seconds(const struct date *date)
{
    static const int days_before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    /* Leap days are counted in the 400 years from which year 0 is not special. */
    int64_t past = (int64_t)date->year - 1 + 400;
    int64_t days = past * 365 + past / 4 - past / 100 + past / 400 - (400 * 365 + 97);
    days += days_before[date->month] + (date->month > 1 && is_leap_year(date->year) ? 1 : 0) + date->day - 1;
    int seconds = date->hour * 3600 + date->minute * 60 + date->second;
    return (days - DAYS_TO_EPOCH) * SECONDS_PER_DAY + seconds;
}

static bool is_valid_date(const struct date *date)
{
    static const int days_in[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int days = days_in[date->month] + (date->month == 1 && is_leap_year(date->year) ? 1 : 0);
    /* A leap second is written as 60. */
    return date->day >= 1 && date->day <= days && date->hour <= 23 && date->minute <= 59 && date->second <= 60;
}

/* The number that a letter of a pattern stands for, or NULL. */
static int *date_number(struct date *date, char letter)
{
    switch (letter) {
    case 'D':
    case '_':
        return &date->day;
    case 'Y':
        return &date->year;
    case 'h':
        return &date->hour;
    case 'm':
        return &date->minute;
    case 's':
        return &date->second;
    default:
        return NULL;
    }
}

static int find_month(const char *name)
{
    for (int month = 0; month < 12; month++) {
        if (memcmp(name, month_names + (size_t)month * 3, 3) == 0) {
            return month;
        }
    }
    return -1;
}

/* Read a date as pattern says: D, Y, h, m and s are digits of the day, the year and the time, "_" is a digit of the day
 * or a space, NNN the name of a month, and everything else stands for itself. */
static bool match_date(const char *text, size_t len, const char *pattern, struct date *date)
{
    *date = (struct date){0};
    if (len != strlen(pattern)) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        int *number = date_number(date, pattern[i]);
        if (pattern[i] == 'N') {
            date->month = find_month(text + i);
            i += 2;
            if (date->month < 0) {
                return false;
            }
        } else if (number != NULL && is_digit(text[i])) {
            *number = *number * 10 + (text[i] - '0');
        } else if (text[i] != (pattern[i] == '_' ? ' ' : pattern[i]) || (number != NULL && pattern[i] != '_')) {
            return false;
        }
    }
    return true;
}

/* A two-digit year is the latest that is not more than 50 years from now (RFC 9110 section 5.6.7). */
static void settle_century(struct date *date, int64_t now_s)
{
    struct tm now;
    time_t time = now_s;
    if (gmtime_r(&time, &now) == NULL) {
        return;
    }
    struct date horizon = {now.tm_year + 1900 + 50, now.tm_mon, now.tm_mday, now.tm_hour, now.tm_min, now.tm_sec};
    date->year += horizon.year / 100 * 100;
    if (date_to_seconds(date) > date_to_seconds(&horizon)) {
        date->year -= 100;
    }
}

/* The length of the day's name that text begins with, with what separates it from the date, or 0. */
static size_t match_long_day_name(const char *text, size_t len)
{
    for (size_t i = 0; i < sizeof long_day_names / sizeof long_day_names[0]; i++) {
        size_t name_len = strlen(long_day_names[i]);
        if (len > name_len && memcmp(text, long_day_names[i], name_len) == 0) {
            return name_len;
        }
    }
    return 0;
}

static bool begins_with_day_name(const char *text, size_t len)
{
    for (size_t i = 0; len >= 3 && i < sizeof day_names - 1; i += 3) {
        if (memcmp(text, day_names + i, 3) == 0) {
            return true;
        }
    }
    return false;
}

bool http_date_parse(const char *text, size_t len, int64_t now_s, int64_t *time_s)
{
    if (!begins_with_day_name(text, len)) {
        return false;
    }
    struct date date;
    size_t name_len = match_long_day_name(text, len);
    if (name_len > 0) { /* obsolete RFC 850 format */
        if (!match_date(text + name_len, len - name_len, "DD-NNN-YY hh:mm:ss GMT", &date)) {
            return false;
        }
        settle_century(&date, now_s);
    } else if (!match_date(text + 3, len - 3, ", DD NNN YYYY hh:mm:ss GMT", &date) && /* IMF-fixdate */
               !match_date(text + 3, len - 3, " NNN _D hh:mm:ss YYYY", &date)) {      /* ANSI C's asctime() */
        return false;
    }
    if (!is_valid_date(&date)) {
        return false;
    }
    *time_s = date_to_seconds(&date);
    return true;
}

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

static size_t skip_whitespace(const char *text, size_t len, size_t i)
{
    while (i < len && (text[i] == ' ' || text[i] == '\t')) {
        i++;
    }
    return i;
}

bool conditional_list_covers(const char *list, size_t len, const char *etag, size_t etag_len,
                             enum etag_comparison comparison)
{
    if (len == 1 && list[0] == '*') {
        return true;
    }
    for (size_t i = skip_whitespace(list, len, 0); i < len; i = skip_whitespace(list, len, i)) {
        if (list[i] == ',') { /* empty elements are legal (RFC 9110 section 5.6.1.2) */
            i++;
            continue;
        }
        size_t found = etag_length(list + i, len - i);
        size_t end = skip_whitespace(list, len, i + found);
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
           strncasecmp(data + field->name.offset, data + other->name.offset, field->name.len) == 0;
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

/* Read a date to compare Last-Modified with. False when the condition is to be ignored: there is none, it is no
 * HTTP-date or more than one, or the representation has no date. */
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
        if (validators->last_modified_s <= date_s) {
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
