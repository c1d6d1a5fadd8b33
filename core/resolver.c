/* Happy path: a name that is not in the table becomes an entry and a job; a thread runs sys_find_addresses(); back on
 * the reactor's thread, everybody who waits is answered, and the entry stays until its time is over or its place is
 * needed.
 *
 * Failure modes: resolving takes as long as the DNS servers let it take, and cannot be ended. So whoever waits has a
 * timeout of their own; names that nobody waits for any more are not looked for if their turn comes, so that a DNS
 * server that is away does not keep the threads busy with the past. Whatever is not known, and cannot be asked for
 * since all places are taken, is an error at once. */

#include "core/resolver.h"

#include "core/ascii.h"
#include "core/job_pool.h"
#include "core/job_pools.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct resolver_entry {
    struct job job; /* first: a job is its entry */
    struct resolver *resolver;
    struct resolver_entry *chain;         /* in its bucket */
    struct resolver_entry *newer, *older; /* in the order of use */
    struct resolver_query *queries;       /* who waits */
    int64_t until_ms;                     /* reactor time at which the answer is too old */
    atomic_bool is_unwanted;              /* nobody waits: the thread need not begin */
    bool is_sought;                       /* its job is submitted */
    int found;                            /* what the thread has found: a count, or -errno */
    struct resolver_answer answer;        /* the addresses are the thread's while is_sought */
    char name[];                          /* in lower case, without a dot at its end */
};

static const char pool_name[] = "resolver"; /* names of workers' pools begin with a number */

void resolver_init(struct resolver *resolver, struct reactor *reactor, struct job_pools *jobs)
{
    *resolver =
        (struct resolver){.reactor = reactor, .jobs = jobs, .kept_ms = RESOLVER_KEPT_MS, .max = RESOLVER_NAMES_MAX};
}

/* What it is made of, with the first name. */

static void end_resolver_pool(void *arg)
{
    (void)arg;
}

static int make_resolver_pool(void *arg, struct job_pool_plan *plan, char *err, size_t errlen)
{
    (void)arg, (void)err, (void)errlen;
    *plan = (struct job_pool_plan){.threads = RESOLVER_THREADS,
                                   .queue = RESOLVER_WAITING_MAX,
                                   .on_end = end_resolver_pool};
    return 0;
}

static bool is_never_late(void *arg)
{
    (void)arg;
    return false; /* whoever makes the pool waits for nothing */
}

static int open_resolver(struct resolver *resolver, char *err, size_t errlen)
{
    static const struct job_pool_maker maker = {.make = make_resolver_pool, .is_late = is_never_late};
    int rv = 0;
    if (resolver->jobs == NULL) {
        return error_text(err, errlen, -ENOSYS, "names cannot be resolved here: there are no threads for that");
    }
    if (resolver->buckets == NULL) {
        resolver->buckets = mem_zalloc(RESOLVER_BUCKETS * sizeof(struct resolver_entry *));
        rv = resolver->buckets == NULL ? -ENOMEM : sys_random(&resolver->key, sizeof resolver->key);
    }
    if (rv == 0 && resolver->pool == NULL) {
        rv = job_pools_get(resolver->jobs, pool_name, &maker, &resolver->pool, err, errlen);
        resolver->pool = rv < 0 ? NULL : resolver->pool;
    }
    if (rv == 0 && resolver->desk == NULL) {
        rv = job_desk_open(&resolver->desk, resolver->pool, resolver->reactor);
        resolver->desk = rv < 0 ? NULL : resolver->desk;
    }
    return rv < 0 ? error_text(err, errlen, rv, "%s", errno_text(-rv)) : 0;
}

/* The table. */

static struct resolver_entry **name_bucket(struct resolver *resolver, const char *name)
{
    return &resolver->buckets[keyed_hash(&resolver->key, name, strlen(name)) % RESOLVER_BUCKETS];
}

static struct resolver_entry *find_entry(struct resolver *resolver, const char *name)
{
    struct resolver_entry *entry = *name_bucket(resolver, name);
    while (entry != NULL && strcmp(entry->name, name) != 0) {
        entry = entry->chain;
    }
    return entry;
}

static void leave_order(struct resolver_entry *entry)
{
    struct resolver *resolver = entry->resolver;
    *(entry->newer == NULL ? &resolver->newest : &entry->newer->older) = entry->older;
    *(entry->older == NULL ? &resolver->oldest : &entry->older->newer) = entry->newer;
}

static void make_newest(struct resolver_entry *entry)
{
    struct resolver *resolver = entry->resolver;
    entry->newer = NULL;
    entry->older = resolver->newest;
    *(resolver->newest == NULL ? &resolver->oldest : &resolver->newest->newer) = entry;
    resolver->newest = entry;
}

