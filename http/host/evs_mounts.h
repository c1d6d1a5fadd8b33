#ifndef EVSERVE_HTTP_HOST_EVS_MOUNTS_H
#define EVSERVE_HTTP_HOST_EVS_MOUNTS_H

/* A host's mounts (struct evs_mount of evserve.h): copies that outlive the host's own, and mounts of a site. */

#include <stddef.h>

struct evs_block;
struct evs_mount;
struct static_mounts;

/* Copy mounts, ended by a NULL prefix, with all that they point to but assets. Returns NULL while the block is
 * measured. */
struct evs_mount *evs_mounts_put(struct evs_block *block, const struct evs_mount *mounts);

/* The same into a block of their own, to be freed with mem_free(). NULL without memory. */
struct evs_mount *evs_mounts_copy(const struct evs_mount *mounts);

/* Mount the directories of a host, an array that a NULL prefix ends. name is where they come from, for errors:
 * "evserve_config.mounts". Later mounts of the same prefixes, those of a
 * script, are ignored. Returns 0, or -errno with a text in err that names the member; some of them may then be
 * mounted. */
int evs_mounts_add(struct static_mounts *added, const struct evs_mount *mounts, const char *name, char *err,
                   size_t errlen);

#endif
