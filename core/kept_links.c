/* Happy path: a link that is kept is put in front of those of its name; the next user takes it from there, and with it
 * the one whose peer has waited least. Most uses need no system call: the reactor goes on watching the link.
 *
 * Failure modes: a link that cannot be kept is closed, which its user need not mind. One timer is set for the link that
 * is due first; it may find nothing to close, because that one was taken meanwhile. So neither keeping nor taking a
 * link sets or cancels a timer, as long as links are used one after the other. */

#include "core/kept_links.h"

#include "core/link.h"
#include "core/mem.h"
#include "core/reactor.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* What has the same name. The one that lost its last link lately stays for its next. */
struct kept_name {
    struct kept_name *next; /* in its bucket */
    struct kept_link *newest, *oldest;
    unsigned count; /* of links */
    uint32_t bucket;
    size_t len;
    char text[]; /* len bytes */
};

struct kept_link {
    struct kept_links *kept;
    struct kept_name *name;
    struct kept_link *newer, *older;         /* of its name */
    struct kept_link *newer_all, *older_all; /* of all */
    struct link *link;
    int64_t due_ms; /* when it is closed, reactor time; INT64_MAX: never */
    unsigned reused;
};

/* Names. Scripts choose them, not clients: names that collide on purpose harm only the script itself, which can have
 * KEPT_LINKS_MAX of them. */

static uint32_t kept_bucket_of(const char *text, size_t len)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (unsigned char)text[i]) * 16777619U;
    }
    return (hash ^ hash >> 16) % KEPT_BUCKET_COUNT;
}

static struct kept_name *find_kept_name(const struct kept_links *kept, uint32_t bucket, const char *text, size_t len)
{
    struct kept_name *name = kept->buckets[bucket];
    while (name != NULL && (name->len != len || memcmp(name->text, text, len) != 0)) {
        name = name->next;
    }
    return name;
}

static struct kept_name *make_kept_name(struct kept_links *kept, uint32_t bucket, const char *text, size_t len)
{
    struct kept_name *name = mem_alloc(sizeof *name + len);
    if (name != NULL) {
        *name = (struct kept_name){.next = kept->buckets[bucket], .bucket = bucket, .len = len};
        memcpy(name->text, text, len);
        kept->buckets[bucket] = name;
    }
    return name;
}

static void free_kept_name(struct kept_links *kept, struct kept_name *name)
{
    struct kept_name **at = &kept->buckets[name->bucket];
    while (*at != name) {
        at = &(*at)->next;
    }
    *at = name->next;
    mem_free(name);
}

/* The name has lost its last link. */
static void empty_kept_name(struct kept_links *kept, struct kept_name *name)
{
    if (kept->emptied != NULL) {
        free_kept_name(kept, kept->emptied);
    }
    kept->emptied = name;
}

/* Links. */

/* Memory for one. NULL: there is none. */
static struct kept_link *get_kept_link(struct kept_links *kept)
{
    struct kept_link *entry = kept->spare != NULL ? kept->spare : mem_alloc(sizeof *entry);
    kept->spare = NULL;
    return entry;
}

static void put_kept_link(struct kept_links *kept, struct kept_link *entry)
{
    mem_free(kept->spare);
    kept->spare = entry;
}

static void add_kept_link(struct kept_links *kept, struct kept_link *entry)
{
    struct kept_name *name = entry->name;
    entry->older = name->newest;
    *(name->newest == NULL ? &name->oldest : &name->newest->newer) = entry;
    name->newest = entry;
    entry->older_all = kept->newest;
    *(kept->newest == NULL ? &kept->oldest : &kept->newest->newer_all) = entry;
    kept->newest = entry;
    name->count++;
    kept->count++;
}

/* Take it out, and free what was known of it. Returns its link. */
static struct link *remove_kept_link(struct kept_link *entry)
{
    struct kept_links *kept = entry->kept;
    struct kept_name *name = entry->name;
    struct link *link = entry->link;
    *(entry->newer == NULL ? &name->newest : &entry->newer->older) = entry->older;
    *(entry->older == NULL ? &name->oldest : &entry->older->newer) = entry->newer;
    *(entry->newer_all == NULL ? &kept->newest : &entry->newer_all->older_all) = entry->older_all;
    *(entry->older_all == NULL ? &kept->oldest : &entry->older_all->newer_all) = entry->newer_all;
    kept->count--;
    if (--name->count == 0) {
        empty_kept_name(kept, name);
    }
    put_kept_link(kept, entry);
    return link;
}

static void close_kept_link(struct kept_link *entry)
{
    link_close(remove_kept_link(entry));
}

/* 0: nothing has come, except what belongs to TLS itself; -EBADMSG: something has; -EPIPE: the peer has ended it. */
static int check_silence(struct link *link)
{
    char byte;
    ssize_t rv = link_is_stale(link) ? link_recv(link, &byte, 1) : -EAGAIN;
    return rv == -EAGAIN ? 0 : rv > 0 ? -EBADMSG : -EPIPE;
}

