#ifndef EVSERVE_LUA_WEBSOCKET_H
#define EVSERVE_LUA_WEBSOCKET_H

/* WebSockets of a script: what comes from the client, and the coroutines that wait for it. bind_websocket.c has what
 * scripts call. */

#include "http/ws/ws.h"
#include "lua/coro_pool.h"

enum {
    WEBSOCKET_QUEUE_MAX = 16,          /* messages that wait for the script; then nothing more is read */
    WEBSOCKET_QUEUE_BYTES_MAX = 65536, /* of them; one more message may be begun below it */
    WEBSOCKET_EXCESS_MAX = 64 << 20,   /* bytes beyond that, of all WebSockets of a script whose routes compress: their
                                        * clients need not send much for that. Whoever comes above it is closed */
};

/* Which functions have returned "closed". The next call of the same one raises an error, which ends the coroutine. */
enum websocket_told { TOLD_BY_RECEIVE = 1, TOLD_BY_SEND = 2 };

/* A message that waits for the script. */
struct websocket_message {
    struct websocket_message *next; /* the one that came after it */
    enum ws_kind kind;
    size_t len; /* bytes of data */
    char data[];
};

/* A message that is handed over while its bytes lie in the read block. */
struct websocket_handed {
    enum ws_kind kind;
    const char *data;
    size_t len; /* bytes of data */
};

/* One that has been accepted and is not closed, or whose function still runs. */
struct script_websocket {
    struct script *script;              /* whose it is */
    struct script_websocket *next_free; /* in the list of those in no use */
    uint64_t id;                        /* never used twice; 0 in no use */
    uint32_t index;                     /* in script->websockets */
    bool is_closed;                     /* on_close() has come */
    bool is_done;                       /* its function has returned */
    bool is_closing;                    /* the script has asked for that */
    bool is_paused;                     /* nothing more is read */
    bool is_behind;                     /* the client takes less than is sent */
    uint8_t told;                       /* set of enum websocket_told */
    uint8_t queued;                     /* messages that wait */
    uint16_t code;                      /* of the close */
    struct ws *ws;                      /* NULL before it is open, and once it is closed */
    struct coro_thing thing;         /* of the coroutine that runs its function, and belongs to none once that ended */
    struct coro_list reader;         /* the coroutine that waits for a message, or for the beginning */
    struct coro_list senders;        /* those that wait for room */
    struct websocket_handed *handed; /* the message at hand; NULL: none is */
    struct websocket_message *first, *last; /* that wait; NULL: none do */
    size_t queued_bytes;                    /* of them */
    char *reason;                           /* owned: of the close, with a NUL; NULL: none */
    const struct route_websocket *options;  /* of its route */
};

/* What Lua holds of one: numbers, no pointers. Its environment has the fields of the request. */
struct websocket_handle {
    uint32_t index; /* in script->websockets */
    uint64_t id;    /* tells whether it is still the same one */
};

/* The callbacks for ws_accept(), whose arg is a struct script_websocket. */
extern const struct ws_user websocket_user;

/* One for ws_accept(). NULL when memory is short. */
struct script_websocket *websocket_take(struct script *script);

/* Back to the pool. Nothing may know it any more. */
void websocket_put(struct script_websocket *socket);

/* It was accepted, and coro runs its function: when that ends, it is closed. */
void websocket_begin(struct script_websocket *socket, struct coro *coro);

/* That of an object, or NULL: it is closed, and its function has ended. */
struct script_websocket *websocket_find(const struct script *script, const struct websocket_handle *handle);

/* The one whose function coro runs, or NULL. */
struct script_websocket *websocket_of(const struct coro *coro);

/* Whether a message waits for the script. */
bool websocket_has_message(const struct script_websocket *socket);

/* Push the first message and its kind: "text" or "binary". It must have one. May raise (memory), with nothing lost. */
int websocket_push_message(lua_State *L, struct script_websocket *socket);

/* Read on, if nothing waits for the script any more. */
void websocket_read_on(struct script_websocket *socket);

/* Waiting for a message (in reader) or for the beginning: woken with true; with nil once a timeout is over (the timer
 * wait_id); with false when nobody wants to know any more. Waiting for room (in senders): likewise, or with nil and
 * "closed". */
extern const struct coro_wait websocket_read_wait, websocket_send_wait;

/* The script is replaced by another one, or ends: what is open is closed when max_age of its route has passed. */
void websocket_retire(struct script *script);

/* Free those of a script whose Lua state is closed. */
void websocket_free_all(struct script *script);

#endif
