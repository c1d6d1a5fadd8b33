#ifndef EVSERVE_LUA_WORKER_REQUEST_H
#define EVSERVE_LUA_WORKER_REQUEST_H

/* Calls of a worker's functions: from the script to a thread and back. */

#include "lua/state.h"

#include <stdbool.h>

struct job_desk;
struct job_pool;

/* An app.worker. */
struct script_worker {
    struct script_worker *next; /* of the script */
    uint32_t number;            /* of the script's, from 1 */
    uint32_t timeout_ms;        /* of a call; 0: none */
    unsigned threads, queue;    /* at most */
    struct job_pool *pool;      /* held */
    struct job_desk *desk;      /* of the script's reactor; NULL before the first call */
    struct line_limit full;     /* lines about a full queue */
    char path[];                /* of the module */
};

/* What Lua holds of it. */
struct worker_handle {
    uint32_t number;
};

/* worker_call(handle, number, ...): true, later, when the call has been made; false when the client has gone. If the
 * time is up, true, and whether the call has begun. */
int worker_request_call(lua_State *L);

/* worker_take(handle, number, has_begun): the results of the call that has just been made. Raises its error, and one that
 * says that the time is up. */
int worker_request_take(lua_State *L);

#endif
