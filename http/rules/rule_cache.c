/* Happy path: the entries are sorted when the rule is added; the first that fits a response has its line ready.
 * Failure modes: a pattern or a value that means nothing is an error text. */

#include "http/rules/rule_cache.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/mem.h"
#include "http/char_class.h"
#include "http/exchange.h"
#include "http/mime.h"
#include "http/response_fields.h"
#include "http/rules/rule_head.h"
#include "http/rules/rules.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CACHE_PATTERN_MAX = 256, /* bytes of a pattern, with its NUL */
    CACHING_LINE_MAX = 512,  /* bytes of a line, with its NUL */
};

struct cache_entry {
    bool is_type;                    /* pattern is about the media type */
    bool has_star;                   /* it has a * */
    uint32_t line_len;               /* bytes */
    char pattern[CACHE_PATTERN_MAX]; /* a media type in lower case */
    char line[CACHING_LINE_MAX];     /* "Cache-Control: ..." and CRLF */
};

struct cache {
    size_t count;
    struct cache_entry entries[]; /* the most exact first */
};

static const char caching_name[] = "Cache-Control";
static const char byteranges[] = "multipart/byteranges";

/* Matching. */

/* Whether text is what pattern says, whose * is any text. On a mismatch the last * takes one byte more, so the work is
 * the product of the lengths at most. */
static bool glob_fits(const char *pattern, const char *text, size_t len)
{
    const char *star = NULL, *end = text + len, *star_text = NULL;
    while (text < end) {
        if (*pattern == '*') {
            star = pattern++;
            star_text = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star + 1;
            text = ++star_text;
        } else {
            return false;
        }
    }
    while (*pattern == '*') {
        pattern++;
    }
    return *pattern == '\0';
}

/* The media type of a response in lower case, without parameters; "" when it is not known or too long. */
static void find_type(const struct exchange *exchange, const struct rule_head *head, char type[CACHE_PATTERN_MAX])
{
    size_t len = 0;
    const char *value = head->type;
    if (value == NULL) {
        value = response_added_field(exchange, "Content-Type", 12, &len);
    } else {
        len = strlen(value);
    }
    bool is_several = value != NULL && head->status == 206 && exchange->path[exchange->path_len - 1] != '/' &&
                      len >= sizeof byteranges - 1 && ascii_equals(value, byteranges, sizeof byteranges - 1);
    /* Of a handler's 304, and of several ranges, whose parts have the type: by the name, as far as that tells. */
    if (is_several || (value == NULL && head->status == 304)) {
        value = mime_type(exchange->path, exchange->path_len);
        len = !is_several && strcmp(value, "application/octet-stream") == 0 ? 0 : strlen(value);
    }
    size_t end = 0;
    while (end < len && value[end] != ';' && value[end] != ' ') {
        end++;
    }
    end = end < CACHE_PATTERN_MAX ? end : 0;
    for (size_t i = 0; i < end; i++) {
        type[i] = ascii_lower(value[i]);
    }
    type[end] = '\0';
}

static const struct cache_entry *find_caching(const struct cache *cache, const char *name, size_t name_len,
                                              const char *type)
{
    for (size_t i = 0; i < cache->count; i++) {
        const struct cache_entry *entry = &cache->entries[i];
        const char *text = entry->is_type ? type : name;
        size_t len = entry->is_type ? strlen(type) : name_len;
        if (glob_fits(entry->pattern, text, len)) {
            return entry;
        }
    }
    return NULL;
}

static int put_caching(struct exchange *exchange, const struct rule *first, struct rule_head *head)
{
    enum method method = exchange->head.method;
    bool is_kept = (method == METHOD_GET || method == METHOD_HEAD) &&
                   (head->status == 200 || head->status == 206 || head->status == 304);
    if (!is_kept || rule_head_has(exchange, head, caching_name, sizeof caching_name - 1)) {
        return 0;
    }
    char type[CACHE_PATTERN_MAX];
    find_type(exchange, head, type);
    const char *slash = memrchr(exchange->path, '/', exchange->path_len);
    const char *name = slash == NULL ? exchange->path : slash + 1;
    size_t name_len = (size_t)(exchange->path + exchange->path_len - name);
    const struct cache_entry *entry = NULL;
    for (; entry == NULL && first != NULL; first = rule_next(first, exchange->path, exchange->path_len)) {
        entry = find_caching(first->data, name, name_len, type);
    }
    return entry == NULL ? 0 : rule_head_add(exchange, entry->line, entry->line_len);
}

