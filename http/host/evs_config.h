#ifndef EVSERVE_HTTP_EVS_CONFIG_H
#define EVSERVE_HTTP_EVS_CONFIG_H

/* struct evserve_config of evserve.h, checked, copied and carried over into limits. */

#include <stddef.h>

struct evs_limits;
struct evserve_config;
struct limits;
struct vhost;

/* Read a config that may be of an older release, and then is shorter: members that it lacks get their defaults. The
 * strings still belong to the host. Returns 0, or -EINVAL or -ERANGE with a text in err that names the member. */
int evs_config_read(struct evserve_config *copy, const struct evserve_config *config, char *err, size_t errlen);

/* Copy a config that was read, with all strings, routes and mounts that it points to. The paths of the sandbox, used
 * at the start only, and the certificates (evs_certificates.h) are left out. Routes of an older program get today's
 * size in the copy. Returns 0, or -ENOMEM with what was copied, to be dropped all the same. */
int evs_config_keep(struct evserve_config *kept, const struct evserve_config *config);
void evs_config_drop(struct evserve_config *kept);

/* Set the limits that the config gives: 0 leaves a limit as it is, EVSERVE_ZERO sets it to 0. Returns 0, or -errno with
 * a text in err that names the limit, also if limits contradict each other afterwards. */
int evs_config_apply(struct limits *limits, const struct evserve_config *config, char *err, size_t errlen);

/* The same for the limits of a route; limits holds those of the server before. */
int evs_config_apply_route(struct limits *limits, const struct evs_limits *own, char *err, size_t errlen);

/* Set them for a host of a site; whether they contradict each other is seen when the host is settled. */
int evs_config_apply_host(struct vhost *vhost, const struct evs_limits *own, char *err, size_t errlen);

#endif
