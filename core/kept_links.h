#ifndef EVSERVE_CORE_KEPT_LINKS_H
#define EVSERVE_CORE_KEPT_LINKS_H

/* Links to other servers that stay open for their next use, by name. Whoever keeps a link chooses its name, which says
 * everything that the next user relies on: the server, and how TLS was verified. Names of different users begin with
 * different letters, so that a script cannot name a link of the HTTP client.
 *
 * A link that its peer closes, or on which something comes, is closed. One reactor's thread. */

#include <stddef.h>
#include <stdint.h>

struct kept_link;
struct kept_name;
struct link;
struct reactor;

enum {
    KEPT_POOL_SIZE = 30,    /* links of a name, unless their user says otherwise */
    KEPT_IDLE_MS = 60000,   /* how long one is kept, likewise */
    KEPT_LINKS_MAX = 1000,  /* links in all */
    KEPT_NAME_MAX = 1024,   /* bytes of a name */
    KEPT_BUCKET_COUNT = 64, /* lists of names, each about KEPT_LINKS_MAX / 64 long at most */
};

/* Zeroed, then its reactor is filled in. It must not move. */
struct kept_links {
    struct reactor *reactor;                      /* borrowed */
    struct kept_name *buckets[KEPT_BUCKET_COUNT]; /* those that have links */
    struct kept_link *newest, *oldest;            /* of all */
    unsigned count;                               /* of links */
    struct kept_name *emptied;                    /* one that has no links, and is likely to get some soon; or NULL */
    struct kept_link *spare;                      /* memory for the next link; or NULL */
    uint64_t timer;                               /* set while there are any that do not stay forever; else 0 */
    int64_t due_ms;                               /* of the timer, reactor time */
};

/* Keep link, which is open, and on which nothing is under way: it belongs to kept now. reused is how often it has been
 * taken from here. After idle_ms it is closed; 0: never. If the name has more than size links then (0 counts as 1), its
 * oldest one is closed, and so is the oldest of all beyond KEPT_LINKS_MAX. Returns 0, or with link closed: -EPIPE if
 * its peer has left; -EBADMSG if it has sent something that nobody has read; -ENOMEM; -ENAMETOOLONG. */
int kept_links_put(struct kept_links *kept, const char *name, size_t name_len, struct link *link, unsigned reused,
                   uint32_t idle_ms, unsigned size);

/* The link of this name that was kept last: it is the caller's, who calls link_set_user() first. *reused is how often
 * it has been taken, this time included. NULL: there is none. */
struct link *kept_links_take(struct kept_links *kept, const char *name, size_t name_len, unsigned *reused);

/* Close the one that was kept longest, to make room for another link. Returns 0, or -ENOENT if there is none. */
int kept_links_close_oldest(struct kept_links *kept);

/* Close all. */
void kept_links_done(struct kept_links *kept);

#endif
