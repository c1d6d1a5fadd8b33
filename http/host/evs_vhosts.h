#ifndef EVSERVE_HTTP_HOST_EVS_VHOSTS_H
#define EVSERVE_HTTP_HOST_EVS_VHOSTS_H

/* Hosts that a C host names (struct evs_vhost of evserve.h): copies that outlive its own, and hosts of a site. */

#include <stdbool.h>
#include <stddef.h>

struct evs_vhost;
struct evs_vhosts;
struct outbound;
struct site;

/* Copy hosts, ended by NULL names, with all that they point to but assets, into one block, to be freed with mem_free().
 * NULL without memory. */
struct evs_vhost *evs_vhosts_copy(const struct evs_vhost *hosts);

/* Add the hosts to a site; a script's hosts do not get their names. outbound is borrowed, for their proxies. Free
 * *added after the site. Returns 0, or -errno
 * with a text in err that names the member, and nothing to free; some of them may then be there. */
int evs_vhosts_create(struct evs_vhosts **added, const struct evs_vhost *hosts, struct site *site,
                      struct outbound *outbound, char *err, size_t errlen);
void evs_vhosts_destroy(struct evs_vhosts *hosts); /* NULL is allowed */

/* Whether one of their routes shows metrics. NULL is allowed. */
bool evs_vhosts_have_metrics(const struct evs_vhosts *hosts);

/* The limits of the hosts are settled (site_settle_hosts()): settle those of their routes. Returns 0, or -errno with a
 * text in err that names the route and the limit. hosts may be NULL. */
int evs_vhosts_settle_limits(struct evs_vhosts *hosts, const struct site *site, char *err, size_t errlen);

#endif
