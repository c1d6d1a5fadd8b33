/* Happy path: regex_find() finds the pattern in the table, or compiles it; regex_match() runs it, and leaves the places
 * of its groups in the cache's match data.
 *
 * Failure modes: PCRE2 is not there; a pattern that PCRE2 does not take, or that is too large; a match that would take
 * too long ends with -ERANGE. Where the process may not make memory executable, patterns are interpreted. */

#include "lua/regex.h"

#include "core/keyed_hash.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "lua/regex_pcre2.h"

#include <errno.h>
#include <string.h>

int regex_load(char *err, size_t errlen)
{
    return regex_pcre2_load(err, errlen);
}

#ifdef EVSERVE_HAS_PCRE2

enum {
    REGEX_SLOTS = 1024,         /* of the table; a power of two */
    JIT_STACK_START = 32 << 10, /* bytes of the stack of machine code: at first, */
    JIT_STACK_MAX = 1 << 20,    /* and at most */
    TIMED_BYTES = 1 << 22,      /* of subjects that may be looked at between two looks at the clock */
    TIMED_ITEMS_MAX = 4096,     /* items of a pattern that may begin meanwhile */
    REGEX_MESSAGE_MAX = 160,    /* bytes of PCRE2's own text */
    REGEX_QUOTE_MAX = 100,      /* bytes of a pattern in an error text */
};

/* A pattern with its options. */
struct regex {
    struct regex *next;          /* in its slot */
    struct regex *newer, *older; /* by their last use */
    pcre2_code *code;            /* compiled */
    size_t bytes;                /* that count for it */
    unsigned options;            /* set of enum regex_option */
    uint32_t groups;             /* the whole match not counted */
    uint32_t name_count;         /* of those that have names */
    uint32_t name_room;          /* bytes of an entry of names */
    const uint8_t *names;        /* PCRE2's table: two bytes of the number, and the name with its NUL */
    uint32_t slot;               /* in the table */
    size_t len;                  /* of text */
    char text[];                 /* the pattern */
};

struct regex_cache {
    pcre2_general_context *memory;  /* how PCRE2 allocates */
    pcre2_compile_context *compile; /* limits of patterns */
    pcre2_match_context *limits;    /* limits of matches */
    pcre2_match_data *match;        /* of the last match */
    pcre2_jit_stack *stack;         /* of machine code; NULL until a pattern has some */
    size_t items_between;           /* items that begin between two looks at the clock, */
    size_t items_left;              /* and until the next one */
    int64_t end_ns;                 /* processor time of the thread at which the match ends; 0: no look yet */
    struct hash_key key;            /* of the table */
    struct regex *newest, *oldest;  /* by their last use */
    size_t count, bytes;            /* of all patterns */
    struct regex *slots[REGEX_SLOTS];
};

static void *regex_allocate(size_t size, void *arg)
{
    (void)arg;
    return mem_alloc(size);
}

static void regex_release(void *block, void *arg)
{
    (void)arg;
    mem_free(block);
}

struct regex_cache *regex_cache_create(void)
{
    struct regex_cache *cache = mem_zalloc(sizeof *cache);
    if (cache == NULL) {
        return NULL;
    }
    if (sys_random(&cache->key, sizeof cache->key) < 0) {
        cache->key.words[0] = (uint64_t)sys_now_ns();
    }
    return cache;
}

/* PCRE2 calls this before each item of a pattern with REGEX_TIMED. Negative: the match ends with that. */
static int on_regex_item(pcre2_callout_block *block, void *arg)
{
    struct regex_cache *cache = arg;
    (void)block;
    if (--cache->items_left > 0) {
        return 0;
    }
    int64_t now = sys_thread_cpu_ns();
    cache->items_left = cache->items_between;
    if (cache->end_ns == 0) {
        cache->end_ns = now + INT64_C(1000000) * REGEX_TIME_MAX_MS;
    }
    return now < cache->end_ns ? 0 : PCRE2_ERROR_MATCHLIMIT;
}

