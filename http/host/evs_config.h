#ifndef EVSERVE_HTTP_EVS_CONFIG_H
#define EVSERVE_HTTP_EVS_CONFIG_H

/* What a host wants: struct evserve_config of evserve.h, checked, copied and carried over into limits. */

#include <stddef.h>

struct evs_limits;
struct evserve_config;
struct limits;

/* Read a config that may be of another release. An older one is shorter: what it does not have is default. The texts
 * stay the host's. Returns 0, or -EINVAL or -ERANGE with a text in err that names the member. */
int evs_config_read(struct evserve_config *copy, const struct evserve_config *config, char *err, size_t errlen);

/* Copy a config that was read with all that it points to: texts, routes and mounts may go once it is kept; those of the
 * sandbox, which are for the start alone, are left out. Routes of an older program are as long as they are today in the
 * copy. Returns 0, or -ENOMEM with what was copied, to be dropped all the same. */
int evs_config_keep(struct evserve_config *kept, const struct evserve_config *config);
void evs_config_drop(struct evserve_config *kept);

/* Set the limits that the config names; those that are 0 in it stay, EVSERVE_ZERO sets 0. Returns 0, or -errno with a
 * text in err that names the limit, also when limits contradict each other afterwards. */
int evs_config_apply(struct limits *limits, const struct evserve_config *config, char *err, size_t errlen);

/* The same for the limits of a route, whose limits are those of the server before. */
int evs_config_apply_route(struct limits *limits, const struct evs_limits *own, char *err, size_t errlen);

#endif