/* Take an entry that is not sought out of the table, and free it. */
static void remove_entry(struct resolver_entry *entry)
{
    struct resolver *resolver = entry->resolver;
    struct resolver_entry **at = name_bucket(resolver, entry->name);
    while (*at != entry) {
        at = &(*at)->chain;
    }
    *at = entry->chain;
    leave_order(entry);
    resolver->count--;
    mem_free(entry);
}

/* See to it that there is room for one more. Returns whether there is. */
static bool make_name_room(struct resolver *resolver)
{
    struct resolver_entry *entry = resolver->oldest;
    while (entry != NULL && entry->is_sought && resolver->count >= resolver->max) {
        entry = entry->newer;
    }
    if (entry != NULL && resolver->count >= resolver->max) {
        remove_entry(entry);
    }
    return resolver->count < resolver->max;
}

static void run_entry(struct job *job, void *arg, unsigned thread)
{
    (void)arg, (void)thread;
    struct resolver_entry *entry = (struct resolver_entry *)job;
    entry->found = atomic_load(&entry->is_unwanted) ? -ECANCELED
                                                    : sys_find_addresses(entry->name, entry->answer.addresses);
}

static void drop_entry(struct job *job)
{
    mem_free(job);
}

static void on_entry(struct job *job);

/* Returns NULL if there is no memory. */
static struct resolver_entry *add_entry(struct resolver *resolver, const char *name)
{
    size_t size = strlen(name) + 1;
    struct resolver_entry *entry = mem_zalloc(sizeof *entry + size);
    if (entry == NULL) {
        return NULL;
    }
    struct resolver_entry **bucket = name_bucket(resolver, name);
    entry->job = (struct job){.run = run_entry, .on_done = on_entry, .drop = drop_entry};
    entry->resolver = resolver;
    entry->chain = *bucket;
    memcpy(entry->name, name, size);
    *bucket = entry;
    make_newest(entry);
    resolver->count++;
    return entry;
}

void resolver_done(struct resolver *resolver)
{
    for (struct resolver_entry *entry = resolver->newest, *older; entry != NULL; entry = older) {
        older = entry->older;
        if (!entry->is_sought) { /* the others are dropped with the desk */
            mem_free(entry);
        }
    }
    job_desk_close(resolver->desk);
    if (resolver->pool != NULL) {
        job_pools_put(resolver->jobs, resolver->pool);
    }
    mem_free(resolver->buckets);
    *resolver = (struct resolver){.reactor = NULL};
}

/* Asking. */

static int seek_entry(struct resolver_entry *entry)
{
    int rv = job_submit(entry->resolver->desk, &entry->job);
    entry->is_sought = rv == 0;
    return rv;
}

static void unlink_query(struct resolver_query *query)
{
    *query->previous = query->next;
    if (query->next != NULL) {
        query->next->previous = query->previous;
    }
    query->previous = NULL;
}

/* Answer all who wait. Each of them may ask again, cancel others, or need the place of this entry. */
static void answer_queries(struct resolver_entry *entry)
{
    const struct resolver_answer answer = entry->answer;
    struct resolver_query *waiting = entry->queries;
    entry->queries = NULL;
    if (waiting != NULL) {
        waiting->previous = &waiting;
    }
    for (struct resolver_query *query = waiting; query != NULL; query = query->next) {
        query->entry = NULL;
    }
    while (waiting != NULL) {
        struct resolver_query *query = waiting;
        unlink_query(query);
        query->on_answer(query, &answer);
    }
}

/* The job has run. */
static void on_entry(struct job *job)
{
    struct resolver_entry *entry = (struct resolver_entry *)job;
    const struct resolver *resolver = entry->resolver;
    entry->is_sought = false;
    if (entry->found == -ECANCELED) {
        if (entry->queries == NULL) {
            remove_entry(entry);
            return;
        }
        atomic_store(&entry->is_unwanted, false);
        entry->found = seek_entry(entry);
        if (entry->found == 0) {
            return;
        }
    }
    bool has_failed = entry->found <= 0;
    uint32_t kept_ms = resolver->kept_ms;
    if (has_failed) {
        kept_ms = kept_ms < RESOLVER_FAILED_MS ? kept_ms : RESOLVER_FAILED_MS;
    }
    entry->answer.error = has_failed ? entry->found : 0;
    entry->answer.count = has_failed ? 0 : (unsigned)entry->found;
    entry->until_ms = reactor_now_ms(resolver->reactor) + kept_ms;
    answer_queries(entry);
}

