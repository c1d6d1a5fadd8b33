#ifndef EVSERVE_HTTP_LIMITS_H
#define EVSERVE_HTTP_LIMITS_H

/* The limits and timeouts of one server, made from the table in http/limits.def. Milliseconds end in _ms, bytes in
 * _bytes, counts in nothing. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIMIT_FIELD_MS(name)    name##_ms
#define LIMIT_FIELD_BYTES(name) name##_bytes
#define LIMIT_FIELD_COUNT(name) name
#define LIMIT_FIELD_FLAG(name)  name

struct limits {
#define LIMIT(name, scope, unit, initial, least, most, what) uint64_t LIMIT_FIELD_##unit(name);
#include "http/limits.def"
#undef LIMIT
};

enum limit_unit {
    LIMIT_MS,
    LIMIT_BYTES,
    LIMIT_COUNT,
    LIMIT_FLAG, /* 0 or 1; of the settings of other layers, whose tables have rows like these */
};

/* Where a limit may differ. */
enum limit_scope {
    LIMIT_ROUTE,  /* from route to route */
    LIMIT_SERVER, /* nowhere: it is in use before the route is known, or about all of them together */
};

/* One row of the table. */
struct limit_info {
    const char *name;       /* as Lua and error texts call it: "idle_timeout" */
    enum limit_scope scope; /* where it may differ */
    enum limit_unit unit;   /* what its number counts */
    size_t offset;          /* of its uint64_t in struct limits */
    uint64_t initial;       /* default */
    uint64_t least, most;   /* allowed range, both ends included */
    const char *what;       /* one phrase for people */
};

extern const struct limit_info limit_table[];
extern const size_t limit_table_len;

/* Set every limit to its default. */
void limits_init(struct limits *limits);

/* The row called name, or NULL. */
const struct limit_info *limits_find(const char *name);

/* Whether a row allows value: 0, or -ERANGE with a text that names the limit and its range. */
int limit_check_value(const struct limit_info *info, uint64_t value, char *err, size_t errlen);

/* Whether a number without a unit was most likely meant in seconds: less than a second for a timeout of a connection or
 * of a request, whose unit is the millisecond, and less than 100 ms for drain_delay, drain_grace and log_slow,
 * and less than 10 ms for stall_warning. */
bool limit_looks_like_seconds(const struct limit_info *info, uint64_t value);

/* The value of a row. */
uint64_t limits_get(const struct limits *limits, const struct limit_info *info);

/* Set one limit. Returns 0, or -ERANGE with a text that names the limit and its range. */
int limits_set(struct limits *limits, const struct limit_info *info, uint64_t value, char *err, size_t errlen);

/* Parse a number with a unit: "30s", "500ms", "2m", "1h" for milliseconds, "64K", "1M", "1G" (powers of 1024) for
 * bytes; a bare number counts bytes, while a time other than 0 needs its unit. Returns 0, or -EINVAL with a text that
 * quotes it. */
int limits_parse_value(enum limit_unit unit, const char *text, uint64_t *value, char *err, size_t errlen);

/* Turn the limits of a whole server into those that each of its servers (1 or more) has its share of: together they
 * allow no less. */
void limits_share(struct limits *limits, uint64_t servers);

/* Limits that contradict each other: 0, or -EINVAL with a text that names both. */
int limits_check(const struct limits *limits, char *err, size_t errlen);

#endif
