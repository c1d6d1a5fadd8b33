#ifndef EVSERVE_HTTP_OUTCOME_END_H
#define EVSERVE_HTTP_OUTCOME_END_H

/* How a request ended. */
enum outcome_end {
    OUTCOME_GONE, /* the client closed or reset the connection before all of the response was handed to the kernel */
    OUTCOME_COMPLETE, /* all of it was */
    OUTCOME_TIMEOUT,  /* a deadline was over */
    OUTCOME_ABORTED,  /* the response could not be completed: given up, too long, no memory, its file has changed */
    OUTCOME_STOPPED,  /* the server stopped, and waited no longer */
};

/* The status that logs and metrics have for a request that got no response: as in nginx, 499 if the client left and 408
 * if it was too slow; else 0. */
static inline int outcome_status_without(enum outcome_end end)
{
    return end == OUTCOME_GONE ? 499 : end == OUTCOME_TIMEOUT ? 408 : 0;
}

#endif
