#ifndef EVSERVE_LUA_SUBSCRIPTION_H
#define EVSERVE_LUA_SUBSCRIPTION_H

/* Subscriptions of scripts: messages of a topic that wait for a coroutine. bind_subscribe.c has what scripts call. */

#include "core/topics.h"
#include "lua/coro_pool.h"

enum {
    SUBSCRIPTIONS_MAX = 100000,       /* of a script */
    SUBSCRIPTION_QUEUE = 1000,        /* messages that wait, unless the script says otherwise */
    SUBSCRIPTION_QUEUE_MAX = 10000,   /* that it may say */
    SUBSCRIPTION_BYTES_MAX = 4 << 20, /* bytes of them; one message alone may have more */
};

struct script_subscription {
    struct coro_thing thing; /* it ends with the handler, timer or detached task in which it began */
    struct subscription subscription;
    struct script *script;                 /* whose it is */
    struct script_subscription *next_free; /* in the list of those in no use */
    uint64_t id;                           /* never used twice; 0 in no use */
    uint32_t index;                        /* in script->subscriptions */
    uint32_t max;                          /* messages that may wait */
    struct publication **queue;            /* a ring of capacity references, count of them used from first on */
    uint32_t first, count, capacity;
    size_t bytes;             /* of the messages that wait */
    uint64_t lost;            /* messages that were dropped, since the script has asked */
    bool is_gap;              /* the replay could not give all, likewise */
    struct coro_list waiting; /* those that wait for a message */
};

/* What Lua holds of one: numbers, no pointers. */
struct subscription_handle {
    uint32_t index; /* in script->subscriptions */
    uint64_t id;    /* tells whether it is still the same one */
};

/* Subscribe: keep messages for replay (0: none), and give those after an id ({0, 0}: none). Returns it, or NULL with
 * the reason in *error: -errno as topics_subscribe(), or -ENOBUFS beyond SUBSCRIPTIONS_MAX. */
struct script_subscription *subscription_open(struct script *script, struct coro *coro, const char *name, size_t len,
                                              uint32_t max, struct topics_replay *replay, int *error);

/* The one of an object, or NULL: it has ended. */
struct script_subscription *subscription_find(const struct script *script, const struct subscription_handle *handle);

/* End it. Those that wait are woken. */
void subscription_close(struct script_subscription *subscription);

/* The first message; NULL: none waits. Drop it. */
struct publication *subscription_first(const struct script_subscription *subscription);
void subscription_drop_first(struct script_subscription *subscription);

/* Waiting for a message: coro, which is in the list waiting, is woken with true; with nil once a timeout is over; with
 * false when nobody wants to know any more. */
extern const struct coro_wait subscription_wait;

/* The script begins to end: wake all that wait. */
void subscription_wake_all(struct script *script);

/* The script has stopped: nothing comes any more. */
void subscription_close_all(struct script *script);

/* Free those of a script whose Lua state is closed. */
void subscription_free_all(struct script *script);

#endif
