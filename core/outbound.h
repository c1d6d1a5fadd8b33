#ifndef EVSERVE_CORE_OUTBOUND_H
#define EVSERVE_CORE_OUTBOUND_H

/* What a reactor needs to reach other servers: there is one for each thread of a server, and it lives as long as the
 * thread, so what it keeps outlives a reload. What is costly is made at first use. Only its reactor's thread uses it; a
 * thread that loads a script for it no more than hands it on. */

#include "core/kept_links.h"
#include "core/link.h"
#include "core/resolver.h"
#include "core/spare_blocks.h"

struct job_pools;

enum { OUTBOUND_HELD_MAX = 256 << 20 }; /* of held_bytes */

struct outbound {
    struct links links;       /* for link_open() */
    struct kept_links kept;   /* links that are open, and in no use */
    struct resolver resolver; /* of the links' names; ask it for those of datagrams, too */
    size_t held_bytes;      /* that came from other servers, and wait in memory for users of http/client and sockets */
    size_t held_max;        /* of them; 0: OUTBOUND_HELD_MAX */
    struct job_pools *jobs; /* borrowed: of the server; NULL: there are no threads for what blocks */
    struct spare_blocks spares; /* memory for requests: given back before outbound_done() */
};

/* Fill it in. reactor and jobs are borrowed, and outlive it; log may be NULL. It must not move. */
void outbound_init(struct outbound *outbound, struct reactor *reactor, struct job_pools *jobs, const struct log *log);

/* From now on, links are opened, and kept ones used, only where denied, which is borrowed and may be NULL, does not
 * deny that; and the addresses of a name are kept for so long. */
void outbound_set_policy(struct outbound *outbound, const struct destinations *denied, uint64_t dns_cache_ms);

/* As link_open(), which see. If as many links are open as may be, or fds are short, one that is kept is closed
 * first. */
int outbound_connect(struct outbound *outbound, struct link **link, const struct link_target *target,
                     const struct link_user *user, void *arg, char *err, size_t errlen);

/* Have the files of TLS read again by later connections: after a reload. */
void outbound_forget_files(struct outbound *outbound);

/* Close what is kept open. All other links must have been closed. One of zeros is left alone. */
void outbound_done(struct outbound *outbound);

/* In a process forked from the server's: close the fds, and leave everything else as it is. */
void outbound_abandon(struct outbound *outbound);

#endif
