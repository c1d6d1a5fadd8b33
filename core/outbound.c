/* Nothing here fails: what may is made at first use. */

#include "core/outbound.h"

#include "core/tls_clients.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* Of links.free_fd. */
static bool free_fd_of_outbound(void *arg)
{
    struct outbound *outbound = arg;
    return kept_links_close_oldest(&outbound->kept) == 0;
}

void outbound_init(struct outbound *outbound, struct reactor *reactor, struct job_pools *jobs, const struct log *log)
{
    *outbound = (struct outbound){.links = {.reactor = reactor, .log = log, .resolver = &outbound->resolver},
                                  .kept.reactor = reactor,
                                  .jobs = jobs};
    outbound->links.free_fd = free_fd_of_outbound;
    outbound->links.free_fd_arg = outbound;
    resolver_init(&outbound->resolver, reactor, jobs);
}

static bool is_same_list(const struct destinations *one, const struct destinations *other)
{
    return one == other ||
           (one != NULL && other != NULL && strcmp(destinations_text(one), destinations_text(other)) == 0);
}

void outbound_set_policy(struct outbound *outbound, const struct destinations *denied, uint64_t dns_cache_ms)
{
    struct destination_policy *policy = &outbound->links.policy;
    if (!is_same_list(policy->denied, denied)) { /* they may lead to what is denied now */
        kept_links_done(&outbound->kept);
    }
    policy->denied = denied;
    outbound->resolver.kept_ms = (uint32_t)dns_cache_ms;
}

int outbound_connect(struct outbound *outbound, struct link **link, const struct link_target *target,
                     const struct link_user *user, void *arg, char *err, size_t errlen)
{
    int rv = link_open(link, &outbound->links, target, user, arg, err, errlen);
    bool is_full = rv == -ENOBUFS || rv == -EMFILE || rv == -ENFILE;
    bool has_room = is_full && kept_links_close_oldest(&outbound->kept) == 0;
    return has_room ? link_open(link, &outbound->links, target, user, arg, err, errlen) : rv;
}

void outbound_forget_files(struct outbound *outbound)
{
    if (outbound->links.tls != NULL) {
        tls_clients_forget(outbound->links.tls);
    }
}

void outbound_done(struct outbound *outbound)
{
    kept_links_done(&outbound->kept);
    assert(outbound->links.count == 0);
    resolver_done(&outbound->resolver);
    spare_blocks_done(&outbound->spares);
    tls_clients_destroy(outbound->links.tls);
    outbound->links.tls = NULL;
}

void outbound_abandon(struct outbound *outbound)
{
    links_abandon(&outbound->links);
}
