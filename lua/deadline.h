#ifndef EVSERVE_LUA_DEADLINE_H
#define EVSERVE_LUA_DEADLINE_H

/* What ends a run of Lua code that takes too much: processor time (handler_cpu) or memory (lua_memory). A run is what
 * happens between two waits of a coroutine, or one call on the main thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lua_State;
struct script;

enum stop_reason { STOP_NONE, STOP_CPU, STOP_MEMORY };

/* How far the clocks of a run are known. */
enum run_clock {
    RUN_UNSEEN,   /* nobody has looked yet: most runs end before that */
    RUN_SEEN,     /* its time on the wall clock is known, which processor time cannot exceed */
    RUN_MEASURED, /* its processor time counts, from cpu_ns on */
};

struct run {
    struct run *outer;  /* in the middle of which it began; the script's idle_run has none */
    uint64_t budget_ns; /* processor time it may take; 0: no end of it */
    int64_t start_ns;   /* monotonic time of its beginning, or a few ms before */
    int64_t seen_ns;    /* of the last look */
    enum run_clock clock;
    int64_t look_ns;       /* monotonic time before which there is no need to look at processor time */
    int64_t cpu_ns;        /* processor time of the thread when RUN_MEASURED began */
    int64_t turn_end_ns;   /* monotonic time from which a write gives way to others; 0 before the first one */
    bool is_slow;          /* between the last two looks more time passed than instructions of Lua code take */
    bool is_collected;     /* garbage was collected for it: from now on that counts as its own time */
    bool uses_reserve;     /* it may hold more than lua_memory: a timer */
    bool allows_globals;   /* a module is being loaded, which may make some */
    size_t refused_bytes;  /* of a block that lua_memory refused it, else 0 */
    size_t held_bytes;     /* by the state at that time */
    bool is_reported;      /* why it was stopped is in the log */
    enum stop_reason stop; /* STOP_NONE while it may go on */
};

/* Begin a run, which is script->run until its end. Neither this nor its end is a system call. */
void deadline_enter(struct script *script, uint64_t budget_ms, struct run *run);

/* End it, go on with the one outside; what it was like remains in the struct: whether it was stopped, and why. Returns the
 * milliseconds that it took when that is twice its budget and 50 ms or more, and nothing stopped it; else 0. */
uint64_t deadline_leave(struct script *script);

/* A stream has handed bytes on, which counts as a wait: its time begins anew. Returns whether the run has lasted so long that
 * it must really wait now, so that others have their turn. */
bool deadline_restart(struct script *script);

/* The script's Lua code is watched from now on. */
void deadline_arm(struct script *script);

/* Look at clock and memory before the next instruction of Lua code. Allowed inside the allocator. */
void deadline_look_soon(struct script *script);

/* For a C function that takes long: raise an error if the run it works for is over its budget. */
void deadline_check(struct lua_State *L);

/* Put the sentence that says why a run was stopped into text. */
void deadline_describe(const struct script *script, const struct run *run, char *text, size_t len);

#endif
