#ifndef EVSERVE_CORE_STALLS_H
#define EVSERVE_CORE_STALLS_H

/* Ticks of a reactor that take so long that whoever becomes ready meanwhile waits too long: each is counted, and the
 * log says what held the loop. reactor_stalls() gives those of a reactor. The reactor's thread. */

#include <stdbool.h>
#include <stdint.h>

struct log;

enum {
    STALL_NOTED_NS = 10000000, /* runs that take less are not worth a note */
    STALL_NAME_MAX = 512,      /* bytes of the name of a run, with its NUL */
};

struct stalls {
    int64_t limit_ns;        /* a tick that takes longer is a stall; INT64_MAX: nobody wants to know */
    const struct log *log;   /* borrowed, may be NULL */
    const int64_t *began_ns; /* borrowed: when the tick began, the reactor's clock */
    const uint64_t *ticks;   /* borrowed: how many have begun */
    uint64_t first_tick;     /* that when the loop was entered last */
    uint64_t *count;         /* borrowed: of stalls; any thread may read it */

    /* The longest run that was noted, and the end of the last one: of the tick that began at tick_ns. */
    int64_t tick_ns, longest_ns, last_end_ns;
    char name[STALL_NAME_MAX]; /* of the longest */

    int64_t quiet_until_ns; /* until then stalls are only counted */
    uint64_t unlogged;      /* since the last line */
};

/* For the reactor: begin without a limit. All are borrowed; log may be NULL. */
void stalls_init(struct stalls *stalls, const struct log *log, const int64_t *began_ns, const uint64_t *ticks);

/* For the reactor: the loop is entered. What took time before its first tick was not a tick. */
void stalls_enter(struct stalls *stalls);

/* For the reactor: a tick has ended at end_ns, more than limit_ns after its beginning. */
__attribute__((cold)) void stalls_tell(struct stalls *stalls, int64_t end_ns);

/* For the reactor: the tick that began at began_ns has ended at end_ns; 0: nobody knows when. */
static inline void stalls_look(struct stalls *stalls, int64_t began_ns, int64_t end_ns)
{
    if (__builtin_expect(end_ns - began_ns > stalls->limit_ns, 0)) {
        stalls_tell(stalls, end_ns);
    }
}

static inline bool stalls_are_watched(const struct stalls *stalls)
{
    return stalls->limit_ns != INT64_MAX;
}

/* From now on a tick that takes longer than limit_ms is counted in *count (relaxed atomics), and a line of the log, at
 * most one in a second, names the run that took longest in it, of those that were noted. 0: no longer. count is
 * borrowed. */
void stalls_watch(struct stalls *stalls, uint64_t limit_ms, uint64_t *count);

/* Whether a run that took so long makes for a line about its tick, so that there need not be another one. */
static inline bool stalls_has(const struct stalls *stalls, int64_t took_ns)
{
    return took_ns - STALL_NOTED_NS > stalls->limit_ns;
}

/* Note a run that has just ended: some work of a callback that took took_ns, STALL_NOTED_NS or more. Returns where to
 * write its name, STALL_NAME_MAX bytes, or NULL if nobody wants to know it. */
char *stalls_note(struct stalls *stalls, int64_t took_ns);

/* The same for a run whose beginning is not known: whatever took time since the last run that was noted, or since the
 * tick began, was that run, if it is STALL_NOTED_NS or more. Costs a look at the coarse clock. */
char *stalls_note_end(struct stalls *stalls);

#endif
