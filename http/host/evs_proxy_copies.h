#ifndef EVSERVE_HTTP_HOST_EVS_PROXY_COPIES_H
#define EVSERVE_HTTP_HOST_EVS_PROXY_COPIES_H

/* Copies of a host's proxies (struct evs_proxy of evserve.h) that outlive its own. */

struct evs_block;
struct evs_proxy;

/* Copy proxies, ended by a NULL prefix, with all that they point to. Returns NULL while the block is measured. */
struct evs_proxy *evs_proxies_put(struct evs_block *block, const struct evs_proxy *proxies);

/* The same into a block of their own, to be freed with mem_free(). NULL without memory. */
struct evs_proxy *evs_proxies_copy(const struct evs_proxy *proxies);

#endif
