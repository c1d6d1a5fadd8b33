#ifndef EVSERVE_LUA_WORKER_STATE_H
#define EVSERVE_LUA_WORKER_STATE_H

/* The Lua state of a worker's thread: a struct script of its own, with Lua's libraries, `require` and the parts of
 * evserve that make sense off the loop. Its code may block, has no deadline, and is compiled where that is allowed. One
 * thread uses it at a time. */

#include "core/write_buffer.h"
#include "lua/state.h"

#include <stddef.h>
#include <stdint.h>

enum {
    WORKER_FUNCTIONS_MAX = 1000,      /* of a module */
    WORKER_NAME_MAX = 128,            /* bytes of the name of one of them */
    WORKER_VALUES_MAX = 200,          /* arguments, or results, of a call */
    WORKER_CALL_BYTES_MAX = 64 << 20, /* of all arguments, or results, of a call */
};

/* The module that a state is made for. */
struct worker_module {
    const struct script *script; /* that wants it: its log, its folders and its deadline for loading count */
    const char *path;            /* of the file, from the script's base */
    const char *package_path, *package_cpath; /* where `require` looks, beside the script's folder; NULL: as usual */
    size_t memory_bytes;                      /* that the state may hold */
};

/* The names of its functions, in alphabetical order. */
struct worker_names {
    char **list;              /* count of them */
    uint32_t count, capacity; /* of list */
};

void worker_names_free(struct worker_names *names);

/* Push the table of C functions that the prelude gets in a state without a site: no script can reach others through the
 * debug library. Modules lie in the folder of folder_of. May raise. */
void worker_state_push_core(lua_State *L, const struct script *folder_of);

/* Make a state and load the module in it, on the thread that the script is loaded on. Fills in names if they are empty;
 * otherwise the module must have all of them. Returns 0, or -errno with a text in err. */
int worker_state_open(struct script **state, const struct worker_module *module, struct worker_names *names, char *err,
                      size_t errlen);

/* Close it, with what its module has. NULL is allowed. */
void worker_state_close(struct script *state);

/* How a call has ended. */
enum worker_outcome {
    WORKER_UNKNOWN,  /* it has not */
    WORKER_RETURNED, /* bytes holds its results */
    WORKER_RAISED,   /* bytes holds the error, and its traceback as text */
    WORKER_SHORT,    /* there was no memory; bytes is empty */
};

/* A call: values are those of lua/value.h, one after the other. */
struct worker_call {
    const char *name;          /* for errors: "scripts/db.lua: find_users" */
    uint32_t function;         /* its number among the names */
    uint32_t count;            /* values in bytes */
    struct write_buffer bytes; /* arguments, then results; owned by whoever has the call */
    enum worker_outcome outcome;
    size_t held_bytes; /* of WORKER_SHORT: what the state held */
};

/* Make it, on any thread. Does not raise. */
void worker_state_run(struct script *state, struct worker_call *call);

#endif
