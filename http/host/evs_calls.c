/* Timers and watched fds of a host, on the loops of its server.
 *
 * Happy path: start_call() makes the call and gives it an id. On the serving thread settle_call() then arms it, with a
 * timer or a registration of the reactor. Other threads change what is wanted under the lock and post a letter, whose
 * arrival calls settle_call(). So only the serving thread touches the reactor, and only that thread frees a call: when
 * it is over and no letter refers to it.
 *
 * Failure modes: without memory a call is not made. If the reactor refuses something later, the function of a watch
 * gets the error, and a timer's loss is logged. A watch whose fd was closed too early does not affect the next owner of
 * the number: it takes back only its own registration. */

#include "http/host/evs_calls.h"

#include "core/log.h"
#include "core/mailbox.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/units.h"
#include "evserve.h"
#include "http/host/evs_host.h"
#include "http/host/evs_stalls.h"

#include <errno.h>
#include <stddef.h>

enum { INTERESTS = EVS_READABLE | EVS_WRITABLE };

_Static_assert((int)EVS_READABLE == REACTOR_READABLE && (int)EVS_WRITABLE == REACTOR_WRITABLE &&
                   (int)EVS_ERROR == REACTOR_ERROR && (int)EVS_HANGUP == REACTOR_HANGUP,
               "events are handed on as they are");

enum call_kind { CALL_ONCE, CALL_EVERY, CALL_FD };

struct call {
    struct evs_host *host;
    uint64_t id; /* within the thread */
    enum call_kind kind;
    void (*on_time)(void *arg);                                   /* not of CALL_FD */
    void (*on_fd)(int fd, unsigned events, int error, void *arg); /* of CALL_FD */
    void *arg;                                                    /* handed to them */
    int64_t due_ms;                                               /* of CALL_ONCE: reactor time, 0 for at once */
    uint32_t interval_ms;                                         /* of CALL_EVERY */
    int fd;                                                       /* of CALL_FD */
    uint64_t timer;                                               /* the serving thread's; 0 while none is set */

    /* Under the lock. */
    unsigned events;   /* of CALL_FD: what is wanted */
    bool is_cancelled; /* fn must not be called any more */
    bool is_posted;    /* a letter that refers to the call is on its way */
};

/* On the serving thread. */

static void on_call_due(struct reactor *reactor, uint64_t timer, void *arg);
static void on_watched(struct reactor *reactor, int fd, unsigned events, void *arg);

/* End a call. The lock is held. */
static void end_call(struct call *call)
{
    struct evs_host *host = call->host;
    call->is_cancelled = true;
    if (call->timer != 0) {
        reactor_cancel_timer(host->reactor, call->timer);
        call->timer = 0;
    }
    if (call->kind == CALL_FD && reactor_is_registered(host->reactor, call->fd, on_watched, call)) {
        reactor_deregister(host->reactor, call->fd);
    }
    if (!call->is_posted) { /* else the letter comes back here */
        evs_slots_put(&host->calls, call->id);
        mem_free(call);
    }
}

static int arm_timer(struct call *call)
{
    struct reactor *reactor = call->host->reactor;
    if (call->timer != 0) {
        return 0;
    }
    if (call->kind == CALL_EVERY) {
        call->timer = reactor_set_interval(reactor, call->interval_ms, on_call_due, call);
    } else {
        int64_t left_ms = call->due_ms - reactor_now_ms(reactor); /* the reactor's time may lag a little */
        uint32_t delay_ms = left_ms < 0 ? 0 : left_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)left_ms;
        call->timer = reactor_set_timeout(reactor, delay_ms, on_call_due, call);
    }
    return call->timer == 0 ? -ENOMEM : 0;
}