/* What PCRE2 needs, when the library is there. Returns 0 or -ENOMEM, with a part of it made. */
static int prepare(struct regex_cache *cache)
{
    if (cache->match != NULL) {
        return 0;
    }
    if (cache->memory == NULL) {
        cache->memory = regex_pcre2.pcre2_general_context_create_8(regex_allocate, regex_release, NULL);
    }
    if (cache->memory != NULL && cache->compile == NULL) {
        cache->compile = regex_pcre2.pcre2_compile_context_create_8(cache->memory);
    }
    if (cache->compile != NULL && cache->limits == NULL) {
        cache->limits = regex_pcre2.pcre2_match_context_create_8(cache->memory);
    }
    if (cache->limits == NULL) {
        return -ENOMEM;
    }
    regex_pcre2.pcre2_set_max_pattern_length_8(cache->compile, REGEX_PATTERN_MAX);
    regex_pcre2.pcre2_set_match_limit_8(cache->limits, REGEX_STEPS_MAX);
    regex_pcre2.pcre2_set_heap_limit_8(cache->limits, REGEX_MATCH_KIB);
    regex_pcre2.pcre2_set_callout_8(cache->limits, on_regex_item, cache);
    cache->match = regex_pcre2.pcre2_match_data_create_8(REGEX_GROUPS_MAX + 1, cache->memory);
    return cache->match == NULL ? -ENOMEM : 0;
}

/* The cache's lists. */

static void unlink_regex(struct regex_cache *cache, struct regex *regex)
{
    *(regex->newer == NULL ? &cache->newest : &regex->newer->older) = regex->older;
    *(regex->older == NULL ? &cache->oldest : &regex->older->newer) = regex->newer;
}

static void link_newest_regex(struct regex_cache *cache, struct regex *regex)
{
    regex->newer = NULL;
    regex->older = cache->newest;
    *(cache->newest == NULL ? &cache->oldest : &cache->newest->newer) = regex;
    cache->newest = regex;
}

static void drop_oldest(struct regex_cache *cache)
{
    struct regex *regex = cache->oldest;
    struct regex **at = &cache->slots[regex->slot];
    while (*at != regex) {
        at = &(*at)->next;
    }
    *at = regex->next;
    unlink_regex(cache, regex);
    cache->count--;
    cache->bytes -= regex->bytes;
    regex_pcre2.pcre2_code_free_8(regex->code);
    mem_free(regex);
}

void regex_cache_destroy(struct regex_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    while (cache->oldest != NULL) {
        drop_oldest(cache);
    }
    if (cache->match != NULL) {
        regex_pcre2.pcre2_match_data_free_8(cache->match);
    }
    if (cache->stack != NULL) {
        regex_pcre2.pcre2_jit_stack_free_8(cache->stack);
    }
    if (cache->limits != NULL) {
        regex_pcre2.pcre2_match_context_free_8(cache->limits);
    }
    if (cache->compile != NULL) {
        regex_pcre2.pcre2_compile_context_free_8(cache->compile);
    }
    if (cache->memory != NULL) {
        regex_pcre2.pcre2_general_context_free_8(cache->memory);
    }
    mem_free(cache);
}

/* Compiling. */

static uint32_t pcre2_options(unsigned options)
{
    static const struct {
        enum regex_option option;
        uint32_t pcre2;
    } table[] = {
        {REGEX_ANCHORED, PCRE2_ANCHORED},
        {REGEX_DUPLICATES, PCRE2_DUPNAMES},
        {REGEX_CASELESS, PCRE2_CASELESS},
        {REGEX_MULTILINE, PCRE2_MULTILINE},
        {REGEX_DOTALL, PCRE2_DOTALL},
        {REGEX_UTF, PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C}, /* so that matches end where characters do */
        {REGEX_UTF_TRUSTED, PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C},
        {REGEX_EXTENDED, PCRE2_EXTENDED},
        {REGEX_JAVASCRIPT, PCRE2_ALT_BSUX | PCRE2_MATCH_UNSET_BACKREF},
        {REGEX_TIMED, PCRE2_AUTO_CALLOUT},
    };
    uint32_t set = 0;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        set |= options & table[i].option ? table[i].pcre2 : 0;
    }
    return set;
}

/* The text of PCRE2 for a pattern that it does not take, with the pattern and what is left of it. */
static int refuse_regex(const char *pattern, size_t len, int number, size_t at, char *err, size_t errlen)
{
    char message[REGEX_MESSAGE_MAX] = "";
    regex_pcre2.pcre2_get_error_message_8(number, (PCRE2_UCHAR *)message, sizeof message);
    int shown = (int)(len < REGEX_QUOTE_MAX ? len : REGEX_QUOTE_MAX);
    if (at >= len) {
        return error_text(err, errlen, -EINVAL, "%s in \"%.*s\"", message, shown, pattern);
    }
    int left = (int)(len - at < REGEX_QUOTE_MAX ? len - at : REGEX_QUOTE_MAX);
    return error_text(err, errlen, -EINVAL, "%s in \"%.*s\" at \"%.*s\"", message, shown, pattern, left, pattern + at);
}

