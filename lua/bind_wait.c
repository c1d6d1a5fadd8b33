/* Waiting for an fd that a library owns.
 *
 * Happy path: each wait has an epoll of its own, which watches the fd, and the reactor watches that epoll. Once it is
 * readable, the fd is ready, and the coroutine goes on.
 *
 * The reactor never sees the fd itself. So the library may close it at any time: the kernel takes it out of our epoll,
 * the number may become that of a connection of the server, and the reactor takes neither for the other. Nor does the
 * reactor read the error of a socket (SO_ERROR), which libpq and libcurl want to read themselves.
 *
 * Failure modes: an fd that is closed while it is waited for never becomes ready, so the wait ends with its timeout. If
 * there is no fd for the epoll, the script gets nil and an error text. Where no Lua code runs, nothing may be made that
 * takes memory of the state: so the wait ends with numbers, and the prelude makes texts of them. */

#include "lua/bind_wait.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "lua/coro.h"
#include "lua/duration.h"
#include "lua/relay.h"
#include "lua/script_error.h"

#include <limits.h>
#include <string.h>

/* One wait: coro->wait_id is its address. */
struct fd_wait {
    struct coro *coro; /* that waits */
    int epoll_fd;      /* watches the fd of the library, and nothing else */
    uint64_t timer;    /* that ends the wait; 0: none */
};

static void end_fd_wait(struct coro *coro)
{
    struct fd_wait *wait = (struct fd_wait *)(uintptr_t)coro->wait_id;
    struct reactor *reactor = coro->script->reactor;
    coro->wait_id = 0;
    if (wait->timer != 0) {
        reactor_cancel_timer(reactor, wait->timer);
    }
    reactor_close(reactor, wait->epoll_fd);
    mem_free(wait);
}

static int on_fd_unwanted(struct coro *coro)
{
    end_fd_wait(coro);
    lua_pushboolean(coro->L, 0);
    return 1;
}

static const struct coro_wait fd_wait_kind = {.on_gone = on_fd_unwanted, .cancel = end_fd_wait};

static void on_fd_ready(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    (void)fd;
    struct coro *coro = ((struct fd_wait *)arg)->coro;
    int error = (events & REACTOR_ERROR) != 0 ? reactor_error(reactor) : 0; /* the kernel refuses to watch the epoll */
    end_fd_wait(coro);
    if (error < 0) {
        lua_pushnil(coro->L);
        lua_pushinteger(coro->L, -error);
        coro_resume(coro, 2);
    } else {
        lua_pushboolean(coro->L, 1);
        coro_resume(coro, 1);
    }
}

static void on_fd_late(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct fd_wait *wait = arg;
    struct coro *coro = wait->coro;
    wait->timer = 0;
    end_fd_wait(coro);
    lua_pushnil(coro->L);
    coro_resume(coro, 1);
}

/* Arguments. */

static int check_fd(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TNUMBER) {
        script_raise(L, "app.wait: the number of an open file (fd) expected, got %s", luaL_typename(L, index));
    }
    double number = lua_tonumber(L, index);
    if (!(number >= 0 && number <= INT_MAX) || number != (double)(int)number) {
        lua_pushvalue(L, index);
        script_raise(L, "app.wait: %s is not the number of an open file (fd)", lua_tostring(L, -1));
    }
    return (int)number;
}

static uint32_t check_direction(lua_State *L, int index)
{
    static const struct {
        const char *name;
        uint32_t events;
    } directions[] = {
        {"read", (uint32_t)EPOLLIN | (uint32_t)EPOLLRDHUP},
        {"write", EPOLLOUT},
        {"either", (uint32_t)EPOLLIN | (uint32_t)EPOLLRDHUP | (uint32_t)EPOLLOUT},
    };
    const char *name = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "";
    for (size_t i = 0; i < sizeof directions / sizeof directions[0]; i++) {
        if (strcmp(name, directions[i].name) == 0) {
            return directions[i].events;
        }
    }
    script_raise(L, "app.wait: \"read\", \"write\" or \"either\" expected after the fd, got %s",
                 name[0] == '\0' ? luaL_typename(L, index) : lua_pushfstring(L, "\"%s\"", name));
}

