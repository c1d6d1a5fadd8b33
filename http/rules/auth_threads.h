#ifndef EVSERVE_HTTP_RULES_AUTH_THREADS_H
#define EVSERVE_HTTP_RULES_AUTH_THREADS_H

/* A desk at one of the two pools of threads that passwords have in a server: one hashes them, for rules and for scripts,
 * the other looks at password files, so that users who are known need not wait behind a flood of guesses. */

#include <stdbool.h>

struct job;
struct job_desk;
struct job_pool;
struct job_pools;
struct reactor;

enum {
    AUTH_HASHERS_MAX = 4,      /* threads that hash passwords; no more than half of the processors */
    AUTH_HASHES_WAITING = 256, /* passwords in a server that wait for one of them; further ones get 503 */
    AUTH_LOOKS_WAITING = 1000, /* files to be looked at: one for each rule */
};

struct auth_threads {
    bool hashes;            /* which of the two; set by the owner, the rest is zero */
    struct job_pools *jobs; /* borrowed, of pool */
    struct job_pool *pool;  /* held; NULL before the first job */
    struct job_desk *desk;  /* owned; likewise */
};

/* Submit a job, with the pools of a server, which are borrowed, and one of its reactors; both are the same each time.
 * Returns 0, or, with the job still the caller's, -EAGAIN (too many wait), -ENOSYS (jobs is NULL: the server has no
 * threads for that) or another -errno. On the reactor's thread. */
int auth_threads_submit(struct auth_threads *threads, struct job_pools *jobs, struct reactor *reactor, struct job *job);

/* Close the desk: jobs that were submitted are dropped. */
void auth_threads_close(struct auth_threads *threads);

#endif
