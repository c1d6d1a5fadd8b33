#ifndef EVSERVE_HTTP_METRICS_HOSTS_H
#define EVSERVE_HTTP_METRICS_HOSTS_H

/* The host names that the metrics of a site tell apart, as its host or script lists them. Clients send whatever they
 * like in Host, so all other names are counted together, without a name. Filled before the site is served; from then on
 * it is only read. */

#include <stdbool.h>
#include <stddef.h>

struct metrics_hosts;

enum {
    METRICS_HOSTS_MAX = 64, /* names of a site, and in the whole life of a server */
    METRICS_HOST_MAX = 253, /* bytes of a name */
    HOST_OTHER = 0,         /* the number of all that are not listed */
};

/* Add a name, in any case: "example.org", "192.0.2.1", "[::1]". *hosts is NULL before the first one; a name that is
 * there already is not added again. Returns 0; or -EINVAL (it is none, or has a port), -ENOSPC or -ENOMEM with a text
 * in err. */
int metrics_hosts_add(struct metrics_hosts **hosts, const char *name, char *err, size_t errlen);

/* The same for each name of a list, which commas or spaces separate. */
int metrics_hosts_add_list(struct metrics_hosts **hosts, const char *list, char *err, size_t errlen);

/* Free them. NULL is allowed. */
void metrics_hosts_destroy(struct metrics_hosts *hosts);

/* The n-th name, in lower case; NULL past the last. hosts may be NULL. */
const char *metrics_hosts_name(const struct metrics_hosts *hosts, size_t n);

/* What the n-th name is counted as: HOST_OTHER until this is called. */
void metrics_hosts_set_number(struct metrics_hosts *hosts, size_t n, unsigned number);

/* The number of the host in an authority, whose port, and dot at the end, do not count; HOST_OTHER if it is not
 * listed. */
unsigned metrics_hosts_find(const struct metrics_hosts *hosts, const char *authority, size_t len);

#endif
