#ifndef EVSERVE_HTTP_HOST_DESCRIBE_H
#define EVSERVE_HTTP_HOST_DESCRIBE_H

/* What a config would serve: evserve_check() and evserve_routes(). */

#include <stdbool.h>
#include <stddef.h>

struct plan;
struct worker;

/* Where the description goes, line by line; or the reason why there is none, as text. */
struct describe_target {
    void (*line)(void *arg, const char *text);
    void *arg;
    char *err;
    size_t errlen;
};

/* Load the plan in a worker that serves nothing, and describe all of it or only the routes. listen is the config's.
 * Returns 0, or a negative number with a text in target->err. */
int describe_plan(struct plan *plan, struct worker *worker, const char *listen, bool is_whole,
                  const struct describe_target *target);

#endif
