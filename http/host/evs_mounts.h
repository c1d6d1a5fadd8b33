#ifndef EVSERVE_HTTP_HOST_EVS_MOUNTS_H
#define EVSERVE_HTTP_HOST_EVS_MOUNTS_H

/* Copies of a host's mounts (struct evs_mount of evserve.h), which outlive the host's own. */

struct evs_mount;

/* Copy mounts, ended by a NULL prefix, with all that they point to, into one block, to be freed with mem_free(). NULL
 * without memory. */
struct evs_mount *evs_mounts_copy(const struct evs_mount *mounts);

#endif
