#ifndef EVSERVE_HTTP_HOST_STAGE_H
#define EVSERVE_HTTP_HOST_STAGE_H

/* A server that a file of tests tests in its own process, on the calling thread, with a clock that can be moved:
 * evserve_test(). */

#include "evserve.h"

#include <stddef.h>
#include <stdint.h>

struct reactor;
struct script_kind;

/* The functions of evserve.h that it is made of, and what only the front door has. */
struct stage_door {
    evserve *(*start)(const struct evserve_config *config, char *err, size_t errlen);
    int (*adopt)(evserve *server, int fd);
    int (*poll)(evserve *server, int timeout_ms);
    void (*stop)(evserve *server, uint32_t drain_ms);
    int (*wait)(evserve *server);
    void (*free)(evserve *server);
    struct reactor *(*reactor)(evserve *server); /* of its only thread */
    const struct script_kind *kind;              /* NULL: this build runs no scripts */
};

/* What to run, and where the report goes. */
struct stage_tests {
    const char *path, *only; /* only: NULL for all cases */
    void (*line)(void *arg, const char *text);
    void *arg;
};

/* Returns how many cases have failed, or -1 with a text in err. */
int stage_run(const struct stage_door *door, const struct evserve_config *config, const struct stage_tests *tests,
              char *err, size_t errlen);

#endif
