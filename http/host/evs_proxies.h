#ifndef EVSERVE_HTTP_HOST_EVS_PROXIES_H
#define EVSERVE_HTTP_HOST_EVS_PROXIES_H

/* A host's proxies (struct evs_proxy of evserve.h), made proxies of a site. */

#include <stddef.h>

struct evs_proxies;
struct evs_proxy;
struct limits;
struct outbound;
struct router;

/* Where proxies of a host are made. */
struct evs_proxies_place {
    struct router *router;     /* borrowed: gets their routes */
    struct outbound *outbound; /* borrowed: outlives them */
    int base_fd;               /* where relative names of files start */
    const char *name;          /* where they come from, for errors: "evserve_config.proxies" */
};

/* Make proxies, which are borrowed, and register their routes. *made is freed with evs_proxies_destroy() in any case.
 * Returns 0, or -errno with a text in err that names the member. */
int evs_proxies_create(struct evs_proxies **made, const struct evs_proxy *proxies,
                       const struct evs_proxies_place *place, char *err, size_t errlen);

/* Their limits: the server's and their own. Returns 0, or -errno with a text in err. */
int evs_proxies_settle_limits(struct evs_proxies *proxies, const struct limits *limits, char *err, size_t errlen);

/* Free them. No server may use them any more. NULL is allowed. */
void evs_proxies_destroy(struct evs_proxies *proxies);

#endif
