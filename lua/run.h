#ifndef EVSERVE_LUA_RUN_H
#define EVSERVE_LUA_RUN_H

/* A run of Lua code: what happens between two waits of a coroutine, or one call on the main thread. deadline.h begins
 * and ends runs. */

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum stop_reason { STOP_NONE, STOP_CPU, STOP_MEMORY, STOP_LOAD };

/* How far the clocks of a run are known. */
enum run_clock {
    RUN_UNSEEN,   /* nothing has looked yet: most runs end before that */
    RUN_SEEN,     /* its time on the wall clock is known, which processor time cannot exceed */
    RUN_MEASURED, /* its processor time has been looked at */
};

struct run {
    struct run *outer;  /* the run that this one interrupts; the script's idle_run has none */
    uint64_t budget_ns; /* processor time it may take; 0: no limit */
    int64_t start_ns;   /* monotonic time of its beginning, or a few ms before; deadline_restart() moves it */
    int64_t before_ns;  /* that it took before it was moved */
    int64_t seen_ns;    /* of the last look; before the first one that of its beginning */
    int64_t took_ns;    /* all of it, once it has ended; may be a few ms more or less */
    enum run_clock clock;
    int64_t look_ns;       /* monotonic time before which there is no need to look at processor time */
    int64_t cpu_ns;        /* processor time of the thread when it began, or up to 20 ms more */
    int64_t turn_end_ns;   /* monotonic time from which a write gives way to others; 0 before the first one */
    bool is_slow;          /* between the last two looks more time passed than instructions of Lua code take */
    bool is_collected;     /* garbage was collected for it: from now on that counts as its own time */
    bool uses_reserve;     /* it may hold more than lua_memory: a timer */
    bool allows_globals;   /* a module is being loaded, which may make some */
    size_t refused_bytes;  /* of a block that lua_memory refused it, else 0 */
    size_t held_bytes;     /* by the state at that time */
    bool is_reported;      /* the log says why it was stopped */
    enum stop_reason stop; /* STOP_NONE while it may go on */
    const char *place;     /* of the route at work; NULL without one */

    /* Log that it was stopped where L is now, with text. Returns whether there was memory for that. NULL: whoever began
     * the run reports it. */
    bool (*report)(lua_State *L, const char *text);
};

#endif
