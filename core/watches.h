#ifndef EVSERVE_CORE_WATCHES_H
#define EVSERVE_CORE_WATCHES_H

/* The fds that a reactor watches, and what the kernel knows about them: a table by fd, and a queue of the fds whose
 * registration has changed since. For reactor.c. The contracts R1, R2 and R7 are in core/README.md. The reactor's
 * thread only. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

struct reactor;

enum {
    WATCH_CHUNK = 256,   /* watches in a chunk of the table */
    WATCH_AHEAD = 4,     /* events by which a watch is asked for before its turn, */
    WATCH_ARG_AHEAD = 2, /* and what it was registered with: its first two cache lines */
    WATCH_CACHE_LINE = 64,
    WATCH_NOT_QUEUED = -1,      /* watch.next_queued of a watch that is in no queue */
    WATCH_END_OF_QUEUE = -2,    /* watch.next_queued of the last one */
    WATCH_FLAGS_UNKNOWN = 0xff, /* watch.kernel_flags: no set of flags */
};

/* One fd of the table. */
struct watch {
    void (*fn)(struct reactor *reactor, int fd, unsigned events, void *arg); /* NULL while not registered */
    void *arg;                                                               /* handed to fn */
    uint32_t generation;        /* of the registration; rises with each new one */
    uint32_t kernel_generation; /* what the kernel's events carry */
    int32_t next_queued;        /* next fd with a queued change, or WATCH_NOT_QUEUED or WATCH_END_OF_QUEUE */
    uint8_t flags;              /* wanted: a set of REACTOR_READABLE, WRITABLE, END and EDGE */
    uint8_t kernel_flags;       /* what the kernel was told last, or WATCH_FLAGS_UNKNOWN to tell it again */
    bool in_kernel;             /* the kernel watches it, as far as we know */
};

struct watches {
    int epoll_fd;                   /* the reactor's */
    struct watch **chunks;          /* the table; a chunk is NULL until it is needed */
    uint32_t chunk_count;           /* of chunks */
    int32_t queue_head, queue_tail; /* fds with changed registrations, in order of change */
};

/* An empty table, which has no memory yet; free it, whatever is registered. The epoll fd is the caller's. */
void watches_init(struct watches *watches, int epoll_fd);
void watches_done(struct watches *watches);

/* The watch of fd, or NULL if fd was never registered or is negative. The pointer stays valid, since the table does not
 * move (R7). */
static inline struct watch *watches_find(const struct watches *watches, int fd)
{
    uint32_t chunk = (uint32_t)fd / WATCH_CHUNK; /* of a negative number: more than there can be */
    if (chunk >= watches->chunk_count || watches->chunks[chunk] == NULL) {
        return NULL;
    }
    return &watches->chunks[chunk][(uint32_t)fd % WATCH_CHUNK];
}

static inline const struct watch *watches_find_event(const struct watches *watches, const struct epoll_event *event)
{
    return watches_find(watches, (int)(uint32_t)event->data.u64);
}

/* With many connections the objects of an event have left the CPU's caches: ask for them while earlier events are
 * delivered. i is the event that is delivered next, of ready ones. Always inline, because GCC takes a function that
 * only prefetches for one without effect and drops its calls. */
__attribute__((always_inline)) static inline void watches_fetch_ahead(const struct watches *watches,
                                                                      const struct epoll_event *events, int i,
                                                                      int ready)
{
    if (ready <= WATCH_ARG_AHEAD) {
        return;
    }
    if (i + WATCH_AHEAD < ready) {
        __builtin_prefetch(watches_find_event(watches, &events[i + WATCH_AHEAD]));
    }
    if (i + WATCH_ARG_AHEAD < ready) {
        const struct watch *watch = watches_find_event(watches, &events[i + WATCH_ARG_AHEAD]);
        if (watch != NULL && watch->arg != NULL) {
            __builtin_prefetch(watch->arg);
            __builtin_prefetch((const char *)watch->arg + WATCH_CACHE_LINE);
        }
    }
}

/* The watch of fd, which is not negative, made if it is new. NULL if there is no memory. */
struct watch *watches_make(struct watches *watches, int fd);

/* Ask the kernel for the events of epoll(7) that the watch's flags stand for, unless it knows. With each event the
 * kernel hands back generation << 32 | fd of the watch. Returns 0 or -errno. */
int watches_apply(struct watches *watches, int fd, struct watch *watch, uint32_t events);

/* End a registration: its fd is a zombie for the rest of the batch (R2). */
void watches_forget(struct watches *watches, int fd, struct watch *watch);

/* End a registration whose fd is about to be closed: then the kernel forgets it by itself. */
void watches_drop(struct watch *watch);

/* Remember that a registration has changed, until it is taken out of the queue. */
void watches_queue(struct watches *watches, int fd, struct watch *watch);
static inline bool watches_are_queued(const struct watches *watches)
{
    return watches->queue_head != WATCH_END_OF_QUEUE;
}

/* Take the fd that changed first out of the queue, which is not empty. */
int watches_take_queued(struct watches *watches);

#endif
