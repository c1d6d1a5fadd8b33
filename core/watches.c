/* The table grows in chunks and never moves. What we believe about the kernel may be out of date, because a closed fd
 * leaves epoll by itself and its number may be in use again. If the kernel says so, watches_apply() tries the other
 * operation. */

#include "core/watches.h"

#include "core/mem.h"
#include "core/sys.h"

#include <errno.h>
#include <string.h>

void watches_init(struct watches *watches, int epoll_fd)
{
    *watches = (struct watches){.epoll_fd = epoll_fd,
                                .queue_head = WATCH_END_OF_QUEUE,
                                .queue_tail = WATCH_END_OF_QUEUE};
}

void watches_done(struct watches *watches)
{
    for (uint32_t i = 0; i < watches->chunk_count; i++) {
        mem_free(watches->chunks[i]);
    }
    mem_free(watches->chunks);
    watches_init(watches, -1);
}

static int grow_watches(struct watches *watches, uint32_t chunk)
{
    uint32_t count = watches->chunk_count * 2 > chunk ? watches->chunk_count * 2 : chunk + 1;
    struct watch **chunks = mem_resize(watches->chunks, count * sizeof *chunks);
    if (chunks == NULL) {
        return -ENOMEM;
    }
    memset(chunks + watches->chunk_count, 0, (count - watches->chunk_count) * sizeof *chunks);
    watches->chunks = chunks;
    watches->chunk_count = count;
    return 0;
}

struct watch *watches_make(struct watches *watches, int fd)
{
    struct watch *watch = watches_find(watches, fd);
    if (watch != NULL) {
        return watch;
    }
    uint32_t chunk = (uint32_t)fd / WATCH_CHUNK;
    if (chunk >= watches->chunk_count && grow_watches(watches, chunk) < 0) {
        return NULL;
    }
    struct watch *made = mem_zalloc(WATCH_CHUNK * sizeof *made);
    if (made == NULL) {
        return NULL;
    }
    for (int i = 0; i < WATCH_CHUNK; i++) {
        made[i].next_queued = WATCH_NOT_QUEUED;
    }
    watches->chunks[chunk] = made;
    return watches_find(watches, fd);
}

int watches_apply(struct watches *watches, int fd, struct watch *watch, uint32_t events)
{
    if (watch->in_kernel && watch->kernel_generation == watch->generation && watch->kernel_flags == watch->flags) {
        return 0;
    }
    uint64_t data = (uint64_t)watch->generation << 32 | (uint32_t)fd;
    int rv;
    if (watch->in_kernel) {
        rv = sys_epoll_modify(watches->epoll_fd, fd, events, data);
        rv = rv == -ENOENT ? sys_epoll_add(watches->epoll_fd, fd, events, data) : rv;
    } else {
        rv = sys_epoll_add(watches->epoll_fd, fd, events, data);
        rv = rv == -EEXIST ? sys_epoll_modify(watches->epoll_fd, fd, events, data) : rv;
    }
    if (rv < 0) {
        return rv;
    }
    watch->in_kernel = true;
    watch->kernel_generation = watch->generation;
    watch->kernel_flags = watch->flags;
    return 0;
}

/* This does not wait in the queue, not even inside a callback: after the caller's close(2) the kernel could no longer
 * be asked, and a description that lives on in a duplicate (an inherited listener) would wake the loop forever. */
void watches_forget(struct watches *watches, int fd, struct watch *watch)
{
    watch->fn = NULL;
    watch->arg = NULL;
    if (watch->in_kernel) {
        int rv = sys_epoll_delete(watches->epoll_fd, fd);
        watch->in_kernel = rv < 0 && rv != -EBADF && rv != -ENOENT; /* these two: fd was closed before */
    }
}

void watches_drop(struct watch *watch)
{
    watch->fn = NULL;
    watch->arg = NULL;
    watch->in_kernel = false;
}

void watches_queue(struct watches *watches, int fd, struct watch *watch)
{
    if (watch->next_queued != WATCH_NOT_QUEUED) {
        return; /* coalesced with an earlier change (R2) */
    }
    watch->next_queued = WATCH_END_OF_QUEUE;
    if (watches->queue_tail == WATCH_END_OF_QUEUE) {
        watches->queue_head = fd;
    } else {
        watches_find(watches, watches->queue_tail)->next_queued = fd;
    }
    watches->queue_tail = fd;
}

int watches_take_queued(struct watches *watches)
{
    int fd = watches->queue_head;
    struct watch *watch = watches_find(watches, fd);
    watches->queue_head = watch->next_queued;
    if (watches->queue_head == WATCH_END_OF_QUEUE) {
        watches->queue_tail = WATCH_END_OF_QUEUE;
    }
    watch->next_queued = WATCH_NOT_QUEUED;
    return fd;
}