static const struct rules_kind cache_kind = {
    .order = RULE_CACHE,
    .on_head = put_caching,
    .destroy = mem_free,
    .name = "app.cache",
    .host_name = "evs_rule.cache",
};

/* Adding. */

/* Read "30d" or "0": seconds, or -1. */
static int64_t read_age(const char *text, size_t len)
{
    static const char units[] = "smhdwy";
    static const int64_t seconds[] = {1, 60, 3600, 86400, 604800, 31536000};
    int64_t number = 0;
    size_t digits = 0;
    for (; digits < len && text[digits] >= '0' && text[digits] <= '9'; digits++) {
        number = number < INT32_MAX ? 10 * number + (text[digits] - '0') : number;
    }
    const char *unit = digits + 1 == len ? strchr(units, text[digits]) : NULL;
    if (unit != NULL && text[digits] != '\0') {
        number *= seconds[unit - units];
    } else if (digits != len || number != 0) {
        return -1;
    }
    return digits > 0 && number <= INT32_MAX ? number : -1; /* RFC 9111 section 1.2.2: others need not be understood */
}

/* Whether text is a directive: one that is known, since a slip would go unnoticed (RFC 9111 section 5.2.2, RFC 5861,
 * RFC 8246). */
static bool is_directive(const char *text, size_t len)
{
    static const char *const known[] = {
        "immutable",
        "max-age",
        "must-revalidate",
        "must-understand",
        "no-cache",
        "no-store",
        "no-transform",
        "private",
        "proxy-revalidate",
        "public",
        "s-maxage",
        "stale-if-error",
        "stale-while-revalidate",
    };
    const char *equals = memchr(text, '=', len);
    size_t name_len = equals == NULL ? len : (size_t)(equals - text);
    for (size_t i = name_len; i < len; i++) {
        if (!char_is(text[i], CLASS_VALUE)) {
            return false;
        }
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (ascii_is(text, name_len, known[i])) {
            return true;
        }
    }
    return false;
}

/* Write the line of a value. Returns 0, or -EINVAL. */
static int write_caching(struct cache_entry *entry, const char *value)
{
    const char *rest = value;
    int len = snprintf(entry->line, sizeof entry->line, "%s:", caching_name);
    do {
        rest += strspn(rest, " ");
        size_t part = strcspn(rest, ",");
        const char *begin = rest;
        rest += part + (rest[part] == ',');
        while (part > 0 && begin[part - 1] == ' ') {
            part--;
        }
        int64_t age_s = len == sizeof caching_name ? read_age(begin, part) : -1;
        if (part > CACHING_LINE_MAX || (age_s < 0 && !is_directive(begin, part))) {
            return -EINVAL;
        }
        char *at = entry->line + len;
        size_t room = sizeof entry->line - (size_t)len;
        const char *comma = len == sizeof caching_name ? "" : ",";
        len += age_s >= 0 ? snprintf(at, room, "%s max-age=%" PRId64, comma, age_s)
                          : snprintf(at, room, "%s %.*s", comma, (int)part, begin);
        if ((size_t)len + sizeof "\r\n" > sizeof entry->line) {
            return -EINVAL;
        }
    } while (*rest != '\0' || rest[-1] == ',');
    memcpy(entry->line + len, "\r\n", sizeof "\r\n");
    entry->line_len = (uint32_t)len + 2;
    return 0;
}

static bool is_pattern(const char *pattern)
{
    const char *slash = strchr(pattern, '/');
    bool is_one = slash == NULL || (slash != pattern && slash[1] != '\0' && strchr(slash + 1, '/') == NULL);
    return is_one && pattern[0] != '\0' && strlen(pattern) < CACHE_PATTERN_MAX && strchr(pattern, ';') == NULL;
}

/* Whether the part of a media type in front of its slash is one that responses have. */
static bool is_type_family(const char *pattern, size_t len)
{
    static const char *const known[] = {"application", "audio",   "chemical", "example",   "font", "haptics",
                                        "image",       "message", "model",    "multipart", "text", "video"};
    bool is_known = memchr(pattern, '*', len) != NULL || (len > 2 && ascii_is(pattern, 2, "x-"));
    for (size_t i = 0; !is_known && i < sizeof known / sizeof known[0]; i++) {
        is_known = ascii_is(pattern, len, known[i]);
    }
    return is_known;
}

