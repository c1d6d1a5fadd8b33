#ifndef EVSERVE_CORE_CREW_H
#define EVSERVE_CORE_CREW_H

/* The threads of a server that run functions which may not return in time. When the server goes, it waits for those
 * that are about to end. The others are left behind with what they still use, which the last of them gives back. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct crew;
struct crew_member; /* one of the threads */

enum { CREW_END_MS = 1000 }; /* how long crew_release() waits for threads that are about to end */

/* Make a crew without threads. Returns 0 or -ENOMEM. */
int crew_create(struct crew **crew);

/* Start a thread that calls fn(arg), with all signals blocked except those of faults, and, on behalf of threads that
 * have ended, join these. Returns 0 with *member, or -errno. Any thread. */
int crew_start(struct crew *crew, void (*fn)(void *arg), void *arg, struct crew_member **member);

/* Nobody waits for this thread, which must not have ended: it is in a function that may take any time. Any thread. */
void crew_leave_behind(struct crew_member *member);

/* How many threads have not ended. Any thread. */
unsigned crew_count(struct crew *crew);

/* Free the crew: wait for all threads that were not left behind, CREW_END_MS at most, and call on_last(owner) when no
 * thread is left: at once, or on the last of those that remain. */
void crew_release(struct crew *crew, void (*on_last)(void *owner), void *owner);

#endif