static int arm_watch(struct call *call)
{
    struct reactor *reactor = call->host->reactor;
    bool is_ours = reactor_is_registered(reactor, call->fd, on_watched, call);
    if (!is_ours && reactor_is_registered(reactor, call->fd, NULL, NULL)) {
        return -EEXIST; /* another watch's, or the server's own */
    }
    return reactor_register(reactor, call->fd, call->events, on_watched, call);
}

/* Arm or end the call, as is wanted now. The lock is held. Returns 0 or -errno. */
static int settle_call(struct call *call)
{
    if (call->is_cancelled) {
        end_call(call);
        return 0;
    }
    return call->kind == CALL_FD ? arm_watch(call) : arm_timer(call);
}

static void on_letter(void *arg)
{
    struct call *call = arg;
    struct evs_host *host = call->host;
    pthread_mutex_lock(&host->lock);
    call->is_posted = false;
    int rv = settle_call(call);
    struct call seen = rv < 0 ? *call : (struct call){0};
    pthread_mutex_unlock(&host->lock);
    if (rv < 0 && seen.kind == CALL_FD) {
        seen.on_fd(seen.fd, EVS_ERROR, rv, seen.arg);
    } else if (rv < 0) {
        log_write(host->log, LOG_ERROR, "cannot set a timer of the host: %s", errno_text(-rv));
    }
}

static void on_call_due(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    struct call *call = arg;
    struct evs_host *host = call->host;
    pthread_mutex_lock(&host->lock);
    struct call seen = *call;
    if (call->kind == CALL_ONCE) {
        call->timer = 0; /* it has fired */
    }
    if (call->kind == CALL_ONCE || call->is_cancelled) {
        end_call(call);
    }
    pthread_mutex_unlock(&host->lock);
    if (!seen.is_cancelled) {
        seen.on_time(seen.arg);
        evs_stalls_note(reactor, "a timer of the host");
    }
}

static void on_watched(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    struct call *call = arg;
    struct evs_host *host = call->host;
    pthread_mutex_lock(&host->lock);
    struct call seen = *call;
    if (call->is_cancelled) {
        end_call(call);
    }
    pthread_mutex_unlock(&host->lock);
    if (!seen.is_cancelled) {
        seen.on_fd(fd, events, reactor_error(reactor), seen.arg);
        evs_stalls_note(reactor, "a watched fd of the host");
    }
}

void evs_calls_end(struct evs_host *host)
{
    pthread_mutex_lock(&host->lock);
    for (uint32_t i = 0; i < host->calls.capacity; i++) {
        if (host->calls.list[i].item != NULL) {
            end_call(host->calls.list[i].item);
        }
    }
    pthread_mutex_unlock(&host->lock);
}

/* On any thread. */

/* Call settle_call(), now or by a letter. The lock is held. Returns 0 or -errno. */
static int want(struct call *call)
{
    struct mailbox *mailbox = call->host->mailbox;
    if (mailbox_is_mine(mailbox)) {
        return settle_call(call);
    }
    int rv = call->is_posted ? 0 : mailbox_post(mailbox, on_letter, call);
    call->is_posted = call->is_posted || rv == 0;
    return rv;
}

/* Find a thread of the server, in this process. Returns 0 with *host, or -errno. */
static int find_host(evserve *server, unsigned thread, struct evs_host **host)
{
    const struct evs_door *door = (const struct evs_door *)(void *)server;
    *host = thread < door->thread_count ? &door->hosts[thread] : NULL;
    return *host == NULL ? -EINVAL : evs_host_is_in_child(*host) ? -ECHILD : 0;
}

/* Make a call. Returns its public id or -errno. */
static int64_t start_call(struct evs_host *host, const struct call *wanted)
{
    struct call *call = mem_alloc(sizeof *call);
    if (call == NULL) {
        return -ENOMEM;
    }
    *call = *wanted;
    call->host = host;
    pthread_mutex_lock(&host->lock);
    uint64_t id = host->is_over ? 0 : evs_slots_take(&host->calls, call);
    int rv = host->is_over ? -ESHUTDOWN : id == 0 ? -ENOMEM : 0;
    if (rv < 0) {
        mem_free(call);
    } else {
        call->id = id;
        rv = want(call);
        if (rv < 0) { /* nothing is armed; another thread may not ask the reactor */
            evs_slots_put(&host->calls, id);
            mem_free(call);
        }
    }
    pthread_mutex_unlock(&host->lock);
    return rv < 0 ? rv : (int64_t)((uint64_t)host->thread << EVS_THREAD_SHIFT | id);
}