/* Refuse what is written for something else, and would fit nothing that a site has. Returns 0, or -EINVAL with a text
 * that says what to write. */
static int check_fits(const char *pattern, char *err, size_t errlen)
{
    const char *slash = strchr(pattern, '/'), *odd = strpbrk(pattern, "{?");
    const char *second = strstr(pattern, ",*") != NULL ? strstr(pattern, ",*") : strstr(pattern, ", *");
    if (odd != NULL || second != NULL) {
        return error_text(
            err, errlen, -EINVAL,
            "\"%.100s\": only * has a meaning in it, so \"%c\" would stand for itself: write an entry for "
            "each, such as \"*.css\" and \"*.js\"",
            pattern, odd != NULL ? *odd : ',');
    }
    if (pattern[0] == '.' && strchr(pattern, '*') == NULL) {
        return error_text(err, errlen, -EINVAL, "\"%.100s\" would fit only a file of that very name: write \"*%.100s\"",
                          pattern, pattern);
    }
    if (slash != NULL && !is_type_family(pattern, (size_t)(slash - pattern))) {
        int len = (int)(slash - pattern);
        return error_text(err, errlen, -EINVAL,
                          "\"%.100s\": there is no media type \"%.*s\", and only the last segment of a path is looked "
                          "at: write \"%.100s\" in a rule for the prefix, such as \"/%.*s\"",
                          pattern, len < 100 ? len : 100, pattern, slash + 1, len < 100 ? len : 100, pattern);
    }
    return 0;
}

static int make_caching(struct cache_entry *entry, const struct rule_cache_entry *given, char *err, size_t errlen)
{
    if (!is_pattern(given->pattern)) {
        return error_text(err, errlen, -EINVAL,
                          "\"%.100s\": a name such as \"*.css\" or a media type such as \"image/*\" expected",
                          given->pattern);
    }
    if (check_fits(given->pattern, err, errlen) < 0) {
        return -EINVAL;
    }
    if (write_caching(entry, given->value) < 0) {
        return error_text(err, errlen, -EINVAL,
                          "\"%.100s\": a time with a unit, directives of Cache-Control, or both expected, such as "
                          "\"30d\", \"no-cache\" or \"1y, immutable\"; got \"%.100s\"",
                          given->pattern, given->value);
    }
    entry->is_type = strchr(given->pattern, '/') != NULL;
    entry->has_star = strchr(given->pattern, '*') != NULL;
    size_t len = strlen(given->pattern);
    for (size_t i = 0; i <= len; i++) {
        entry->pattern[i] = entry->is_type ? ascii_lower(given->pattern[i]) : given->pattern[i];
    }
    return 0;
}

/* The more exact one first, and a total order, since tables of Lua have none. */
static int compare_entries(const void *left, const void *right)
{
    const struct cache_entry *a = left, *b = right;
    if (a->is_type != b->is_type) {
        return a->is_type ? 1 : -1;
    }
    if (a->has_star != b->has_star) {
        return a->has_star ? 1 : -1;
    }
    size_t a_len = strlen(a->pattern), b_len = strlen(b->pattern);
    return a_len != b_len ? (a_len < b_len ? 1 : -1) : strcmp(a->pattern, b->pattern);
}

int rule_cache_add(struct rules **rules, const char *prefix, const struct rule_cache_entry *entries, size_t count,
                   char *err, size_t errlen)
{
    if (count == 0 || count > CACHE_ENTRIES_MAX) {
        return error_text(err, errlen, count == 0 ? -EINVAL : -ENOSPC, "%zu entries: 1 to %d are possible", count,
                          CACHE_ENTRIES_MAX);
    }
    struct cache *cache = mem_alloc(sizeof *cache + count * sizeof cache->entries[0]);
    if (cache == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    cache->count = count;
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < count; i++) {
        rv = make_caching(&cache->entries[i], &entries[i], err, errlen);
    }
    if (rv == 0) {
        qsort(cache->entries, count, sizeof cache->entries[0], compare_entries);
        (void)rules_add(rules, &cache_kind, prefix, cache, &rv, err, errlen);
    }
    if (rv < 0) {
        mem_free(cache);
    }
    return rv;
}
