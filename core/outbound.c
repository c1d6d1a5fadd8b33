/* Nothing here fails: what may is made at first use. */

#include "core/outbound.h"

#include <assert.h>
#include <errno.h>

void outbound_init(struct outbound *outbound, struct reactor *reactor, struct job_pools *jobs, const struct log *log)
{
    *outbound = (struct outbound){.links = {.reactor = reactor, .log = log, .resolver = &outbound->resolver},
                                  .kept.reactor = reactor,
                                  .jobs = jobs};
    resolver_init(&outbound->resolver, reactor, jobs);
}

int outbound_connect(struct outbound *outbound, struct link **link, const struct link_target *target,
                     const struct link_user *user, void *arg, char *err, size_t errlen)
{
    int rv = link_open(link, &outbound->links, target, user, arg, err, errlen);
    bool has_room = rv == -ENOBUFS && kept_links_close_oldest(&outbound->kept) == 0;
    return has_room ? link_open(link, &outbound->links, target, user, arg, err, errlen) : rv;
}

void outbound_done(struct outbound *outbound)
{
    kept_links_done(&outbound->kept);
    assert(outbound->links.count == 0);
    resolver_done(&outbound->resolver);
}

void outbound_abandon(struct outbound *outbound)
{
    links_abandon(&outbound->links);
}