/* An epoll that watches fd. Returns its fd, or -errno; -EPERM: fd is a file, which is always ready. */
static int open_fd_wait(int fd, uint32_t events)
{
    int epoll_fd = sys_epoll_create();
    if (epoll_fd < 0) {
        return epoll_fd;
    }
    int rv = sys_epoll_add(epoll_fd, fd, events, 0);
    if (rv < 0) {
        sys_close(epoll_fd);
        return rv;
    }
    return epoll_fd;
}

/* Whether what the epoll watches is ready already; negative: -errno. */
static int fd_is_ready(int epoll_fd)
{
    struct epoll_event event;
    int rv = sys_epoll_wait_ms(epoll_fd, &event, 1, 0);
    return rv == -EINTR ? 0 : rv;
}

/* Begin to wait for epoll_fd, which is closed at the end, or now if that fails. Returns 0 or -errno. */
static int begin_fd_wait(struct coro *coro, int epoll_fd, bool has_timeout, uint32_t ms)
{
    struct reactor *reactor = coro->script->reactor;
    struct fd_wait *wait = mem_zalloc(sizeof *wait);
    if (wait == NULL) {
        sys_close(epoll_fd);
        return -ENOMEM;
    }
    *wait = (struct fd_wait){.coro = coro, .epoll_fd = epoll_fd};
    coro->wait_id = (uint64_t)(uintptr_t)wait;
    int rv = reactor_register(reactor, epoll_fd, REACTOR_READABLE, on_fd_ready, wait);
    if (rv == 0 && has_timeout) {
        wait->timer = reactor_set_timeout(reactor, ms, on_fd_late, wait);
        rv = wait->timer == 0 ? -ENOMEM : 0;
    }
    if (rv < 0) {
        end_fd_wait(coro);
    }
    return rv;
}

/* What the script gets for an error of the system; raises those that are mistakes. */
static int refuse_fd(lua_State *L, int fd, int error)
{
    if (error == -EPERM) { /* a file, which never makes anybody wait */
        lua_pushboolean(L, 1);
        return 1;
    }
    if (error == -EBADF) {
        script_raise(L, "app.wait: %d is not an open file (fd)", fd);
    }
    if (error == -ENOMEM) {
        script_raise_memory(L);
    }
    lua_pushnil(L);
    lua_pushinteger(L, -error);
    return 2;
}

/* wait_fd(fd, direction, timeout): true once fd is ready; nil if that takes longer, or nil and an errno; false when
 * nobody wants to know any more. */
static int lua_wait_fd(lua_State *L)
{
    lua_settop(L, 3);
    int fd = check_fd(L, 1);
    uint32_t events = check_direction(L, 2);
    bool has_timeout = !lua_isnil(L, 3);
    uint32_t ms = has_timeout ? duration_check(L, 3, "app.wait") : 0;
    lua_settop(L, 3);
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    struct coro *coro = coro_check_waiting(L, "app.wait");
    if (coro_is_unwanted(coro)) {
        return coro_say_gone(L, coro);
    }
    if (reactor_is_registered(coro->script->reactor, fd, NULL, NULL)) {
        script_raise(L, "app.wait: fd %d belongs to the server; has the library closed its own?", fd);
    }
    int epoll_fd = open_fd_wait(fd, events);
    if (epoll_fd < 0) {
        return refuse_fd(L, fd, epoll_fd);
    }
    int rv = fd_is_ready(epoll_fd);
    bool is_over = rv != 0 || (has_timeout && ms == 0);
    if (is_over) {
        sys_close(epoll_fd);
    } else {
        rv = begin_fd_wait(coro, epoll_fd, has_timeout, ms);
    }
    if (rv < 0) {
        return refuse_fd(L, fd, rv);
    }
    if (!is_over) {
        return coro_wait(L, coro, &fd_wait_kind);
    }
    if (rv == 0) {
        lua_pushnil(L);
    } else {
        lua_pushboolean(L, 1);
    }
    return 1;
}

/* errno_text(number): what an error of the system is called. */
static int lua_errno_text(lua_State *L)
{
    lua_pushstring(L, errno_text((int)luaL_checkinteger(L, 1)));
    return 1;
}

void bind_wait(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"wait_fd", lua_wait_fd},
        {"errno_text", lua_errno_text},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