/* Machine code for it, if that is allowed: otherwise it is interpreted. */
static void try_jit(struct regex_cache *cache, struct regex *regex)
{
    size_t bytes = 0;
    if (cache->stack == NULL) {
        cache->stack = regex_pcre2.pcre2_jit_stack_create_8(JIT_STACK_START, JIT_STACK_MAX, cache->memory);
        if (cache->stack == NULL) {
            return;
        }
        regex_pcre2.pcre2_jit_stack_assign_8(cache->limits, NULL, cache->stack);
    }
    if (regex_pcre2.pcre2_jit_compile_8(regex->code, PCRE2_JIT_COMPLETE) == 0) {
        regex_pcre2.pcre2_pattern_info_8(regex->code, PCRE2_INFO_JITSIZE, &bytes);
        regex->bytes += bytes;
    }
}

/* Fill in a regex whose text is set. Returns as regex_find(). */
static int compile(struct regex_cache *cache, struct regex *regex, char *err, size_t errlen)
{
    int number;
    PCRE2_SIZE at;
    size_t bytes = 0;
    regex->code = regex_pcre2.pcre2_compile_8((PCRE2_SPTR)regex->text, regex->len, pcre2_options(regex->options),
                                              &number, &at, cache->compile);
    if (regex->code == NULL) {
        return refuse_regex(regex->text, regex->len, number, at, err, errlen);
    }
    regex_pcre2.pcre2_pattern_info_8(regex->code, PCRE2_INFO_CAPTURECOUNT, &regex->groups);
    if (regex->groups > REGEX_GROUPS_MAX) {
        return error_text(err, errlen, -EINVAL, "the pattern has %u groups: at most %d are allowed", regex->groups,
                          (int)REGEX_GROUPS_MAX);
    }
    regex_pcre2.pcre2_pattern_info_8(regex->code, PCRE2_INFO_NAMECOUNT, &regex->name_count);
    regex_pcre2.pcre2_pattern_info_8(regex->code, PCRE2_INFO_NAMEENTRYSIZE, &regex->name_room);
    regex_pcre2.pcre2_pattern_info_8(regex->code, PCRE2_INFO_NAMETABLE, &regex->names);
    regex_pcre2.pcre2_pattern_info_8(regex->code, PCRE2_INFO_SIZE, &bytes);
    regex->bytes = sizeof *regex + regex->len + bytes;
    if (regex->options & REGEX_JIT) {
        try_jit(cache, regex);
    }
    return 0;
}

static void free_regex(struct regex *regex)
{
    if (regex->code != NULL) {
        regex_pcre2.pcre2_code_free_8(regex->code);
    }
    mem_free(regex);
}

/* Make one that is not in the cache, and put it there. */
static int make_regex(struct regex_cache *cache, uint32_t slot, const char *pattern, size_t len, unsigned options,
                      struct regex **regex, char *err, size_t errlen)
{
    int rv = regex_load(err, errlen);
    if (rv < 0) {
        return rv;
    }
    struct regex *made = len > REGEX_PATTERN_MAX || prepare(cache) < 0 ? NULL : mem_zalloc(sizeof *made + len);
    if (len > REGEX_PATTERN_MAX) {
        return error_text(err, errlen, -EINVAL, "the pattern has %zu bytes: at most %d are allowed", len,
                          (int)REGEX_PATTERN_MAX);
    }
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "out of memory");
    }
    made->options = options;
    made->slot = slot;
    made->len = len;
    memcpy(made->text, pattern, len);
    rv = compile(cache, made, err, errlen);
    if (rv == 0 && made->bytes > REGEX_CACHE_BYTES) {
        rv = error_text(err, errlen, -EINVAL, "the pattern is too large: it takes %zu bytes of %d", made->bytes,
                        (int)REGEX_CACHE_BYTES);
    }
    if (rv < 0) {
        free_regex(made);
        return rv;
    }
    while (cache->count >= REGEX_CACHE_MAX || cache->bytes + made->bytes > REGEX_CACHE_BYTES) {
        drop_oldest(cache);
    }
    made->next = cache->slots[slot];
    cache->slots[slot] = made;
    cache->count++;
    cache->bytes += made->bytes;
    link_newest_regex(cache, made);
    *regex = made;
    return 0;
}

int regex_find(struct regex_cache *cache, const char *pattern, size_t len, unsigned options, struct regex **regex,
               char *err, size_t errlen)
{
    uint32_t slot = (uint32_t)(keyed_hash(&cache->key, pattern, len) + options) % REGEX_SLOTS;
    for (struct regex *known = cache->slots[slot]; known != NULL; known = known->next) {
        if (known->len == len && known->options == options && memcmp(known->text, pattern, len) == 0) {
            if (cache->newest != known) {
                unlink_regex(cache, known);
                link_newest_regex(cache, known);
            }
            *regex = known;
            return 0;
        }
    }
    return make_regex(cache, slot, pattern, len, options, regex, err, errlen);
}

