/* Happy path: a socket is open and connected, so the kernel knows its peer. Whoever finds no datagram waits; the first
 * that comes wakes him. From the first wait on the reactor watches the socket for changes (edge-triggered), so the next
 * wait costs no system call. What comes while nobody waits ends that, so that nobody can keep the loop busy.
 *
 * Failure modes: an error of the socket, such as ECONNREFUSED where nobody listens, comes to the reactor, which keeps
 * it for the next call. A script that loses the object of a socket has it closed by the collector. */

#include "lua/udp.h"

#include "core/datagram.h"
#include "core/mem.h"
#include "core/sys.h"
#include "lua/coro.h"

#include <errno.h>

static void on_udp_event(struct reactor *reactor, int fd, unsigned events, void *arg);

/* Opening and closing. */

static struct script_udp *make_udp(struct script *script)
{
    if (script_grow((void ***)&script->udps, script->udp_count, &script->udp_capacity) < 0) {
        return NULL;
    }
    struct script_udp *udp = mem_zalloc(sizeof *udp);
    if (udp != NULL) {
        udp->script = script;
        udp->index = script->udp_count;
        udp->fd = -1;
        script->udps[script->udp_count++] = udp;
        udp->next_free = script->free_udps;
        script->free_udps = udp;
    }
    return udp;
}

struct script_udp *udp_take(struct script *script)
{
    struct script_udp *udp = script->free_udps != NULL ? script->free_udps : make_udp(script);
    if (udp != NULL) {
        script->free_udps = udp->next_free;
        udp->id = ++script->last_udp_id;
        udp->timeout_ms = UDP_TIMEOUT_MS;
    }
    return udp;
}

void udp_put(struct script_udp *udp)
{
    udp_close(udp);
    udp->id = 0;
    udp->next_free = udp->script->free_udps;
    udp->script->free_udps = udp;
}

struct script_udp *udp_find(const struct script *script, const struct udp_handle *handle)
{
    bool is_known = script->phase != SCRIPT_CLOSING && handle->index < script->udp_count && handle->id != 0;
    struct script_udp *udp = is_known ? script->udps[handle->index] : NULL;
    return udp != NULL && udp->id == handle->id ? udp : NULL;
}

int udp_open(struct script_udp *udp, const struct sockaddr *address, socklen_t len)
{
    udp_close(udp);
    if (udp->script->udps_open >= UDP_SOCKETS_MAX) {
        return -ENOBUFS;
    }
    int fd = datagram_open(address, len);
    if (fd < 0) {
        return fd;
    }
    udp->fd = fd;
    udp->script->udps_open++;
    return 0;
}

bool udp_is_early(const struct script *script)
{
    return !script->has_started || script_is_elsewhere(script);
}

void udp_open_later(struct script_udp *udp, const struct sockaddr_storage *address, socklen_t len)
{
    udp_close(udp);
    udp->later = *address;
    udp->later_len = len;
}

/* Waiting. */

static void stop_udp_watch(struct script_udp *udp)
{
    if (udp->is_registered) {
        reactor_deregister(udp->script->reactor, udp->fd);
        udp->is_registered = false;
    }
}

struct coro *udp_end_wait(struct script_udp *udp)
{
    struct coro *coro = udp->reader;
    udp->reader = NULL;
    coro->wait_id = 0;
    if (udp->timer != 0) {
        reactor_cancel_timer(udp->script->reactor, udp->timer);
        udp->timer = 0;
    }
    return coro;
}

static struct script_udp *udp_of(const struct coro *coro)
{
    return (struct script_udp *)(uintptr_t)coro->wait_id;
}

static int on_udp_unwanted(struct coro *coro)
{
    udp_end_wait(udp_of(coro));
    lua_pushboolean(coro->L, 0);
    return 1;
}

static void cancel_udp_wait(struct coro *coro)
{
    udp_end_wait(udp_of(coro));
}

const struct coro_wait udp_wait = {.on_gone = on_udp_unwanted, .cancel = cancel_udp_wait};

static void on_udp_event(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    (void)fd;
    struct script_udp *udp = arg;
    if ((events & (unsigned)REACTOR_ERROR) != 0) {
        udp->error = reactor_error(reactor);
    }
    if (udp->reader == NULL) {
        stop_udp_watch(udp);
        return;
    }
    struct coro *coro = udp_end_wait(udp);
    lua_pushboolean(coro->L, 1);
    coro_resume(coro, 1);
}

static void on_udp_late(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct script_udp *udp = arg;
    udp->timer = 0;
    struct coro *coro = udp_end_wait(udp);
    if (udp->takes_turn) {
        lua_pushboolean(coro->L, 1);
    } else {
        lua_pushnil(coro->L);
    }
    coro_resume(coro, 1);
}

int udp_begin_wait(struct script_udp *udp, struct coro *coro)
{
    struct reactor *reactor = udp->script->reactor;
    if (udp->fd >= 0 && !udp->is_registered) {
        int rv = reactor_register(reactor, udp->fd, (unsigned)REACTOR_READABLE | (unsigned)REACTOR_EDGE, on_udp_event,
                                  udp);
        if (rv < 0) {
            return rv;
        }
        udp->is_registered = true;
    }
    int64_t left_ms = udp->end_ms - reactor_now_ms(reactor);
    udp->takes_turn = udp->fd >= 0 && udp->turn >= UDP_TURN_MAX;
    udp->turn = 0;
    uint32_t ms = left_ms > 0 && !udp->takes_turn ? (uint32_t)left_ms : 0;
    udp->timer = reactor_set_timeout(reactor, ms, on_udp_late, udp);
    if (udp->timer == 0) {
        return -ENOMEM;
    }
    udp->reader = coro;
    coro->wait_id = (uint64_t)(uintptr_t)udp;
    return 0;
}

void udp_close(struct script_udp *udp)
{
    if (udp->reader != NULL) {
        struct coro *coro = udp_end_wait(udp);
        lua_pushboolean(coro->L, 1);
        coro_wake(coro, 1);
    }
    if (udp->question != NULL) {
        resolver_cancel(&udp->question->query);
        mem_free(udp->question);
        udp->question = NULL;
    }
    udp->error = 0;
    udp->later_len = 0;
    if (udp->fd >= 0) {
        stop_udp_watch(udp);
        sys_close(udp->fd);
        udp->fd = -1;
        udp->script->udps_open--;
    }
}

void udp_free_all(struct script *script)
{
    for (uint32_t i = 0; i < script->udp_count; i++) {
        udp_close(script->udps[i]);
        mem_free(script->udps[i]);
    }
    mem_free(script->udps);
}
