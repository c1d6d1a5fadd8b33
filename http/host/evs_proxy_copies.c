/* No failure modes but want of memory. */

#include "http/host/evs_proxy_copies.h"

#include "core/mem.h"
#include "evserve.h"
#include "http/host/evs_block.h"

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
        proxy.upstreams = evs_block_texts(block, proxy.upstreams);
        proxy.host = evs_block_text(block, proxy.host);
        proxy.headers = evs_block_fields(block, proxy.headers);
        proxy.ca_file = evs_block_text(block, proxy.ca_file);
        proxy.cert_file = evs_block_text(block, proxy.cert_file);
        proxy.key_file = evs_block_text(block, proxy.key_file);
        proxy.server_name = evs_block_text(block, proxy.server_name);
        proxy.limits = evs_block_limits(block, proxy.limits);
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
