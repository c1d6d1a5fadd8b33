#ifndef EVSERVE_CORE_RESOLVER_H
#define EVSERVE_CORE_RESOLVER_H

/* The addresses of names. The C library finds them on threads of their own, which all reactors of a server share; each
 * reactor keeps what it was told for a while. A name that several ask for at the same time is looked for once. All
 * calls are on the reactor's thread. */

#include "core/keyed_hash.h"
#include "core/sys_names.h"

#include <stddef.h>
#include <stdint.h>

struct job_desk;
struct job_pool;
struct job_pools;
struct reactor;
struct resolver_entry;
struct resolver_query;

enum {
    RESOLVER_THREADS = 4,        /* of a server: names that are looked for at the same time */
    RESOLVER_WAITING_MAX = 1000, /* names that wait for such a thread */
    RESOLVER_NAMES_MAX = 1000,   /* that a reactor keeps or looks for */
    RESOLVER_KEPT_MS = 30000,    /* how long addresses are kept, unless kept_ms says otherwise: the C library does not
                                   hand on what DNS says about that */
    RESOLVER_FAILED_MS = 1000,   /* how long a failure is kept at most */
    RESOLVER_BUCKETS = 256,      /* of the table by name */
    RESOLVER_TEXT_MAX = 320      /* bytes of resolver_explain()'s text, including its NUL */
};

struct resolver_answer {
    int error;                                         /* of sys_find_addresses(), or 0 */
    unsigned count;                                    /* of addresses */
    struct name_address addresses[NAME_ADDRESSES_MAX]; /* the best first */
};

/* Somebody who waits for an answer: a member of the asker, with on_answer set. */
struct resolver_query {
    /* Called once, unless the query was cancelled, and never inside resolver_ask(). answer is valid during the call. */
    void (*on_answer)(struct resolver_query *query, const struct resolver_answer *answer);
    struct resolver_entry *entry;            /* the rest is resolver.c's: what it waits for */
    struct resolver_query *next, **previous; /* in that one's list; previous NULL: it does not wait */
};

struct resolver {
    struct reactor *reactor;                /* borrowed */
    struct job_pools *jobs;                 /* borrowed; NULL: names cannot be resolved */
    uint32_t kept_ms;                       /* how long addresses are kept; may change at any time */
    unsigned max;                           /* names; RESOLVER_NAMES_MAX, except in tests */
    unsigned count;                         /* of names in the table */
    struct job_pool *pool;                  /* the rest is made with the first name that takes a thread */
    struct job_desk *desk;                  /* at pool */
    struct hash_key key;                    /* of the table */
    struct resolver_entry **buckets;        /* RESOLVER_BUCKETS of them */
    struct resolver_entry *newest, *oldest; /* the order in which they were last asked for */
};

/* Fill it in: nothing is allocated. jobs may be NULL. */
void resolver_init(struct resolver *resolver, struct reactor *reactor, struct job_pools *jobs);

/* Forget everything. Queries that still wait are not answered. */
void resolver_done(struct resolver *resolver);

/* Ask for the addresses of a name, or of an address as text: "::1", without brackets. Returns 1 with *answer if that is
 * known; 0 if query will be answered, and must stay where it is until then; or -errno with a text in err: -EINVAL if no
 * host can have this name, -EBUSY if as many names are looked for as may be, -ENOMEM, ... */
int resolver_ask(struct resolver *resolver, struct resolver_query *query, const char *name,
                 struct resolver_answer *answer, char *err, size_t errlen);

/* The query is not answered any more. One that does not wait is left alone. */
void resolver_cancel(struct resolver_query *query);

/* Say why a name has no addresses, in the words that nginx has for it: "x.example.org could not be resolved (3: Host
 * not found)". error is that of an answer. */
void resolver_explain(char text[RESOLVER_TEXT_MAX], const char *name, int error);

#endif
