#ifndef EVSERVE_LUA_SOCKET_OBJECT_H
#define EVSERVE_LUA_SOCKET_OBJECT_H

/* Sockets of a script, which lead to other servers: what they have, whose they are, and how coroutines wait on them.
 * bind_socket.c has what scripts call.
 *
 * A connection belongs to the request, timer or detached task that has opened it, with all tasks that have begun there:
 * only they may use it, and it is closed at their end. */

#include "core/link.h"
#include "lua/coro_pool.h"
#include "lua/receive_pattern.h"

enum {
    SOCKET_TIMEOUT_MS = 60000,    /* of each wait, unless the script says otherwise */
    SOCKET_INPUT_BYTES = 16384,   /* read at a time, at least */
    SOCKET_TURN_INPUT = 65536,    /* bytes that a coroutine reads before others have their turn, */
    SOCKET_TURN_OUTPUT = 1 << 20, /* and sends */
};

/* What a wait is for. There is one at a time for each; connecting excludes the other. */
enum socket_side { SOCKET_READING, SOCKET_WRITING, SOCKET_SIDES };

struct script_socket {
    struct coro_thing thing; /* ties the connection to its coroutine */
    struct script *script;
    struct script_socket *next_free;  /* in the list of those in no use */
    uint32_t index;                   /* in script->sockets */
    uint64_t id;                      /* never used twice; 0 in no use */
    struct link *link;                /* NULL: not connected */
    struct coro *waits[SOCKET_SIDES]; /* who waits; NULL: nobody */
    struct write_buffer input;        /* bytes that have come, and were not asked for yet */
    struct write_buffer output;       /* the rest of a list that is being sent */
    size_t sent;                      /* of a string that is being sent; of a list, its length */
    size_t held;                      /* of outbound->held_bytes */
    size_t turn_input, turn_output;   /* bytes since the last wait */
    struct receive_pattern pattern;   /* what the reader waits for, and how far it has looked */
    uint64_t scanned_by;              /* whose pattern.scanned and pattern.matched are of use; 0: nobody's */
    char host[LINK_HOST_MAX + 1];     /* that it was connected with last, or empty: a unix socket */
    char *pool;                       /* name under which the connection is kept; NULL without a connection */
    size_t pool_len;
    unsigned pool_size;  /* connections of that name */
    unsigned reused;     /* how often this connection was taken from there */
    uint32_t connect_ms; /* timeouts */
    uint32_t send_ms;
    uint32_t read_ms;
    int connect_error;       /* of the last connection, -errno */
    int end;                 /* why no more bytes come: 1 for the peer's end, or -errno; 0: they may come */
    bool is_connecting : 1;  /* the link is not open yet */
    bool is_drained : 1;     /* all that had come was read: the next read waits first */
    bool is_read_closed : 1; /* the script knows that no more bytes come */
};

/* What Lua holds of a socket: numbers, no pointers. */
struct socket_handle {
    uint32_t index; /* in script->sockets */
    uint64_t id;    /* tells whether it is still the same one */
};

/* Push a socket that is not connected. May raise (memory). */
struct script_socket *socket_push(lua_State *L);

/* The socket at index. Raises for anything else; what is "socket:receive". */
struct script_socket *socket_check(lua_State *L, int index, const char *what);

/* Raise unless the coroutine that runs may use the connection; what is "socket:receive". Returns that coroutine. */
struct coro *socket_check_owner(lua_State *L, const struct script_socket *socket, const char *what);

/* Whether somebody waits on a side; if so, push nil and an error text that says it. */
bool socket_push_busy(lua_State *L, const struct script_socket *socket, unsigned sides);

/* Give it a link, which belongs to the coroutine that runs, or to the one that it is a task of. is_open: the link is
 * open, and was kept; else on_open is still to come. */
void socket_attach(struct script_socket *socket, struct coro *coro, struct link *link, bool is_open);

/* What links are opened with; arg is the socket. */
extern const struct link_user socket_link_user;

/* Close the connection, if there is one. Whoever waits is woken, and finds it closed. */
void socket_close(struct script_socket *socket);

/* Part with the link, without closing it, and forget the connection. Nobody waits, and nothing is unread. */
struct link *socket_detach(struct script_socket *socket);

/* Wait on a side for at most ms: what a C function returns. It is called again by the prelude, because what it returns
 * here, later, is nil, true and a reason: why the wait is over, 0 or -errno. Or false, when nobody wants to know. */
int socket_wait(lua_State *L, struct script_socket *socket, struct coro *coro, enum socket_side side, uint32_t ms);

/* Read what is there into input, at most what is sensible for the pattern. Returns 0, or -ENOMEM; else it sets end, or
 * is_drained. The end is -ENOBUFS if what has come for all of them fills the memory that it may have (outbound.h). */
int socket_fill(struct script_socket *socket, const struct receive_pattern *pattern);

/* Drop len bytes of input, which nobody else has looked at any more. */
void socket_consume(struct script_socket *socket, size_t len);

/* What the garbage collector calls for a socket. */
int socket_collect(lua_State *L);

/* Close and free those of a script whose Lua state is closed. */
void socket_free_all(struct script *script);

#endif
