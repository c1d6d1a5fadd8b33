/* No failure modes but want of memory. */

#include "http/host/evs_proxy_copies.h"

#include "core/mem.h"
#include "evserve.h"
#include "http/host/evs_block.h"

#include <string.h>

static size_t count_upstreams(const char *const *upstreams)
{
    size_t count = 0;
    while (upstreams != NULL && upstreams[count] != NULL) {
        count++;
    }
    return count;
}

static const char *const *put_upstreams(struct evs_block *block, const char *const *upstreams)
{
    size_t count = count_upstreams(upstreams);
    const char **copy = upstreams == NULL ? NULL : evs_block_put(block, upstreams, (count + 1) * sizeof upstreams[0]);
    for (size_t i = 0; i < count; i++) {
        const char *text = evs_block_text(block, upstreams[i]);
        if (copy != NULL) {
            copy[i] = text;
        }
    }
    return copy;
}

/* Limits may be shorter than today's; an invalid size is kept, to be refused later. */
static const struct evs_limits *put_limits(struct evs_block *block, const struct evs_limits *limits)
{
    struct evs_limits copy = {0};
    if (limits == NULL) {
        return NULL;
    }
    memcpy(&copy, limits, limits->size < sizeof copy ? limits->size : sizeof copy);
    copy.size = limits->size;
    return evs_block_put(block, &copy, sizeof copy);
}

struct evs_proxy *evs_proxies_put(struct evs_block *block, const struct evs_proxy *proxies)
{
    size_t count = 0;
    while (proxies[count].prefix != NULL) {
        count++;
    }
    struct evs_proxy *copy = evs_block_put(block, proxies, (count + 1) * sizeof proxies[0]);
    for (size_t i = 0; i < count; i++) {
        struct evs_proxy proxy = proxies[i];
        proxy.prefix = evs_block_text(block, proxy.prefix);
        proxy.upstreams = put_upstreams(block, proxy.upstreams);
        proxy.host = evs_block_text(block, proxy.host);
        proxy.headers = evs_block_fields(block, proxy.headers);
        proxy.ca_file = evs_block_text(block, proxy.ca_file);
        proxy.cert_file = evs_block_text(block, proxy.cert_file);
        proxy.key_file = evs_block_text(block, proxy.key_file);
        proxy.server_name = evs_block_text(block, proxy.server_name);
        proxy.limits = put_limits(block, proxy.limits);
        if (copy != NULL) {
            copy[i] = proxy;
        }
    }
    return copy;
}

struct evs_proxy *evs_proxies_copy(const struct evs_proxy *proxies)
{
    struct evs_block block = {0};
    evs_proxies_put(&block, proxies);
    block = (struct evs_block){.data = mem_alloc(block.used)};
    return block.data == NULL ? NULL : evs_proxies_put(&block, proxies);
}