/* Copy a name in lower case and without the dot at its end. Returns whether a host can have it. */
static bool take_name(char copy[NAME_LEN_MAX + 1], const char *name)
{
    size_t len = strlen(name), label = 0;
    len -= len > 0 && name[len - 1] == '.';
    if (len == 0 || len > NAME_LEN_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        char c = copy[i] = ascii_lower(name[i]);
        bool is_in_label = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (c == '.' ? label == 0 : !is_in_label || label == 63) {
            return false;
        }
        label = c == '.' ? 0 : label + 1;
    }
    copy[len] = '\0';
    return label > 0;
}

/* Answer without a table what needs none: addresses, and names that stand for this machine (RFC 6761, section 6.3). */
static bool answer_at_once(struct resolver_answer *answer, const char *name)
{
    static const struct name_address local[] = {{.family = AF_INET6, .bytes = {[15] = 1}},
                                                {.family = AF_INET, .bytes = {127, 0, 0, 1}}};
    static const char domain[] = ".localhost";
    struct name_address *first = &answer->addresses[0];
    size_t len = strlen(name), domain_len = sizeof domain - 1;
    *answer = (struct resolver_answer){.count = 1};
    if (inet_pton(AF_INET, name, first->bytes) == 1) {
        first->family = AF_INET;
        return true;
    }
    if (inet_pton(AF_INET6, name, first->bytes) == 1) {
        first->family = AF_INET6;
        return true;
    }
    if (strcmp(name, domain + 1) == 0 || (len > domain_len && strcmp(name + len - domain_len, domain) == 0)) {
        memcpy(answer->addresses, local, sizeof local);
        answer->count = 2;
        return true;
    }
    return false;
}

/* Have an entry looked for, so that query can wait for it. Returns 0, or -errno with a text in err. */
static int begin_seeking(struct resolver_entry *entry, char *err, size_t errlen)
{
    if (entry->is_sought) {
        return 0;
    }
    atomic_store(&entry->is_unwanted, false);
    int rv = seek_entry(entry);
    if (rv < 0) {
        remove_entry(entry);
        return rv == -EAGAIN ? error_text(err, errlen, -EBUSY, "too many names are being resolved: %d wait already",
                                          RESOLVER_WAITING_MAX)
                             : error_text(err, errlen, rv, "no thread to resolve names: %s", errno_text(-rv));
    }
    return 0;
}

int resolver_ask(struct resolver *resolver, struct resolver_query *query, const char *name,
                 struct resolver_answer *answer, char *err, size_t errlen)
{
    char copy[NAME_LEN_MAX + 1];
    query->entry = NULL;
    query->previous = NULL;
    if (answer_at_once(answer, name)) {
        return 1;
    }
    if (!take_name(copy, name)) {
        return error_text(err, errlen, -EINVAL, "\"%.80s\" is no name of a host", name);
    }
    if (answer_at_once(answer, copy)) {
        return 1;
    }
    int rv = open_resolver(resolver, err, errlen);
    if (rv < 0) {
        return rv;
    }
    struct resolver_entry *entry = find_entry(resolver, copy);
    if (entry != NULL && !entry->is_sought && reactor_now_ms(resolver->reactor) < entry->until_ms) {
        leave_order(entry);
        make_newest(entry);
        *answer = entry->answer;
        return 1;
    }
    if (entry == NULL && !make_name_room(resolver)) {
        return error_text(err, errlen, -EBUSY, "too many names are being resolved: %u already", resolver->max);
    }
    entry = entry == NULL ? add_entry(resolver, copy) : entry;
    if (entry == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    rv = begin_seeking(entry, err, errlen);
    if (rv < 0) {
        return rv;
    }
    atomic_store(&entry->is_unwanted, false);
    query->entry = entry;
    query->next = entry->queries;
    query->previous = &entry->queries;
    if (query->next != NULL) {
        query->next->previous = &query->next;
    }
    entry->queries = query;
    return 0;
}

void resolver_cancel(struct resolver_query *query)
{
    if (query->previous == NULL) {
        return;
    }
    unlink_query(query);
    if (query->entry != NULL && query->entry->queries == NULL) {
        atomic_store(&query->entry->is_unwanted, true);
    }
    query->entry = NULL;
}

void resolver_explain(char text[RESOLVER_TEXT_MAX], const char *name, int error)
{
    const char *why = error == -ENOENT                      ? "3: Host not found"
                      : error == -EAGAIN || error == -EIO   ? "2: Server failure"
                      : error == -EPERM || error == -EACCES ? "5: Operation refused"
                                                            : errno_text(-error);
    snprintf(text, RESOLVER_TEXT_MAX, "%.*s could not be resolved (%s)", NAME_LEN_MAX, name, why);
}
