#ifndef EVSERVE_HTTP_ROUTE_H
#define EVSERVE_HTTP_ROUTE_H

/* A route, and what a request finds when it looks for one. http/router.h finds it. */

#include "http/message.h"

#include <stdint.h>

struct handler;

enum {
    ROUTE_PARAMS_MAX = 16,    /* parameters of one pattern, the rest too */
    ROUTE_PATTERN_MAX = 1024, /* bytes of a pattern */
    ROUTE_BRANCHES_MAX = 32,  /* parameters that differ in type or following text, after one and the same beginning */
};

/* A registered route. Owned by the router, lives as long as it. */
struct route {
    const struct handler *handler;             /* borrowed: responds to its requests */
    uint64_t methods;                          /* set of METHOD_BIT(number), as registered */
    const char *pattern;                       /* as registered */
    const char *where;                         /* "site.lua:12" or "" */
    const char *param_names[ROUTE_PARAMS_MAX]; /* in order of appearance; the rest's name too */
    uint8_t param_count;                       /* of param_names */
    uint16_t int_params;                       /* set of 1 << index: those of the type {int} */
    uint16_t series;                           /* its number in http/metrics_counts.h; 0 without metrics */

    /* Of literal text and a rest: 1 + the least length of the prefix of a mount whose files come first. For all paths
     * ("/ *path" without the blank) they are those of all mounts, otherwise of those with a longer prefix than the
     * route's text. 0: the route comes before all files. */
    uint16_t after_files;
};

enum route_verdict {
    ROUTE_FOUND,
    ROUTE_NOT_ALLOWED, /* the path exists with other methods, which are in allowed. The verdict for OPTIONS without a
                        * route of its own, too: the caller responds with allowed instead of 405. */
    ROUTE_NOT_FOUND,   /* no pattern fits, or only some that do not mean that the path exists: those for all paths,
                        * such as "/ *path" (without the blank), unless the handler says so, and those for OPTIONS
                        * alone, which are for the preflights of CORS */
};

struct route_match {
    const struct route *route;             /* of ROUTE_FOUND, else NULL */
    uint64_t allowed;                      /* of ROUTE_NOT_ALLOWED: set of methods over all patterns that fit the path,
                                            * HEAD with GET, OPTIONS always */
    struct slice params[ROUTE_PARAMS_MAX]; /* values: slices of the path, route->param_count of them */
};

#endif
