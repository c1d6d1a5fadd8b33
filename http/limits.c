/* The table of limits, and the only code that turns a text or a number into one of them.
 *
 * Happy path: limits_init() for the defaults; for each setting of the user limits_find(), limits_parse_value() when it
 * came as a text, limits_set(); at the end limits_check().
 * Failure: a text that is no number with a known unit, a number outside the row's range, two limits that contradict
 * each other. Each leaves the limits as they were and says so in a text for the user. */

#include "http/limits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const struct limit_info limit_table[] = {
#define LIMIT(name, scope, unit, initial, least, most, what)                                                           \
    {#name, LIMIT_##scope, LIMIT_##unit, offsetof(struct limits, LIMIT_FIELD_##unit(name)), initial, least, most, what},
#include "http/limits.def"
#undef LIMIT
};
const size_t limit_table_len = sizeof limit_table / sizeof limit_table[0];

static uint64_t *value_of(struct limits *limits, const struct limit_info *info)
{
    return (uint64_t *)(void *)((char *)limits + info->offset);
}

void limits_init(struct limits *limits)
{
    for (size_t i = 0; i < limit_table_len; i++) {
        *value_of(limits, &limit_table[i]) = limit_table[i].initial;
    }
}

const struct limit_info *limits_find(const char *name)
{
    for (size_t i = 0; i < limit_table_len; i++) {
        if (strcmp(limit_table[i].name, name) == 0) {
            return &limit_table[i];
        }
    }
    return NULL;
}

uint64_t limits_get(const struct limits *limits, const struct limit_info *info)
{
    return *(const uint64_t *)(const void *)((const char *)limits + info->offset);
}

static const char *unit_name(enum limit_unit unit)
{
    return unit == LIMIT_MS ? " ms" : unit == LIMIT_BYTES ? " bytes" : "";
}

/* The kernel counts tcp_keepalive in seconds (tcp(7)): what is not even one was most likely meant in seconds. */
static bool lacks_unit(const struct limit_info *info, uint64_t value)
{
    return value > 0 && value < 1000 && strcmp(info->name, "tcp_keepalive") == 0;
}

int limit_check_value(const struct limit_info *info, uint64_t value, char *err, size_t errlen)
{
    if (value < info->least || value > info->most) {
        snprintf(err, errlen, "%s: %llu is out of range (%llu to %llu%s)", info->name, (unsigned long long)value,
                 (unsigned long long)info->least, (unsigned long long)info->most, unit_name(info->unit));
        return -ERANGE;
    }
    if (lacks_unit(info, value)) {
        unsigned long long number = value;
        snprintf(err, errlen,
                 "%s: %llu is out of range (0, or 1000 to %llu ms; %llu seconds are %llu, or \"%llus\" in a script)",
                 info->name, number, (unsigned long long)info->most, number, number * 1000, number);
        return -ERANGE;
    }
    return 0;
}

bool limit_looks_like_seconds(const struct limit_info *info, uint64_t value)
{
    static const struct {
        const char *suffix;
        uint64_t below_ms;
    } rows[] = {{"_timeout", 1000}, {"_delay", 100}, {"_grace", 100}, {"_slow", 100},
                {"_warning", 10},   {"_age", 1000},  {"ping", 1000}};
    size_t len = strlen(info->name);
    for (size_t i = 0; info->unit == LIMIT_MS && value > 0 && i < sizeof rows / sizeof rows[0]; i++) {
        size_t end = strlen(rows[i].suffix);
        if (len >= end && strcmp(info->name + len - end, rows[i].suffix) == 0) {
            return value < rows[i].below_ms;
        }
    }
    return false;
}

int limits_set(struct limits *limits, const struct limit_info *info, uint64_t value, char *err, size_t errlen)
{
    int rv = limit_check_value(info, value, err, errlen);
    if (rv == 0) {
        *value_of(limits, info) = value;
    }
    return rv;
}

/* What a suffix multiplies by, 0 when the unit does not know it. */
static uint64_t suffix_factor(enum limit_unit unit, const char *suffix)
{
    static const struct {
        enum limit_unit unit; /* of the limit */
        const char *suffix;   /* after the number */
        uint64_t factor;      /* to the base unit */
    } suffixes[] = {
        {LIMIT_MS, "ms", 1},         {LIMIT_MS, "s", 1000},       {LIMIT_MS, "m", 60000},
        {LIMIT_MS, "h", 3600000},    {LIMIT_BYTES, "K", 1 << 10}, {LIMIT_BYTES, "k", 1 << 10},
        {LIMIT_BYTES, "M", 1 << 20}, {LIMIT_BYTES, "m", 1 << 20}, {LIMIT_BYTES, "G", 1 << 30},
        {LIMIT_BYTES, "g", 1 << 30},
    };

    if (*suffix == '\0' && unit != LIMIT_FLAG) {
        return 1;
    }
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        if (suffixes[i].unit == unit && strcmp(suffixes[i].suffix, suffix) == 0) {
            return suffixes[i].factor;
        }
    }
    return 0;
}

static int refuse_number(enum limit_unit unit, const char *text, char *err, size_t errlen)
{
    static const char *const wanted[] = {
        [LIMIT_MS] = "a whole number with a unit (ms, s, m or h), such as \"30s\"",
        [LIMIT_BYTES] = "a whole number of bytes, or one with K, M or G, such as \"64K\"",
        [LIMIT_COUNT] = "a whole number",
        [LIMIT_FLAG] = "true or false",
    };

    snprintf(err, errlen, "\"%s\" is not %s", text, wanted[unit]);
    return -EINVAL;
}

int limits_parse_value(enum limit_unit unit, const char *text, uint64_t *value, char *err, size_t errlen)
{
    uint64_t number = 0;
    const char *p = text;
    bool fits = true;

    for (; *p >= '0' && *p <= '9'; p++) {
        fits = fits && !__builtin_mul_overflow(number, 10, &number) &&
               !__builtin_add_overflow(number, (uint64_t)(*p - '0'), &number);
    }
    uint64_t factor = suffix_factor(unit, p);
    bool needs_unit = unit == LIMIT_MS && *p == '\0' && number != 0; /* "30" might be meant as seconds */
    if (p == text || factor == 0 || needs_unit) {
        return refuse_number(unit, text, err, errlen);
    }
    if (!fits || __builtin_mul_overflow(number, factor, &number)) {
        snprintf(err, errlen, "\"%s\" is too large", text);
        return -EINVAL;
    }
    *value = number;
    return 0;
}

int limits_check(const struct limits *limits, char *err, size_t errlen)
{
    if (limits->write_high_mark_bytes > limits->write_cap_bytes) {
        snprintf(err, errlen, "write_high_mark (%llu bytes) is above write_cap (%llu bytes)",
                 (unsigned long long)limits->write_high_mark_bytes, (unsigned long long)limits->write_cap_bytes);
        return -EINVAL;
    }
    return 0;
}

void limits_share(struct limits *limits, uint64_t servers)
{
    limits->max_connections = (limits->max_connections + servers - 1) / servers;
    limits->max_connections_per_address = (limits->max_connections_per_address + servers - 1) / servers;
}