int64_t evserve_after(evserve *server, unsigned thread, uint32_t ms, void (*fn)(void *arg), void *arg)
{
    struct evs_host *host;
    int rv = fn == NULL ? -EINVAL : find_host(server, thread, &host);
    if (rv < 0) {
        return rv;
    }
    int64_t now_ms = (sys_now_ns() + NS_PER_MS - 1) / NS_PER_MS; /* rounded up: a timer never fires early */
    return start_call(
        host, &(struct call){.kind = CALL_ONCE, .on_time = fn, .arg = arg, .due_ms = ms == 0 ? 0 : now_ms + ms});
}

int64_t evserve_every(evserve *server, unsigned thread, uint32_t ms, void (*fn)(void *arg), void *arg)
{
    struct evs_host *host;
    int rv = fn == NULL || ms == 0 ? -EINVAL : find_host(server, thread, &host);
    if (rv < 0) {
        return rv;
    }
    return start_call(host, &(struct call){.kind = CALL_EVERY, .on_time = fn, .arg = arg, .interval_ms = ms});
}

int64_t evserve_watch(evserve *server, unsigned thread, int fd, unsigned events,
                      void (*fn)(int fd, unsigned events, int error, void *arg), void *arg)
{
    struct evs_host *host;
    int rv = fn == NULL || (events & ~(unsigned)INTERESTS) != 0 ? -EINVAL : find_host(server, thread, &host);
    if (rv < 0) {
        return rv;
    }
    if (fd < 0) {
        return -EBADF;
    }
    return start_call(host, &(struct call){.kind = CALL_FD, .on_fd = fn, .arg = arg, .fd = fd, .events = events});
}

/* Find the call of a public id. Returns 0 with *call and the lock held, or -errno. */
static int lock_call(evserve *server, int64_t id, struct call **call)
{
    struct evs_host *host = id <= 0 ? NULL : evs_host_of_id((const struct evs_door *)(void *)server, (uint64_t)id);
    if (host == NULL) {
        return -ENOENT;
    }
    if (evs_host_is_in_child(host)) {
        return -ECHILD;
    }
    pthread_mutex_lock(&host->lock);
    *call = evs_slots_find(&host->calls, evs_id_within((uint64_t)id));
    if (*call == NULL || (*call)->is_cancelled) {
        pthread_mutex_unlock(&host->lock);
        return -ENOENT;
    }
    return 0;
}

int evserve_rewatch(evserve *server, int64_t watch, unsigned events)
{
    if ((events & ~(unsigned)INTERESTS) != 0) {
        return -EINVAL;
    }
    struct call *call;
    int rv = lock_call(server, watch, &call);
    if (rv < 0) {
        return rv;
    }
    struct evs_host *host = call->host;
    rv = -EINVAL; /* of a timer */
    if (call->kind == CALL_FD) {
        unsigned before = call->events;
        call->events = events;
        rv = want(call);
        call->events = rv < 0 ? before : events;
    }
    pthread_mutex_unlock(&host->lock);
    return rv;
}

int evserve_cancel(evserve *server, int64_t id)
{
    struct call *call;
    int rv = lock_call(server, id, &call);
    if (rv < 0) {
        return rv;
    }
    struct evs_host *host = call->host;
    call->is_cancelled = true;
    (void)want(call); /* without memory for a letter, the call's next event ends it */
    pthread_mutex_unlock(&host->lock);
    return 0;
}
