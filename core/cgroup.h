#ifndef EVSERVE_CORE_CGROUP_H
#define EVSERVE_CORE_CGROUP_H

/* What the control group of this process allows it: cgroups(7), version 2 and 1. */

#include <stdint.h>

/* The bytes of memory that this process and all others of its group may have, the least of the limits of the group and
 * of those above it. UINT64_MAX if there is no limit, or if it cannot be read. root_fd: the directory in which proc and
 * sys are, which is /, except in tests. For the start: it reads a few files, which a sandbox keeps away. */
uint64_t cgroup_memory_bytes(int root_fd);

#endif