static void on_kept_ready(void *arg, unsigned events)
{
    (void)events;
    char byte;
    struct kept_link *entry = arg;
    if (link_recv(entry->link, &byte, 1) != -EAGAIN || link_want(entry->link, REACTOR_READABLE) < 0) {
        close_kept_link(entry);
    }
}

static const struct link_user kept_user = {.on_ready = on_kept_ready};

/* Time. */

static void on_kept_timer(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    struct kept_links *kept = arg;
    int64_t now_ms = reactor_now_ms(reactor), due_ms = INT64_MAX;
    for (struct kept_link *entry = kept->oldest, *next; entry != NULL; entry = next) {
        next = entry->newer_all;
        if (entry->due_ms <= now_ms) {
            close_kept_link(entry);
        } else if (entry->due_ms < due_ms) {
            due_ms = entry->due_ms;
        }
    }
    kept->timer = 0;
    if (due_ms < INT64_MAX) {
        kept->timer = reactor_set_timeout(reactor, (uint32_t)(due_ms - now_ms), on_kept_timer, kept);
        kept->due_ms = due_ms;
    }
}

/* See to it that it is closed when it is due. Returns 0 or -ENOMEM. */
static int set_kept_timer(struct kept_links *kept, int64_t due_ms, uint32_t idle_ms)
{
    if (due_ms == INT64_MAX || (kept->timer != 0 && kept->due_ms <= due_ms)) {
        return 0;
    }
    uint64_t timer = reactor_set_timeout(kept->reactor, idle_ms, on_kept_timer, kept);
    if (timer == 0) {
        return -ENOMEM;
    }
    reactor_cancel_timer(kept->reactor, kept->timer);
    kept->timer = timer;
    kept->due_ms = due_ms;
    return 0;
}

/* The functions. */

/* Make an entry for link. Returns NULL without memory. */
static struct kept_link *make_kept_link(struct kept_links *kept, const char *name, size_t name_len, struct link *link)
{
    uint32_t bucket = kept_bucket_of(name, name_len);
    struct kept_link *entry = get_kept_link(kept);
    if (entry == NULL) {
        return NULL;
    }
    struct kept_name *found = find_kept_name(kept, bucket, name, name_len);
    if (found == NULL) {
        found = make_kept_name(kept, bucket, name, name_len);
    }
    if (found == NULL) {
        put_kept_link(kept, entry);
        return NULL;
    }
    if (found == kept->emptied) {
        kept->emptied = NULL;
    }
    *entry = (struct kept_link){.kept = kept, .name = found, .link = link};
    return entry;
}

int kept_links_put(struct kept_links *kept, const char *name, size_t name_len, struct link *link, unsigned reused,
                   uint32_t idle_ms, unsigned size)
{
    int rv = name_len > KEPT_NAME_MAX ? -ENAMETOOLONG : check_silence(link);
    int64_t due_ms = idle_ms == 0 ? INT64_MAX : reactor_now_ms(kept->reactor) + idle_ms;
    rv = rv < 0 ? rv : set_kept_timer(kept, due_ms, idle_ms);
    struct kept_link *entry = rv < 0 ? NULL : make_kept_link(kept, name, name_len, link);
    if (entry == NULL) {
        link_close(link);
        return rv < 0 ? rv : -ENOMEM;
    }
    entry->due_ms = due_ms;
    entry->reused = reused;
    add_kept_link(kept, entry);
    link_set_user(link, &kept_user, entry);
    rv = link_want(link, REACTOR_READABLE);
    if (rv < 0) {
        close_kept_link(entry);
        return rv;
    }
    if (entry->name->count > (size == 0 ? 1 : size)) {
        close_kept_link(entry->name->oldest);
    }
    if (kept->count > KEPT_LINKS_MAX) {
        close_kept_link(kept->oldest);
    }
    return 0;
}

struct link *kept_links_take(struct kept_links *kept, const char *name, size_t name_len, unsigned *reused)
{
    struct kept_name *found;
    uint32_t bucket = kept_bucket_of(name, name_len);
    while ((found = find_kept_name(kept, bucket, name, name_len)) != NULL && found->newest != NULL) {
        *reused = found->newest->reused + 1;
        struct link *link = remove_kept_link(found->newest);
        if (check_silence(link) == 0) {
            return link;
        }
        link_close(link);
    }
    return NULL;
}

int kept_links_close_oldest(struct kept_links *kept)
{
    if (kept->oldest == NULL) {
        return -ENOENT;
    }
    close_kept_link(kept->oldest);
    return 0;
}

void kept_links_done(struct kept_links *kept)
{
    while (kept_links_close_oldest(kept) == 0) {
    }
    if (kept->emptied != NULL) {
        free_kept_name(kept, kept->emptied);
        kept->emptied = NULL;
    }
    mem_free(kept->spare);
    kept->spare = NULL;
    if (kept->timer != 0) {
        reactor_cancel_timer(kept->reactor, kept->timer);
        kept->timer = 0;
    }
}
