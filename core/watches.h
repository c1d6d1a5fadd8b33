#ifndef EVSERVE_CORE_WATCHES_H
#define EVSERVE_CORE_WATCHES_H

/* Which fds a reactor watches, and what the kernel knows of it: a table by fd, and the fds whose registration has changed
 * since the kernel was told. For reactor.c. The contracts R1, R2 and R7 are in core/README.md. The reactor's thread only. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reactor;

enum {
    WATCH_CHUNK = 256,          /* watches in a chunk of the table */
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

/* The watch of fd, or NULL when fd was never registered, and for a negative number. The table does not move, so the
 * pointer stays valid (R7). */
static inline struct watch *watches_find(const struct watches *watches, int fd)
{
    uint32_t chunk = (uint32_t)fd / WATCH_CHUNK; /* of a negative number: more than there can be */
    if (chunk >= watches->chunk_count || watches->chunks[chunk] == NULL) {
        return NULL;
    }
    return &watches->chunks[chunk][(uint32_t)fd % WATCH_CHUNK];
}

/* The watch of fd, which is not negative, made if it is new. NULL when memory is short. */
struct watch *watches_make(struct watches *watches, int fd);

/* Tell the kernel that a watch wants these events of epoll(7), which its flags stand for, unless it knows. The kernel
 * hands back the watch's generation and fd with each event: generation << 32 | fd. Returns 0 or -errno. */
int watches_apply(struct watches *watches, int fd, struct watch *watch, uint32_t events);

/* End a registration: its fd is a zombie for the rest of the batch (R2). */
void watches_forget(struct watches *watches, int fd, struct watch *watch);

/* End a registration whose fd is about to be closed, which tells the kernel. */
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
