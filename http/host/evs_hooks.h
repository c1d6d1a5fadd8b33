#ifndef EVSERVE_HTTP_HOST_EVS_HOOKS_H
#define EVSERVE_HTTP_HOST_EVS_HOOKS_H

/* The hooks of a host's config, on top of those of a server. */

struct evserve_config;
struct server;

/* Set the hooks of config, which must outlive the server. */
void evs_hooks_set(struct server *server, const struct evserve_config *config);

#endif
