#ifndef EVSERVE_HTTP_VHOSTS_H
#define EVSERVE_HTTP_VHOSTS_H

/* The hosts of a site beside its default one, by their names (http/host_name.h). Filled before the site is served; from
 * then on they are only read, so any number of threads may look for names. */

#include "http/host_name.h"
#include "http/vhost.h"

#include <stddef.h>

enum { VHOST_NAMES_MAX = 1000 }; /* of all hosts of a site together */

struct vhosts;

/* Make an empty set. Returns 0 or -ENOMEM. */
int vhosts_create(struct vhosts **hosts);

/* Free the set, but no host in it. NULL is allowed. */
void vhosts_destroy(struct vhosts *hosts);

/* Add a host, which is borrowed: it must stay as long as it is looked for. It is found when it has names. Returns 0 or
 * -ENOMEM. */
int vhosts_add(struct vhosts *hosts, struct vhost *vhost);

/* Give it a name. The names of a host that is pinned win over those that later ones ask for, which do not get them,
 * without an error. Returns 0, -EINVAL, -EEXIST (another host has it), -ENOSPC (VHOST_NAMES_MAX) or -ENOMEM, with a
 * text in err that quotes the name. */
int vhosts_add_name(struct vhosts *hosts, struct vhost *vhost, const char *name, char *err, size_t errlen);

/* The host that an authority names. */
struct vhost_look {
    const char *name; /* in the authority: without a port, and without a dot at its end */
    size_t len;       /* of name */
    size_t from;      /* where in the name it begins with one byte in place of the '*' of the wildcard that it fits */
};

/* The host that has the name in an authority, whose syntax is valid, or else the one with the longest wildcard for it,
 * or else NULL.
 *
 * Cost: one look at a table, and one more for each number of labels that wildcards have. */
const struct vhost *vhosts_find(const struct vhosts *hosts, const char *authority, size_t len, struct vhost_look *look);

/* The n-th host in the order in which they were added, NULL behind the last. hosts may be NULL. */
struct vhost *vhosts_get(const struct vhosts *hosts, size_t n);

/* The n-th name of a host in the order in which they were given, NULL behind the last. */
const char *vhosts_name(const struct vhosts *hosts, const struct vhost *vhost, size_t n);

#endif