unsigned regex_groups(const struct regex *regex)
{
    return regex->groups;
}

bool regex_name(const struct regex *regex, unsigned n, const char **name, unsigned *group)
{
    if (n >= regex->name_count) {
        return false;
    }
    const uint8_t *entry = regex->names + (size_t)n * regex->name_room;
    *group = (unsigned)entry[0] << 8 | entry[1];
    *name = (const char *)entry + 2;
    return true;
}

/* Matching. */

static int errno_of_match(int rv)
{
    switch (rv) {
    case PCRE2_ERROR_NOMATCH:
        return 0;
    case PCRE2_ERROR_MATCHLIMIT:
    case PCRE2_ERROR_DEPTHLIMIT:
    case PCRE2_ERROR_HEAPLIMIT:
    case PCRE2_ERROR_JIT_STACKLIMIT:
        return -ERANGE;
    case PCRE2_ERROR_NOMEMORY:
        return -ENOMEM;
    default:
        return rv <= PCRE2_ERROR_UTF8_ERR1 && rv >= PCRE2_ERROR_UTF8_ERR21 ? -EILSEQ : -EINVAL;
    }
}

int regex_match(struct regex_cache *cache, const struct regex *regex, const char *subject, size_t len, size_t offset,
                bool is_checked)
{
    uint32_t options = is_checked ? PCRE2_NO_UTF_CHECK : 0;
    size_t items = TIMED_BYTES / (len + 1);
    cache->items_between = items == 0 ? 1 : items > TIMED_ITEMS_MAX ? TIMED_ITEMS_MAX : items;
    cache->items_left = cache->items_between;
    cache->end_ns = 0;
    int rv = regex_pcre2.pcre2_match_8(regex->code, (PCRE2_SPTR)subject, len, offset, options, cache->match,
                                       cache->limits);
    if (rv == PCRE2_ERROR_JIT_STACKLIMIT) { /* the interpreter has memory of another kind */
        rv = regex_pcre2.pcre2_match_8(regex->code, (PCRE2_SPTR)subject, len, offset, options | PCRE2_NO_JIT,
                                       cache->match, cache->limits);
    }
    return rv > 0 ? rv : errno_of_match(rv);
}

bool regex_group(const struct regex_cache *cache, unsigned group, size_t *begin, size_t *end)
{
    const PCRE2_SIZE *places = regex_pcre2.pcre2_get_ovector_pointer_8(cache->match);
    *begin = places[2 * group];
    *end = places[2 * group + 1];
    return *begin != PCRE2_UNSET && *begin <= *end; /* \K can put the beginning behind the end */
}

size_t regex_cache_count(const struct regex_cache *cache)
{
    return cache->count;
}

size_t regex_cache_bytes(const struct regex_cache *cache)
{
    return cache->bytes;
}

#else

struct regex_cache *regex_cache_create(void)
{
    return mem_zalloc(1);
}

void regex_cache_destroy(struct regex_cache *cache)
{
    mem_free(cache);
}

int regex_find(struct regex_cache *cache, const char *pattern, size_t len, unsigned options, struct regex **regex,
               char *err, size_t errlen)
{
    (void)cache;
    (void)pattern;
    (void)len;
    (void)options;
    (void)regex;
    return regex_load(err, errlen);
}

unsigned regex_groups(const struct regex *regex)
{
    (void)regex;
    return 0;
}

bool regex_name(const struct regex *regex, unsigned n, const char **name, unsigned *group)
{
    (void)regex;
    (void)n;
    (void)name;
    (void)group;
    return false;
}

int regex_match(struct regex_cache *cache, const struct regex *regex, const char *subject, size_t len, size_t offset,
                bool is_checked)
{
    (void)cache;
    (void)regex;
    (void)subject;
    (void)len;
    (void)offset;
    (void)is_checked;
    return -ELIBACC;
}

bool regex_group(const struct regex_cache *cache, unsigned group, size_t *begin, size_t *end)
{
    (void)cache;
    (void)group;
    (void)begin;
    (void)end;
    return false;
}

size_t regex_cache_count(const struct regex_cache *cache)
{
    (void)cache;
    return 0;
}

size_t regex_cache_bytes(const struct regex_cache *cache)
{
    (void)cache;
    return 0;
}

#endif
