#ifndef EVSERVE_LUA_REGEX_H
#define EVSERVE_LUA_REGEX_H

/* Regular expressions of Perl's kind, by PCRE2, whose library is loaded when the first of them is made. A pattern is
 * compiled once and kept: a cache holds up to REGEX_CACHE_MAX of them, and REGEX_CACHE_BYTES; those that were not used
 * for the longest time make room. A match takes a bounded number of steps. PCRE2 does not count what a step costs, and
 * a step can look at the whole subject: so long subjects need REGEX_TIMED. Nothing here knows Lua.
 *
 * A cache belongs to one thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct regex;
struct regex_cache;

enum {
    REGEX_CACHE_MAX = 1000,      /* patterns */
    REGEX_CACHE_BYTES = 8 << 20, /* of what they were compiled to */
    REGEX_PATTERN_MAX = 65536,   /* bytes of a pattern */
    REGEX_STEPS_MAX = 1000000,   /* of one match: some ten milliseconds, if the subject is short */
    REGEX_TIME_MAX_MS = 100,     /* processor time of one match of a pattern with REGEX_TIMED */
    REGEX_SHORT_MAX = 256,       /* bytes of a subject that needs no REGEX_TIMED */
    REGEX_MATCH_KIB = 16384,     /* memory of one match */
    REGEX_GROUPS_MAX = 200,      /* of a pattern, the whole match not counted */
    REGEX_ERROR_MAX = 512,       /* bytes of an error text with its NUL */
};

enum regex_option {
    REGEX_ANCHORED = 1,     /* a: matches only where it begins to look */
    REGEX_DUPLICATES = 2,   /* D: names of groups may repeat */
    REGEX_CASELESS = 4,     /* i */
    REGEX_MULTILINE = 8,    /* m */
    REGEX_DOTALL = 16,      /* s */
    REGEX_UTF = 32,         /* u: pattern and subject are UTF-8, which is checked */
    REGEX_UTF_TRUSTED = 64, /* U: the same: PCRE2 would read beyond a subject that is not UTF-8 */
    REGEX_EXTENDED = 128,   /* x */
    REGEX_JIT = 256,        /* j: compiled to machine code, where the process may have some */
    REGEX_JAVASCRIPT = 512, /* J: a group that was not set matches nothing; \u is as in JavaScript */
    REGEX_TIMED = 1024,     /* matches look at the clock before each item, and end after REGEX_TIME_MAX_MS */
};

/* Have the library loaded now, rather than by the first pattern, which may be too late for that: a sandbox does not
 * allow it. Any thread. Returns 0, or -ELIBACC with a text in err: it is not there, or not in this build. */
int regex_load(char *err, size_t errlen);

/* An empty cache, or NULL for want of memory; and its end, with all patterns in it. NULL is allowed. */
struct regex_cache *regex_cache_create(void);
void regex_cache_destroy(struct regex_cache *cache);

/* The pattern, compiled, or found again; valid until the next call. Returns 0; -EINVAL, -ELIBACC or -ENOMEM with a text
 * in err. */
int regex_find(struct regex_cache *cache, const char *pattern, size_t len, unsigned options, struct regex **regex,
               char *err, size_t errlen);

/* How many groups it has, the whole match not counted. */
unsigned regex_groups(const struct regex *regex);

/* The n-th of its named groups, by name: its number. Returns false behind the last one. */
bool regex_name(const struct regex *regex, unsigned n, const char **name, unsigned *group);

/* Look for a match in subject from offset on. is_checked: an earlier call that began at offset 0 has found the same
 * subject to be UTF-8, and offset is where a character begins. Returns how many groups were set (1: the match alone),
 * 0: there is none; -ERANGE: too many steps, too much time or too much memory; -EILSEQ: the subject is not UTF-8;
 * another -errno. */
int regex_match(struct regex_cache *cache, const struct regex *regex, const char *subject, size_t len, size_t offset,
                bool is_checked);

/* Where the group of the last match begins and ends. Returns false if it is not part of it. */
bool regex_group(const struct regex_cache *cache, unsigned group, size_t *begin, size_t *end);

/* What the cache holds: for tests. */
size_t regex_cache_count(const struct regex_cache *cache);
size_t regex_cache_bytes(const struct regex_cache *cache);

#endif
